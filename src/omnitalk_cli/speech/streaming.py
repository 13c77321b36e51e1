"""Sound of mel that arrives in pieces, in memory that does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from omnitalk_cli.types import HOP, SAMPLE_RATE

CHUNK_FRAMES = 1024  # 11 s: long enough that the repeated context costs under 10 %


class Streaming:
    """Base of vocoders of which every sample depends on a bounded stretch of mel.

    A subclass says how long that is (``context``) and decodes a stretch by being called.
    """

    least_frames = 2  # of a whole mel
    chunk_frames = CHUNK_FRAMES  # whose samples are made at a time

    @property
    def sample_rate(self) -> int:
        """24 000."""
        return SAMPLE_RATE

    @property
    def context(self) -> int:
        """Frames on either side of a frame that its 256 samples depend on, 1 at least."""
        raise NotImplementedError

    def _frames(self, mels: Iterable[Tensor]) -> Iterable[Tensor]:
        """What ``_decoded`` takes of ``mels``, frame by frame: the mels themselves."""
        return mels

    def _decoded(self, frames: Tensor) -> Tensor:
        """Audio [B,S] of a stretch [B,t,F] of what ``_frames`` gives."""
        audio: Tensor = self(frames)  # type: ignore[operator]
        return audio

    @torch.inference_mode()
    def decode_stream(
        self, mels: Iterable[Tensor], *, chunk: int | None = None
    ) -> Iterator[Tensor]:
        """Audio for mel that arrives in pieces [B,t,100] (or [t,100]) of any length.

        The pieces of audio [B,s] (or [s]) join to what one call makes of the whole, up to
        rounding. Each is made of ``chunk`` frames with their whole context around them. Raises
        ValueError when all pieces together have fewer frames than a vocoder needs.
        """
        chunk = self.chunk_frames if chunk is None else chunk
        if chunk < 1:
            raise ValueError("chunk must be at least one frame")
        context = self.context
        buffer: Tensor | None = None
        base = 0  # absolute index of the first frame in the buffer
        done = 0  # frames whose samples have been given out
        for frames in self._frames(mels):
            # Long pieces are taken in slices, so that the buffer stays short.
            for piece in frames.split(chunk, dim=-2):
                buffer = piece if buffer is None else torch.cat([buffer, piece], dim=-2)
                # A frame more than the context: a centred last frame has no samples of its own.
                while base + buffer.shape[-2] > done + chunk + context:
                    stop = done + chunk + context - base
                    audio = self._rows(buffer[..., :stop, :])
                    yield audio[..., (done - base) * HOP : (done - base + chunk) * HOP]
                    done += chunk
                    keep = max(done - context - base, 0)
                    buffer, base = buffer[..., keep:, :], base + keep
        if buffer is None or base + buffer.shape[-2] < self.least_frames:
            raise ValueError(f"a vocoder needs {self.least_frames} mel frames at least")
        yield self._rows(buffer)[..., (done - base) * HOP :]

    def decode(self, mel: Tensor, *, chunk: int | None = None) -> Tensor:
        """Log-mel [B,T,100] or [T,100] of any length to audio [B,S] or [S], in chunks."""
        return torch.cat(list(self.decode_stream([mel], chunk=chunk)), dim=-1)

    def _rows(self, frames: Tensor) -> Tensor:
        return self._decoded(frames) if frames.ndim == 3 else self._decoded(frames[None])[0]
