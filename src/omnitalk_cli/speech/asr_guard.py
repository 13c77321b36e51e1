"""Against invented words: Whisper also writes text for silence, noise and music.

Hardly a sign is reliable alone: people do say "thank you", and invented text can be sure of itself.
So each sign is a doubt with a weight, and a segment goes when its doubts add up to one. Words of a
segment that stays go when nothing is heard where they should be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from omnitalk_cli.speech.asr_voice import Activity, overlap
from omnitalk_cli.speech.asr_words import joined, letters, spoken, tidy
from omnitalk_cli.types import Word

_REACH = 0.25  # seconds by which the times of words are often wrong
# Share of the words' time in which a voice is heard. Measured: over 0.85 of true words, also
# when these are 0.4 s off; under 0.1 of any in noise and in music without singing.
_NO_VOICE, _LITTLE_VOICE = 0.25, 0.5
_LITTLE = 16  # letters: a shorter segment is doubted more where no voice is heard
_MOST_TRIMMED = 0.5  # share of words on silence from which the whole segment goes
_RATES = (25.0, 35.0)  # letters a second: fast, and impossible; 15 are usual
_SLOW, _SLOW_SECONDS = 1.5, 2.0  # letters a second over at least so long
_LOOP = 8  # words in a row that repeat the same few
_TOKENS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:'[^\W_]+)*")
_ANNOTATION = re.compile(r"\s*(?:\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|【[^】]*】)[\s.!,]*")
# What videos end with, and with it the material that the models were trained on.
_STOCK_PARTS = (
    "for watching", "subscribe", "subtitles by", "captions by", "transcribed by", "amara org",
    "next video", "字幕", "订阅", "訂閱", "点赞", "點贊", "谢谢观看", "謝謝觀看", "感谢观看",
    "感謝觀看", "下期再见", "打赏支持",
)  # fmt: skip
_STOCK_WHOLE = (
    "you", "thank you", "thank you very much", "thank you so much", "thanks", "bye", "bye bye",
    "okay", "oh", "so", "the end", "谢谢", "謝謝", "谢谢大家", "謝謝大家", "嗯",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HeardSegment:
    """Words with their own spaces, and what the recogniser thinks of them: probability that
    nothing is spoken, mean log-probability of the tokens, how well the text compresses."""

    words: tuple[Word, ...]
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0

    @property
    def text(self) -> str:
        """What the words make."""
        return joined(self.words)


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Text that is not believed, and why."""

    text: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """Segments that are believed, with times that words can have, and what was left out."""

    segments: tuple[HeardSegment, ...]
    dropped: tuple[Dropped, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """All words that are believed, with their own spaces."""
        return tuple(word for segment in self.segments for word in segment.words)


def guard(segments: Sequence[HeardSegment], heard: Activity) -> Guarded:
    """What of ``segments`` can have been said in a sound with the activity ``heard``.

    The order stays, and doing it twice changes nothing.
    """
    dropped: list[Dropped] = []
    while True:
        tidied = _tidied(segments, heard.seconds)
        if not tidied and (text := joined([w for s in segments for w in spoken(s.words)])):
            dropped.append(Dropped(text=text, reason="nobody speaks so fast"))
        kept = tuple(_believed(tidied, heard, dropped))
        if kept == tidied:
            return Guarded(segments=kept, dropped=tuple(dropped))
        segments = kept


def doubts(
    segment: HeardSegment, heard: Activity, before: HeardSegment | None = None
) -> list[tuple[float, str]]:
    """Signs that ``segment`` is invented: weights, and what they are in words.

    ``before`` is the segment before it.
    """
    found: list[tuple[float, str]] = []
    voiced, sounding = _share(segment, heard.voiced), _share(segment, heard.sounding)
    if sounding < 0.1:
        found.append((1.0, "nothing is heard there"))
    elif voiced < _NO_VOICE:
        found.append((1.0, "no voice is heard there"))
    elif voiced < _LITTLE_VOICE:
        found.append((0.5, "little voice"))
        if letters(segment.text) < _LITTLE:
            found.append((0.3, "only a few words"))
    if segment.no_speech_prob > 0.6:
        found.append((0.6 if segment.no_speech_prob > 0.9 else 0.4, "it sounds like no speech"))
    for limit, weight in ((-1.5, 1.0), (-1.0, 0.5), (-0.5, 0.25)):
        if segment.avg_logprob < limit:
            found.append((weight, "it is guessed"))
            break
    if segment.compression_ratio > 2.4:
        found.append((0.6, "it repeats itself"))
    if loop := _loop(_tokens(segment.text)):
        found.append((1.0 if loop >= _LOOP else 0.5, "it goes in a loop"))
    found += _rate_doubts(segment)
    if _is_stock(segment.text):
        found.append((0.6, "models invent this phrase"))
    if _ANNOTATION.fullmatch(segment.text):
        found.append((1.0, "it is a remark, not words"))
    if before is not None and _tokens(before.text) == _tokens(segment.text):
        found.append((0.5, "the same again"))
    return found


def _tidied(segments: Sequence[HeardSegment], seconds: float) -> tuple[HeardSegment, ...]:
    """``segments`` with clean words in order within ``seconds``; empty ones are left out."""
    cleaned = [spoken(segment.words) for segment in segments]
    flat = tidy([word for words in cleaned for word in words], seconds)
    if not flat:
        return ()
    parts, place = [], 0
    for segment, words in zip(segments, cleaned, strict=True):
        if words:
            parts.append(replace(segment, words=flat[place : place + len(words)]))
        place += len(words)
    return tuple(parts)


def _believed(
    segments: tuple[HeardSegment, ...], heard: Activity, dropped: list[Dropped]
) -> Iterator[HeardSegment]:
    before = None
    for segment in segments:
        found = doubts(segment, heard, before)
        before = segment
        if sum(weight for weight, _ in found) >= 0.999:
            reasons = dict.fromkeys(reason for _, reason in sorted(found, reverse=True))
            dropped.append(Dropped(text=segment.text, reason=", ".join(reasons)))
            continue
        heard_words = tuple(word for word in segment.words if _is_heard(word, segment, heard))
        lost = len(segment.words) - len(heard_words)
        if not lost:
            yield segment
        elif lost > _MOST_TRIMMED * len(segment.words):
            dropped.append(Dropped(text=segment.text, reason="most of it lies on silence"))
        else:
            silent = [word for word in segment.words if word not in heard_words]
            dropped.append(Dropped(text=joined(silent), reason="nothing is heard there"))
            yield replace(segment, words=heard_words)


def _is_heard(word: Word, segment: HeardSegment, heard: Activity) -> bool:
    """Whether there is sound where ``word`` is, and voice, if the segment's voice is heard."""
    span = (word.start, word.end)
    if not overlap(*span, heard.sounding, reach=_REACH):
        return False
    reliable = _share(segment, heard.voiced) >= _LITTLE_VOICE
    return not reliable or overlap(*span, heard.voiced, reach=2 * _REACH) > 0


def _share(segment: HeardSegment, stretches: Sequence[tuple[float, float]]) -> float:
    """Share of the words' time in ``stretches``, when all are shifted a little at their best."""
    time = sum(word.end - word.start for word in segment.words)
    inside = max(
        sum(overlap(word.start + by, word.end + by, stretches) for word in segment.words)
        for by in (-_REACH, -_REACH / 2, 0.0, _REACH / 2, _REACH)
    )
    return inside / max(time, 1e-9)


def _rate_doubts(segment: HeardSegment) -> Iterator[tuple[float, str]]:
    span = segment.words[-1].end - segment.words[0].start
    rate = letters(segment.text) / max(span, 0.02)
    fast, impossible = _RATES
    # A short word may be wrong by its whole length.
    if span > 0.2 or letters(segment.text) > _LITTLE:
        if rate > impossible:
            yield 1.0, "nobody speaks so fast"
        elif rate > fast:
            yield 0.5, "it would be very fast"
    if rate < _SLOW and span > _SLOW_SECONDS:
        yield 0.4, "it would be very slow"


def _tokens(text: str) -> list[str]:
    """Words in lower case, or characters of scripts without spaces."""
    return _TOKENS.findall(text.lower())


def _loop(tokens: Sequence[str]) -> int:
    """Length of the longest run that repeats the same one to six tokens, if it is most of them and
    long enough to be no figure of speech; else 0."""
    longest = 0
    for period, times in ((1, 5), (2, 4), (3, 3), (4, 3), (5, 3), (6, 3)):
        run = period
        for place in range(period, len(tokens)):
            run = run + 1 if tokens[place] == tokens[place - period] else period
            if run >= period * times:
                longest = max(longest, run)
    return longest if 2 * longest >= len(tokens) else 0


def _is_stock(text: str) -> bool:
    tokens = _tokens(text)
    spaced, close = f" {' '.join(tokens)} ", "".join(tokens)
    whole = spaced.strip() in _STOCK_WHOLE or close in _STOCK_WHOLE
    return whole or any(
        f" {part} " in spaced if part.isascii() else part in close for part in _STOCK_PARTS
    )
