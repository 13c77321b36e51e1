"""Parts of the curation: thresholds, cuts, transcripts, filters, synchrony, numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_samples import FPS, OTHER, TALK, course, tracked
from omnitalk_cli.errors import InputError, SetupError, UsageError
from omnitalk_cli.training.curation.cutting import LEVEL_STEP, cut_clips, spoken_share
from omnitalk_cli.training.curation.fates import Fate, read_fates, write_fates
from omnitalk_cli.training.curation.features import codes_at_mel_rate
from omnitalk_cli.training.curation.filters import (
    face_faults,
    measure_face,
    pace_faults,
    sound_faults,
)
from omnitalk_cli.training.curation.quality import SoundQuality, find_dnsmos, sound_quality
from omnitalk_cli.training.curation.scenes import stretches
from omnitalk_cli.training.curation.settings import CurationSettings, read_pace
from omnitalk_cli.training.curation.statistics import lines_of, statistics_of
from omnitalk_cli.training.curation.synchrony import mouth_curve, synchrony
from omnitalk_cli.training.curation.tracks import centred
from omnitalk_cli.training.curation.transcripts import (
    Cue,
    characters,
    find_transcript,
    guess_language,
    join,
    read_cues,
    said_in_cues,
    said_in_words,
)
from omnitalk_cli.training.curation.video import split_of
from omnitalk_cli.types import MEL_RATE, Word


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_seconds": 0.5}, "--min-seconds must be 1 to 60"),
        ({"min_seconds": 15, "max_seconds": 15}, "must be below"),
        ({"min_face_share": 0.8}, "must be below"),
        ({"heldout": 1.5}, "--heldout"),
        ({"min_sync": float("nan")}, "--min-sync"),
        ({"speaker_model": "guess"}, "sync, light-asd"),
        ({"seconds_per_character": {"en": (0.2, 0.1)}}, "en=0.2:0.1"),
    ],
)
def test_settings_out_of_range_are_told(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CurationSettings(**options)


def test_pace_is_looked_up_by_language() -> None:
    settings = CurationSettings(seconds_per_character=read_pace(["EN=0.05:0.1", "other=0.01:1"]))
    assert settings.pace("en") == settings.pace("en-US") == (0.05, 0.1)
    assert settings.pace("fr") == (0.01, 1.0)
    assert settings.pace("zh") == (0.11, 0.55)
    for wrong in ("en", "en=1", "=1:2", "en=a:b", "en=1:2:3"):
        with pytest.raises(UsageError, match="LANGUAGE=LOW:HIGH"):
            read_pace([wrong])


# --- cuts at pauses ------------------------------------------------------------------------------


def levels(*spans: tuple[float, float]) -> np.ndarray:
    """Loudness: pairs of seconds and dB."""
    return np.concatenate(
        [np.full(round(seconds / LEVEL_STEP), level, np.float32) for seconds, level in spans]
    )


def cut(sound: np.ndarray, start: float = 0.0, end: float | None = None, **more: float):
    limits = {"shortest": 2.0, "longest": 15.0, "max_pause": 1.0, **more}
    return cut_clips(sound, start, len(sound) * LEVEL_STEP if end is None else end, **limits)


def test_speech_is_cut_at_its_longest_pause() -> None:
    sound = levels((1, -80), (6, -20), (0.3, -70), (5, -20), (0.6, -70), (7, -20), (1, -80))
    pieces = cut(sound)
    assert [round(p.start, 2) for p in pieces] == [0.85, 12.75]
    assert [round(p.end, 2) for p in pieces] == [12.45, 20.05]
    assert not any(p.reason for p in pieces)
    assert len(cut(sound, max_pause=0.2)) == 3


def test_what_cannot_be_a_clip_has_a_reason() -> None:
    sound = levels((20, -20), (2, -80), (1, -20), (2, -80), (4, -20))
    reasons = [piece.reason for piece in cut(sound)]
    assert "without a pause" in reasons[0] and "only 1.3 s" in reasons[1] and reasons[2] == ""
    (silence,) = cut(levels((5, -90)))
    assert silence.reason == "nothing is heard in it" and (silence.start, silence.end) == (0, 5)


def test_pauses_in_noise_are_found() -> None:
    noisy = levels(*[(3, -20), (0.4, -38)] * 6)
    assert [piece.reason for piece in cut(noisy)] == ["", ""]


@given(
    st.lists(
        st.tuples(st.floats(0.05, 9), st.sampled_from([-90.0, -55.0, -30.0, -15.0])), min_size=1
    )
)
def test_pieces_lie_in_the_stretch_in_order_and_apart(spans: list[tuple[float, float]]) -> None:
    sound = levels(*spans)
    end = len(sound) * LEVEL_STEP
    pieces = cut(sound)
    edges = [edge for piece in pieces for edge in (piece.start, piece.end)]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= end + 1e-6
    for piece in pieces:
        if not piece.reason:
            assert 2.0 <= piece.seconds <= 15.0 + 1e-6


def test_long_scenes_are_parted_where_it_is_quiet() -> None:
    sound = levels((50, -20), (1, -80), (80, -20))
    parts = stretches([(0.0, 10.0), (10.0, 131.0)], sound)
    assert parts[0] == (0.0, 10.0) and parts[1][1] == pytest.approx(50.5, abs=0.3)
    assert [b for _, b in parts[:-1]] == [a for a, _ in parts[1:]] and parts[-1][1] == 131.0
    assert max(b - a for a, b in parts) <= 60.0


def test_share_of_the_speech() -> None:
    sound = levels((1, -80), (4, -20), (1, -80), (4, -20))
    assert spoken_share(sound, 0, 10) == pytest.approx(1.0)
    assert spoken_share(sound, 0, 5.5) == pytest.approx(0.5)


# --- transcripts ---------------------------------------------------------------------------------

SRT = """\ufeff1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there,

