"""The dual-branch diffusion transformer: text and a reference in, audio and visual field out.

Letters: ``B`` batch, ``T`` mel frames, ``L = T / patch`` tokens, ``K`` text tokens, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from omnitalk_cli.dit.blocks import FusionBlock, StreamBlock, StreamContext, modulate
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.layers import (
    ConvNeXtBlock,
    ConvPosition,
    TimeEmbedding,
    rotary_angles,
    sinusoidal_positions,
)


@dataclass(frozen=True, kw_only=True)
class TextInput:
    """Reference transcript and driving text as one sequence.

    ``ids`` ``[B, K]`` (0 pads). For the aligned layout also ``index`` ``[B, T]``, the token that
    each frame speaks (−1: none known), and ``phase`` ``[B, T, 2]``, how far the frame is through
    its token and its word, −0.5…0.5.
    """

    ids: Tensor
    index: Tensor | None = None
    phase: Tensor | None = None

    def repeat(self, times: int) -> TextInput:
        """The same text ``times`` times along the batch."""
        return TextInput(
            ids=torch.cat([self.ids] * times),
            index=None if self.index is None else torch.cat([self.index] * times),
            phase=None if self.phase is None else torch.cat([self.phase] * times),
        )


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The unmasked part of the sequence, normalised; zero where it is not visible.

    ``audio`` ``[B, T, 100]``, ``visual`` ``[B, T, 61]``; ``audio_visible``, ``visual_visible``
    ``[B, T]`` are True on the given frames.
    """

    audio: Tensor
    visual: Tensor
    audio_visible: Tensor
    visual_visible: Tensor

    @classmethod
    def of(
        cls, audio: Tensor, visual: Tensor, audio_visible: Tensor, visual_visible: Tensor
    ) -> Condition:
        """Blanks the frames that are not visible."""
        return cls(
            audio=audio * audio_visible[..., None],
            visual=visual * visual_visible[..., None],
            audio_visible=audio_visible,
            visual_visible=visual_visible,
        )

    def padded(self, frames: int) -> Condition:
        """With frames at the end that are not given, ``frames`` in all."""
        more = frames - self.audio.shape[1]
        return Condition(
            audio=F.pad(self.audio, (0, 0, 0, more)),
            visual=F.pad(self.visual, (0, 0, 0, more)),
            audio_visible=F.pad(self.audio_visible, (0, more)),
            visual_visible=F.pad(self.visual_visible, (0, more)),
        )

    def drop(self, *, audio: Tensor, visual: Tensor) -> Condition:
        """Without the streams of the samples for which ``audio`` or ``visual`` ``[B]`` is True."""
        return Condition.of(
            self.audio,
            self.visual,
            self.audio_visible & ~audio[:, None],
            self.visual_visible & ~visual[:, None],
        )

    def repeat(self, times: int) -> Condition:
        """The same condition ``times`` times along the batch."""
        fields = ("audio", "visual", "audio_visible", "visual_visible")
        return replace(self, **{name: torch.cat([getattr(self, name)] * times) for name in fields})


