"""Multi-condition guidance (system.md section 4), in its nested form and in a contextual one.

Nested: ``v = v(∅) + α_t·(v(t) − v(∅)) + α_a·(v(t,a) − v(t)) + α_v·(v(t,a,v) − v(t,a))``.
Contextual: the text's term is ``v(t) + (α_t − 1)·(v(t,a,v) − v(a,v))`` instead. It makes clear what
is said in the voice at hand, while ``v(t) − v(∅)`` does so in the voice of nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.flow import Field, State, velocity_from_data
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.dit.tables import Tables

GuidanceForm = Literal["contextual", "nested"]
FORMS: tuple[GuidanceForm, ...] = get_args(GuidanceForm)
Interval = tuple[float, float]
ALWAYS: Interval = (0.0, 1.0)

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
    arXiv 2305.08891): guidance exaggerates those, too. ``interval``: the flow times at which there
    is guidance (Kynkäänniemi et al., arXiv 2404.07724); at others, weights over 1 are 1, and the
    plain conditional field is all that is evaluated.
    """

    text: float = 2.0
    audio: float = 2.0
    visual: float = 2.0
    face_text: float | None = None
    rescale: float = 0.0
    form: GuidanceForm = "nested"
    interval: Interval = ALWAYS

    def __post_init__(self) -> None:
        low, high = self.interval
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"guidance interval {low}:{high} is not within 0:1, or falls")

    def plain(self) -> Guidance:
        """What is left where there is no guidance."""

        def bounded(weight: float) -> float:
            return min(weight, 1.0)

        face_text = None if self.face_text is None else bounded(self.face_text)
        return replace(
            self, text=bounded(self.text), audio=bounded(self.audio), visual=bounded(self.visual),
            face_text=face_text, rescale=0.0, interval=ALWAYS,
        )  # fmt: skip

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
    times: Sequence[float] | None = None,
    runner: Runner | None = None,
) -> Field:
    """The guided velocity of a batch as a function of ``(audio, visual)`` and time.

    All conditions that count run as one batch. Text is embedded once for all steps. A state of one
    tensor means audio alone. With ``times``, the only ones that will be asked for, what the steps
    have in common is computed once (``dit.tables``) and ``runner`` runs the evaluations; the field
    is the same to rounding.
    """
    low, high = guidance.interval

    def within(time: float) -> bool:
        return low <= time <= high

    def part(weights: Guidance, inside: bool) -> Field:
        asked = None if times is None else [time for time in times if within(time) == inside]
        return _field(model, text, condition, weights, mask, asked, runner or Runner())

    guided = part(guidance, True)
    if guidance.interval == ALWAYS:
        return guided
    plain = part(guidance.plain(), False)
    return lambda state, time: (guided if within(time) else plain)(state, time)


def _field(
    model: DualBranchDiT,
    text: TextInput,
    condition: Condition,
    guidance: Guidance,
    mask: Tensor | None,
    times: Sequence[float] | None,
    runner: Runner,
) -> Field:
    """The field with the same guidance at all times."""
    terms = guidance.terms()
    count = len(terms)
    batch, frames = condition.audio.shape[:2]
    device = condition.audio.device

    def column(position: int) -> Tensor:
        drops = torch.tensor([not kept[position] for _, kept in terms], device=device)
        return drops.repeat_interleave(batch)

    embedded = _embedded(model, text, frames, [not kept[0] for _, kept in terms], batch)
    given = condition.repeat(count).drop(audio=column(1), visual=column(2))
    repeated_mask = None if mask is None else torch.cat([mask] * count)
    weights = torch.tensor([pair for pair, _ in terms], device=device)  # [n, stream]

    def evaluate(state: State, time: float) -> State:
        """The network's outputs for all terms, ``[n·B, T, c]``."""
        inputs = [torch.cat([x] * count) for x in state]
        outputs = model(
            inputs[0],
            inputs[1] if len(inputs) > 1 else None,
            condition=given,
            text=embedded,
            time=torch.full((batch * count,), time, device=device),
            mask=repeated_mask,
        )
        return tuple(x for x in outputs if x is not None)

    if times:
        tabled = _Tabled(model, given, embedded, repeated_mask, times, runner)
        evaluate = tabled.evaluate

    def field(state: State, time: float) -> State:
        outputs = evaluate(state, time)
        # Differences of outputs are small: autocast, where training scores, must not round them.
        with torch.autocast(device.type, enabled=False):
            return combined(state, outputs, time)

    def combined(state: State, outputs: State, time: float) -> State:
        velocities = []
        plain = slice((count - 1) * batch, None)  # everything given
        for stream, (x, out) in enumerate(zip(state, outputs, strict=True)):
            out = out.float()
            if model.config.prediction == "data":
                out = velocity_from_data(out, torch.cat([x] * count), time)
            stacked = out.reshape(count, batch, *out.shape[1:])
            velocity = torch.einsum("n,n...->...", weights[:, stream], stacked)
            if stream == 0 and guidance.rescale > 0:
                velocity = _rescaled(
                    velocity, out[plain], x, time, condition.audio_visible, guidance.rescale
                )
            velocities.append(velocity)
        return tuple(velocities)

    return field


def _embedded(
    model: DualBranchDiT, text: TextInput, frames: int, drops: Sequence[bool], batch: int
) -> Tensor:
    """Text ``[n·B, L, text_dim]`` of all terms; there are but two kinds, with it and without."""
    kinds = sorted(set(drops))
    dropped = torch.tensor(kinds, device=text.ids.device).repeat_interleave(batch)
    parts = model.text(text.repeat(len(kinds)), frames, dropped).chunk(len(kinds))
    return torch.cat([parts[kinds.index(drop)] for drop in drops])


class _Tabled:
    """Evaluations by tables and a runner, which may want longer sequences."""

    def __init__(
        self,
        model: DualBranchDiT,
        condition: Condition,
        text: Tensor,
        mask: Tensor | None,
        times: Sequence[float],
        runner: Runner,
    ) -> None:
        self._model, self._runner = model, runner
        self._frames = condition.audio.shape[1]
        self._length = runner.length(self._frames)
        more = self._length - self._frames
        # A bucket always has its mask, also when it is just full: graphs are made for one or none.
        if runner.bucket > 1:
            if mask is None:
                mask = torch.ones_like(condition.audio_visible)
            # Padding comes after the text's own layers: their statistics would see it.
            text = F.pad(text, (0, 0, 0, more // model.config.patch))
            condition, mask = condition.padded(self._length), F.pad(mask, (0, more))
        self._parts = condition, text, mask
        self._times = times
        self._tables: Tables | None = None

    def evaluate(self, state: State, time: float) -> State:
        """The network's outputs for all terms, ``[n·B, T, c]``."""
        if self._tables is None:
            condition, text, mask = self._parts
            self._tables = Tables.of(
                self._model, condition=condition, text=text, times=self._times, mask=mask,
                audio_alone=len(state) == 1,
            )  # fmt: skip
        more = self._length - self._frames
        padded = tuple(F.pad(x, (0, 0, 0, more)) for x in state) if more else state
        outputs = self._runner(self._model, padded, self._tables.at(time))
        return tuple(x[:, : self._frames] for x in outputs)


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