2
00:00:02,600 --> 00:00:04,000 align:start
{\\an8}how are
you?

WEBVTT nothing here

3
01:02.5 --> 01:03.25
Fine.
"""


def test_subtitles_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text(SRT, encoding="utf-8")
    assert read_cues(path) == [
        Cue(start=1.0, end=2.5, text="Hello there,"),
        Cue(start=2.6, end=4.0, text="how are you?"),
        Cue(start=62.5, end=63.25, text="Fine."),
    ]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_cues(path)
    path.write_text("nothing")
    with pytest.raises(InputError, match="no subtitles"):
        read_cues(path)


@given(st.text(max_size=300))
def test_any_text_is_subtitles_or_an_error(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.vtt"
        path.write_text(f"00:01.0 --> 00:02.0\n{text}", encoding="utf-8", errors="replace")
        try:
            cues = read_cues(path)
        except InputError:
            return
    assert all(cue.text and cue.end > cue.start for cue in cues)


def test_text_of_a_clip() -> None:
    cues = [Cue(start=1, end=3, text="one"), Cue(start=3, end=6, text="two")]
    assert said_in_cues(cues, 0.8, 6.1) == ("one two", "")
    assert said_in_cues(cues, 0.8, 3.2) == ("one", "")
    assert "reaches beyond" in said_in_cues(cues, 0.8, 5.0)[1]
    assert "no words" in said_in_cues(cues, 10, 12)[1]
    words = [Word(text=t, start=s, end=s + 0.4) for t, s in (("你", 0.0), ("好", 0.5), ("ok", 1.0))]
    assert said_in_words(words, 0, 1) == ("你好", "")
    assert said_in_words(words, 0.9, 2) == ("ok", "")
    assert said_in_words(words, 5, 6)[1]


def test_letters_and_languages() -> None:
    assert characters("It's 5 o'clock!") == 10 and characters("你好，世界。") == 4
    assert [guess_language(t) for t in ("hi", "你好", "こんにちは", "안녕")] == [
        "en",
        "zh",
        "ja",
        "ko",
    ]
    assert join(["你好", "世界", "and", "more"]) == "你好世界 and more"


def test_transcripts_of_the_same_name_lie_in_folders(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b" / "a.txt").write_text("two")
    assert find_transcript(tmp_path, Path("x/a.mp4")) == tmp_path / "a.txt"
    assert find_transcript(tmp_path, Path("b/a.mp4")) == tmp_path / "b" / "a.txt"
    assert find_transcript(tmp_path, Path("b/c.mp4")) is None


# --- filters -------------------------------------------------------------------------------------

STILL = np.zeros(100)


@pytest.mark.parametrize(
    ("face", "limits", "words"),
    [
        (tracked(STILL), {}, ""),
        (tracked(STILL, share=0.001), {}, "fills 0.10% of the picture; the face is 13 pixels"),
        (tracked(STILL, share=0.9), {}, "fills 90% of the picture"),
        (tracked(STILL, yaw=60), {}, "turns aside by 60°"),
        (tracked(STILL, yaw=60), {"max_yaw": 70}, ""),
        (tracked(STILL, found=np.arange(100) >= 12), {}, "lost in 12%.*lost for 0.5 s"),
        (tracked(STILL, found=np.arange(100) >= 5), {}, ""),
    ],
)
def test_faces_out_of_limits(face, limits: dict, words: str) -> None:
    import re

    faults = "; ".join(face_faults(measure_face(face), CurationSettings(**limits)))
    assert re.search(words.replace("; ", ".*; "), faults) if words else faults == ""


@pytest.mark.parametrize(
    ("sound", "limits", "words"),
    [
        ({}, {}, ""),
        ({"level": -60.0}, {}, "loudness -60 dB"),
        ({"clipped": 0.01}, {}, "1.00% of the samples"),
        ({"ovrl": 1.5}, {}, "OVRL 1.50"),
        ({"ovrl": 1.5}, {"min_dnsmos": 1.2}, ""),
        ({"ovrl": 1.5}, {"audio_quality": "none"}, ""),
    ],
)
def test_sounds_out_of_limits(sound: dict, limits: dict, words: str) -> None:
    quality = SoundQuality(**{"level": -25.0, "peak": -3.0, "clipped": 0.0, **sound})
    faults = "; ".join(sound_faults(quality, CurationSettings(**limits)))
    assert words in faults and bool(words) == bool(faults)


@pytest.mark.parametrize(
    ("text", "language", "seconds", "fault"),
    [
        ("Dogs are sitting by the door", "en", 1.8, False),
        ("Dogs are sitting by the door", "en", 9.0, True),
        ("Dogs are sitting by the door", "en", 0.5, True),
        ("今天天气很好我们去公园吧", "zh", 2.8, False),
        ("今天天气很好我们去公园吧", "en", 2.8, True),
        ("...", "en", 2.0, True),
    ],
)
def test_pace(text: str, language: str, seconds: float, fault: bool) -> None:
    assert bool(pace_faults(text, language, seconds, CurationSettings())) == fault


def test_loudness_and_clipping() -> None:
    tone = 0.5 * np.sin(np.arange(16_000) * 0.3).astype(np.float32)
    quality = sound_quality(tone, None)
    assert quality.level == pytest.approx(-9.03, abs=0.05) and quality.clipped == 0
    assert quality.peak == pytest.approx(-6.02, abs=0.05) and quality.ovrl is None
    assert sound_quality(np.clip(4 * tone, -1, 1), None).clipped > 0.5


def test_dnsmos_hears_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITALK_DNSMOS", "/nowhere.onnx")
    with pytest.raises(SetupError, match="nowhere.onnx"):
        find_dnsmos()
    monkeypatch.delenv("OMNITALK_DNSMOS")
    model = find_dnsmos()
    if model is None:
        pytest.skip("no DNSMOS model (package speechmos)")
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    quality = sound_quality(noise, model)
    assert quality.ovrl is not None and 1 <= quality.ovrl < 1.6


# --- synchrony -----------------------------------------------------------------------------------


def heard(formula: str, seconds: float, *, late: float = 0.0) -> np.ndarray:
    """The sound's curves as `sound_curves` gives them, for a loudness of ``formula``."""
    values = course(formula, round(seconds * 50), fps=50, start=-late)
    return np.stack([values, values, values])


