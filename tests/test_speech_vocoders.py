"""Which vocoder is chosen, found and opened, and what is said when one does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from omnitalk_cli.batch.fingerprints import Fingerprints
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.errors import InputError, OmnitalkError, SetupError, UsageError
from omnitalk_cli.pipeline import request
from omnitalk_cli.pipeline.production import vocode
from omnitalk_cli.speech.bigvgan import BigVGAN, BigVGANConfig, save_bigvgan
from omnitalk_cli.speech.mel import samples_in
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder, save_vocoder
from omnitalk_cli.speech.vocoders import (
    choose_vocoder,
    find_vocoder,
    mel_of,
    open_vocoder,
    settle_vocoder,
)
from omnitalk_cli.types import Performance
from omnitalk_cli.weights import store

VOCOS = VocosConfig(dim=8, intermediate_dim=8, num_layers=1)
BIGVGAN = BigVGANConfig(
    upsample_rates=(16, 16), upsample_kernel_sizes=(32, 32), upsample_initial_channel=8,
    resblock_kernel_sizes=(3,), resblock_dilation_sizes=((1,),),
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for public weights."""
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    return tmp_path / "weights"


def _install(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name / "model.safetensors"
        path.parent.mkdir(parents=True)
        if name == "vocos":
            save_vocoder(VocosVocoder(VOCOS), path)
        else:
            save_bigvgan(BigVGAN(BIGVGAN), path)


@pytest.mark.parametrize(
    ("mel", "joint", "installed", "chosen"),
    [
        ("vocos", True, (), "source"),
        ("vocos", True, ("vocos", "bigvgan"), "source"),
        ("vocos", False, (), "vocoder"),
        ("vocos", False, ("bigvgan",), "vocoder"),
        ("vocos", False, ("vocos",), "vocos"),
        ("bigvgan", False, ("vocos", "bigvgan"), "bigvgan"),
        ("bigvgan", True, ("bigvgan",), "bigvgan"),
        ("bigvgan", False, ("vocos",), None),
    ],
)
def test_speech_vocoders_auto_takes_the_best_installed(
    folder: Path, mel: str, joint: bool, installed: tuple[str, ...], chosen: str | None
) -> None:
    _install(folder, *installed)
    notes: list[str] = []
    if chosen is None:
        with pytest.raises(SetupError, match="omnitalk weights pull bigvgan"):
            choose_vocoder(mel, joint=joint)  # type: ignore[arg-type]
        return
    assert choose_vocoder(mel, joint=joint, notes=notes.append) == chosen  # type: ignore[arg-type]
    assert settle_vocoder("auto", mel=mel, joint=joint) == chosen  # type: ignore[arg-type]
    assert bool(notes) == (chosen == "vocoder")
    assert not notes or "omnitalk weights pull vocos" in notes[0]


def test_speech_vocoders_each_opens_and_speaks(folder: Path) -> None:
    _install(folder, "vocos", "bigvgan")
    mel = torch.zeros(40, 100) - 5
    for name in (
        "source",
        "vocos",
        "vocoder",
        "bigvgan",
        str(folder / "bigvgan/model.safetensors"),
    ):
        vocoder = open_vocoder(name, mel=mel_of(name))
        assert (vocoder.name, vocoder.mel, vocoder.sample_rate) == (name, mel_of(name), 24_000)
        size = samples_in(40, vocoder.mel)
        assert vocoder(mel[None]).shape == (1, size)
        performance = Performance(
            mel=mel.numpy(), codes=np.zeros((40, 61), np.float32), segments=(), settings={}
        )
        assert vocode(performance, vocoder).shape == (size,)


def test_speech_vocoders_public_vocos_is_not_the_embedded_one(folder: Path) -> None:
    assert find_vocoder("source") is None
    assert find_vocoder("vocoder") == store.find_weights("vocoder")
    for name in ("vocos", "bigvgan"):
        with pytest.raises(SetupError, match=f"omnitalk weights pull {name}"):
            find_vocoder(name)
    _install(folder, "vocos")
    assert find_vocoder("vocos") == folder / "vocos" / "model.safetensors"


@pytest.mark.parametrize(
    ("name", "mel", "error", "told"),
    [
        ("bigvgan", "vocos", UsageError, "reads the bigvgan mel.*use auto, source, vocos, vocoder"),
        ("source", "bigvgan", UsageError, "reads the vocos mel.*use auto, bigvgan"),
        ("tiny", "vocos", InputError, "is no vocoder"),
        ("whisper-base", "vocos", InputError, "is no vocoder .transcript"),
        ("face-landmarker", "vocos", InputError, "is no vocoder .landmarks"),
        ("pytorch_model.bin", "vocos", InputError, "weights import .*pytorch_model.bin --as vocos"),
        ("bigvgan_generator.pt", "bigvgan", InputError, "--as bigvgan"),
        ("other.safetensors", "vocos", InputError, "is no vocoder .its format is not stated"),
        ("damaged.safetensors", "vocos", InputError, "not a safetensors file"),
        ("missing.safetensors", "vocos", SetupError, "no weights called"),
    ],
)
def test_speech_vocoders_say_why_one_does_not_fit(
    folder: Path, tmp_path: Path, name: str, mel: str, error: type[OmnitalkError], told: str
) -> None:
    _install(folder, "vocos", "bigvgan")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    (tmp_path / "bigvgan_generator.pt").write_bytes(b"PK")
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")
    save_file({"x": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    given = str(tmp_path / name) if "." in name else name
    with pytest.raises(error, match=told):
        open_vocoder(given, mel=mel)  # type: ignore[arg-type]
    with pytest.raises(error, match=told):
        settle_vocoder(given, mel=mel)  # type: ignore[arg-type]


def test_speech_vocoders_are_checked_before_the_work() -> None:
    assert request.video_options(overwrite=False, options={}).vocoder == "auto"
    with pytest.raises(SetupError, match="weights pull vocos"):
        request.video_options(overwrite=False, options={"vocoder": "vocos"})
    # Not: "pull it", only to be told afterwards that it does not fit.
    with pytest.raises(UsageError, match="reads the bigvgan mel"):
        request.video_options(overwrite=False, options={"vocoder": "bigvgan"})
    with pytest.raises(UsageError, match="--dtype int8"):
        request.video_options(overwrite=False, options={}, dtype="int8")


def test_speech_vocoders_weights_count_in_the_fingerprint_of_a_row(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")

    def fingerprint(**options: str) -> str:
        job = Job(
            id="a", line=2, ref=tmp_path / "clip.mp4", text="Hi", output=tmp_path / "a.mp4",
            options=options,
        )  # fmt: skip
        return Fingerprints().of(job)

    usual = fingerprint()
    with pytest.raises(SetupError, match="weights pull bigvgan"):
        fingerprint(vocoder="bigvgan")
    _install(folder, "vocos", "bigvgan")
    # The embedded model's auto is the vocoder without weights.
    assert fingerprint() == usual
    first = fingerprint(vocoder="bigvgan")
    assert len({usual, fingerprint(vocoder="vocos"), fingerprint(vocoder="vocoder"), first}) == 4
    save_bigvgan(BigVGAN(BIGVGAN), folder / "bigvgan" / "model.safetensors")
    assert fingerprint(vocoder="bigvgan") != first


def test_speech_vocoders_module_imports_no_torch() -> None:
    code = "import sys, omnitalk_cli.speech.vocoders; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
