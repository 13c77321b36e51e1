"""Means over items with bootstrap intervals, and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnitalk_cli.evaluation.scores.result import KIND, KINDS, Score

_DRAWS = 2000
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Mean of a score over ``items``, with the 95 % interval of a bootstrap over items (None for
    a single one). Rates are pooled: all errors over all words."""

    value: float
    low: float | None
    high: float | None
    items: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        ends = [None if x is None else round(x, 5) for x in (self.low, self.high)]
        return {"value": round(self.value, 5), "interval": ends, "items": self.items}


def bootstrap(values: Sequence[float], weights: Sequence[float], *, seed: int = 0) -> Mean:
    """Weighted mean of ``values`` and its interval; with words as weights a pooled rate.

    Raises ValueError without a value or with weights that are not positive.
    """
    x, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if not len(x) or x.shape != w.shape or not (w > 0).all():
        raise ValueError(f"a mean needs values and positive weights: {x.shape}, {w.shape}")
    mean = float((x * w).sum() / w.sum())
    if len(x) == 1:
        return Mean(value=mean, low=None, high=None, items=1)
    drawn = np.random.default_rng(seed).integers(len(x), size=(_DRAWS, len(x)))
    means = (x * w)[drawn].sum(axis=1) / w[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Mean(value=mean, low=float(low), high=float(high), items=len(x))


def mean_score(scores: Sequence[Score]) -> Mean | None:
    """The mean of those that were measured; None when none was."""
    known = [score for score in scores if score.value is not None]
    if not known:
        return None
    values = [score.value for score in known if score.value is not None]
    weights = [score.counts[1] if score.counts is not None else 1.0 for score in known]
    return bootstrap(values, weights)


def summarise(items: Sequence[Mapping[str, Score]], *, video: Score) -> dict[str, Any]:
    """``means`` by score, the ``models`` that measured them, and what is ``not_measured``.

    ``video`` is FVD, which belongs to all clips together.
    """
    means: dict[str, Any] = {}
    models: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for kind in KINDS:
        scores = [item[kind.name] for item in items if kind.name in item]
        if kind.name == "fvd":
            scores = [video]
        mean = mean_score(scores)
        if mean is None:
            if scores:
                missing[kind.name] = scores[0].note
            continue
        means[kind.name] = mean.to_dict()
        used = [score for score in scores if score.model]
        models[kind.name] = {
            "model": ", ".join(dict.fromkeys(score.model for score in used)),
            "substitute": any(score.substitute for score in used),
            "note": _common_note(used),
        }
    return {"means": means, "models": models, "not_measured": missing}


def _common_note(scores: Sequence[Score]) -> str:
    """What is said of all of them alike; an item's own remarks stay with the item."""
    parts = [score.note.split("; ") for score in scores]
    return "; ".join(part for part in parts[0] if all(part in other for other in parts))


def table(
    rows: Sequence[tuple[str, Mapping[str, Score], str]], summary: dict[str, Any]
) -> list[str]:
    """Lines: one row for each (name, scores, error), the means, then which model measured what."""
    kinds = [kind for kind in KINDS if kind.name in summary["means"] and kind.name != "fvd"]
    width = max([8, *(len(name) for name, _, _ in rows)])
    width = min(width, 40)
    lines = [f"{'':{width}}" + "".join(f" {_heading(kind.name, summary):>8}" for kind in kinds)]
    for name, scores, error in rows:
        if error:
            lines.append(f"{name[:width]:{width}} not scored: {error}")
            continue
        cells = [_cell(scores[kind.name].value, kind.digits) for kind in kinds]
        lines.append(f"{name[:width]:{width}}" + "".join(f" {cell:>8}" for cell in cells))
    if len(rows) > 1 and kinds:
        means = summary["means"]
        lines.append(f"{'mean':{width}}" + "".join(
            f" {_cell(means[kind.name]['value'], kind.digits):>8}" for kind in kinds
        ))  # fmt: skip
    lines += _intervals(summary) if len(rows) > 1 else []
    lines += ["", *_sources(summary)]
    return lines


def _heading(name: str, summary: dict[str, Any]) -> str:
    return KIND[name].heading + ("*" if summary["models"][name]["substitute"] else "")


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _intervals(summary: dict[str, Any]) -> list[str]:
    found = []
    for name, mean in summary["means"].items():
        low, high = mean["interval"]
        if low is not None:
            digits = KIND[name].digits
            found.append(f"{KIND[name].heading} {low:.{digits}f} to {high:.{digits}f}")
    return [f"95 % of bootstrap means: {', '.join(found)}"] if found else []


def _sources(summary: dict[str, Any]) -> list[str]:
    """Which model measured what, and how to get the others."""
    lines = []
    for name, used in summary["models"].items():
        kind = KIND[name]
        text = f"{kind.heading}: {used['model']}"
        if name == "fvd":
            text = f"FVD {summary['means'][name]['value']:.1f}: {used['model']}"
        if used["substitute"]:
            text += " (* substitute)"
        lines.append(text + (f"; {used['note']}" if used["note"] else ""))
    for name, why in summary["not_measured"].items():
        lines.append(f"{KIND[name].heading}: not measured; {why}")
    return lines