class TextEncoder(nn.Module):
    """Token lookup, absolute sinusoidal positions, ConvNeXt-V2 blocks; then one vector a frame."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.text_dim
        table = torch.empty(config.vocabulary_size, width)
        if not table.is_meta:  # there, for checkpoints, this would import sympy (half a second)
            nn.init.normal_(table)
        self.text_embed = nn.Embedding.from_pretrained(table, freeze=False)
        self.text_blocks = nn.ModuleList(
            ConvNeXtBlock(width, width * config.text_conv_mult)
            for _ in range(config.text_conv_layers)
        )
        if config.text_layout == "aligned":
            self.no_text = nn.Parameter(torch.zeros(width))
            self.phase = nn.Linear(2, width)

    def forward(self, text: TextInput, frames: int, drop: Tensor) -> Tensor:
        """Text per token of the transformer, ``[B, L, text_dim]``; ``drop`` ``[B]`` is True on the
        samples that must not see their text."""
        if self.config.text_layout == "aligned":
            spread = self._aligned(text, drop)
        else:
            spread = self._filled(text, frames, drop)
        return reduce(spread, "b (l p) d -> b l d", "mean", p=self.config.patch)

    def _blocks(self, ids: Tensor, padding: Tensor) -> Tensor:
        x = self.text_embed(ids)
        x = x + sinusoidal_positions(x.shape[1], x.shape[2], x.device).to(x.dtype)
        if not self.config.text_mask_padding:
            padding = torch.zeros_like(padding)
        x = x.masked_fill(padding[..., None], 0.0)
        for block in self.text_blocks:
            x = block(x).masked_fill(padding[..., None], 0.0)
        return x

    def _filled(self, text: TextInput, frames: int, drop: Tensor) -> Tensor:
        ids = F.pad(text.ids[:, :frames], (0, max(0, frames - text.ids.shape[1])))
        # The mask is that of the real text also where the text is dropped, as in F5-TTS.
        padding = ids == 0
        return self._blocks(ids.masked_fill(drop[:, None], 0), padding)

    def _aligned(self, text: TextInput, drop: Tensor) -> Tensor:
        if text.index is None or text.phase is None:
            raise ValueError("the aligned text layout needs index and phase")
        known = (text.index >= 0) & ~drop[:, None]
        x = self._blocks(text.ids, text.ids == 0)
        where = text.index.clamp_min(0)[..., None].expand(-1, -1, x.shape[-1])
        spread = x.gather(1, where) + self.phase(text.phase.to(x.dtype))
        return torch.where(known[..., None], spread, self.no_text.to(x.dtype))


class Stream(nn.Module):
    """The ends of one branch: input projection with positions, time, and the output map."""

    def __init__(self, config: DiTConfig, channels: int, dim: int) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        patched = channels * config.patch
        flag = 1 if config.visible_flag else 0
        self.proj = nn.Linear(2 * patched + config.text_dim + flag, dim)
        self.sound: nn.Linear | None = None
        if config.given_sound and channels == config.code_count:
            self.sound = nn.Linear(config.mel_bins * config.patch, dim)
            nn.init.zeros_(self.sound.weight)
            nn.init.zeros_(self.sound.bias)
        self.positions = ConvPosition(dim, config.position_kernel, config.position_groups)
        self.time = TimeEmbedding(dim)
        self.summary: nn.Module | None = None
        if config.reference_summary:
            inputs = 2 * (config.mel_bins + config.code_count) + 2
            self.summary = nn.Sequential(nn.Linear(inputs, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.shared: nn.Linear | None = None
        if config.modulation == "shared":
            self.shared = nn.Linear(dim, 6 * dim)
            nn.init.zeros_(self.shared.weight)
            nn.init.zeros_(self.shared.bias)
        self.blocks = nn.ModuleList(StreamBlock(config, dim) for _ in range(config.single_depth))
        self.final = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, patched)
        for layer in (self.final, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def start(
        self,
        noisy: Tensor,
        given: Tensor,
        visible: Tensor,
        text: Tensor,
        mask: Tensor | None,
        sound: Tensor | None = None,
    ) -> Tensor:
        """Tokens ``[B, L, D]`` of the noisy and the given frames ``[B, T, channels]``, text, and
        given ``sound`` ``[B, T, 100]`` where the configuration has it."""
        p = self.config.patch
        # State and condition are kept in fp32, whatever the network computes in.
        noise = patches(noisy, p).to(text.dtype)
        x = self.proj(torch.cat([noise, *self.known(given, visible, text)], dim=-1))
        if self.sound is not None and sound is not None:
            x = x + self.sound(patches(sound, p).to(text.dtype))
        return self.positions(x, mask)

    def known(self, given: Tensor, visible: Tensor, text: Tensor) -> list[Tensor]:
        """What of the projection's input is no noise."""
        parts = [patches(given, self.config.patch).to(text.dtype), text]
        if self.config.visible_flag:
            share = reduce(visible.to(text.dtype), "b (l p) -> b l 1", "mean", p=self.config.patch)
            parts.append(share)
        return parts

    def context(
        self,
        time: Tensor,
        summary: Tensor | None,
        angles: Tensor,
        mask: Tensor | None,
    ) -> StreamContext:
        """Time (and the reference's summary) as every block of this stream wants it."""
        embedded, shared = self.moment(self.time(time), summary)
        return StreamContext(time=embedded, shared=shared, angles=angles, mask=mask)

    def moment(self, embedded: Tensor, summary: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embedded time ``[B, D]`` with the reference's summary, and the shared map of it."""
        if self.summary is not None and summary is not None:
            embedded = embedded + self.summary(summary.to(embedded.dtype))
        shared = None if self.shared is None else self.shared(F.silu(embedded))
        return embedded, shared

    def finish(self, x: Tensor, context: StreamContext) -> Tensor:
        """The single-modality blocks, the final AdaLN and the output map."""
        for block in self.blocks:
            x = block(x, context)
        return self.output(x, self.final(F.silu(context.known_time)))

    def output(self, x: Tensor, final: Tensor) -> Tensor:
        """Frames ``[B, T, channels]`` by the final AdaLN ``[B, 2·D]``: scale, then shift."""
        scale, shift = final[:, None].chunk(2, dim=-1)
        x = modulate(x, shift, scale)
        return rearrange(self.out(x), "b l (p c) -> b (l p) c", p=self.config.patch)


def patches(frames: Tensor, patch: int) -> Tensor:
    """Frames ``[B, T, c]`` as tokens ``[B, L, patch·c]``."""
    return rearrange(frames, "b (l p) c -> b l (p c)", p=patch)


def _statistics(values: Tensor, visible: Tensor) -> Tensor:
    """Mean and deviation of the visible frames ``[B, T, c]``, and whether there are any."""
    weight = visible.to(values.dtype)[..., None]
    count = weight.sum(1)
    mean = (values * weight).sum(1) / count.clamp_min(1)
    variance = ((values - mean[:, None]).square() * weight).sum(1) / count.clamp_min(1)
    return torch.cat([mean, (variance + 1e-6).sqrt(), (count > 0).to(values.dtype)], dim=-1)


class DualBranchDiT(nn.Module):
    """Audio and visual streams, fused; the network of system.md section 2 (paper Figure 2)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextEncoder(config)
        self.audio = Stream(config, config.mel_bins, config.dim)
        if not config.audio_only:
            self.visual = Stream(config, config.code_count, config.visual_dim)
        self.fusion = nn.ModuleList(FusionBlock(config) for _ in range(config.fusion_depth))

    def forward(
        self,
        noisy_audio: Tensor,
        noisy_visual: Tensor | None,
        *,
        condition: Condition,
        text: Tensor,
        time: Tensor,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Predicts both streams, ``[B, T, 100]`` and ``[B, T, 61]``.

        ``noisy_audio`` ``[B, T, 100]``, ``noisy_visual`` ``[B, T, 61]`` or None (the audio branch
        alone, which then is F5-TTS' network); ``text`` ``[B, L, text_dim]`` from ``self.text``;
        ``time`` ``[B]`` in 0…1; ``mask`` ``[B, T]`` True on real frames. ``T`` must be a multiple
        of ``config.patch``. Raises ValueError when it is not, and for a visual stream that the
        network does not have.
        """
        if self.config.audio_only and noisy_visual is not None:
            raise ValueError("this network has no visual branch")
        patch, frames = self.config.patch, noisy_audio.shape[1]
        if frames % patch:
            raise ValueError(f"{frames} frames do not divide into patches of {patch}")
        token_mask = None if mask is None else mask[:, ::patch]
        angles = rotary_angles(frames // patch, self.config.head_dim, noisy_audio.device)
        summary = self.summary(condition)
        at = self.audio.context(time, summary, angles, token_mask)
        a = self.audio.start(
            noisy_audio, condition.audio, condition.audio_visible, text, token_mask
        )
        if noisy_visual is None:
            for block in self.fusion:
                assert isinstance(block, FusionBlock)
                a = block.audio(a, at)
            return self.audio.finish(a, at), None
        vt = self.visual.context(time, summary, angles, token_mask)
        v = self.visual.start(
            noisy_visual, condition.visual, condition.visual_visible, text, token_mask,
            condition.audio,
        )  # fmt: skip
        for block in self.fusion:
            a, v = block(a, v, at, vt)
        return self.audio.finish(a, at), self.visual.finish(v, vt)

    def summary(self, condition: Condition) -> Tensor | None:
        """What the time embedding is told of the reference ``[B, 2·(100 + 61) + 2]``, if so."""
        if not self.config.reference_summary:
            return None
        parts = [
            _statistics(condition.audio, condition.audio_visible),
            _statistics(condition.visual, condition.visual_visible),
        ]
        return torch.cat(parts, dim=-1)
