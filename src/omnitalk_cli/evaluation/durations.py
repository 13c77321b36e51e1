"""How well durations are predicted for voices whose pace is known from one reference utterance.

``python -m omnitalk_cli.evaluation.durations --corpus DIR`` compares the phone model and the
rule of characters (reference seconds per character), and the pace heard from sound.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omnitalk_cli.errors import InputError
from omnitalk_cli.speech.duration import DurationModel
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.pace import (
    fit_pace,
    pace_features,
    pace_from_mel,
    reliable_pace,
    stretched,
)
from omnitalk_cli.text.phones import SpokenWord
from omnitalk_cli.training.phone_words import Span, group
from omnitalk_cli.training.shards import CorpusItem, read_shard

_REFERENCE_SECONDS = (3.0, 5.0)
_SHORTEST_TARGET = 1.0
_TEMPI = (0.72, 1.4)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """An utterance with its spoken words and their (start, end) seconds per phone, and what its
    sound tells of its pace."""

    text: str
    words: list[SpokenWord]
    times: list[list[Span]]
    speaker: str
    source: str
    heard: float | None = None

    @property
    def spoken_seconds(self) -> float:
        return self.times[-1][-1][1] - self.times[0][0][0]

    @property
    def phone_seconds(self) -> list[NDArray[np.float64]]:
        """Per word, the seconds of its phones."""
        return [np.array([end - start for start, end in word]) for word in self.times]


@dataclass(frozen=True, kw_only=True)
class DurationScores:
    """Mean absolute errors of one way to predict: of a phone's and a word's duration in ms, and of
    the time from the first phone to the last in per cent."""

    method: str
    source: str
    utterances: int
    phone_ms: float
    word_ms: float
    total_percent: float


# From a reference and a target to the target's phone seconds per word and its spoken seconds.
Method = Callable[[Timed, Timed], tuple[list[NDArray[np.float64]], float]]


def timed(item: CorpusItem, *, listen: bool = False) -> Timed | None:
    """``item`` with its phones grouped into words (``listen``: and its pace by sound); None where
    phones are not known or the words are not the items of its text."""
    found = group(item)
    if found is None or len(found[0]) != len(item.text.split()):
        return None
    heard = pace_from_mel(mel_of(item)) if listen else None
    return Timed(
        text=item.text, words=found[0], times=found[1], speaker=item.speaker,
        source=item.source, heard=heard,
    )  # fmt: skip


def mel_of(item: CorpusItem) -> NDArray[Any]:
    """The stored log-mel of ``item`` or that of its audio ``[T, 100]``; ValueError without both."""
    if item.mel is not None:
        return item.mel
    if item.audio is None:
        raise ValueError("an utterance without sound")
    mel: NDArray[Any] = log_mel(torch.from_numpy(item.audio / np.float32(32768))).numpy()
    return mel


def by_phones(model: DurationModel, *, sound: bool = False) -> Method:
    """The phone model; ``sound``: its pace also judged by ear (:func:`reliable_pace`)."""

    def predict(reference: Timed, target: Timed) -> tuple[list[NDArray[np.float64]], float]:
        pace = model.pace(reference.words, reference.spoken_seconds)
        if sound:
            pace = reliable_pace(pace, reference.heard)
        seconds = [pace * np.asarray(word) for word in model.phone_seconds(target.words)]
        return seconds, pace * model.spoken_seconds(target.words)

    return predict


def by_characters(reference: Timed, target: Timed) -> tuple[list[NDArray[np.float64]], float]:
    """Every character, spaces and marks too, lasts as long as one of the reference on average."""
    each = reference.spoken_seconds / len(reference.text)
    return _even([each * len(word) for word in target.text.split()], target), each * len(
        target.text
    )


def _even(seconds: Sequence[float], target: Timed) -> list[NDArray[np.float64]]:
    return [
        np.full(len(word.phones), each / len(word.phones))
        for each, word in zip(seconds, target.words, strict=True)
    ]


def pairs(utterances: Sequence[Timed]) -> list[tuple[Timed, Timed]]:
    """Each utterance with the next one of its voice that is about four seconds long before it."""
    voices: dict[str, list[Timed]] = {}
    for item in utterances:
        voices.setdefault(item.speaker, []).append(item)
    found = []
    shortest, longest = _REFERENCE_SECONDS
    for mine in voices.values():
        for number, target in enumerate(mine):
            others = mine[number + 1 :] + mine[:number]
            fitting = [u for u in others if shortest <= u.spoken_seconds <= longest]
            if fitting and target.spoken_seconds >= _SHORTEST_TARGET:
                found.append((fitting[0], target))
    return found


def score(name: str, method: Method, tasks: Sequence[tuple[Timed, Timed]]) -> DurationScores:
    """Errors of ``method`` over (reference, target). Raises InputError without any."""
    if not tasks:
        raise InputError("no held-out voice has a reference of three to five seconds")
    phones: list[float] = []
    words: list[float] = []
    totals: list[float] = []
    for reference, target in tasks:
        predicted, total = method(reference, target)
        for mine, true in zip(predicted, target.phone_seconds, strict=True):
            phones += np.abs(mine - true).tolist()
            words.append(abs(float(mine.sum() - true.sum())))
        totals.append(abs(total / target.spoken_seconds - 1.0))
    return DurationScores(
        method=name,
        source=tasks[0][1].source,
        utterances=len(tasks),
        phone_ms=round(1e3 * float(np.mean(phones)), 1),
        word_ms=round(1e3 * float(np.mean(words)), 1),
        total_percent=round(100 * float(np.mean(totals)), 2),
    )


def read_timed(corpus: Path, limit: int, seed: int = 0) -> tuple[list[Timed], list[Timed]]:
    """(train, heldout) utterances of a corpus folder, at most ``limit`` for training per source.

    Raises InputError where there is none of either.
    """
    train: dict[str, list[Timed]] = {}
    heldout: list[Timed] = []
    for path in sorted(corpus.glob("shard-*.safetensors")):
        for item in read_shard(path):
            found = timed(item, listen=item.split == "heldout")
            if found is None:
                continue
            if item.split == "heldout":
                heldout.append(found)
            else:
                train.setdefault(item.source, []).append(found)
    if not heldout or not train:
        raise InputError(f"{corpus} holds no utterances with phones of both splits")
    rng = np.random.default_rng(seed)
    chosen = [items[i] for items in train.values() for i in rng.permutation(len(items))[:limit]]
    return chosen, heldout


def compare(train: Sequence[Timed], heldout: Sequence[Timed]) -> list[DurationScores]:
    """Scores of all methods on every held-out source; models are fitted to human speech where
    there is any, and to all of it for comparison."""
    human = [u for u in train if u.source.startswith("human")] or list(train)
    methods: dict[str, Method] = {"characters": by_characters}
    for name, part in (("all", train), ("human", human)):
        phones = DurationModel.fit([(u.words, u.times, u.speaker) for u in part])
        methods[f"phones of {name}"] = by_phones(phones)
        methods[f"phones of {name}, pace also by sound"] = by_phones(phones, sound=True)
    tasks_of: dict[str, list[tuple[Timed, Timed]]] = {}
    for reference, target in pairs(heldout):
        tasks_of.setdefault(target.source, []).append((reference, target))
    return [
        score(name, method, tasks)
        for source, tasks in sorted(tasks_of.items())
        for name, method in methods.items()
    ]


def pace_errors(model: DurationModel, utterances: Sequence[Timed]) -> dict[str, float]:
    """Mean absolute error (%) of the pace by sound against that by true text, by source; beside
    it that of no pace at all (1)."""
    found: dict[str, float] = {}
    for source in sorted({u.source for u in utterances}):
        rows = [
            (u.heard, model.pace(u.words, u.spoken_seconds))
            for u in utterances
            if u.source == source and u.heard is not None
        ]
        if rows:
            heard, true = np.asarray(rows).T
            found[source] = round(100 * float(np.abs(heard / true - 1).mean()), 2)
            found[f"{source}, always 1"] = round(100 * float(np.abs(1 / true - 1).mean()), 2)
    return found


def refit_pace(model: DurationModel, corpus: Path, limit: int, seed: int = 0) -> dict[str, Any]:
    """The constants of :func:`pace_from_mel` anew, from ``limit`` training utterances per shard,
    each as it is and at another tempo; every source counts the same in sum."""
    rng = np.random.default_rng(seed)
    rows, paces, sources = [], [], []
    for path in sorted(corpus.glob("shard-*.safetensors")):
        items = [item for item in read_shard(path) if item.split == "train" and item.phones]
        for index in rng.permutation(len(items))[:limit]:
            found = timed(items[index])
            if found is None or found.spoken_seconds < _SHORTEST_TARGET:
                continue
            mel = mel_of(items[index])
            for factor in (1.0, float(np.exp(rng.uniform(*np.log(_TEMPI))))):
                features = pace_features(stretched(mel, factor))
                if features is not None:
                    rows.append(features)
                    natural = model.spoken_seconds(found.words)
                    paces.append(np.log(factor * found.spoken_seconds / natural))
                    sources.append(found.source)
    names, counts = np.unique(sources, return_counts=True)
    share = dict(zip(names, len(rows) / len(names) / counts, strict=True))
    bias, constants = fit_pace(
        np.asarray(rows), np.asarray(paces), np.array([share[source] for source in sources])
    )
    return {"bias": round(bias, 4), "model": [[round(v, 4) for v in row] for row in constants]}


def main() -> None:
    """Prints the scores (or, asked to fit, the constants of the pace by sound) as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=2000, help="utterances per source to fit")
    parser.add_argument("--fit-pace", action="store_true")
    chosen = parser.parse_args()
    train, heldout = read_timed(chosen.corpus, chosen.limit)
    human = [u for u in train if u.source.startswith("human")] or train
    model = DurationModel.fit([(u.words, u.times, u.speaker) for u in human])
    if chosen.fit_pace:
        print(json.dumps(refit_pace(model, chosen.corpus, chosen.limit // 10), indent=1))
        return
    report = {
        "durations": [asdict(row) for row in compare(train, heldout)],
        "pace by sound, error in %": pace_errors(model, heldout),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
