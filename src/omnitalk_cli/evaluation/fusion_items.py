"""Held-out sentences for the ablation of fusion: the same voices, faces and noise for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.errors import InputError
from omnitalk_cli.text.alignment import Alignment
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.dataset import Batch, MaskingConfig, Sampler, Utterance
from omnitalk_cli.types import MEL_BINS, Float

_TOKENS = 240  # about 10 s with a patch of 4, of which the last utterance is to be made
_LEAST_FRAMES = 120
_WHOLE = MaskingConfig(
    pair_share=1.0, hide_reference_text=0.5, audio_given=0.0,
    drop_all=0.0, drop_reference=0.0, drop_visual=0.0, drop_audio=0.0, drop_text=0.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A reference and the sentence after it: ``mel`` [T,100] and ``codes`` [T,61] of both, which
    part at ``boundary``; what is said when; the ``text`` of the sentence."""

    mel: Float
    codes: Float
    alignment: Alignment
    boundary: int
    text: str


def held_out(
    utterances: Sequence[Utterance], count: int, *, vocabulary: Vocabulary, patch: int, seed: int
) -> list[HeldOut]:
    """``count`` sentences, evenly over the English utterances that fit behind a reference.

    Raises InputError when there are fewer.
    """
    english = [item for item in utterances if item.language == "en"]
    sampler = Sampler(
        english, None, _WHOLE, vocabulary=vocabulary, patch=patch, rng=np.random.default_rng(seed)
    )
    frames = _TOKENS * patch
    found: list[HeldOut] = []
    order = np.random.default_rng(seed).permutation(len(english))
    for number in order:
        if len(found) == count:
            break
        streams, alignment, boundary = sampler.clip(frames, last=int(number))
        boundary = boundary // patch * patch
        if not _LEAST_FRAMES <= boundary <= frames - _LEAST_FRAMES:
            continue
        found.append(
            HeldOut(
                mel=streams[:, :MEL_BINS],
                codes=streams[:, MEL_BINS:],
                alignment=alignment,
                boundary=boundary,
                text=english[number].text,
            )
        )
    if len(found) < count:
        raise InputError(
            f"the corpus has {len(found)} held-out English sentences of a useful length; "
            f"ask for fewer than {count} (--sentences)"
        )
    return found


def scoring_batches(
    utterances: Sequence[Utterance],
    normalisation: Normalisation,
    *,
    vocabulary: Vocabulary,
    patch: int,
    audio_given: float = 0.0,
    count: int = 6,
) -> list[Batch]:
    """Batches for held-out losses; in a share ``audio_given`` of samples only the face is made."""
    masking = replace(_WHOLE, audio_given=audio_given, given_text=0.0)
    sampler = Sampler(
        utterances, normalisation, masking, vocabulary=vocabulary, patch=patch,
        rng=np.random.default_rng(99),
    )  # fmt: skip
    return [sampler.batch(tokens=640, lengths=(160,)) for _ in range(count)]
