"""Whisper models small enough for tests, made by CTranslate2's own converter machinery.

One is random. The other says a fixed sentence at fixed times, whatever it hears: its token
embeddings are nothing, so the decoder knows only its position, and from each position the output
layer reads the token that is due there, the cross-attention the frame in which it is said. Real
ones do the same to silence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from ctranslate2.converters.converter import Converter
from ctranslate2.specs.whisper_spec import WhisperSpec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from numpy.typing import NDArray

WIDTH = 128
MELS, FRAMES, POSITIONS = 80, 1500, 448
BUMPS, BUMP_FRAMES = 100, 5  # places of the encoder's output that can be pointed at: 0.1 s each
LANGUAGES = tuple(code for code in _LANGUAGE_CODES if code != "yue")
TEXT_TOKENS = 50257  # as all Whisper models have
# 8-bit products of processors without VNNI overflow where two neighbours of a row are large, so
# that neighbouring positions have directions that are not neighbours.
LONGEST = WIDTH // 2  # tokens of the fixed sentence
DIRECTION = 2 * (np.arange(WIDTH) % LONGEST) + np.arange(WIDTH) // LONGEST
Array = NDArray[np.float32]


def tiny_whisper(
    folder: Path,
    text: str | None = None,
    *,
    times: tuple[float, float] = (0.5, 2.0),
    language: str = "en",
    rest: float = 0.0,
) -> Path:
    """A faster-whisper model in ``folder`` that hears ``text`` between ``times`` in every sound
    (None: a random one). ``rest`` is the probability of its language not to be that language."""
    tokenizer = _tokenizer()
    spec = _random_spec(len(_tokens(tokenizer)))
    if text is not None:
        _teach(spec, tokenizer, text, times, language, rest)
    _Maker(spec, tokenizer).convert(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS}))
    return folder


class _Maker(Converter):
    """Takes a network and its tokenizer instead of reading them from somewhere."""

    def __init__(self, spec: WhisperSpec, tokenizer: tokenizers.Tokenizer) -> None:
        self._spec, self._tokenizer = spec, tokenizer

    def _load(self) -> WhisperSpec:
        self._spec.register_vocabulary(_tokens(self._tokenizer))
        config = self._spec.config
        config.suppress_ids, config.suppress_ids_begin = [], []
        config.alignment_heads = [(0, 0)]
        config.lang_ids = [self._tokenizer.token_to_id(f"<|{code}|>") for code in LANGUAGES]
        return self._spec


def _tokenizer() -> tokenizers.Tokenizer:
    """Bytes as tokens, and Whisper's special ones at their usual numbers."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    # A space is never a token alone where faster-whisper forbids what begins with one.
    merges = [("Ġ", mark) for mark in ("-", "'", "â")]
    named = [*letters, *(a + b for a, b in merges)]
    filler = [f"filler{number}" for number in range(TEXT_TOKENS - 1 - len(named))]
    # By the empty token CTranslate2 knows models of many languages.
    vocabulary = {token: number for number, token in enumerate([*named, *filler, ""])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    special = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe",
               "startoflm", "startofprev", "nospeech", "notimestamps"]  # fmt: skip
    made.add_special_tokens([f"<|{name}|>" for name in special])
    return made


def _tokens(tokenizer: tokenizers.Tokenizer) -> list[str]:
    """All tokens by number; the times follow those of the tokenizer."""
    known = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    return [*known, *(f"<|{0.02 * number:.2f}|>" for number in range(FRAMES + 1))]


