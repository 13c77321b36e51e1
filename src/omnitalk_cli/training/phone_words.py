"""From the timed symbols of a corpus utterance to spoken words: phones as they were realised."""

from __future__ import annotations

from bisect import bisect_right

from omnitalk_cli.text.phones import ARPABET, EXTRA, MARKS, SILENCE, SpokenWord, from_espeak
from omnitalk_cli.training.shards import CorpusItem

Span = tuple[float, float]
# A shorter silence inside a word is a closure; a longer one parts a word such as "two-faced".
_CLOSURE_SECONDS = 0.06
_SHORTEST_SECONDS = 1e-3


def mark_of(item: str) -> str:
    """The mark at the end of a ``text.split()`` item, closing quotes and brackets left out."""
    bare = item.rstrip("'\"’”»)]-")
    return bare[-1] if bare and bare[-1] in MARKS else ""


def group(item: CorpusItem) -> tuple[list[SpokenWord], list[list[Span]]] | None:
    """Spoken words of ``item``, and per word the (start, end) seconds of each phone.

    Times never decrease or overlap, and the phones of one word touch each other; silences are
    left out. An item of the text without phones is dropped (its mark goes to the word before it).
    None where the utterance has no phones or one that is not known.
    """
    if item.phones is None or not item.words:
        return None
    try:
        phones = _known(item.phones, item.alphabet)
    except KeyError:
        return None
    # A phone belongs to the word that its middle is in; a pause is shared by its neighbours.
    borders = [
        (end + start) / 2 for (_, end), (start, _) in zip(item.words, item.words[1:], strict=False)
    ]
    members: list[list[tuple[str, float, float]]] = [[] for _ in item.words]
    for symbol, start, end in phones:
        members[bisect_right(borders, (start + end) / 2)].append((symbol, start, end))

    words: list[SpokenWord] = []
    times: list[list[Span]] = []
    for spelled, said in zip(item.text.split(), members, strict=True):
        mark = mark_of(spelled)
        for part in _parts(said):
            words.append(SpokenWord(phones=tuple(symbol for symbol, _, _ in part)))
            times.append([(start, end) for _, start, end in part])
        if mark and words:
            words[-1] = SpokenWord(phones=words[-1].phones, mark=mark)
    return (words, times) if words else None


def _known(phones: list[tuple[str, float, float]], alphabet: str) -> list[tuple[str, float, float]]:
    """Our phones without silences, in order; one symbol that stands for two shares its time.

    Raises KeyError on a symbol of neither alphabet.
    """
    found: list[tuple[str, float, float]] = []
    now = 0.0
    for symbol, start, end in phones:
        if alphabet == "espeak":
            names = from_espeak(symbol)
        elif symbol == SILENCE or symbol in ARPABET or symbol in EXTRA:
            names = (symbol,)
        else:
            raise KeyError(symbol)
        start = max(start, now)
        if names == (SILENCE,) or end - start < _SHORTEST_SECONDS:
            continue
        step = (end - start) / len(names)
        for place, name in enumerate(names):
            found.append((name, start + place * step, start + (place + 1) * step))
        now = end
    return found


def _parts(said: list[tuple[str, float, float]]) -> list[list[tuple[str, float, float]]]:
    """The phones of one item, parted at real silences; across a closure they are made to touch."""
    parts: list[list[tuple[str, float, float]]] = []
    for phone in said:
        if parts and phone[1] - parts[-1][-1][2] < _CLOSURE_SECONDS:
            symbol, start, _ = parts[-1][-1]
            parts[-1][-1] = (symbol, start, phone[1])
            parts[-1].append(phone)
        else:
            parts.append([phone])
    return parts
