"""The benchmark of the marks: attacks do what their names say, and scores mean what they say."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import wavfile
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.cli.bench import MARK_PARTS
from omnitalk_cli.evaluation import marks
from omnitalk_cli.evaluation.attacks import AUDIO_ATTACKS, CHAIN, VIDEO_ATTACKS, attacked
from omnitalk_cli.evaluation.audio_marks import noise_to_mask, pieces_of
from omnitalk_cli.evaluation.false_marks import NONE_YET, false_audio, false_video
from omnitalk_cli.evaluation.mark_material import Clip, Outcome, load, write_master, write_sound
from omnitalk_cli.evaluation.marks_report import below, chain_row, rows, table, to_dict
from omnitalk_cli.evaluation.video_marks import visibility
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.probe import probe
from omnitalk_cli.provenance.detection import Detection

RATE = 24_000


def _sound(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, int(seconds * RATE))
    beat = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(len(noise)) / RATE)
    return (noise * beat).astype(np.float32)


def _frames(count: int, side: int = 512) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    rough = rng.standard_normal((side, side + 40)).astype(np.float32)
    wall = 128 + 600 * cv2.GaussianBlur(rough, (0, 0), 6)
    wall[side // 2 :] = 90
    moving = [wall[:, at : at + side] for at in range(count)]
    return [np.repeat(np.clip(one, 0, 255).astype(np.uint8)[..., None], 3, 2) for one in moving]


def _outcome(**more: object) -> Outcome:
    usual = {"clip": "a", "attack": "none", "bits": 32, "right": True, "wrong": False,
             "present": True, "confidence": 0.9}  # fmt: skip
    return Outcome(**(usual | more))  # type: ignore[arg-type]


def test_sound_attacks_do_what_they_say(tmp_path: Path) -> None:
    master = write_sound(tmp_path / "sound.mp4", _sound(8.0))
    named = {one.name: one for one in AUDIO_ATTACKS}

    def after(name: str) -> np.ndarray:
        return decode_audio(attacked(master, named[name], tmp_path))

    expected = {"none": 8.0, "trim 1.24 s": 6.76, "tempo +1 %": 8 / 1.01, "speed -1 %": 8 / 0.99,
                "MP3 64k": 8.0, "Opus 24k": 8.0, "loudnorm": 8.0}  # fmt: skip
    for name, seconds in expected.items():
        assert len(after(name)) / RATE == pytest.approx(seconds, abs=0.06), name
    plain = after("none")
    assert 20 * np.log10(after("-6 dB").std() / plain.std()) == pytest.approx(-6, abs=0.1)
    narrow = np.abs(np.fft.rfft(after("8 kHz")))
    assert narrow[len(narrow) // 2 :].mean() < 0.01 * narrow[: len(narrow) // 4].mean()


def test_picture_attacks_do_what_they_say(tmp_path: Path) -> None:
    frames = _frames(10, side=128)
    master = write_master(tmp_path / "a.mp4", frames, fps=Fraction(25), sound=_sound(0.4))
    sizes = {
        "half size (720 to 360)": (64, 64), "crop to 70 %": (88, 88),
        "crop to 90 %, scaled back": (126, 126), "VP9 crf 36": (128, 128),
        "x265 crf 28": (128, 128), "360 px, crf 28": (360, 360),
    }  # fmt: skip
    for one in VIDEO_ATTACKS:
        if one.name in sizes:
            info = probe(attacked(master, one, tmp_path))
            assert (info.width, info.height) == sizes[one.name], one.name
            assert not info.has_audio
    info = probe(attacked(master, CHAIN, tmp_path))
    assert info.height == 360 and info.has_audio
    silent = write_master(tmp_path / "b.mp4", frames, fps=Fraction(25))
    assert not probe(attacked(silent, CHAIN, tmp_path)).has_audio
    assert attacked(master, VIDEO_ATTACKS[0], tmp_path) == master


def test_masking_weighs_the_difference() -> None:
    sound = _sound(2.0)
    half, tenth = (noise_to_mask(sound, sound * (1 + part)) for part in (0.5, 0.05))
    np.testing.assert_allclose(half - tenth, 20, atol=0.1)
    # 26 dB below the sound in its own band is masked, and 6 dB below is not, by noise.
    assert tenth.mean() < -10 and half.mean() > -5
    shifted = np.roll(_sound(2.0), 100) * 0.05
    assert noise_to_mask(sound, sound + shifted).mean() == pytest.approx(tenth.mean(), abs=2)


def test_flicker_is_told_from_what_stands_still() -> None:
    frames = [np.full((64, 64, 3), 100, np.uint8)] * 32
    still = [frame + 2 for frame in frames]
    found = visibility(frames, still, clip="a", fps=Fraction(25))
    assert found.flat_share == 1 and found.standing == pytest.approx(2, abs=1e-4)
    assert max(found.moving.values()) == pytest.approx(0, abs=1e-4)
    assert found.psnr == pytest.approx(20 * np.log10(255 / 2), abs=1e-3)
    blinking = [frame + 2 * (at % 2) for at, frame in enumerate(frames)]
    found = visibility(frames, np.asarray(blinking, np.uint8), clip="a", fps=Fraction(25))
    assert found.standing == pytest.approx(1, abs=1e-4)
    assert found.moving["above_8_hz"] == pytest.approx(1, abs=1e-4)
    assert found.moving["to_8_hz"] == pytest.approx(0, abs=1e-4)


def test_pieces_have_both_lengths() -> None:
    clip = Clip(name="a", frames=[], fps=Fraction(25), sound=_sound(9.0))
    made = [(piece.bits, len(piece.sound) / RATE) for piece in pieces_of(clip)]
    assert made == [(32, 8.0), (16, 4.0), (16, 4.0)]


def test_loading_scales_cuts_and_drops_silence(tmp_path: Path) -> None:
    frames = [frame[:96] for frame in _frames(8, side=128)]
    path = write_master(tmp_path / "a.mp4", frames, fps=Fraction(8), sound=0 * _sound(1.0))
    clip = load(path, seconds=0.5)
    assert clip.frames[0].shape == (512, 682, 3) and len(clip.frames) == 4
    assert len(clip.sound) == 0


def test_rows_count_and_name_what_falls_short() -> None:
    made = marks.Marks(
        video=[_outcome(), _outcome(right=False, clip="b"), _outcome(attack="1 s excerpt")],
        chain=[(_outcome(right=False), _outcome(bits=16)), (_outcome(right=False), None)],
        false_video=NONE_YET.with_one(
            Detection(id=3, bits=16, confidence=0.6, present=True), foreign=True
        ),
    )
    first, second = rows(made.video)
    assert (first.read, first.tries, first.missed, first.asked) == (1, 2, ["b"], True)
    assert not second.asked
    chain = chain_row(made)
    assert chain is not None and (chain.read, chain.tries) == (1, 2)
    short = below(made)
    assert [text.split(":")[0] for text in short] == ["none (32 bit)", f"{CHAIN.name} (32 bit)",
                                                      "picture"]  # fmt: skip
    assert any(line.startswith("below the bar: none") for line in table(made))
    given = json.loads(json.dumps(to_dict(made)))
    assert given["below"] == short
    assert (given["chain"]["by_picture"], given["chain"]["by_sound"]) == (0, 1)
    assert below(marks.Marks()) == [] and table(marks.Marks())[-1] == "all bars are reached"


def test_tries_without_a_mark_are_of_all_kinds() -> None:
    clip = Clip(name="a", frames=_frames(4), fps=Fraction(25), sound=_sound(2.0))
    for tries in (false_video(clip, 8, seed=0), false_audio(clip, 8, seed=0)):
        found = list(tries)
        assert len(found) == 8 and sum(foreign for _, foreign in found) == 2
        assert not any(one.present or one.id is not None for one, _ in found)


def test_parts_are_checked(tmp_path: Path) -> None:
    assert MARK_PARTS == marks.PARTS
    run = CliRunner().invoke
    path = tmp_path / "a.wav"
    wavfile.write(path, RATE, _sound(1.0))
    result = run(app, ["bench", "marks", str(path), "--only", "video,all"])
    assert result.exit_code == 2 and "all: is no part" in result.stderr
    result = run(app, ["bench", "marks", str(tmp_path / "none.mp4")])
    assert result.exit_code == 3 and "none.mp4" in result.stderr
    result = run(app, ["bench", "marks", str(path), "--only", "cost", "--json", "-q"])
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert made["cost"][0]["sound_share"] > 0 and made["cost"][0]["frame_512"] is None
    assert made["video"] == [] and made["chain"] is None


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: Path) -> None:
    path = write_master(tmp_path / "a.mp4", _frames(40), fps=Fraction(5), sound=_sound(8.0))
    result = CliRunner().invoke(app, ["bench", "marks", str(path), "--tries", "4", "--json", "-q"])
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert all(row["wrong"] == 0 for row in made["video"] + made["audio"])
    assert {row["attack"]: row["share"] for row in made["audio"]}["Opus 24k"] == 1.0
    assert made["false"]["video"]["tries"] == 4 and made["chain"]["tries"] == 1