def _random_spec(tokens: int) -> WhisperSpec:
    rng = np.random.default_rng(0)

    def some(*shape: int) -> Array:
        return rng.normal(0, 0.02, shape).astype(np.float32)

    spec = WhisperSpec(1, 1, 1, 1)
    for conv, channels in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, WIDTH)):
        conv.weight, conv.bias = some(WIDTH, channels, 3), some(WIDTH)
    spec.encoder.position_encodings.encodings = some(FRAMES, WIDTH)
    spec.decoder.position_encodings.encodings = some(POSITIONS, WIDTH)
    spec.decoder.embeddings.weight = some(tokens, WIDTH)
    spec.decoder.projection.weight = some(tokens, WIDTH)
    _fill_norm(spec.encoder.layer_norm)
    _fill_norm(spec.decoder.layer_norm)
    encoder, decoder = spec.encoder.layer[0], spec.decoder.layer[0]
    for attention, widths in (
        (encoder.self_attention, (3, 1)),
        (decoder.self_attention, (3, 1)),
        (decoder.attention, (1, 2, 1)),
    ):
        _fill_norm(attention.layer_norm)
        for linear, width in zip(attention.linear, widths, strict=True):
            linear.weight, linear.bias = some(width * WIDTH, WIDTH), some(width * WIDTH)
    for layer in (encoder, decoder):
        _fill_norm(layer.ffn.layer_norm)
        layer.ffn.linear_0.weight, layer.ffn.linear_0.bias = some(2 * WIDTH, WIDTH), some(2 * WIDTH)
        layer.ffn.linear_1.weight, layer.ffn.linear_1.bias = some(WIDTH, 2 * WIDTH), some(WIDTH)
    return spec


def _fill_norm(norm: Any) -> None:
    norm.gamma, norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


def _teach(
    spec: WhisperSpec,
    tokenizer: tokenizers.Tokenizer,
    text: str,
    times: tuple[float, float],
    language: str,
    rest: float,
) -> None:
    """Make ``spec`` say ``text`` between ``times``."""
    spoken = tokenizer.encode(text, add_special_tokens=False).ids
    first_time = tokenizer.get_vocab_size()
    last = first_time + round(times[1] / 0.02)
    due = [first_time, *spoken, last, tokenizer.token_to_id("<|endoftext|>")]
    prompt = 3  # start, language, task: the answer of the last of them is the first token
    assert prompt + len(due) <= LONGEST
    decoder = spec.decoder
    decoder.embeddings.weight[:] = 0
    for linear in (*decoder.layer[0].self_attention.linear, decoder.layer[0].attention.linear[2],
                   decoder.layer[0].ffn.linear_1):  # fmt: skip
        linear.weight[:], linear.bias[:] = 0, 0
    decoder.position_encodings.encodings[:WIDTH] = np.eye(WIDTH, dtype=np.float32)[DIRECTION]
    for step, token in enumerate(due):
        decoder.projection.weight[token, DIRECTION[prompt - 1 + step]] = 3.0
    _choose_language(decoder.projection.weight, tokenizer, language, rest)

    places = np.linspace(*times, len(spoken)) / (0.02 * BUMP_FRAMES)
    query, keys = decoder.layer[0].attention.linear[:2]
    query.weight[:], query.bias[:], keys.weight[:], keys.bias[:] = 0, 0, 0, 0
    keys.weight[:WIDTH] = np.eye(WIDTH)
    for number, place in enumerate(places):
        query.weight[min(int(place), BUMPS - 1), DIRECTION[prompt + number]] = 1.0
    _mark_frames(spec.encoder)


def _choose_language(
    weight: Array, tokenizer: tokenizers.Tokenizer, language: str, rest: float
) -> None:
    """The answer to the first token: the language, and ``rest`` shared by two others."""
    hot = np.sqrt(WIDTH - 1)  # what layer normalisation makes of a one
    weight[tokenizer.token_to_id(f"<|{language}|>"), 0] = 3.0
    for other in ("cy", "nn") if rest else ():
        share = np.log(rest / 2 / (1 - rest))
        weight[tokenizer.token_to_id(f"<|{other}|>"), 0] = 3.0 + share / hot


def _mark_frames(encoder: Any) -> None:
    """Every 0.1 s of the encoder's output is another direction, whatever is heard."""
    for linear in (*encoder.layer[0].self_attention.linear, encoder.layer[0].ffn.linear_1):
        linear.weight[:], linear.bias[:] = 0, 0
    for conv in (encoder.conv1, encoder.conv2):
        conv.weight[:], conv.bias[:] = 0, 0
    place = np.minimum(np.arange(FRAMES) // BUMP_FRAMES, WIDTH - 1)
    encoder.position_encodings.encodings[:] = np.eye(WIDTH, dtype=np.float32)[place]
