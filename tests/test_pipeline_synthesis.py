"""From reference and script to performance and codes, with a random model."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from omnitalk_cli.dit.checkpoint import Normalisation, save_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.face.codes import CODE_INDEX, EXPRESSION, GAZE, POSE
from omnitalk_cli.media.rates import exact_rate
from omnitalk_cli.pipeline import synthesis
from omnitalk_cli.pipeline.performance_store import load_performance, save_performance
from omnitalk_cli.pipeline.production import ProductionOptions, video_codes
from omnitalk_cli.pipeline.synthesis import (
    SpeechMotionModel,
    SynthesisOptions,
    load_model,
    resample_codes,
    synthesise,
)
from omnitalk_cli.types import (
    MEL_RATE,
    Performance,
    Reference,
    Script,
    Segment,
    Word,
)
from references import made_reference

DURATIONS = {
    "weights": {"bias": -2.5},
    "pauses": {"": (0.0, 0.0, 0.0), ",": (0.2, 0.0, 0.0), ".": (0.3, 0.0, 0.0)},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechMotionModel:
    config = DiTConfig.tiny(
        dim=32, visual_dim=16, heads=2, head_dim=8, fusion_depth=1, single_depth=1, text_dim=16,
        position_kernel=3, position_groups=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = DualBranchDiT(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_checkpoint(
        path, config=config, state=network.state_dict(),
        normalisation=Normalisation(
            mel_mean=torch.full((100,), -2.0), mel_std=torch.full((100,), 2.0),
            code_mean=torch.zeros(61), code_std=torch.full((61,), 0.1),
        ),
        extras={"vocabulary": "phones", "languages": ["en"], "durations": DURATIONS},
        dtype=torch.float32,
    )  # fmt: skip
    return load_model(str(path), device="cpu", dtype=torch.float32)


@pytest.fixture
def reference() -> Reference:
    return made_reference()


def script(*segments: Segment, language: str = "en") -> Script:
    return Script(segments=segments, language=language, source_sha256="1" * 64)


HELLO = Segment(text="hello, world.", pause_after=0.3)


def test_a_performance_has_both_streams_and_says_how_it_was_made(
    model: SpeechMotionModel, reference: Reference
) -> None:
    options = SynthesisOptions(steps=2, seed=5)
    performance = synthesise(reference, script(HELLO, HELLO), model, options)
    assert performance.mel.shape == (len(performance.codes), 100)
    assert performance.codes.shape[1] == 61
    assert performance.codes[:, EXPRESSION].min() >= 0
    assert performance.codes[:, EXPRESSION].max() <= 1
    assert performance.settings["seed"] == 5
    assert performance.settings["model_sha256"] == model.sha256
    first, second = performance.segments
    assert 0 == first.start < first.end <= second.start < second.end <= performance.seconds


def test_equal_seeds_give_equal_performances(
    model: SpeechMotionModel, reference: Reference
) -> None:
    def run(seed: int) -> Performance:
        return synthesise(reference, script(HELLO), model, SynthesisOptions(steps=2, seed=seed))

    once, again, other = run(1), run(1), run(2)
    assert np.array_equal(once.mel, again.mel) and np.array_equal(once.codes, again.codes)
    assert not np.array_equal(once.mel, other.mel)


def test_pauses_are_silent_and_the_face_still_moves(
    model: SpeechMotionModel, reference: Reference
) -> None:
    long_pause = Segment(text="", pause_after=2.0)
    performance = synthesise(reference, script(HELLO, long_pause), model, SynthesisOptions(steps=2))
    pause = slice(round((performance.segments[0].end + 0.4) * MEL_RATE), None)
    assert np.ptp(performance.mel[pause], axis=0).max() == 0
    assert performance.mel[pause].mean() < -5
    assert performance.codes[pause].std(0).max() > 0
    assert performance.seconds == pytest.approx(performance.segments[0].end + 2.3, abs=0.1)


@pytest.mark.parametrize(("speed", "factor"), [(0.5, 2.0), (2.0, 0.5)])
def test_speed_scales_the_length(
    model: SpeechMotionModel, reference: Reference, speed: float, factor: float
) -> None:
    quiet = dataclasses.replace(reference, transcript="")
    text = Segment(text="hello wide and wonderful world", pause_after=0.0)

    def seconds(options: SynthesisOptions) -> float:
        return synthesise(quiet, script(text), model, options).seconds

    plain = seconds(SynthesisOptions(steps=1))
    assert seconds(SynthesisOptions(steps=1, speed=speed)) == pytest.approx(
        factor * plain, rel=0.12
    )


def test_duration_is_met(model: SpeechMotionModel, reference: Reference) -> None:
    performance = synthesise(
        reference, script(HELLO, HELLO), model, SynthesisOptions(steps=1, duration=6.0)
    )
    assert performance.seconds == pytest.approx(6.0, abs=0.35)
    with pytest.raises(UsageError, match="too short"):
        synthesise(reference, script(HELLO), model, SynthesisOptions(steps=1, duration=0.4))


def test_pace_follows_the_reference_and_a_wrong_transcript_is_not_believed(
    model: SpeechMotionModel, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(transcript: str, heard: float | None) -> float:
        monkeypatch.setattr(synthesis, "pace_from_mel", lambda mel: heard)
        source = dataclasses.replace(reference, transcript=transcript)
        return synthesise(source, script(HELLO), model, SynthesisOptions(steps=1)).seconds

    few, many = "oh no oh no", "a good deal more in the same short time"
    assert seconds(few, None) > 1.3 * seconds(many, None)
    assert seconds("", 1.4) > 1.3 * seconds("", 0.8)
    assert seconds("oh", 1.0) == pytest.approx(seconds("", 1.0), abs=0.05)


def test_word_times_tell_the_network_what_the_reference_says(
    model: SpeechMotionModel, reference: Reference
) -> None:
    def run(words: tuple[Word, ...]) -> Performance:
        source = dataclasses.replace(reference, transcript="Hello, 2 of you.", words=words)
        return synthesise(source, script(HELLO), model, SynthesisOptions(steps=1))

    words = (
        Word(text="Hello,", start=0.7, end=1.2),
        Word(text="22", start=1.3, end=2.0),
        Word(text="you.", start=2.1, end=2.6),
    )
    known, again = run(words), run(words)
    assert np.array_equal(known.mel, again.mel)
    unknown = run(())
    same_length = min(len(known.mel), len(unknown.mel))
    assert not np.allclose(known.mel[:same_length], unknown.mel[:same_length])


def test_noise_is_no_voice_and_does_not_change_the_speech(
    model: SpeechMotionModel, reference: Reference
) -> None:
    rng = np.random.default_rng(3)

    def run(level: float) -> tuple[Performance, list[str]]:
        heard: list[str] = []
        mel = rng.normal(level, 0.1, (300, 100)).astype(np.float32)
        noise = dataclasses.replace(reference, mel=mel, transcript="")
        options = SynthesisOptions(steps=1)
        return synthesise(noise, script(HELLO), model, options, notes=heard.append), heard

    (first, notes), (second, _) = run(-9.0), run(-4.0)
    assert len(notes) == 1 and "no voice" in notes[0]
    assert np.array_equal(first.mel, second.mel)


def test_unspoken_languages_are_refused(model: SpeechMotionModel, reference: Reference) -> None:
    with pytest.raises(InputError, match="speaks en, not zh"):
        synthesise(reference, script(HELLO, language="zh"), model, SynthesisOptions())


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"schedule": "epss", "steps": 9},
        {"speed": 3},
        {"duration": 0},
        {"cfg_form": "odd"},
        {"refresh": 1.5},
        {"liveliness": -1},
    ],  # fmt: skip
)
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(UsageError):
        SynthesisOptions(**options)


def test_performance_round_trip(
    model: SpeechMotionModel, reference: Reference, tmp_path: Path
) -> None:
    performance = synthesise(reference, script(HELLO), model, SynthesisOptions(steps=1))
    path = tmp_path / "x.performance.safetensors"
    save_performance(performance, path)
    loaded = load_performance(path)
    assert np.array_equal(loaded.mel, performance.mel)
    assert loaded.segments == performance.segments and loaded.settings == performance.settings
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"x\.performance"):
        load_performance(path)
    with pytest.raises(InputError, match="no performance file"):
        load_performance(tmp_path / "none.safetensors")


def performance_of(codes: np.ndarray) -> Performance:
    mel = np.zeros((len(codes), 100), np.float32)
    return Performance(mel=mel, codes=codes.astype(np.float32), segments=(), settings={})


@pytest.mark.parametrize("fps", [24, 25, Fraction(30000, 1001), 50, 60, 120])
def test_video_codes_follow_a_ramp_at_every_rate(fps: float) -> None:
    codes = np.zeros((938, 61))
    codes[:, CODE_INDEX["headYaw"]] = np.arange(938) / MEL_RATE
    out = video_codes(performance_of(codes), Fraction(fps), ProductionOptions())
    assert len(out) == round(938 / MEL_RATE * fps)
    expected = np.arange(len(out)) / float(fps)
    error = np.abs(out[:, CODE_INDEX["headYaw"]] - expected)[2:-3]
    assert error.max() < 1 / MEL_RATE


@pytest.mark.parametrize("fps", [24.0, 29.97, 50.0, 60.0])
def test_lips_stay_with_the_sound_at_every_rate(fps: float) -> None:
    # The mouth opens at known times over a minute: a drift would show at its end.
    clock = np.arange(round(60 * MEL_RATE)) / MEL_RATE
    jaw = CODE_INDEX["jawOpen"]
    codes = np.zeros((len(clock), 61))
    times = np.arange(1.0, 59.5, 2.35)
    for time in times:
        codes[:, jaw] += 0.6 * np.exp(-0.5 * ((clock - time) / 0.06) ** 2)
    rate = exact_rate(fps)
    out = video_codes(performance_of(codes), rate, ProductionOptions())[:, jaw]
    assert len(out) == round(len(codes) / MEL_RATE * rate)
    shown = np.arange(len(out)) / float(rate)
    for time in times:
        near = np.abs(shown - time) < 0.3
        assert (out * shown)[near].sum() / out[near].sum() == pytest.approx(time, abs=0.012)
        assert out[near].max() > 0.5  # not smoothed away


def test_options_of_controls_reach_the_codes() -> None:
    codes = np.zeros((938, 61))
    codes[:, CODE_INDEX["headYaw"]] = 0.2 * np.sin(np.arange(938) / 90)
    options = ProductionOptions(look_at_camera=1.0)
    out = video_codes(performance_of(codes), Fraction(25), options, lens=np.zeros(2, np.float32))
    np.testing.assert_allclose(out[:, GAZE.start], -out[:, CODE_INDEX["headYaw"]], atol=1e-3)


def test_gains_scale_around_the_mean_and_zero_holds_still() -> None:
    rng = np.random.default_rng(0)
    codes = rng.uniform(0.2, 0.4, (400, 61))
    plain = video_codes(performance_of(codes), Fraction(25), ProductionOptions())
    still = video_codes(performance_of(codes), Fraction(25), ProductionOptions(head_motion=0.0))
    assert np.ptp(still[:, POSE], axis=0).max() < 1e-6
    np.testing.assert_allclose(still[:, EXPRESSION], plain[:, EXPRESSION])
    double = video_codes(performance_of(codes), Fraction(25), ProductionOptions(head_motion=2.0))
    np.testing.assert_allclose(double[:, POSE].std(0), 2 * plain[:, POSE].std(0), rtol=1e-4)


def test_codes_are_read_linearly_between_frames() -> None:
    codes = np.repeat(np.arange(5, dtype=np.float32)[:, None], 61, axis=1)
    read = resample_codes(codes, 10.0, np.array([0.0, 0.05, 0.4, 9.0]))
    np.testing.assert_allclose(read[:, 0], [0, 0.5, 4, 4])
