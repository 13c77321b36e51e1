"""Scripts cut into sentences, and sentences into pieces that fit the model. Nothing is lost."""

from __future__ import annotations

import math
import re

from omnitalk_cli.text.characters import is_han
from omnitalk_cli.text.english import belongs_to_number, is_short_form, may_end_sentence
from omnitalk_cli.text.normalise import OVERRIDE

MAX_WORDS = 12
MAX_CHARACTERS = 90
_HAN_WEIGHT = 3  # a Chinese character takes the time of about three letters

_END = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[”’」』)]*")
_STARTERS = frozenset(
    "A An And As At But By For From He Her His However I If In It Its My No Not Now On Or Our She "
    "So Some That The Their Then There These They This Those To We What When While Who You Your "
    "Yes".split()
)
_CONJUNCTIONS = frozenset(
    "and but or nor because which who that when while where if so as than with for from into of "
    "to in on at by after before until since though although".split()
)
_STRONG = frozenset("and but or because which while when if so".split())
_ATOM = re.compile(r"\{[^{}]{0,200}\}[,.?!;:]*")
_CONTEXT = 200  # characters around a mark that decide what it is
_LONGEST_SENTENCE = 1000  # what is longer is no sentence; it bounds the work of every rule


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, in order; together they hold all its text.

    Dots of abbreviations, initials, numbers and list items do not end a sentence.
    """
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if _ends(text, start, match):
            found.append(text[start : match.end()].strip())
            start = match.end()
    found.append(text[start:].strip())
    return [part for sentence in found if sentence for part in _bounded(sentence)]


def _bounded(sentence: str) -> list[str]:
    """An endless sentence in parts: cut at spaces outside ``{…}``, or anywhere without them."""
    parts: list[str] = []
    while len(sentence) > _LONGEST_SENTENCE:
        head = sentence[:_LONGEST_SENTENCE]
        spaces = [match.start() for match in re.finditer(r"\s(?![^{}]{0,200}\})", head)]
        cut = spaces[-1] if spaces and spaces[-1] > 0 else _LONGEST_SENTENCE
        parts.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [part for part in (*parts, sentence) if part]


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    after = text[match.end() : match.end() + _CONTEXT]
    before = text[max(start, match.start() - _CONTEXT) : match.start()]
    if match.group()[0] != "." or match.group().startswith(".."):
        following = after.lstrip()
        # `"Really?" he said` and "well... maybe" go on.
        return not (match.group()[0] in ".!?…" and following[:1].islower())
    following = after.lstrip("\"'“‘( \t\n")
    if not following:
        return True
    if following[0].islower():
        return False
    words = before.split() or [""]
    last = words[-1].lstrip("\"'“‘([")
    if re.fullmatch(r"[A-Z]|[0-9]{1,2}", last) and len(words) == 1:
        return False  # an initial or the number of a list item
    if is_short_form(last) or (following[0].isdigit() and belongs_to_number(last)):
        return False
    starter = re.split(r"[^\w]", following, maxsplit=1)[0] in _STARTERS
    if re.fullmatch(r"[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]", last):
        return starter or last == "I"
    if may_end_sentence(last) and last[:1].isupper():
        return starter
    return True


def pieces(
    text: str, *, max_words: int = MAX_WORDS, max_characters: int = MAX_CHARACTERS
) -> list[str]:
    """``text`` (normalised) in pieces of at most so many words and characters, in order.

    A Chinese character counts as three. Cuts are best after marks, then before conjunctions, and
    leave parts of similar length. A word is cut only if it alone is too long; ``{行|hang2}`` never.
    """
    found: list[str] = []
    rest = text.strip()
    while True:
        words, size = _measure(rest)
        parts = max(math.ceil(words / max_words), math.ceil(size / max_characters))
        if parts <= 1:
            break
        cut = _best_cut(rest, size / parts, max_words, max_characters)
        if cut is None:
            break
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [*found, rest] if rest else found


def _measure(text: str) -> tuple[int, int]:
    return len(_ATOM.sub("字", text).split()), _size(text)


def _size(text: str) -> int:
    text = OVERRIDE.sub(r"\1", text)
    return len(text) + (_HAN_WEIGHT - 1) * sum(map(is_han, text))


def _best_cut(text: str, target: float, max_words: int, max_characters: int) -> int | None:
    best, best_score, fallback = None, -math.inf, None
    words, size, position = 0, 0, 0
    in_word = False
    while position < len(text):
        atom = _ATOM.match(text, position)
        step = len(atom.group()) if atom else 1
        character = text[position]
        if character.isspace():
            in_word = False
        elif not in_word:
            in_word, words = True, words + 1
        size += _size(text[position : position + step])
        # The space at a cut is stripped: it does not count.
        if words > max_words or size - character.isspace() > max_characters:
            break
        position += step
        if position >= len(text):
            break
        if _may_cut(text, position):
            score = _bonus(text, position) - abs(size - target) / target
            if score > best_score:
                best, best_score = position, score
        elif not atom:
            fallback = position
    if best is not None:
        return best
    if fallback is None and (atom := _ATOM.match(text)) and atom.end() < len(text):
        return atom.end()
    return fallback


def _may_cut(text: str, position: int) -> bool:
    before, after = text[position - 1], text[position]
    if after in ",.?!;:":
        return False
    return before.isspace() or (is_han(before) or before in "}") or is_han(after) or after == "{"


def _bonus(text: str, position: int) -> float:
    before = text[:position].rstrip()[-1:]
    if before in ".?!;:":
        return 0.7
    if before == ",":
        return 0.6
    following = re.match(r"\s*([^\s,.?!;:]+)", text[position:])
    word = following.group(1) if following else ""
    if word in _STRONG:
        return 0.35
    return 0.15 if word in _CONJUNCTIONS else 0.0
