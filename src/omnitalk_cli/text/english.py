"""English text as it is read out: numbers, dates, money, units, abbreviations, acronyms.

Each rule is a pattern and what its match is spoken as; they run from the special to the general,
so that a date is gone before its year could be taken for a quantity.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match

from omnitalk_cli.text import english_numbers as say

_INT = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+"
_NUM = rf"(?:(?:{_INT})(?:\.[0-9]+)?|\.[0-9]+)"
_NOT_INSIDE = r"(?<![\w.,])"
_END = r"(?![\w])"

_MONTHS = (
    "January February March April May June July August September October November December"
).split()
_MONTH = "|".join([*_MONTHS, r"(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?"])
_SHORT_MONTHS = frozenset("jan feb mar apr jun jul aug sep oct nov dec".split())
_SCALES = {
    "k": "thousand", "K": "thousand", "M": "million", "m": "million", "mn": "million",
    "B": "billion", "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion",
}  # fmt: skip
_MONEY = {
    "$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"),
    "¥": ("yen", ""), "₹": ("rupee", "paisa"), "₩": ("won", ""), "US$": ("U S dollar", "cent"),
}  # fmt: skip
_SAME_PLURAL = {"yen", "won", "hertz", "kilohertz", "megahertz", "gigahertz"}
_UNITS = {
    "km/h": "kilometer per hour", "kmh": "kilometer per hour", "kph": "kilometer per hour",
    "m/s": "meter per second", "mph": "mile per hour", "fps": "frame per second",
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer", "m": "meter",
    "ft": "foot", "yd": "yard", "mi": "mile", "kg": "kilogram", "mg": "milligram", "g": "gram",
    "lbs": "pound", "lb": "pound", "oz": "ounce", "ml": "milliliter", "mL": "milliliter",
    "l": "liter", "L": "liter", "ms": "millisecond", "s": "second", "sec": "second",
    "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour",
    "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
    "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
    "kbps": "kilobit per second", "Mbps": "megabit per second", "Gbps": "gigabit per second",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "kWh": "kilowatt hour", "V": "volt",
    "mAh": "milliamp hour", "px": "pixel", "MP": "megapixel", "dB": "decibel",
    "°C": "degree celsius", "°F": "degree fahrenheit", "°": "degree", "ha": "hectare",
    "kcal": "kilocalorie", "cal": "calorie", "¢": "cent",
}  # fmt: skip
_PLURALS = {"foot": "feet", "penny": "pence", "paisa": "paise"}
_UNIT = "|".join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True))
# Short forms by what must stand around them, so that "he sat." and "a fig." stay words.
_TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor",
    "st": "saint", "mt": "mount", "gen": "general", "capt": "captain", "lt": "lieutenant",
    "col": "colonel", "sgt": "sergeant", "rev": "reverend", "gov": "governor", "sen": "senator",
    "rep": "representative", "pres": "president",
}  # fmt: skip
_BEFORE_NUMBERS = {
    "fig": "figure", "eq": "equation", "sec": "section", "ch": "chapter", "vol": "volume",
    "pp": "pages", "p": "page", "ca": "circa", "est": "established", "ext": "extension",
    "art": "article",
}  # fmt: skip
_AFTER_NAMES = {
    "inc": "incorporated", "ltd": "limited", "corp": "corporation", "co": "company",
    "bros": "brothers", "ave": "avenue", "blvd": "boulevard", "jr": "junior", "sr": "senior",
    "mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday",
    "thurs": "thursday", "fri": "friday",
}  # fmt: skip
_ANYWHERE = {
    "etc": "et cetera", "vs": "versus", "approx": "approximately", "dept": "department",
    "min": "minimum", "max": "maximum", "cf": "compare", "tel": "telephone",
}  # fmt: skip
_ALWAYS_TITLES = {"mr", "mrs", "ms", "dr", "prof"}
_GO_ON = {"vs", "approx", "cf", "e.g", "i.e"}
_WITHOUT_DOT = {"mr", "mrs", "ms", "dr", "prof", "etc", "vs", "jr", "sr"}
_LETTERS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        (
            "ay bee see dee ee eff jee aitch eye jay kay ell em en oh pee cue are ess tee you vee "
            "double-you ex why zee"
        ).split(),
        strict=True,
    )
)
_SHORT_WORDS = frozenset(
    "ah aha all am an and any are as at be big but by can day did do few for get gif go ha had "
    "has he her hey hi him his ho how huh i if in is it its let may me my new no non nor not now "
    "of off oh on one or our out own per pin put ram rom say see she sim six so ten the to too "
    "two up us use was way we who why yes yet you".split()
)
_ACRONYMS = frozenset("AI IT US API ASAP IEEE IOS RAID OEM EULA IO AWS USA USB UEFI GUI".split())
_YEAR_BEFORE = (
    r"in|since|from|until|till|by|of|year|early|late|mid|circa|around|before|after|"
    r"during|summer|winter|spring|autumn|fall"
)
_SYMBOLS = {
    "&": " and ", "+": " plus ", "=": " equals ", "@": " at ", "%": " percent ", "×": " times ",
    "÷": " divided by ", "±": " plus or minus ", "≈": " about ", "≤": " at most ",
    "≥": " at least ", "≠": " is not ", "<": " less than ", ">": " greater than ",
    "#": " number ", "§": " section ", "→": " to ", "°": " degrees ", "√": " root of ",
    "∞": " infinity ", "~": " about ", "/": " ", "\\": " ", "_": " ", "|": ", ", "Ω": " ohms ",
    "$": " dollars ", "€": " euros ", "£": " pounds ", "¥": " yen ", "₹": " rupees ",
    "₩": " won ",
}  # fmt: skip
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta",
    "λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi",
    "χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "delta", "Σ": "sigma", "Φ": "phi", "Ψ": "psi",
}  # fmt: skip


def is_short_form(word: str) -> bool:
    """Whether a sentence goes on after ``word`` (without its dot): a title, or "vs"."""
    return word.lower() in _TITLES or word.lower() in _GO_ON


def belongs_to_number(word: str) -> bool:
    """Whether ``word`` (without its dot) goes on when a number follows: Fig. 3, Dec. 5, min. 2."""
    short = word.lower()
    return short in _BEFORE_NUMBERS or short == "no" or may_end_sentence(word)


def may_end_sentence(word: str) -> bool:
    """Whether ``word`` (without its dot) is an abbreviation that may end a sentence or not."""
    short = word.lower()
    return short in _AFTER_NAMES or short in _ANYWHERE or short[:3] in _SHORT_MONTHS


def read_out(text: str) -> str:
    """``text`` (plain characters, case kept) with everything that is not a word spelled out."""
    for pattern, speak in _RULES:
        text = pattern.sub(speak, text)
    return name_acronyms(text)


def spell_letters(text: str) -> str:
    """Lower-case text with single consonants named: "vitamin c" → "vitamin see"."""
    return re.sub(r"(?<![\w'])[b-hj-z](?![\w'])", lambda m: _LETTERS[m.group()], text)


def _name_letters(letters: str) -> str:
    return " ".join(_LETTERS[letter] for letter in letters.lower())


def _count(number: str, unit: str) -> str:
    """A number with its unit in the right number: 1 → meter, else meters."""
    words = say.decimal(number)
    if number.lstrip("+-") == "1" or unit in _SAME_PLURAL:
        return f"{words} {unit}"
    head, _, tail = unit.partition(" per ")
    if head.startswith("degree "):
        head = "degrees " + head.removeprefix("degree ")
    else:
        head = _PLURALS.get(head, head + "s")
    return f"{words} {head}" + (f" per {tail}" if tail else "")


def _money(match: Match[str]) -> str:
    name, small = _MONEY[match["sign"]]
    number, scale = match["number"], match["scale"]
    sign = "minus " if match["minus"] else ""
    if scale:
        scale = _SCALES.get(scale, scale)
        plural = name if name in _SAME_PLURAL else name + "s"
        return f"{sign}{say.decimal(number)} {scale} {plural}"
    whole, _, cents = number.partition(".")
    if len(cents) != 2 or not small:
        return sign + _count(number, name)
    parts = []
    if whole.strip("0,"):
        parts.append(_count(whole, name))
    if cents != "00":
        parts.append(_count(str(int(cents)), small))
    return sign + (" ".join(parts) or _count("0", name))


def _month(name: str) -> str:
    return next(month for month in _MONTHS if month.lower().startswith(name[:3].lower()))


def _date(day: str, month: str, year: str | None) -> str:
    tail = f", {say.year(year)}" if year else ""
    return f"{month} {say.ordinal(day)}{tail}"


def _numeric_date(match: Match[str]) -> str:
    year, month, day = match["y"], int(match["m"]), int(match["d"])
    if month > 12 >= day:
        month, day = day, month  # 17/05/2024: day first
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    return _date(str(day), _MONTHS[month - 1], year)


def _time(match: Match[str]) -> str:
    half = match["half"]
    words = say.clock(match["h"], match["m"])
    if half:
        words = words.removesuffix(" o'clock") + " " + _name_letters(half[0] + "m")
    elif match["s"]:
        words = words.replace("o'clock", "hours")
    return words + (f" and {_count(str(int(match['s'])), 'second')}" if match["s"] else "")


def _phone(match: Match[str]) -> str:
    if re.fullmatch(r"\+[0-9]{1,3}|\+[0-9 ]{1,6}", match.group()):
        return match.group()  # "+5" and "+10 20" are too short to be called
    groups = ", ".join(say.digits(group) for group in re.findall("[0-9]+", match.group()))
    return ("plus " if match.group()[0] == "+" else "") + groups


def _web(match: Match[str]) -> str:
    address = re.sub(r"^[a-z]+://(www\.)?", "", match.group().rstrip(".,;:!?)"))
    rest = match.group()[len(match.group().rstrip(".,;:!?)")) :]
    for mark, word in ((".", " dot "), ("@", " at "), ("/", " slash "), ("-", " dash "),
                       ("_", " underscore "), (":", " colon ")):  # fmt: skip
        address = address.rstrip("/").replace(mark, word)
    return address + rest


def _abbreviation(match: Match[str]) -> str:
    written, dot = match["short"], match["dot"]
    short, after = written.lower(), match.string[match.end() : match.end() + 20]
    if not (dot or short in _WITHOUT_DOT):
        return match.group()
    word = _ANYWHERE.get(short)
    if written[0].isupper():
        if short in _ALWAYS_TITLES or re.match(r"\s+[A-Z]", after):
            word = _TITLES.get(short, word)
        elif short == "st" and dot:
            word = "street"
        word = _AFTER_NAMES.get(short, word)
    if re.match(r"\s?[0-9]", after):
        word = _BEFORE_NUMBERS.get(short, word)
    if word is None:
        return match.group()
    ends = dot and not after.strip(" \"')")  # its dot also ends the sentence
    return word + ("." if ends else "")


def _roman(match: Match[str]) -> str:
    values = {"I": 1, "V": 5, "X": 10}
    numbers = [values[c] for c in match["roman"]]
    total = sum(
        -value if value < max(numbers[index:]) else value for index, value in enumerate(numbers)
    )
    return f"{match['before']} {say.cardinal(str(max(1, total)))}"


def _range(match: Match[str]) -> str:
    return f"{_integer(match['a'])} to {match['b']}"


def _left_over(match: Match[str]) -> str:
    before = match.string[max(0, match.start() - 12) : match.start()]
    told = re.search(rf"(?i)\b(?:{_YEAR_BEFORE})\s$", before)
    return f" {_integer(match.group(), told=told is not None)} "


def _integer(text: str, *, told: bool = False) -> str:
    """A number; four digits are a year if they look like one, or if the word before says so."""
    value = int(text) if len(text) == 4 and text.isdigit() else 0
    if 1900 <= value <= 2099 or (1100 <= value < 1900 and told):
        return say.year(text)
    return say.decimal(text)


def name_acronyms(text: str) -> str:
    """Capitals that are no word become the names of their letters: "GPUs" → "jee pee yous".

    Names, because "g" alone says little to a model that has learnt letters within words.
    """
    letters = [c for c in text if c.isalpha()]
    if len(letters) > 12 and sum(c.isupper() for c in letters) > 0.7 * len(letters):
        return text  # everything is in capitals: nothing can be told from them

    def speak(match: Match[str]) -> str:
        word, plural = match["word"], match["plural"]
        if word == "OK":
            return "okay"
        vowels = sum(c in "AEIOUY" for c in word)
        common = word.lower() in _SHORT_WORDS and word not in _ACRONYMS
        if word not in _ACRONYMS and (common or (vowels and len(word) > 3)):
            return match.group()
        return _name_letters(word) + plural

    return re.sub(
        r"(?<![A-Za-z0-9_'])(?P<word>[A-Z]{2,6})(?P<plural>s?)(?![A-Za-z0-9_])", speak, text
    )


_Rule = tuple[re.Pattern[str], Callable[[Match[str]], str]]


def _rule(pattern: str, speak: Callable[[Match[str]], str]) -> _Rule:
    return re.compile(pattern), speak


_RULES: tuple[_Rule, ...] = (
    _rule(r"(?<!\w)[a-z]+://[^\s,;()\"]+|(?<!\w)www\.[^\s,;()\"]+", _web),
    _rule(r"(?<!\w)[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _web),
    _rule(r"(?i)\be\.\s?g\.,?", lambda m: "for example,"),
    _rule(r"(?i)\bi\.\s?e\.,?", lambda m: "that is,"),
    _rule(r"(?i)\bph\.?\s?d\b\.?", lambda m: _name_letters("phd")),
    _rule(r"(?i)\bw/o\b", lambda m: "without"),
    _rule(r"(?i)\b24/7\b", lambda m: "twenty-four seven"),
    _rule(r"\b[Nn]os?\.\s?(?=[0-9])|№\s?", lambda m: "number "),
    # dates and times
    _rule(rf"{_NOT_INSIDE}(?P<y>[12][0-9]{{3}})-(?P<m>[01]?[0-9])-(?P<d>[0-3]?[0-9]){_END}",
          _numeric_date),
    _rule(rf"{_NOT_INSIDE}(?P<m>[0-3]?[0-9])/(?P<d>[0-3]?[0-9])/(?P<y>[12][0-9]{{3}}){_END}",
          _numeric_date),
    _rule(rf"\b(?P<m>{_MONTH})\s(?P<d>[0-3]?[0-9])(?:st|nd|rd|th)?(?:,?\s(?P<y>[12][0-9]{{3}}))?"
          rf"(?![\w:%]|\.[0-9])",
          lambda m: _date(m["d"], _month(m["m"]), m["y"])),
    _rule(rf"{_NOT_INSIDE}(?P<d>[0-3]?[0-9])(?:st|nd|rd|th)?\s(?:of\s)?(?P<m>{_MONTH})"
          rf"(?:,?\s(?P<y>[12][0-9]{{3}}))?{_END}",
          lambda m: _date(m["d"], _month(m["m"]), m["y"])),
    _rule(rf"{_NOT_INSIDE}(?P<h>[01]?[0-9]|2[0-4]):(?P<m>[0-5][0-9])(?::(?P<s>[0-5][0-9]))?"
          rf"(?:\s?(?P<half>[aApP]\.?[mM]\b\.?))?(?![\w:])", _time),
    _rule(rf"{_NOT_INSIDE}(?P<h>[01]?[0-9])\s?(?P<half>[aApP])\.?[mM]\b\.?",
          lambda m: f"{say.cardinal(str(int(m['h'])))} {_name_letters(m['half'] + 'm')}"),
    _rule(r"(?<!\w)(?P<c>[12][0-9])?(?P<t>[0-9]0)'?s\b",
          lambda m: say.decade((m["c"] or "") + m["t"])),
    # telephone numbers
    _rule(r"(?<![\w.,+])(?:"
          r"\+[0-9]{1,3}[ -]?(?:\([0-9]{1,4}\)[ -]?)?[0-9]{2,8}(?:[ -][0-9]{2,8}){0,4}"
          r"|\([0-9]{2,4}\)[ -]?[0-9]{3,4}[ -][0-9]{3,4}"
          r"|[0-9]{3,4}[ -][0-9]{3,4}-[0-9]{3,4}|[0-9]{3}-0[0-9]{3})(?![\w,]|\.[0-9])", _phone),
    # money, units, ordinals
    _rule(rf"(?P<minus>-)?(?P<sign>US\$|[$€£¥₹₩])\s?(?P<number>{_NUM})"
          r"(?:\s?(?P<scale>thousand|million|billion|trillion|[kKmMbBT]n?)\b)?", _money),
    _rule(rf"(?P<minus>-)?{_NOT_INSIDE}(?P<number>{_NUM})(?P<scale>(?!))?\s?(?P<sign>[$€£¥₹₩])",
          _money),
    _rule(rf"{_NOT_INSIDE}(?P<a>{_NUM})\s?[-–]\s?(?P<b>{_NUM})(?=\s?[%°A-Za-z]|[\s.,;:!?)]|$)",
          _range),
    _rule(rf"(?<![\w.,])(?P<n>-?{_NUM})\s?(?P<u>{_UNIT})(?![\w/°]|'[a-z])",
          lambda m: _count(m["n"], _UNITS[m["u"]])),
    _rule(rf"(?<![\w.,])(?P<n>{_NUM})(?P<s>k|M|B|bn){_END}",
          lambda m: f"{say.decimal(m['n'])} {_SCALES[m['s']]}"),
    _rule(r"(?<![\w.,])(?P<n>[0-9][0-9,]*)(?:st|nd|rd|th)\b", lambda m: say.ordinal(m["n"])),
    _rule(r"#(?=[0-9])", lambda m: "number "),
    # fractions, ratios, versions
    _rule(r"(?<![\w.,])(?P<w>[0-9]{1,6})\s(?P<a>[0-9]{1,4})⁄(?P<b>[1-9][0-9]{0,3})",
          lambda m: f"{say.cardinal(m['w'])} and {say.fraction(m['a'], m['b'])}"
          .replace("one half", "a half").replace("one quarter", "a quarter")),
    _rule(rf"(?<![\w.,/])(?P<a>[0-9]{{1,4}})[/⁄](?P<b>[1-9][0-9]{{0,3}})(?!/){_END}",
          lambda m: say.fraction(m["a"], m["b"]) if m["b"] != "1" else say.cardinal(m["a"])),
    _rule(rf"(?<![\w.,:])(?P<a>[0-9]+):(?P<b>[0-9]+)(?!:){_END}",
          lambda m: f"{say.cardinal(m['a'])} to {say.cardinal(m['b'])}"),
    _rule(r"(?<![\w.,])[0-9]+(?:\.[0-9]+){2,}(?!\w)",
          lambda m: " point ".join(say.cardinal(n) for n in m.group().split("."))),
    _rule(rf"(?<=[0-9])(?:\s?×\s?|x|\sx\s)(?={_NUM})", lambda m: " by "),
    _rule(r"\b(?P<c>[CF])#(?!\w)", lambda m: f"{_LETTERS[m['c'].lower()]} sharp"),
    _rule(r"\b(?P<before>(?i:chapter|part|war|act|volume|section|phase|type|title|appendix|book|"
          r"level|figure|table|article))\s(?P<roman>X{0,3}(?:IX|IV|V?I{1,3}|V)|X{1,3})\b", _roman),
    # abbreviations, initials, mixed tokens
    _rule(r"\b(?P<short>[A-Za-z]{1,6})\b(?P<dot>\.?)(?!\.)(?<!\.\w\w\.)", _abbreviation),
    _rule(r"\b(?:[A-Za-z]\.){2,}(?P<end>\s*$)?",
          lambda m: _name_letters(re.sub("[^A-Za-z]", "", m.group()))
          + ("." if m["end"] is not None else "")),
    _rule(r"\b(?P<i>[A-Z])\.\s?(?=[A-Z])", lambda m: _LETTERS[m["i"].lower()] + " "),
    _rule(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])", lambda m: " "),
    _rule(r"(?<=[A-Z])-(?=[0-9])", lambda m: " "),
    # what is left of the numbers
    _rule(r"(?<![\w)\]])-(?=\.?[0-9])", lambda m: "minus "),
    _rule(rf"(?<![0-9])(?:{_INT})(?:\.[0-9]+)?|\.[0-9]+", _left_over),
    _rule(r"[0-9]+", lambda m: f" {say.digits(m.group())} "),
    _rule(r"(?<=[a-z])\.(?=[a-z])", lambda m: " dot "),
    _rule("|".join(re.escape(s) for s in _SYMBOLS), lambda m: _SYMBOLS[m.group()]),
    _rule(r"(?<![Ͱ-Ͽ])[Ͱ-Ͽ](?![Ͱ-Ͽ])", lambda m: f" {_GREEK.get(m.group(), m.group())} "),
)  # fmt: skip
