"""Configuration of the dual-branch diffusion transformer (paper section 3.2 and Table 5)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

Fusion = Literal["mm_attention", "cross_attention", "linear", "add"]
TextLayout = Literal["filler", "aligned"]
Prediction = Literal["velocity", "data"]
Modulation = Literal["per_block", "shared"]

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Shape of the network. The defaults are the paper's.

    ``text_layout``: ``filler`` pads the tokens with fillers to the length of the sequence, as
    F5-TTS and the paper do; ``aligned`` embeds tokens at their own rate and spreads them over the
    frames by word timing. ``patch`` mel frames make one token of the transformer. ``prediction``
    says what the network outputs: the path's velocity, or the data point that it leads to.
    ``modulation``: AdaLN with weights in every block, or one shared map plus a table per block.
    ``reference_summary`` adds the mean of the visible reference to the time embedding, and
    ``visible_flag`` tells the network which frames are given. ``given_sound`` shows given sound to
    the visual stream frame by frame, beside what attention may find of it: lips that follow
    recorded speech are learnt in minutes so. ``rotary_heads``: only the first so many heads know
    positions (None: all), as in the first F5-TTS. ``audio_only`` leaves the visual branch out:
    with ``single_depth`` 0 what is left has the shape of F5-TTS' network.
    """

    vocabulary_size: int = 2546
    mel_bins: int = 100
    code_count: int = 61
    dim: int = 1024
    visual_dim: int = 1024
    heads: int = 16
    head_dim: int = 64
    ff_mult: int = 2
    fusion_depth: int = 22
    single_depth: int = 4
    fusion: Fusion = "mm_attention"
    text_dim: int = 512
    text_conv_layers: int = 4
    text_conv_mult: int = 2
    text_layout: TextLayout = "filler"
    text_mask_padding: bool = True
    patch: int = 1
    prediction: Prediction = "velocity"
    modulation: Modulation = "per_block"
    qk_norm: bool = False
    reference_summary: bool = False
    given_sound: bool = False
    visible_flag: bool = False
    position_kernel: int = 31
    position_groups: int = 16
    rotary_heads: int | None = None
    audio_only: bool = False

    def __post_init__(self) -> None:
        choices = {
            "fusion": FUSIONS,
            "text_layout": get_args(TextLayout),
            "prediction": get_args(Prediction),
            "modulation": get_args(Modulation),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {allowed}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and value < (0 if "depth" in field.name else 1):
                raise ValueError(f"{field.name} is {value}; it must be positive")
        for width in (self.dim, self.visual_dim):
            if width % self.position_groups:
                raise ValueError(
                    f"width {width} does not divide into {self.position_groups} groups"
                )
        if self.head_dim % 2:
            raise ValueError("rotary positions need an even head_dim")
        if self.rotary_heads is not None and not 0 <= self.rotary_heads <= self.heads:
            raise ValueError(f"rotary_heads {self.rotary_heads} is outside 0…{self.heads}")

    @property
    def attention_dim(self) -> int:
        """Width of queries, keys and values over all heads, the same for both streams."""
        return self.heads * self.head_dim

    @classmethod
    def base(cls, **changes: Any) -> DiTConfig:
        """The paper's model, about 0.8 B parameters."""
        return cls(**changes)

    @classmethod
    def tiny(cls, **changes: Any) -> DiTConfig:
        """The embedded model: the same classes, small enough for two CPU cores."""
        values: dict[str, Any] = {
            "vocabulary_size": 52, "dim": 256, "visual_dim": 128, "heads": 4, "head_dim": 64,
            "fusion_depth": 6, "single_depth": 2, "text_dim": 192, "text_layout": "aligned",
            "patch": 4, "prediction": "data", "modulation": "shared", "qk_norm": True,
            "reference_summary": True, "given_sound": True, "visible_flag": True,
            "position_kernel": 7, "position_groups": 32,
        }  # fmt: skip
        return cls(**(values | changes))

    def to_json(self) -> str:
        """The configuration as JSON, for the metadata of a checkpoint."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DiTConfig:
        """Reads ``to_json``'s text. Raises ValueError on unknown keys."""
        values = json.loads(text)
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown model settings: {', '.join(sorted(unknown))}")
        return cls(**values)
