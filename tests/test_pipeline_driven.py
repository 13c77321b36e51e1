"""Recorded speech drives the face of a random model; the sound stays the user's."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from media_samples import make_video, run_ffmpeg
from omnitalk_cli.cli import generate as generate_module
from omnitalk_cli.cli import synth as synth_module
from omnitalk_cli.cli.app import app
from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.flow import interpolate
from omnitalk_cli.dit.model import Condition, DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import EXPRESSION
from omnitalk_cli.pipeline import production, workshop
from omnitalk_cli.pipeline.driven import (
    LONGEST_SECONDS,
    Recording,
    follow,
    hear,
    piece_edges,
    recording_mel,
)
from omnitalk_cli.pipeline.infill import Context, Infiller, SamplingOptions, _holding
from omnitalk_cli.pipeline.performance_store import load_performance
from omnitalk_cli.pipeline.synthesis import SynthesisOptions
from omnitalk_cli.provenance import audio_mark
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.text.alignment import Alignment
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.types import (
    MEL_RATE,
    SAMPLE_RATE,
    Crop,
    Performance,
    PoseFrame,
    Reference,
    Take,
)

RNG = np.random.default_rng(0)
OPTIONS = SynthesisOptions(steps=2, seed=3)


def speech(seconds: float, pauses: tuple[float, ...] = (), level: float = 0.1) -> np.ndarray:
    """Noise in syllables, with quarter-second pauses at the times given."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = level * np.random.default_rng(1).normal(size=len(time)) * (1.2 + np.sin(25 * time))
    for pause in pauses:
        sound[np.abs(time - pause) < 0.125] *= 1e-3
    return sound.astype(np.float32)


def recording(samples: np.ndarray) -> Recording:
    return Recording(samples=samples, name="talk.wav", source_sha256="2" * 64)


