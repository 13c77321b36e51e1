"""Infilling: new frames of speech and motion after frames that are given (paper section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnitalk_cli.dit.accelerate import Runner
from omnitalk_cli.dit.checkpoint import Normalisation
from omnitalk_cli.dit.flow import (
    SCHEDULES,
    SOLVERS,
    Field,
    Schedule,
    Solver,
    State,
    evaluation_times,
    integrate,
    time_grid,
    velocity_from_data,
)
from omnitalk_cli.dit.guidance import FORMS, Guidance, GuidanceForm, guided_field
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import UsageError
from omnitalk_cli.face.codes import CODE_NAMES, EXPRESSION
from omnitalk_cli.pipeline.settings import parse_interval
from omnitalk_cli.text.alignment import Alignment
from omnitalk_cli.types import MEL_RATE, Float

_TAIL_SECONDS = 1.2
_LIPS = [name.startswith(("jaw", "mouth")) for name in CODE_NAMES]


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to sample. ``cfg_*`` are the guidance weights of text, audio and visual reference;
    ``cfg_face`` is the text's weight on the face, so that clear speech does not overdo the lips;
    ``cfg_rescale`` 0…1 takes back what guidance does to the sound's spread; ``cfg_form`` says how
    the weights are put together and ``cfg_interval`` at which flow times they hold
    (``dit.guidance``). ``refresh`` 0…1 is the share of the sound's
    and the lips' noise that is drawn anew after every step; ``liveliness`` scales the noise that
    head, eyes, lids and brows start from: few steps lose a part of the movement."""

    steps: int = 6
    cfg_text: float = 3.0
    cfg_audio: float = 1.0
    cfg_video: float = 1.0
    cfg_face: float = 1.3
    cfg_rescale: float = 0.7
    cfg_form: GuidanceForm = "contextual"
    cfg_interval: str = "0:1"
    schedule: Schedule = "uniform"
    solver: Solver = "euler"
    refresh: float = 1.0
    liveliness: float = 1.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}; use one of {SCHEDULES}")
        if not 0.0 <= self.liveliness <= 3.0:
            raise UsageError(f"liveliness {self.liveliness} is outside 0…3")
        if not 0.0 <= self.refresh <= 1.0 or not 0.0 <= self.cfg_rescale <= 1.0:
            raise UsageError("refresh and the rescaling of guidance must be within 0…1")
        if self.cfg_form not in FORMS:
            raise UsageError(f"unknown form of guidance {self.cfg_form!r}; use one of {FORMS}")
        if self.solver not in SOLVERS:
            raise UsageError(f"unknown solver {self.solver!r}; use one of {SOLVERS}")
        try:
            time_grid(self.schedule, self.steps)
            assert self.guidance
        except ValueError as error:
            raise UsageError(str(error)) from error

    @property
    def guidance(self) -> Guidance:
        """The weights as the solver wants them."""
        return Guidance(
            text=self.cfg_text,
            audio=self.cfg_audio,
            visual=self.cfg_video,
            face_text=self.cfg_face,
            rescale=self.cfg_rescale,
            form=self.cfg_form,
            interval=parse_interval(self.cfg_interval),
        )

    @property
    def driven_guidance(self) -> Guidance:
        """The same when the sound is given and its text is not known.

        The sound then is what the text otherwise is to the face, so that ``cfg_face`` weighs it;
        the evaluation without any condition is the one without sound.
        """
        return Guidance(
            text=self.cfg_face,
            audio=self.cfg_face,
            visual=self.cfg_video,
            interval=parse_interval(self.cfg_interval),
        )


@dataclass(frozen=True, kw_only=True)
class Context:
    """Given frames: normalised ``mel`` ``[T, 100]``, ``codes`` ``[T, 61]``, and their text.

    ``heard`` is False when the sound is of no use: then only the face is given.
    """

    mel: Tensor
    codes: Tensor
    alignment: Alignment
    heard: bool = True

    @classmethod
    def of(
        cls,
        mel: Float,
        codes: Float,
        alignment: Alignment,
        normalisation: Normalisation,
        *,
        heard: bool = True,
    ) -> Context:
        """Normalises log-mel ``[T, 100]`` and codes ``[T, 61]`` at the mel rate."""
        n = normalisation
        return cls(
            mel=((torch.from_numpy(mel) - n.mel_mean.cpu()) / n.mel_std.cpu()).float(),
            codes=((torch.from_numpy(codes) - n.code_mean.cpu()) / n.code_std.cpu()).float(),
            alignment=alignment,
            heard=heard,
        )

    def end(self, frames: int) -> Context:
        """The last ``frames`` frames."""
        start = max(0, len(self.mel) - frames)
        return Context(
            mel=self.mel[start:],
            codes=self.codes[start:],
            alignment=self.alignment.crop(start, len(self.mel)),
            heard=self.heard,
        )


