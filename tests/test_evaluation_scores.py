"""Scores: the arithmetic of each, known offsets, and what is said when a model is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from flat_face import drawn_reference, moving_codes
from marked_media import speech_like
from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.evaluation.motion import frechet_distance
from omnitalk_cli.evaluation.scores import face, fvd, models, sync, syncnet, words
from omnitalk_cli.evaluation.scores.footage import Footage, of_performance
from omnitalk_cli.evaluation.scores.result import KINDS, Score
from omnitalk_cli.evaluation.scores.summary import bootstrap, mean_score, summarise, table
from omnitalk_cli.evaluation.scores.voice import VoiceJudge, voice_score
from omnitalk_cli.face.codes import CODE_INDEX, EXPRESSION, GAZE, POSE
from omnitalk_cli.types import Performance, SegmentTime
from omnitalk_cli.weights.store import sha256
from onnx_file import write_unary

RNG = np.random.default_rng(0)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder."""
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    return tmp_path / "weights"


# --- one score, many scores --------------------------------------------------------------------
def test_a_score_has_a_value_and_its_model_or_neither() -> None:
    rate = Score.rate(2, 8, model="ear", substitute=True, note="weak")
    assert rate.value == 0.25 and rate.counts == (2, 8)
    assert rate.to_dict() == {"value": 0.25, "model": "ear", "substitute": True, "note": "weak"}
    assert Score.missing("no model").to_dict()["value"] is None
    for bad in ({"value": 1.0}, {"value": None, "model": "ear"}):
        with pytest.raises(ValueError, match="model"):
            Score(**bad)


def test_rates_are_pooled_and_intervals_hold_the_mean() -> None:
    scores = [
        Score.rate(1, 2, model="a", substitute=False, note=""),
        Score.rate(0, 8, model="a", substitute=False, note=""),
        Score.missing("silent"),
    ]
    mean = mean_score(scores)
    assert mean is not None and mean.items == 2
    assert mean.value == pytest.approx(0.1)  # 1 of 10 words, not the mean of 0.5 and 0
    assert mean.low == pytest.approx(0.0) and mean.high == pytest.approx(0.5)
    assert mean_score([Score.missing("x")]) is None
    one = bootstrap([3.0], [1.0])
    assert (one.value, one.low, one.high) == (3.0, None, None)
    for values, sizes in (([], []), ([1.0], [0.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="positive"):
            bootstrap(values, sizes)


def test_the_interval_of_a_bootstrap_is_that_of_the_mean() -> None:
    values = RNG.normal(5, 2, 400)
    mean = bootstrap(list(values), [1.0] * 400)
    assert mean.low is not None and mean.high is not None
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.2)


def test_the_table_names_models_and_what_is_missing() -> None:
    first = {
        "wer": Score.rate(1, 4, model="ear", substitute=True, note="weak; heard: a"),
        "csim": Score.missing("put ArcFace there"),
    }
    second = {
        "wer": Score.rate(1, 4, model="ear", substitute=True, note="weak; heard: b"),
        "csim": Score.missing("put ArcFace there"),
    }
    found = summarise([first, second], video=Score.missing("put I3D there"))
    assert found["models"]["wer"] == {"model": "ear", "substitute": True, "note": "weak"}
    assert found["not_measured"] == {"csim": "put ArcFace there", "fvd": "put I3D there"}
    rows = [("a.mp4", first, ""), ("b.mp4", second, ""), ("c.mp4", {}, "c.mp4: no face")]
    text = "\n".join(table(rows, found))
    for part in ("WER*", "0.250", "c.mp4: no face", "not measured; put I3D", "(* substitute)"):
        assert part in text
    assert {kind.better for kind in KINDS} == {"less", "more", "zero"}


# --- words ------------------------------------------------------------------------------------
class _Ear(words.Transcriber):
    def __init__(self, text: str, whisper: Path | None = None) -> None:
        self.text, self.whisper = text, whisper

    def hear(self, audio: np.ndarray, language: str) -> words.Heard:
        return words.Heard(text=self.text, model="ear", substitute=True, note="")


SOUND = np.zeros(24_000, np.float32)


@pytest.mark.parametrize(
    ("said", "heard", "wer", "cer"),
    [
        ("The cat sat.", "the cat sat", 0, 0),
        ("The cat sat.", "the cat", 1 / 3, 4 / 11),
        ("Dr. Li has 2 cats.", "doctor lee has two cats", 1 / 5, 2 / 22),
        ("one two", "one two three four", 2 / 2, 11 / 7),
        ("one two", "", 1, 1),
    ],
)
def test_word_and_character_errors(said: str, heard: str, wer: float, cer: float) -> None:
    found = words.word_scores(SOUND, said, _Ear(heard))
    assert found["wer"].value == pytest.approx(wer)
    assert found["cer"].value == pytest.approx(cer)
    assert found["wer"].substitute and found["wer"].model == "ear"


def test_chinese_is_counted_in_characters_and_needs_whisper() -> None:
    found = words.word_scores(SOUND, "你好，世界。", _Ear("你好世间", Path("whisper")))
    assert found["wer"].value == found["cer"].value == 0.25
    missing = words.word_scores(SOUND, "你好", _Ear("你好"))
    assert missing["wer"].value is None and "English only" in missing["wer"].note


@pytest.mark.parametrize(
    ("audio", "text", "why"),
    [
        (SOUND, None, "--say"),
        (SOUND, " ", "--say"),
        (None, "a", "no sound"),
        (SOUND, "...", "no wo"),
    ],
)
def test_word_errors_say_why_they_are_missing(
    audio: np.ndarray | None, text: str | None, why: str
) -> None:
    for score in words.word_scores(audio, text, _Ear("a")).values():
        assert score.value is None and why in score.note


# --- faces -------------------------------------------------------------------------------------
def test_frechet_distance_of_known_gaussians() -> None:
    x = RNG.normal(size=(4000, 3))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + [3, 0, 4]) == pytest.approx(25)
    # One dimension at a time: (μa − μb)² + (σa − σb)².
    assert frechet_distance(x, 3 * x) == pytest.approx(
        float((4 * x.mean(0) ** 2).sum() + (4 * x.var(0, ddof=1)).sum()), rel=1e-6
    )


