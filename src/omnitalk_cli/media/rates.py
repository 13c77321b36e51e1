"""Frame rates as exact fractions: "23.98" drifts by milliseconds within seconds, 24000/1001 not."""

from __future__ import annotations

from fractions import Fraction

from omnitalk_cli.errors import UsageError

_NTSC = Fraction(1000, 1001)
_ROUNDING = 0.006  # "23.98", "29.97" and "59.94" are at most this far from the exact rate


def exact_rate(fps: Fraction | float | str) -> Fraction:
    """The frame rate that is meant: 25 → 25, 23.98 or 23.976 → 24000/1001, "30000/1001" as it is.

    Raises UsageError outside 1…240 frames per second, or when the text is no number.
    """
    try:
        rate = Fraction(fps) if not isinstance(fps, float) else Fraction(repr(fps))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"frame rate {fps!r} is no number; give e.g. 25 or 30000/1001") from error
    if not 1 <= rate <= 240:
        raise UsageError(f"frame rate {float(rate):g} is outside 1 to 240")
    if rate.denominator == 1 or rate.denominator == 1001:
        return rate
    for whole in (24, 30, 48, 60, 120):
        if abs(float(rate - whole * _NTSC)) < _ROUNDING:
            return whole * _NTSC
    return rate.limit_denominator(100_000)
