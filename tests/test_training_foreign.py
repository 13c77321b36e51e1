"""German and Dutch recordings: the phones of espeak-ng, warping, phone models, prepared files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from omnitalk_cli.text.phones import ARPABET, EXTRA, SILENCE, from_espeak
from omnitalk_cli.training import foreign, human
from omnitalk_cli.training.espeak import Spoken
from omnitalk_cli.training.foreign import Saying, Timing
from omnitalk_cli.training.phone_models import Chain, PhoneModels
from omnitalk_cli.types import MEL_RATE, SAMPLE_RATE

# What espeak-ng 1.52 says of German and Dutch text, stress left out.
_GERMAN = (
    "n t @ r d l s f m I k g E z b S v 3 ts a i: p C R aI U h N e: x A: o: u: O aU j OY y E: A W Y:"
    " UR y: ; pF E2 O~ tS dZ i A~ W~ l- EI"
)
_DUTCH = (
    "n @ t r d s k l m I v Q z h a: A e: v# E p b x j f u o: i O EI N ! y Wy O: 8 VU Y: yU S ; Z w"
    " g E2 eU * n^ tS"
)


@pytest.mark.parametrize(("language", "mnemonics"), [("de", _GERMAN), ("nl", _DUTCH)])
def test_every_mnemonic_has_phones_of_ours(language: str, mnemonics: str) -> None:
    for mnemonic in mnemonics.split():
        for stressed in (mnemonic, f"'{mnemonic}", f",{mnemonic}"):
            phones = from_espeak(stressed, language)
            assert phones and set(phones) <= {*ARPABET, *EXTRA, SILENCE}


def test_a_mnemonic_may_mean_another_sound_elsewhere() -> None:
    assert (from_espeak("3"), from_espeak("3", "de")) == (("ER",), ("AH",))
    assert (from_espeak("a"), from_espeak("a", "de")) == (("AE",), ("AA",))
    with pytest.raises(KeyError):
        from_espeak("no such sound", "de")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("„Schöne Grüße“ , sagte er …", "Schöne Grüße, sagte er …"),
        ("Rom – ewig!", "Rom, ewig!"),
        ("'s avonds, zo'n 2 uur", None),
        ("Head-Mounted Displays.", "Head-Mounted Displays."),
        ("50 % mehr", None),
        ("", None),
    ],
)
def test_text_is_cleaned_or_left_out(text: str, clean: str | None) -> None:
    found = foreign.normalise_foreign(text.replace(" …", ""))
    assert found == (clean.replace(" …", "") if clean else None)


def _spoken() -> Spoken:
    """ "Er war", with a switch of language, a pause between the words and a closure in one."""
    return Spoken(
        audio=np.zeros(22_050, np.float32),
        words=[(0.1, 0.3), (0.4, 0.8)],
        phones=[
            ("_", 0.0, 0.1), ("'E", 0.1, 0.2), ("r", 0.2, 0.3), ("_", 0.3, 0.4), ("(en)", 0.4, 0.4),
            ("v", 0.4, 0.5), ("_", 0.5, 0.55), ("aI@", 0.55, 0.75), ("(de)", 0.75, 0.76),
            ("r", 0.76, 0.8), ("_", 0.8, 1.0),
        ],
    )  # fmt: skip


def test_a_rendering_becomes_segments_by_word() -> None:
    said = foreign.saying(_spoken(), "de")
    assert said is not None
    # r behind a vowel is one itself; a closure belongs to the phone before; a pause is optional.
    assert said.chain.symbols == ["SIL", "EH", "AH", "SIL", "V", "AY", "AH", "AH", "SIL"]
    assert said.word == [-1, 0, 0, -1, 1, 1, 1, 1, -1]
    assert said.chain.optional == [False, False, False, True, False, False, False, False, False]
    assert said.spans[4] == (0.4, 0.55)
    assert said.spans[5][1] == pytest.approx(0.65)


def test_a_word_that_is_not_spoken_is_noticed() -> None:
    spoken = _spoken()
    lost = Spoken(audio=spoken.audio, words=[*spoken.words, (0.9, 0.95)], phones=spoken.phones)
    assert foreign.saying(lost, "de") is None


def _said(symbols: list[str], word: list[int], spans: list[tuple[float, float]]) -> Saying:
    optional = [s == SILENCE and 0 < k < len(symbols) - 1 for k, s in enumerate(symbols)]
    return Saying(chain=Chain(symbols=symbols, optional=optional), word=word, spans=spans)


def _blocks(rng: np.random.Generator, sizes: list[int], order: list[int]) -> np.ndarray:
    """Frames ``[sum sizes,28]``: each block near a centre of its own; block 0 is silence."""
    centres = np.random.default_rng(7).normal(0, 3, (10, 28))
    centres[:, foreign.CEPSTRA] = 2.0
    centres[0, foreign.CEPSTRA] = -9.0
    rows = [np.repeat(centres[[k]], n, axis=0) for k, n in zip(order, sizes, strict=True)]
    found = np.concatenate(rows)
    return (found + rng.normal(0, 0.3, found.shape)).astype(np.float32)


def test_warping_finds_the_times_and_a_pause_of_the_speaker() -> None:
    rng = np.random.default_rng(0)
    rendering = _blocks(rng, [6, 10, 10, 10, 6], [0, 1, 2, 3, 0])
    edges = [0, 6, 16, 26, 36, 42]
    at = [(a - 0.4) / MEL_RATE for a in edges]
    spans = [(at[0], at[1]), (at[1], at[2]), (at[2], at[3]), (at[3], at[3]), (at[3], at[4]),
             (at[4], at[5])]  # fmt: skip
    said = _said(["SIL", "AA", "S", "SIL", "M", "SIL"], [-1, 0, 0, -1, 1, -1], spans)
    recording = _blocks(rng, [12, 20, 7, 15, 14, 3], [0, 1, 2, 0, 3, 0])
    found = foreign.carry_over(recording, rendering, said) * MEL_RATE
    assert found[1:-1] == pytest.approx([12, 32, 39, 54, 68], abs=1.01)


def test_edges_get_the_least_time_and_stay_in_order() -> None:
    moved = foreign.spread_edges([0.0, 0.1, 0.1, 0.1, 0.15, 0.15], 0.02)
    assert np.diff(moved).min() >= 0.02 - 1e-9
    assert (moved[0], moved[1], moved[-1]) == (0.0, pytest.approx(0.07), 0.15)
    assert foreign.spread_edges([0.0, 0.0, 0.01], 0.02) == pytest.approx([0.0, 0.005, 0.01])


def test_short_pauses_dissolve_and_words_meet_their_phones() -> None:
    said = _said(
        ["SIL", "AA", "SIL", "S", "SIL", "M", "SIL"], [-1, 0, -1, 1, -1, 2, -1], [(0.0, 0.0)] * 7
    )
    timing = foreign.settle(said, np.array([0, 0.1, 0.2, 0.21, 0.3, 0.4, 0.5, 0.6]), 0.61)
    assert [phone[0] for phone in timing.phones] == ["SIL", "AA", "S", "SIL", "M", "SIL"]
    assert np.array(timing.words) == pytest.approx(
        np.array([(0.1, 0.205), (0.205, 0.3), (0.4, 0.5)])
    )
    assert timing.phones[-1][2] == 0.61
    assert all(a[2] == b[1] for a, b in zip(timing.phones, timing.phones[1:], strict=False))


def test_models_learn_from_rough_times_and_tell_a_wrong_text() -> None:
    rng = np.random.default_rng(1)
    symbols = ["SIL", "AA", "S", "M", "F"]
    rough, exact = [], []
    for _ in range(40):
        order = [0, *rng.permutation([1, 2, 3, 4]).tolist(), 0]
        sizes = rng.integers(9, 20, len(order)).tolist()
        frames = _blocks(rng, sizes, order)
        chain = Chain(symbols=[symbols[k] for k in order], optional=[False] * len(order))
        edges = np.concatenate([[0], np.cumsum(sizes)])
        shaken = edges.copy()
        shaken[1:-1] += rng.integers(-4, 5, len(order) - 1)
        rough.append((frames, chain, shaken))
        exact.append(edges)
    models = PhoneModels.train(rough)
    found = [models.align(frames, chain) for frames, chain, _ in rough]
    assert max(np.abs(r.edges - e).max() for r, e in zip(found, exact, strict=True) if r) <= 2
    frames, chain, _ = rough[0]
    wrong = Chain(symbols=["SIL", *chain.symbols[-2:0:-1], "SIL"], optional=chain.optional)
    right, other = models.align(frames, chain), models.align(frames, wrong)
    assert right is not None and other is not None
    assert other.doubt > right.doubt + 5
    assert models.align(frames[:10], chain) is None  # too short for its phones
    assert models.align(frames, Chain(symbols=["SIL", "ZH", "SIL"], optional=[False] * 3)) is None


def test_models_leave_out_a_pause_that_is_not_there() -> None:
    rng = np.random.default_rng(2)
    sizes, order = [12, 12, 12, 12, 12], [0, 1, 0, 2, 0]
    chain = Chain(
        symbols=["SIL", "AA", "SIL", "S", "SIL"], optional=[False, False, True, False, False]
    )
    edges = np.arange(0, 61, 12)
    models = PhoneModels.train([(_blocks(rng, sizes, order), chain, edges) for _ in range(10)])
    with_pause = models.align(_blocks(rng, sizes, order), chain)
    without = models.align(_blocks(rng, [12, 14, 11, 12], [0, 1, 2, 0]), chain)
    assert with_pause is not None and without is not None
    assert with_pause.edges.tolist() == edges.tolist()
    assert without.edges.tolist() == [0, 12, 26, 26, 37, 49]


@pytest.mark.parametrize("optional", [[True, False, False], [False, True, True, False]])
def test_chains_are_checked(optional: list[bool]) -> None:
    with pytest.raises(ValueError, match="optional"):
        Chain(symbols=["SIL"] * len(optional), optional=optional)


def test_doubtful_timings_are_not_trusted() -> None:
    usual = [Timing(words=[], phones=[("AA", 0.0, 0.2)], doubt=k / 100) for k in range(99)]
    lasting = Timing(words=[], phones=[("AA", 0.0, 2.0)])
    good = foreign.trusted([None, lasting, *usual])
    assert good[:3] == [False, False, True]
    assert good[-1] is False and sum(good) == 96


def _corpus(folder: Path) -> None:
    lines = ["file,speaker,lang,text"]
    lines += [f"{k}.opus,anna,de,Gutes Wort {'abcdefghijklmnopqrst'[k]}." for k in range(20)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_prepared_files_of_an_older_make_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _corpus(tmp_path)
    sound = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    monkeypatch.setattr(human, "decode", lambda path: sound)
    timing = Timing(words=[(0.1, 0.4), (0.4, 0.8), (0.8, 1.0)], phones=[("CX", 0.1, 0.4)])
    made: list[str] = []

    def align_all(
        audios: list[object], texts: list[str], language: str, *, espeak: None
    ) -> list[Timing | None]:
        made.append(language)
        return [None, *([timing] * (len(texts) - 1))]

    monkeypatch.setattr(human, "align_all", align_all)
    old = [{"text": "", "words": [], "phones": None, "split": "train"}]
    stale = tmp_path / "cache" / "anna-0-of-2.safetensors"
    stale.parent.mkdir()
    tensors = {"audio": np.zeros(9, np.int16), "offsets": np.array([0, 9])}
    save_file(tensors, stale, metadata={"recordings": json.dumps(old)})
    for _ in range(2):
        file = human.prepare_part(tmp_path, "anna", 0, 2, stale.parent)
    assert (file, made) == (stale, ["de"])
    found = human.load_prepared([file])
    assert len(found) == 9  # of ten: one could not be aligned
    assert {(r.language, r.text[:10]) for r in found} == {("de", "gutes wort")}
    assert found[0].phones == timing.phones and found[0].words == timing.words


def test_prepared_english_of_an_older_make_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [{"text": "hi", "words": [[0, 1]], "phones": [["AY", 0, 1]], "split": "train"}]
    kept = tmp_path / "kate-0-of-8.safetensors"
    tensors = {"audio": np.zeros(9, np.int16), "offsets": np.array([0, 9])}
    save_file(tensors, kept, metadata={"recordings": json.dumps(old)})
    monkeypatch.setattr(human, "read_metadata", lambda *_: pytest.fail("made anew"))
    assert human.prepare_part(tmp_path, "kate", 0, 8, tmp_path) == kept
    assert human.load_prepared([kept])[0].language == "en"
