"""Numbers as English speaks them (American style: no "and" within a number)."""

from __future__ import annotations

from num2words import num2words

_DIGITS = "zero one two three four five six seven eight nine".split()
_LONGEST = 15  # digits; what is longer is an identifier and read digit by digit
_FRACTIONS = {2: "half", 4: "quarter"}


def digits(text: str) -> str:
    """Digit by digit; anything else is left out."""
    return " ".join(_DIGITS[int(d)] for d in text if d.isdigit())


def cardinal(text: str) -> str:
    """A whole number ("1,204") in words; "007" and very long ones digit by digit."""
    bare = text.replace(",", "")
    if len(bare) > _LONGEST or (len(bare) > 1 and bare[0] == "0"):
        return digits(bare)
    return _plain(num2words(int(bare)))


def ordinal(text: str) -> str:
    """A whole number as first, second, …"""
    bare = text.replace(",", "")
    return _plain(num2words(int(bare), to="ordinal")) if len(bare) <= _LONGEST else digits(bare)


def decimal(text: str) -> str:
    """A number with or without sign and decimals: "-3.14" → minus three point one four."""
    sign = ""
    if text[:1] in "+-":
        sign = "minus " if text[0] == "-" else "plus "
        text = text[1:]
    whole, _, rest = text.partition(".")
    words = cardinal(whole) if whole else ""
    return sign + (f"{words} point {digits(rest)}".strip() if rest else words)


def year(text: str) -> str:
    """A year: 1999 → nineteen ninety-nine, 2005 → two thousand five."""
    return _plain(num2words(int(text), to="year"))


def decade(text: str) -> str:
    """The tens of a century: 1990 → nineteen nineties."""
    words = year(text)
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def fraction(numerator: str, denominator: str) -> str:
    """3/4 → three quarters, 1/2 → one half, 7/16 → seven sixteenths."""
    above, below = int(numerator), int(denominator)
    part = _FRACTIONS.get(below) or ordinal(denominator)
    plural = {"half": "halves"}.get(part, part + "s")
    return f"{cardinal(numerator)} {part if above == 1 else plural}"


def clock(hour: str, minute: str) -> str:
    """10:30 → ten thirty, 10:05 → ten oh five, 10:00 → ten o'clock."""
    hours = cardinal(str(int(hour)))
    if int(minute) == 0:
        return f"{hours} o'clock"
    return f"{hours} {'oh ' if minute[0] == '0' else ''}{cardinal(str(int(minute)))}"


def _plain(words: str) -> str:
    return words.replace(",", "").replace(" and ", " ")
