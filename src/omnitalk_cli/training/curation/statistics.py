"""A corpus in numbers, as the paper's Figure 5: what was kept, why the rest was not, and how long,
fast, large, clean and lively the clips are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnitalk_cli.training.curation.fates import STAGES, Fate


@dataclass(frozen=True, kw_only=True)
class Amount:
    """A number of parts and their hours together."""

    parts: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """``counts`` of clips between ``edges`` (one more), what lies beyond in the outermost; mean,
    median and the 5 and 95 % quantiles of the ``clips`` that were measured (None without any)."""

    name: str
    title: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    clips: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Everything that the report says. ``hours`` are those of all rows, without the pauses between
    them; ``stages`` has what each stage rejected and what was kept, by the stages' names;
    ``splits`` and ``languages`` what was kept; ``reasons`` the commonest reasons, numbers taken
    out, with their parts."""

    videos: int
    hours: float
    kept: Amount
    stages: dict[str, Amount]
    splits: dict[str, Amount]
    languages: dict[str, Amount]
    reasons: dict[str, int]
    histograms: tuple[Histogram, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return _rounded(asdict(self))


# Name of the measure, title, unit, lowest and highest edge, bins.
_PLANS: tuple[tuple[str, str, str, float, float, int], ...] = (
    ("seconds", "duration", "s", 0.0, 16.0, 16),
    ("seconds_per_character", "pace", "s per character", 0.0, 0.4, 20),
    ("face_share", "face box", "share of the picture", 0.0, 0.6, 20),
    ("dnsmos_ovrl", "audio quality", "DNSMOS OVRL", 1.0, 5.0, 16),
    ("sync", "mouth and sound", "agreement", 0.0, 1.0, 20),
    ("yaw_spread", "head yaw", "standard deviation, degrees", 0.0, 20.0, 20),
    ("pitch_spread", "head pitch", "standard deviation, degrees", 0.0, 20.0, 20),
    ("roll_spread", "head roll", "standard deviation, degrees", 0.0, 20.0, 20),
)
_MOST_REASONS = 12


def statistics_of(fates: Sequence[Fate]) -> Statistics:
    """The numbers of a table of fates."""
    kept = [fate for fate in fates if fate.verdict == "kept"]
    return Statistics(
        videos=len({fate.video for fate in fates}),
        hours=_hours(fates),
        kept=_amount(kept),
        stages=_grouped(fates, [fate.stage for fate in fates], STAGES),
        splits=_grouped(kept, [fate.split for fate in kept]),
        languages=_grouped(kept, [fate.language or "unknown" for fate in kept]),
        reasons=_reasons(fates),
        histograms=tuple(_histogram(kept, *plan) for plan in _PLANS),
    )


def lines_of(numbers: Statistics) -> list[str]:
    """The numbers as a table for people."""
    share = numbers.kept.hours / numbers.hours if numbers.hours else 0.0
    lines = [
        f"{numbers.videos} videos, {_time(numbers.hours)} in "
        f"{sum(amount.parts for amount in numbers.stages.values())} parts (without the pauses "
        f"between them): {numbers.kept.parts} clips, "
        f"{_time(numbers.kept.hours)} ({share:.0%}) kept",
        "",
        f"{'rejected at':<14}{'parts':>7}{'time':>11}",
    ]
    lines += [
        f"{name:<14}{amount.parts:>7}{_time(amount.hours):>11}"
        for name, amount in numbers.stages.items()
        if name != "kept"
    ]
    for title, groups in (("kept for", numbers.splits), ("language", numbers.languages)):
        if groups:
            lines += ["", f"{title:<14}{'clips':>7}{'time':>11}"]
            lines += [f"{k:<14}{a.parts:>7}{_time(a.hours):>11}" for k, a in groups.items()]
    if numbers.kept.parts:
        lines += ["", f"{'of the clips':<24}{'mean':>9}{'median':>9}{'5 %':>9}{'95 %':>9}  unit"]
    for one in numbers.histograms:
        if one.mean is not None:
            values = "".join(f"{v:>9.3g}" for v in (one.mean, one.median, one.low, one.high))
            lines.append(f"{one.title:<24}{values}  {one.unit}")
    if numbers.reasons:
        lines += ["", "commonest reasons"]
        lines += [f"{count:>7}  {reason}" for reason, count in numbers.reasons.items()]
    return lines


def value_of(fate: Fate, name: str) -> float | None:
    """A measure of a row, or its length for ``seconds``."""
    return fate.seconds if name == "seconds" else fate.measures.get(name)


def _hours(fates: Sequence[Fate]) -> float:
    return float(sum(fate.seconds for fate in fates)) / 3600


def _amount(fates: Sequence[Fate]) -> Amount:
    return Amount(parts=len(fates), hours=_hours(fates))


def _grouped(
    fates: Sequence[Fate], names: Sequence[str], order: Sequence[str] | None = None
) -> dict[str, Amount]:
    """Amounts by name, in ``order`` or the largest first."""
    groups: dict[str, list[Fate]] = {}
    for fate, name in zip(fates, names, strict=True):
        groups.setdefault(name, []).append(fate)
    amounts = {name: _amount(group) for name, group in groups.items()}
    if order is None:
        return dict(sorted(amounts.items(), key=lambda pair: (-pair[1].hours, pair[0])))
    return {name: amounts[name] for name in order if name in amounts}


def _reasons(fates: Sequence[Fate]) -> dict[str, int]:
    """Reasons without their numbers, the commonest first."""
    counts: dict[str, int] = {}
    for fate in fates:
        if fate.reason:
            # A name of a file would make every reason its own.
            kind = "unreadable or unusable" if fate.stage == "video" else fate.reason
            first = kind.partition(";")[0].partition("(")[0].strip()
            plain = " ".join("N" if any(c.isdigit() for c in word) else word
                             for word in first.split())  # fmt: skip
            counts[f"{fate.stage}: {plain}"] = counts.get(f"{fate.stage}: {plain}", 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(ordered[:_MOST_REASONS])


def _histogram(
    kept: Sequence[Fate], name: str, title: str, unit: str, low: float, high: float, bins: int
) -> Histogram:
    values = np.array(
        [value for fate in kept if (value := value_of(fate, name)) is not None], np.float64
    )
    edges = np.linspace(low, high, bins + 1)
    inside = np.clip(values, low, high)
    counts, _ = np.histogram(inside, edges)
    some = len(values) > 0
    return Histogram(
        name=name,
        title=title,
        unit=unit,
        edges=tuple(edges.tolist()),
        counts=tuple(int(count) for count in counts),
        clips=len(values),
        mean=float(values.mean()) if some else None,
        median=float(np.median(values)) if some else None,
        low=float(np.quantile(values, 0.05)) if some else None,
        high=float(np.quantile(values, 0.95)) if some else None,
    )


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.2f} h"
    return f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.1f} s"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
