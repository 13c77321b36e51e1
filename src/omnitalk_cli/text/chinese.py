"""Chinese text as it is read out: numbers, dates, times, money, percentages, units."""

from __future__ import annotations

import re
from re import Match

from omnitalk_cli.text.english import name_acronyms

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "万亿", "亿亿")
_LONGEST = 16
_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?"
_UNITS = {
    "km/h": "公里每小时", "m/s": "米每秒", "km": "公里", "cm": "厘米", "mm": "毫米", "m": "米",
    "kg": "公斤", "mg": "毫克", "g": "克", "ml": "毫升", "mL": "毫升", "L": "升", "ms": "毫秒",
    "s": "秒", "min": "分钟", "h": "小时", "°C": "摄氏度", "°": "度", "%": "%", "GHz": "吉赫兹",
    "MHz": "兆赫兹", "kHz": "千赫兹", "Hz": "赫兹",
}  # fmt: skip
_UNIT = "|".join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True))
_MONEY = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_MEASURE_WORDS = "个位只本次天条张件种岁倍台辆名家份块双" + "米"
_SYMBOLS = {
    "%": "百分号", "+": "加", "=": "等于", "×": "乘", "÷": "除以", "<": "小于", ">": "大于",
    "≤": "小于等于", "≥": "大于等于", "≈": "约等于", "&": " and ", "@": " at ", "~": "到",
    "/": " ", "#": "号", "_": " ",
}  # fmt: skip


def digits(text: str) -> str:
    """Digit by digit: 2024 → 二零二四."""
    return "".join(_DIGITS[int(d)] for d in text if d.isdigit())


def cardinal(text: str) -> str:
    """A number with or without decimals: 1,005.2 → 一千零五点二."""
    whole, _, rest = text.replace(",", "").partition(".")
    if len(whole) > _LONGEST or (len(whole) > 1 and whole[0] == "0"):
        words = digits(whole)
    else:
        words = _whole(int(whole))
    return words + ("点" + digits(rest) if rest else "")


def _whole(value: int) -> str:
    if value == 0:
        return _DIGITS[0]
    groups: list[int] = []
    while value:
        value, group = divmod(value, 10_000)
        groups.append(group)
    words = ""
    for index in reversed(range(len(groups))):
        group = groups[index]
        if not group:
            continue
        if words and (group < 1000 or (index + 1 < len(groups) and not groups[index + 1])):
            words += _DIGITS[0]
        words += _below_ten_thousand(group) + _GROUPS[index]
    return words.removeprefix("一") if re.match("一十", words) else words


def _below_ten_thousand(value: int) -> str:
    words, gap = "", False
    for place in (3, 2, 1, 0):
        digit = value // 10**place % 10
        if digit:
            words += (_DIGITS[0] if gap and words else "") + _DIGITS[digit] + _PLACES[place]
            gap = False
        else:
            gap = True
    return words


def read_out(text: str) -> str:
    """``text`` (plain characters) with its numbers and symbols as Chinese words."""
    text = re.sub(
        r"(?<![0-9])([12][0-9]{3})[-/.]([01]?[0-9])[-/.]([0-3]?[0-9])(?![0-9])",
        lambda m: f"{digits(m[1])}年{_whole(int(m[2]))}月{_whole(int(m[3]))}日", text,
    )  # fmt: skip
    text = re.sub(r"([0-9]{4})(?=\s?年)", lambda m: digits(m[1]), text)
    text = re.sub(r"(?<![0-9:])([0-2]?[0-9]):([0-5][0-9])(?![0-9:])", _time, text)
    text = re.sub(rf"(-?)({_NUMBER})\s?%", lambda m: f"{_sign(m)}百分之{cardinal(m[2])}", text)
    text = re.sub(rf"[¥$€£]\s?({_NUMBER})", lambda m: cardinal(m[1]) + _MONEY[m[0][0]], text)
    text = re.sub(rf"({_NUMBER})\s?[-~–]\s?(?=[0-9])", lambda m: cardinal(m[1]) + "到", text)
    text = re.sub(
        rf"(-?)({_NUMBER})\s?({_UNIT})(?![A-Za-z])",
        lambda m: _sign(m) + cardinal(m[2]) + _UNITS[m[3]], text,
    )  # fmt: skip
    text = re.sub(rf"(?<![0-9.])2(?=[{_MEASURE_WORDS}])", "两", text)
    text = re.sub(r"1[3-9][0-9]{9}(?![0-9])", lambda m: digits(m[0]).replace("一", "幺"), text)
    text = name_acronyms(re.sub(r"(?<=[A-Za-z])(?=[0-9])", " ", text))
    text = re.sub(rf"(?<![\w)])(-)(?:({_NUMBER}))", lambda m: "负" + cardinal(m[2]), text)
    text = re.sub(_NUMBER, lambda m: cardinal(m[0]), text)
    return re.sub("|".join(re.escape(s) for s in _SYMBOLS), lambda m: _SYMBOLS[m[0]], text)


def _sign(match: Match[str]) -> str:
    return "负" if match[1] else ""


def _time(match: Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    words = ("两" if hour == 2 else _whole(hour)) + "点"
    if minute == 0:
        return words
    return words + (_DIGITS[0] if minute < 10 else "") + _whole(minute) + "分"