class Infiller:
    """Infills piece after piece; keeps the reference and the end of the last piece in context.

    The reference's length must be a multiple of the network's patch. ``runner`` runs the network.
    """

    def __init__(
        self,
        network: DualBranchDiT,
        normalisation: Normalisation,
        options: SamplingOptions,
        reference: Context,
        *,
        runner: Runner | None = None,
    ) -> None:
        self.network, self.normalisation, self.options = network, normalisation, options
        self.runner = runner
        self.reference = reference
        self.tail: Context | None = None
        self._generator = torch.Generator().manual_seed(options.seed)

    def frames(self, seconds: float) -> int:
        """Mel frames of ``seconds``, rounded to whole patches (four at least)."""
        patch = self.network.config.patch
        return max(patch * 4, round(seconds * MEL_RATE / patch) * patch)

    def speak(self, alignment: Alignment) -> tuple[Float, Float]:
        """Mel ``[T, 100]`` and codes ``[T, 61]`` of the aligned text."""
        return self._infill(alignment, None)

    def rest(self, seconds: float) -> tuple[Float, Float]:
        """A silent pause: the sound is given, only the motion is generated."""
        voice = self.reference if self.reference.heard or self.tail is None else self.tail
        quiet = torch.quantile(voice.mel, 0.05, dim=0)
        frames = self.frames(seconds)
        return self._infill(Alignment.unknown(frames), quiet.expand(frames, -1))

    def follow(self, mel: Float) -> Float:
        """Codes ``[T, 61]`` of the face that speaks the given log-mel ``[T, 100]``.

        The sound must be as loud as the reference in context (its text is not needed) and ``T`` a
        multiple of the network's patch; raises ValueError for another ``T``.
        """
        if len(mel) % self.network.config.patch or not len(mel):
            raise ValueError(f"{len(mel)} frames are not whole patches")
        n = self.normalisation
        given = ((torch.from_numpy(mel) - n.mel_mean.cpu()) / n.mel_std.cpu()).float()
        return self._infill(Alignment.unknown(len(mel)), given, textless=True)[1]

    def _infill(
        self, alignment: Alignment, given_mel: Tensor | None, *, textless: bool = False
    ) -> tuple[Float, Float]:
        context = [self.reference] + ([self.tail] if self.tail is not None else [])
        known, frames = sum(len(part.mel) for part in context), len(alignment.index)
        config = self.network.config
        device = self.normalisation.mel_mean.device

        def sequence(parts: Sequence[Tensor], end: Tensor | None, width: int) -> Tensor:
            last = torch.zeros(frames, width) if end is None else end
            return torch.cat([*parts, last])[None].to(device)

        visible = torch.zeros(1, known + frames, dtype=torch.bool, device=device)
        visible[:, :known] = True
        heard = visible.clone()
        if not self.reference.heard:
            heard[:, : len(self.reference.mel)] = False
        if given_mel is not None:
            heard[:, known:] = True
        condition = Condition.of(
            sequence([part.mel for part in context], given_mel, config.mel_bins),
            sequence([part.codes for part in context], None, config.code_count),
            heard,
            visible,
        )
        noise = tuple(
            torch.randn(1, known + frames, width, generator=self._generator).to(device)
            for width in (config.mel_bins, config.code_count)
        )
        free = torch.tensor([1.0 if lip else self.options.liveliness for lip in _LIPS])
        noise = noise[0], noise[1] * free.to(device)
        # In training the text is known of the whole sample or, with given sound, of none of it.
        spoken = [*(part.alignment for part in context), alignment]
        text = text_input([Alignment.unknown(known + frames)] if textless else spoken, device)
        grid = time_grid(self.options.schedule, self.options.steps)
        with torch.inference_mode():
            field = guided_field(
                self.network,
                text=text,
                condition=condition,
                guidance=self.options.driven_guidance if textless else self.options.guidance,
                times=evaluation_times(grid, self.options.solver),
                runner=self.runner,
            )
            state = integrate(
                _holding(field, condition),
                noise,
                grid,
                solver=self.options.solver,
                refresh=self._refresh(device),
                generator=self._generator,
            )
        mel, codes = (x[0, known:].float().cpu() for x in state)
        if given_mel is not None:
            mel = given_mel.clone()
        piece = Context(mel=mel, codes=codes, alignment=alignment)
        self.tail = piece.end(self.frames(_TAIL_SECONDS))
        return self._denormalise(piece)

    def _refresh(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of sound and lips, which the text decides. Head, eyes and lids would hardly move any more
        if they forgot their noise at every step: it decides where they go."""
        share = torch.tensor(self.options.refresh, device=device)
        return share, share * torch.tensor(_LIPS, device=device)

    def _denormalise(self, piece: Context) -> tuple[Float, Float]:
        n = self.normalisation
        mel = piece.mel * n.mel_std.cpu() + n.mel_mean.cpu()
        codes = piece.codes * n.code_std.cpu() + n.code_mean.cpu()
        codes[:, EXPRESSION] = codes[:, EXPRESSION].clamp(0.0, 1.0)
        return mel.numpy(), codes.numpy()


def _holding(field: Field, condition: Condition) -> Field:
    """``field`` with given frames on the straight path from their noise to what is given.

    In training the state of given frames is that path, and the network's output there counts for
    nothing: left to itself, the state would drift away from what is given.
    """
    given = (
        (condition.audio_visible[..., None], condition.audio),
        (condition.visual_visible[..., None], condition.visual),
    )

    def held(state: State, time: float) -> State:
        return tuple(
            torch.where(visible, velocity_from_data(data, x, time), velocity)
            for (visible, data), x, velocity in zip(given, state, field(state, time), strict=True)
        )

    return held


def text_input(parts: Sequence[Alignment], device: torch.device) -> TextInput:
    """Alignments one after another as a batch of one."""
    joined = Alignment.join(parts)
    ids = joined.ids if len(joined.ids) else np.zeros(1, np.int64)
    return TextInput(
        ids=torch.from_numpy(ids)[None].to(device),
        index=torch.from_numpy(joined.index)[None].to(device),
        phase=torch.from_numpy(joined.phase)[None].to(device),
    )
