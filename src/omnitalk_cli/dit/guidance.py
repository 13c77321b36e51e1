"""Multi-condition guidance (system.md section 4), in its nested form and in a contextual one.

Nested: ``v = v(∅) + α_t·(v(t) − v(∅)) + α_a·(v(t,a) − v(t)) + α_v·(v(t,a,v) − v(t,a))``.
Contextual: the text's term is ``v(t) + (α_t − 1)·(v(t,a,v) − v(a,v))`` instead. It makes clear what
is said in the voice at hand, while ``v(t) − v(∅)`` does so in the voice of nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from omnitalk_cli.dit.flow import Field, State, velocity_from_data
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput

GuidanceForm = Literal["contextual", "nested"]
FORMS: tuple[GuidanceForm, ...] = get_args(GuidanceForm)

# (text, audio, visual) given in each evaluation that can be asked for; everything comes last.
_GIVEN = (
    (False, False, False), (True, False, False), (True, True, False), (False, True, True),
    (True, True, True),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Weights of text, audio and visual condition. 1, 1, 1 is the plain conditional field.

    ``face_text`` is the text's weight in the visual stream (None: ``text``, as in the paper): what
    makes speech clear exaggerates the lips. ``rescale`` 0…1 takes the audio stream's mean and
    spread per channel back towards those of the plain conditional prediction (after Lin et al.,
    arXiv 2305.08891): guidance exaggerates those, too.
    """

    text: float = 2.0
    audio: float = 2.0
    visual: float = 2.0
    face_text: float | None = None
    rescale: float = 0.0
    form: GuidanceForm = "nested"

    def _coefficients(self, text: float) -> tuple[float, ...]:
        """Of ∅, t, (t,a), (a,v) and (t,a,v)."""
        audio, visual = self.audio, self.visual
        if self.form == "nested":
            return 1.0 - text, text - audio, audio - visual, 0.0, visual
        return 0.0, 1.0 - audio, audio - visual, 1.0 - text, visual + text - 1.0

    def terms(self) -> list[tuple[tuple[float, float], tuple[bool, bool, bool]]]:
        """Coefficients in the (audio, visual) stream and (text, audio, visual) given, of each
        field evaluation that counts; the one with everything given, if it does, is the last.
        """
        face_text = self.text if self.face_text is None else self.face_text
        pairs = zip(self._coefficients(self.text), self._coefficients(face_text), strict=True)
        return [
            (pair, given)
            for pair, given in zip(pairs, _GIVEN, strict=True)
            if (all(given) and self.rescale > 0) or max(abs(pair[0]), abs(pair[1])) > 1e-9
        ]


def guided_field(
    model: DualBranchDiT,
    *,
    text: TextInput,
    condition: Condition,
    guidance: Guidance,
    mask: Tensor | None = None,
) -> Field:
    """The guided velocity of a batch as a function of ``(audio, visual)`` and time.

    All conditions that count run as one batch. Text is embedded once for all steps. A state of one
    tensor means audio alone.
    """
    terms = guidance.terms()
    batch, frames = condition.audio.shape[:2]
    device = condition.audio.device

    def column(position: int) -> Tensor:
        drops = torch.tensor([not kept[position] for _, kept in terms], device=device)
        return drops.repeat_interleave(batch)

    count = len(terms)
    repeated_text = TextInput(
        ids=torch.cat([text.ids] * count),
        index=None if text.index is None else torch.cat([text.index] * count),
        phase=None if text.phase is None else torch.cat([text.phase] * count),
    )
    embedded = model.text(repeated_text, frames, column(0))
    given = condition.repeat(count).drop(audio=column(1), visual=column(2))
    repeated_mask = None if mask is None else torch.cat([mask] * count)
    weights = torch.tensor([pair for pair, _ in terms], device=device)  # [n, stream]

    def field(state: State, time: float) -> State:
        inputs = [torch.cat([x] * count) for x in state]
        outputs = model(
            inputs[0],
            inputs[1] if len(inputs) > 1 else None,
            condition=given,
            text=embedded,
            time=torch.full((batch * count,), time, device=device),
            mask=repeated_mask,
        )
        velocities = []
        plain = slice((count - 1) * batch, None)  # everything given
        for stream, (x, out) in enumerate(zip(inputs, outputs, strict=False)):
            assert out is not None
            out = out.float()
            if model.config.prediction == "data":
                out = velocity_from_data(out, x, time)
            stacked = out.reshape(count, batch, *out.shape[1:])
            velocity = torch.einsum("n,n...->...", weights[:, stream], stacked)
            if stream == 0 and guidance.rescale > 0:
                velocity = _rescaled(
                    velocity, out[plain], x[plain], time, condition.audio_visible, guidance.rescale
                )
            velocities.append(velocity)
        return tuple(velocities)

    return field


def _rescaled(
    guided: Tensor, plain: Tensor, state: Tensor, time: float, visible: Tensor, share: float
) -> Tensor:
    """``guided`` velocity ``[B, T, c]`` whose data prediction has, on the frames to generate, the
    mean and spread per channel of the ``plain`` one, by ``share``."""
    left = 1.0 - time
    wanted, found = state + left * plain, state + left * guided
    weight = (~visible)[..., None].to(found.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1.0)

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (x * weight).sum(1, keepdim=True) / count
        return mean, (((x - mean).square() * weight).sum(1, keepdim=True) / count + 1e-6).sqrt()

    mean, spread = moments(found)
    mean_wanted, spread_wanted = moments(wanted)
    moved = (found - mean) * (spread_wanted / spread) + mean_wanted
    return guided + share * (moved - found) / max(left, 1e-5)