def test_a_mouth_goes_with_its_own_sound_only() -> None:
    mouth = mouth_curve(tracked(course(TALK, 200)))
    own, other = synchrony(mouth, heard(TALK, 8)), synchrony(mouth, heard(OTHER, 8))
    assert own.agreement > 0.95 and own.confidence > 4 and abs(own.lag) <= 0.02
    assert other.agreement < 0.6 and other.confidence < 1


def test_lag_has_the_right_sign() -> None:
    mouth = mouth_curve(tracked(course(TALK, 200)))
    assert synchrony(mouth, heard(TALK, 8, late=0.2)).lag == pytest.approx(-0.2, abs=0.03)
    assert synchrony(mouth, heard(TALK, 8, late=-0.2)).lag == pytest.approx(0.2, abs=0.03)


def test_chance_is_rarely_confident() -> None:
    """Of mouths and sounds that have nothing to do with each other, few are taken for a pair."""
    rng = np.random.default_rng(3)
    kernel = np.hanning(12)

    def walk() -> np.ndarray:
        return np.convolve(rng.normal(size=250), kernel, mode="valid")

    found = [synchrony(walk(), np.stack([walk()] * 3)) for _ in range(150)]
    assert np.mean([one.confidence > 1.0 and one.agreement > 0.3 for one in found]) < 0.06


def test_a_still_mouth_agrees_with_nothing() -> None:
    assert synchrony(np.zeros(300), heard(TALK, 6)).agreement == 0
    assert synchrony(np.zeros(20), heard(TALK, 0.4)).agreement == 0


# --- features ------------------------------------------------------------------------------------