def test_code_distances_look_at_their_own_columns() -> None:
    codes = RNG.normal(size=(200, 61)).astype(np.float32)
    turned, smiling = codes.copy(), codes.copy()
    turned[:, POSE] += 1
    smiling[:, EXPRESSION] += 1
    smiling[:, GAZE] += 1
    found = face.code_scores(turned, codes, given=False, why="")
    assert found["e_fid"].value == pytest.approx(0, abs=1e-5)
    assert found["p_fid"].value == pytest.approx(6, rel=1e-3)
    found = face.code_scores(smiling, codes, given=True, why="")
    assert found["e_fid"].value == pytest.approx(55, rel=1e-3)
    assert found["p_fid"].value == pytest.approx(0, abs=1e-5)
    assert "from the performance" in found["e_fid"].note and found["e_fid"].substitute
    assert face.code_scores(None, codes, given=False, why="no face")["p_fid"].note == "no face"


def test_similarity_undoes_a_turn() -> None:
    points = RNG.normal(size=(5, 2)) * 40 + 100
    angle = 0.4
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = points @ turn.T + [12, -5]
    matrix = face.similarity(points, target)
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], target)
    assert np.allclose(matrix[:, :2], turn)


def test_faces_are_turned_to_where_arcface_looks() -> None:
    reference = drawn_reference(4)
    picture = np.zeros((256, 256, 3), np.uint8)
    eyes = reference.landmarks[0, [33, 133, 362, 263], :2]
    for x, y in (eyes[:2].mean(0), eyes[2:].mean(0)):
        picture[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 255
    found = face.aligned_face(picture, reference.landmarks[0])
    rows, columns = np.nonzero(found[..., 0] > 128)
    left, right = columns < 56, columns >= 56
    assert abs(columns[left].mean() - 38.3) < 6 and abs(columns[right].mean() - 73.5) < 6
    assert abs(rows.mean() - 51.6) < 6


def test_identity_is_the_cosine_with_the_mean_face() -> None:
    same = np.tile(np.array([[1.0, 0.0]], np.float32), (3, 1))
    aside = np.tile(np.array([[0.6, 0.8]], np.float32), (2, 1))
    score = face.identity_score(aside, same, present=True, why="")
    assert score.value == pytest.approx(0.6) and not score.substitute
    assert "ArcFace" in face.identity_score(None, None, present=False, why="").note


# --- lips and sound ----------------------------------------------------------------------------
def _talking(seconds: float, lag: float, seed: int = 0, rate: float = 25.0) -> tuple:
    """Codes at ``rate`` whose jaw follows the loudness of a sound, ``lag`` seconds late."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 24_000)
    knots = rng.random(int(seconds * 7) + 2)
    course = np.interp(np.arange(count) / 24_000 * 7, np.arange(len(knots)), knots) ** 2
    audio = (rng.normal(size=count) * 0.1 * course).astype(np.float32)
    times = np.arange(int(seconds * rate)) / rate - lag
    codes = np.zeros((len(times), 61), np.float32)
    codes[:, CODE_INDEX["jawOpen"]] = np.interp(times, np.arange(count) / 24_000, course)
    return codes, audio


@pytest.mark.parametrize("frames", [-10, -5, 0, 5, 12])
def test_the_offset_of_lips_is_found(frames: int) -> None:
    codes, audio = _talking(8.0, frames / 25)
    found = sync.synchrony(codes, 25.0, audio)
    assert found.offset == pytest.approx(frames, abs=0.8)
    assert found.correlation > 0.7 and found.confidence > 0.4


def test_sound_of_another_is_not_in_sync() -> None:
    codes, _ = _talking(8.0, 0.0, seed=1)
    _, audio = _talking(8.0, 0.0, seed=2)
    own = sync.synchrony(codes, 25.0, _talking(8.0, 0.0, seed=1)[1])
    other = sync.synchrony(codes, 25.0, audio)
    assert other.correlation < sync.CLEAR < own.correlation
    assert other.confidence < 0.6 * own.confidence
    note = sync.sync_scores(codes, 25.0, audio, "")["sync_offset"].note
    assert "not clear" in note and "ms" in note


@pytest.mark.parametrize(
    ("codes", "audio", "why"),
    [
        (None, SOUND, "no face"),
        (np.zeros((100, 61), np.float32), None, "no face"),
        (np.zeros((30, 61), np.float32), SOUND, "too short"),
        (np.zeros((100, 61), np.float32), speech_like(4.0), "do not move"),
        (moving_codes(100), np.zeros(96_000, np.float32), "does not change"),
    ],
)
def test_sync_says_why_it_is_missing(
    codes: np.ndarray | None, audio: np.ndarray | None, why: str
) -> None:
    found = sync.sync_scores(codes, 25.0, audio, "no face")
    assert all(score.value is None and why in score.note for score in found.values())


def test_cepstra_of_a_tone_follow_its_level() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    quiet, loud = syncnet.mfcc(tone), syncnet.mfcc(4 * tone)
    assert quiet.shape == (13, 99)
    # Energy is first: four times the amplitude is 16 times the power.
    assert np.allclose(loud[0, 5:90] - quiet[0, 5:90], np.log(16), atol=0.01)
    # The others describe the shape, which the level leaves alone.
    assert np.allclose(loud[1:, 5:90], quiet[1:, 5:90], atol=0.05)
    assert syncnet.mfcc(np.zeros(400)).shape == (13, 1)


class _Plain(syncnet.SyncNet):
    """Sees brightness and hears the first cepstrum: in sync when these are."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def see(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, 0].flatten(2).mean(2)

    def hear(self, mfcc: torch.Tensor) -> torch.Tensor:
        return mfcc[:, 0, 0].unflatten(1, (5, 4)).mean(2)


@pytest.mark.parametrize("late", [-6, 0, 4])
def test_syncnet_finds_the_shift_of_its_features(late: int) -> None:
    count = 80
    course = np.random.default_rng(3).integers(0, 255, count + 40)
    cepstra = np.repeat(course[20 : 20 + count], 4)[None].repeat(13, 0).astype(np.float32)
    pictures = np.zeros((count, 4, 4, 3), np.uint8)
    pictures += course[20 - late : 20 - late + count, None, None, None].astype(np.uint8)
    found = syncnet.distances(_Plain(), pictures, cepstra)
    assert syncnet.LARGEST - int(found.argmin()) == late
    with pytest.raises(ValueError, match="too short"):
        syncnet.distances(_Plain(), pictures[:20], cepstra)


@pytest.mark.slow
def test_syncnet_loads_the_public_layout(weights: Path) -> None:
    network = syncnet.SyncNet()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # Names and shapes of the published syncnet_v2.
    assert shapes["netcnnaud.18.weight"] == (512, 256, 5, 4)
    assert shapes["netcnnlip.0.weight"] == (96, 3, 5, 7, 7)
    assert shapes["netcnnlip.18.weight"] == (512, 256, 1, 6, 6)
    assert shapes["netfclip.3.weight"] == shapes["netfcaud.3.weight"] == (1024, 512)
    place = models.SYNC.place
    place.mkdir(parents=True)
    save_file(network.state_dict(), place / "syncnet_v2.safetensors")
    found = models.SYNC.find()
    assert found is not None
    loaded = syncnet.SyncNet.load(found)
    with torch.inference_mode():
        assert loaded.see(torch.zeros(1, 3, 5, 224, 224)).shape == (1, 1024)
        assert loaded.hear(torch.zeros(1, 1, 13, 20)).shape == (1, 1024)
    save_file({"x": torch.zeros(2)}, place / "syncnet_v2.safetensors")
    with pytest.raises(SetupError, match="is not SyncNet"):
        syncnet.SyncNet.load(found)


def test_syncnet_cuts_faces_out_of_25_pictures_per_second() -> None:
    reference = drawn_reference(30)
    footage = Footage(
        name="a", audio=None, codes=reference.codes, rate=30.0, landmarks=reference.landmarks,
        frames=reference.frames,
    )  # fmt: skip
    pictures = syncnet.face_pictures(footage)
    assert pictures.shape == (25, 224, 224, 3)
    assert not np.array_equal(pictures[3], pictures[20])


# --- models from outside -----------------------------------------------------------------------
def test_nothing_installed_is_said_with_the_way_to_get_it(weights: Path) -> None:
    for slot in models.SLOTS:
        assert slot.find() is None
        assert str(weights / slot.folder) in slot.how()
    assert fvd.video_score([], [], present=False).value is None


def test_onnx_and_torchscript_run(weights: Path, tmp_path: Path) -> None:
    write_unary(tmp_path / "model.onnx", "Neg")
    network = models.run_file(tmp_path / "model.onnx")
    assert np.allclose(network(np.array([[1.0, -2.0]], np.float32)), [[-1.0, 2.0]])

    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(1, (2, -1)).mean(2)

    torch.jit.trace(Halves(), torch.zeros(1, 8), check_trace=False).save(tmp_path / "model.ts")
    network = models.run_file(tmp_path / "model.ts")
    assert np.allclose(network(np.array([[1, 3, 5, 7]], np.float32)), [[2, 6]])
    with pytest.raises(SetupError, match="does not take"):
        network(np.zeros((1, 3), np.float32))


@pytest.mark.parametrize("name", ["model.onnx", "model.ts"])
def test_a_file_that_is_no_model_is_an_error_of_the_set_up(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(SetupError, match="cannot be loaded"):
        models.run_file(tmp_path / name)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write_unary(tmp_path / "model.onnx", "Log")
    with pytest.raises(SetupError, match="not finite"):
        models.run_file(tmp_path / "model.onnx")(np.array([-1.0], np.float32))


def test_the_users_voice_model_takes_the_place_of_the_substitute(weights: Path) -> None:
    place = models.SPEAKER.place
    place.mkdir(parents=True)
    write_unary(place / "model.onnx", "Identity")
    judge = VoiceJudge()
    sound = speech_like(1.0)
    voice = judge.embed(sound)
    assert voice is not None and voice.shape == (16_000,)  # the model gets 16 kHz
    score = voice_score(judge, voice, -voice)
    assert score.value == pytest.approx(-1) and not score.substitute
    assert "WavLM" in score.model and sha256(place / "model.onnx")[:12] in score.model
    assert judge.embed(np.zeros(48_000, np.float32)) is None
    assert "no voice" in voice_score(judge, voice, None).note


def test_video_distance_is_over_the_windows_of_all_clips() -> None:
    reference = drawn_reference(40)
    footage = Footage(
        name="a", audio=None, codes=reference.codes, rate=25.0, frames=reference.frames,
        landmarks=reference.landmarks,
    )  # fmt: skip

    def network(values: np.ndarray) -> np.ndarray:
        assert values.shape == (1, 3, 16, 224, 224) and values.min() >= -1 and values.max() <= 1
        return values.mean(axis=(2, 3, 4))

    found = fvd.window_features(footage, network)
    assert found is not None and found.shape == (2, 3)
    score = fvd.video_score([found], [found], present=True)
    assert score.value == pytest.approx(0, abs=1e-9) and "too few" in score.note
    assert "32 frames" in fvd.video_score([found], [None], present=True).note


# --- what files hold ---------------------------------------------------------------------------
def test_a_performance_has_codes_text_and_no_pictures() -> None:
    performance = Performance(
        mel=np.zeros((94, 100), np.float32), codes=np.zeros((94, 61), np.float32),
        segments=(SegmentTime(text="Hello.", start=0, end=1), SegmentTime(text="", start=1, end=1)),
        settings={},
    )  # fmt: skip
    footage = of_performance(performance, "a", None)
    assert footage.text == "Hello." and footage.audio is None and footage.rate == 93.75
    found = face.picture_scores(footage, footage, "no pictures")
    assert all(score.note == "no pictures" for score in found.values())
    assert footage.sharpness() is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_a_bootstrap_interval_never_leaves_the_values(values: list[float]) -> None:
    mean = bootstrap(values, [1.0] * len(values))
    low, high = mean.low, mean.high
    assert min(values) - 1e-9 <= (low if low is not None else values[0])
    assert (high if high is not None else values[0]) <= max(values) + 1e-9


def test_unreadable_footage_is_an_input_error(tmp_path: Path) -> None:
    from omnitalk_cli.evaluation.scores.footage import read_footage

    for name in ("a.mp4", "a.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match="a."):
            read_footage(tmp_path / name)