@pytest.fixture(scope="module")
def model() -> Any:
    """What following needs of a loaded model."""
    config = DiTConfig.tiny(
        dim=32, visual_dim=16, heads=2, head_dim=8, fusion_depth=1, single_depth=1, text_dim=16,
        position_kernel=3, position_groups=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = DualBranchDiT(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return SimpleNamespace(
        network=network,
        durations=DurationModel(weights={"bias": -2.5}, pauses={}),
        normalisation=Normalisation(
            mel_mean=torch.full((100,), -2.0), mel_std=torch.full((100,), 2.0),
            code_mean=torch.full((61,), 0.3), code_std=torch.full((61,), 0.1),
        ),
        vocabulary=Vocabulary.phones(), name="small", sha256="3" * 64, runner=Runner(),
    )  # fmt: skip


@pytest.fixture
def reference() -> Reference:
    mel = RNG.normal(-6, 1, (300, 100)).astype(np.float32)
    mel[60:260] += 5  # speech in the middle
    return Reference(
        mel=mel, codes=RNG.uniform(0, 0.2, (80, 61)).astype(np.float32),
        landmarks=np.zeros((80, 478, 3), np.float32), neutral=np.zeros((478, 3), np.float32),
        frames=(), mattes=(), sharpness=np.ones(80, np.float32), fps=25.0, frame_size=64,
        crop=Crop(x=0, y=0, size=64, source_width=64, source_height=64),
        pose_frame=PoseFrame(origin_x=32, origin_y=32, scale=20), transcript="", language="en",
        words=(), source_sha256="0" * 64, source_name="clip.mp4", start_seconds=0.0,
    )  # fmt: skip


def test_the_sound_stays_and_the_face_is_as_long(model: Any, reference: Reference) -> None:
    samples = speech(3.01)
    performance = follow(reference, recording(samples), model, OPTIONS)
    assert np.allclose(performance.mel, log_mel(torch.from_numpy(samples)).numpy(), atol=1e-4)
    assert performance.codes.shape == (len(performance.mel), 61)
    assert 0 <= performance.codes[:, EXPRESSION].min() < performance.codes[:, EXPRESSION].max() <= 1
    assert performance.segments == ()
    assert performance.settings["audio"] == "talk.wav"
    assert performance.settings["audio_sha256"] == "2" * 64
    assert "speed" not in performance.settings
    json.dumps(performance.settings)


def test_the_face_depends_on_the_sound_and_the_seed(model: Any, reference: Reference) -> None:
    once = follow(reference, recording(speech(2)), model, OPTIONS).codes
    again = follow(reference, recording(speech(2)), model, OPTIONS).codes
    other_sound = follow(reference, recording(speech(2, pauses=(1.0,))), model, OPTIONS).codes
    other_seed = SynthesisOptions(steps=2, seed=4)
    assert np.array_equal(once, again)
    assert not np.allclose(once, other_sound, atol=1e-4)
    assert not np.allclose(
        once, follow(reference, recording(speech(2)), model, other_seed).codes, atol=1e-3
    )


def test_the_level_of_the_recording_does_not_matter(model: Any, reference: Reference) -> None:
    loud, quiet = (
        follow(reference, recording(speech(2, level=level)), model, OPTIONS)
        for level in (0.1, 0.02)
    )
    assert np.abs(loud.codes - quiet.codes).max() < 0.01
    assert loud.mel.mean() > quiet.mel.mean() + 1.5  # what is kept is the recording's own


def test_noise_is_followed_with_a_remark(model: Any, reference: Reference) -> None:
    heard: list[str] = []
    noise = RNG.normal(size=2 * SAMPLE_RATE).astype(np.float32) * 0.05
    follow(reference, recording(noise), model, OPTIONS, notes=heard.append)
    assert len(heard) == 1 and "no speech" in heard[0] and "talk.wav" in heard[0]


def test_long_recordings_are_cut_in_their_pauses() -> None:
    pauses = (3.5, 7.5, 14.0, 21.0)
    mel = recording_mel(speech(24, pauses=pauses))
    loudness = np.log(np.exp(mel.astype(float)).sum(1))
    edges = piece_edges(loudness, 4)
    assert edges[0] == 0 and 0 <= edges[-1] - len(mel) < 4
    assert all(edge % 4 == 0 for edge in edges)
    for place, pause in zip(edges[1:-1], (7.5, 14.0, 21.0), strict=True):
        assert place / MEL_RATE == pytest.approx(pause, abs=0.12)


@pytest.mark.parametrize("frames", [1, 5, 700, 844, 848, 900, 1100, 1900, 5000])
def test_no_piece_is_too_long_or_too_short(frames: int) -> None:
    edges = piece_edges(np.random.default_rng(frames).normal(size=frames), 4)
    lengths = np.diff(edges) / MEL_RATE
    assert edges[-1] - frames in range(4)
    assert lengths.max() <= 9.05
    assert len(lengths) == 1 or lengths.min() > 2.9


def test_pieces_go_on_from_one_another(model: Any, reference: Reference) -> None:
    progress: list[tuple[float, float | None]] = []
    samples = speech(13, pauses=(6.5,))
    performance = follow(
        reference, recording(samples), model, SynthesisOptions(steps=1),
        progress=lambda stage, done, total: progress.append((done, total)),
    )  # fmt: skip
    assert len(performance.codes) == len(samples) // 256 + 1
    assert progress == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("samples", [7200, 4096 * 256 - 1, 4096 * 256, 4097 * 256 + 100])
def test_mel_in_chunks_is_the_mel(samples: int) -> None:
    sound = np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1
    whole = log_mel(torch.from_numpy(sound)).numpy()
    assert recording_mel(sound).shape == whole.shape
    assert np.allclose(recording_mel(sound), whole, atol=1e-3)


def test_given_frames_stay_on_the_path_of_training() -> None:
    data, noise = torch.randn(1, 8, 100), (torch.randn(1, 8, 100), torch.randn(1, 8, 61))
    codes = torch.randn(1, 8, 61)
    heard = torch.ones(1, 8, dtype=torch.bool)
    seen = torch.tensor([[True] * 4 + [False] * 4])
    condition = Condition.of(data, codes, heard, seen)
    free = (torch.full_like(noise[0], 7.0), torch.full_like(noise[1], 7.0))
    velocity = _holding(lambda state, time: free, condition)(noise, 0.0)
    half = [x + 0.5 * v for x, v in zip(noise, velocity, strict=True)]
    assert torch.allclose(half[0], interpolate(noise[0], data, torch.tensor(0.5)), atol=1e-6)
    path = interpolate(noise[1], codes, torch.tensor(0.5))
    assert torch.allclose(half[1][:, :4], path[:, :4], atol=1e-6)
    assert torch.equal(velocity[1][:, 4:], free[1][:, 4:])


def test_only_whole_patches_can_be_followed(model: Any) -> None:
    context = Context.of(
        np.zeros((40, 100), np.float32), np.zeros((40, 61), np.float32), Alignment.unknown(40),
        model.normalisation,
    )  # fmt: skip
    infiller = Infiller(model.network, model.normalisation, SamplingOptions(steps=1), context)
    assert infiller.follow(np.zeros((8, 100), np.float32)).shape == (8, 61)
    assert infiller.tail is not None and len(infiller.tail.mel) == 8
    for frames in (0, 7):
        with pytest.raises(ValueError, match="patches"):
            infiller.follow(np.zeros((frames, 100), np.float32))


def test_sound_of_a_video_is_heard(tmp_path: Path) -> None:
    found = hear(make_video(tmp_path / "talk.mp4", seconds=1.0, channels=2))
    assert found.seconds == pytest.approx(1.0, abs=0.05)
    assert found.name == "talk.mp4" and len(found.source_sha256) == 64
    assert found.samples.dtype == np.float32 and 0.2 < np.abs(found.samples).max() < 0.4


def sound_file(path: Path, expression: str, seconds: float, rate: int = 8000) -> Path:
    run_ffmpeg("-f", "lavfi", "-i", f"aevalsrc={expression}:s={rate}:d={seconds}", path)
    return path


def test_useless_recordings_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("no sound")
    long = sound_file(tmp_path / "long.wav", "0", LONGEST_SECONDS + 10, rate=1000)
    for path, why in (
        (tmp_path / "none.wav", "no such file"),
        (text, "not a readable"),
        (make_video(tmp_path / "mute.mp4", tone=None), "no sound track"),
        (sound_file(tmp_path / "silent.wav", "0", 1.0), "silent"),
        (sound_file(tmp_path / "short.wav", "0.3*sin(900*t)", 0.1), "at least 0.3 s"),
        (long, "30.2 minutes"),
    ):
        with pytest.raises(InputError, match=why) as caught:
            hear(path)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_the_video_gets_the_recording_itself(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Writer:
        def __init__(self, path: Path, **options: Any) -> None:
            self.path = path
            given.update(options)

        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *error: object) -> None:
            self.path.write_bytes(b"video")

        def write(self, frame: np.ndarray) -> None: ...

    class Renderer:
        def prepare(self, reference: Reference, **more: Any) -> None: ...

        def frames(self, bank: None, codes: np.ndarray, fps: float) -> Any:
            return (np.zeros((512, 512, 3), np.uint8) for _ in codes)

    monkeypatch.setattr(production, "VideoWriter", Writer)
    monkeypatch.setattr(workshop, "make_renderer", lambda name, **options: Renderer())
    samples = speech(1.0)
    performance = Performance(
        mel=recording_mel(samples), codes=np.zeros((94, 61), np.float32), segments=(),
        settings={"audio": "talk.wav"}, sound=samples,
    )  # fmt: skip
    options = production.ProductionOptions()
    notes: list[str] = []
    path = tmp_path / "out.mp4"
    take = production.produce(reference, performance, path, options, notes=notes.append)
    marked = audio_mark.embed(samples, int(take.marks["id"], 16), 16)
    np.testing.assert_array_equal(given["audio"], marked)
    assert given["audio_rate"] == SAMPLE_RATE
    assert take.marks["visible"] and len(given["labels"]) == 1 and notes == []
    # A performance without its sound is vocoded.
    path.unlink()
    production.produce(reference, replace(performance, sound=None), path, options)
    assert np.abs(given["audio"] - marked[: len(given["audio"])]).max() > 0.01


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A command line whose slow stages are stand-ins that keep what they were given."""
    (tmp_path / "clip.mp4").write_bytes(b"x")
    sound_file(tmp_path / "talk.wav", "0.3*sin(900*t)", 2.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    kept: dict[str, Any] = {}
    performance = Performance(
        mel=np.full((188, 100), -5, np.float32), codes=np.zeros((188, 61), np.float32),
        segments=(), settings={"seed": 7, "audio": "talk.wav"},
    )  # fmt: skip

    speech = SimpleNamespace(model=SimpleNamespace(name="tiny", why=""), prompted=None)

    def follow_(reference: Any, recording: Recording, settings: Any, **more: Any) -> Performance:
        kept["follow"] = (reference, recording, settings is speech)
        return performance

    def produce(reference: Any, performance: Performance, path: Path, **more: Any) -> Take:
        kept["produce"] = performance
        return Take(
            path=path, seconds=2.0, width=512, height=512, fps=25.0, seed=7, marks={}, timings={},
            settings=performance.settings,
        )  # fmt: skip

    for module in (generate_module, synth_module):
        monkeypatch.setattr(module, "get_reference", lambda *a, **k: ("REFERENCE", False))
        monkeypatch.setattr(module, "speech_settings", lambda **k: speech)
        monkeypatch.setattr(module, "perform", follow_)
    monkeypatch.setattr(generate_module, "video_options", lambda **k: "VIDEO")
    monkeypatch.setattr(generate_module, "check_frame", lambda *a: None)
    monkeypatch.setattr(generate_module, "preparing", lambda *a: nullcontext())
    monkeypatch.setattr(generate_module, "produce", produce)
    return kept


def run(words: str) -> Any:
    return CliRunner().invoke(app, words.split())


def test_generate_with_audio(calls: dict[str, Any]) -> None:
    result = run("generate --ref clip.mp4 --audio talk.wav --seed 7 --json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["path"] == "clip-talk.mp4"
    reference, recording, settings_passed_on = calls["follow"]
    assert reference == "REFERENCE" and settings_passed_on
    assert recording.seconds == 2.0 and calls["produce"].settings["audio"] == "talk.wav"


def test_synth_with_audio(calls: dict[str, Any], tmp_path: Path) -> None:
    result = run("synth --ref clip.mp4 --audio talk.wav --json")
    assert result.exit_code == 0, result.stderr
    stored = load_performance(tmp_path / "clip-talk.performance.safetensors")
    assert stored.settings["audio"] == "talk.wav"


def test_plan_with_audio(calls: dict[str, Any]) -> None:
    words = "generate --ref clip.mp4 --audio talk.wav --seed 7 --steps 4 --dry-run"
    plan = json.loads(run(words + " --json").stdout)
    assert plan == {
        "dry_run": True, "reference": "clip.mp4", "audio": "talk.wav", "model": "tiny", "seed": 7,
        "seconds": 2.0, "output": "clip-talk.mp4", "options": {"steps": 4},
    }  # fmt: skip
    assert "talk.wav (2.0 s" in run(words).stdout
    assert calls == {}


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ("--audio talk.wav --say Hi", 2, "either a script"),
        ("--audio talk.wav --text -", 2, "either a script"),
        ("--audio talk.wav --speed 1.5", 2, "--speed has no effect"),
        ("--audio talk.wav --duration 3", 2, "--duration has no effect"),
        ("--audio none.wav", 3, "none.wav: no such file"),
        ("--audio clip.mp4", 3, "clip.mp4"),
    ],
)
@pytest.mark.parametrize("command", ["generate", "synth"])
def test_mistakes_with_audio_are_told(
    calls: dict[str, Any], command: str, words: str, code: int, why: str
) -> None:
    result = run(f"{command} --ref clip.mp4 {words}")
    assert result.exit_code == code
    assert why in result.stderr and result.stderr.count("\n") == 1
    assert calls == {}
