"""Multi-condition guidance in its nested form (system.md section 4).

``v = v(∅) + α_t·(v(t) − v(∅)) + α_a·(v(t,a) − v(t)) + α_v·(v(t,a,v) − v(t,a))``
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omnitalk_cli.dit.flow import Field, State, velocity_from_data
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Weights of text, audio and visual condition. 1, 1, 1 is the plain conditional field.

    ``face_text`` is the text's weight in the visual stream (None: ``text``, as in the paper): what
    makes speech clear exaggerates the lips.
    """

    text: float = 2.0
    audio: float = 2.0
    visual: float = 2.0
    face_text: float | None = None

    def _nested(self, text: float) -> tuple[float, float, float, float]:
        return 1.0 - text, text - self.audio, self.audio - self.visual, self.visual

    def terms(self) -> list[tuple[tuple[float, float], tuple[bool, bool, bool]]]:
        """Coefficients in the (audio, visual) stream and (text, audio, visual) given, of each
        field evaluation that counts.

        The nested form, sorted by evaluation: ∅ gets 1 − α_t, t gets α_t − α_a, (t,a) gets
        α_a − α_v, (t,a,v) gets α_v. Evaluations with coefficients 0 are left out.
        """
        face_text = self.text if self.face_text is None else self.face_text
        given = (
            (False, False, False), (True, False, False), (True, True, False), (True, True, True),
        )  # fmt: skip
        pairs = zip(self._nested(self.text), self._nested(face_text), strict=True)
        return [
            (pair, kept)
            for pair, kept in zip(pairs, given, strict=True)
            if max(abs(pair[0]), abs(pair[1])) > 1e-9
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
        for stream, (x, out) in enumerate(zip(inputs, outputs, strict=False)):
            assert out is not None
            out = out.float()
            if model.config.prediction == "data":
                out = velocity_from_data(out, x, time)
            stacked = out.reshape(count, batch, *out.shape[1:])
            velocities.append(torch.einsum("n,n...->...", weights[:, stream], stacked))
        return tuple(velocities)

    return field