def test_codes_of_a_part_are_those_at_its_times() -> None:
    face = tracked(course(TALK, 200), start=10.0)
    codes = codes_at_mel_rate(face, 12.0, 150)
    seconds = np.arange(150) / MEL_RATE
    slope = 2 / 199 * FPS  # headX of the sample runs from -1 to 1
    expected = slope * seconds
    inside = slice(2, 140)
    away = codes[inside, 54] - expected[inside]
    assert codes.shape == (150, 61) and np.ptp(away) < 1e-3
    assert abs(np.median(codes[:, 54])) < 0.02


def test_place_and_size_are_relative_to_the_clip() -> None:
    codes = np.zeros((50, 61), np.float32)
    codes[:, 54], codes[:, 56] = 1.0 + np.linspace(-0.1, 0.1, 50), np.log(2)
    own = centred(codes)
    assert np.allclose(np.median(own, axis=0), 0, atol=1e-6)
    assert np.ptp(own[:, 54]) == pytest.approx(0.1, abs=1e-5)  # half as many larger eye distances


# --- split, table, numbers -----------------------------------------------------------------------


def test_split_is_drawn_from_the_content() -> None:
    names = [f"{k:064x}" for k in range(2000)]
    held = [split_of(name, 0.1) == "heldout" for name in names]
    assert 150 < sum(held) < 250
    assert held == [split_of(name, 0.1) == "heldout" for name in names]
    more = [split_of(name, 0.2) == "heldout" for name in names]
    assert all(b for a, b in zip(held, more, strict=True) if a)  # a larger share only adds
    assert not any(split_of(name, 0) == "heldout" for name in names)


def fate(start: float, seconds: float, stage: str = "kept", **more: object) -> Fate:
    return Fate(
        id=f"{start}", video="v.mp4", start=start, end=start + seconds, stage=stage,
        verdict="kept" if stage == "kept" else "rejected",
        reason="" if stage == "kept" else f"too bad by {start:g} (limit 1)", **more,
    )  # fmt: skip


def test_statistics_add_up() -> None:
    rows = [
        fate(0, 3600, split="train", language="en", measures={"face_share": 0.1}),
        fate(3600, 1800, split="heldout", language="zh", measures={"face_share": 0.3}),
        fate(5400, 900, "speaker"),
        fate(6300, 900, "speaker"),
    ]
    numbers = statistics_of(rows)
    assert numbers.hours == 2.0 and numbers.kept.parts == 2 and numbers.kept.hours == 1.5
    assert numbers.stages["speaker"].hours == 0.5
    assert sum(amount.hours for amount in numbers.stages.values()) == numbers.hours
    assert {k: v.parts for k, v in numbers.splits.items()} == {"train": 1, "heldout": 1}
    assert numbers.languages["zh"].hours == 0.5
    assert numbers.reasons == {"speaker: too bad by N": 2}
    shares = {one.name: one for one in numbers.histograms}
    assert shares["face_share"].mean == pytest.approx(0.2) and shares["face_share"].clips == 2
    assert sum(shares["face_share"].counts) == 2 and sum(shares["seconds"].counts) == 2
    assert shares["seconds"].counts[-1] == 2  # beyond the last edge
    assert shares["dnsmos_ovrl"].mean is None
    assert any(
        "4 parts (without the pauses between them): 2 clips, 1.50 h (75%) kept" in line
        for line in lines_of(numbers)
    )
    empty = statistics_of([])
    assert empty.kept.parts == 0 and lines_of(empty)


def test_statistics_are_drawn() -> None:
    from omnitalk_cli.training.curation.figure import draw_statistics

    rows = [fate(0, 5, split="train", measures={"sync": 0.5}), fate(5, 5, "cut")]
    full, empty = draw_statistics(statistics_of(rows)), draw_statistics(statistics_of([]))
    assert full.shape == empty.shape and (full != empty).any()


def test_tables_are_read_back(tmp_path: Path) -> None:
    rows = [
        fate(0, 5, split="train", text='say "hi", 你好', language="zh", measures={"sync": 1 / 3}),
        fate(5, 5, "cut"),
    ]
    write_fates(tmp_path, rows)
    again = read_fates(tmp_path)
    assert [(one.id, one.text, one.reason) for one in again] == [
        (one.id, one.text, one.reason) for one in rows
    ]
    assert again[0].measures["sync"] == 0.33333
    table = (tmp_path / "clips.csv").read_text()
    assert table.count("\n") == 3 and '"say ""hi"", 你好"' in table
    with pytest.raises(InputError, match="corpus build"):
        read_fates(tmp_path / "none")
    with pytest.raises(ValueError, match="reason"):
        Fate(id="a", video="a", start=0, end=1, verdict="rejected", stage="cut")
