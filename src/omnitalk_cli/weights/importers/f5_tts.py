"""F5-TTS checkpoints → the audio branch of our network, as an ``omnitalk-dit`` checkpoint.

F5-TTS' transformer (arXiv 2410.06885) is our audio branch without the visual one and without the
single-modality blocks, tensor by tensor; queries, keys and values only lie in one matrix here.
Sizes are read off the tensors, so that the small and fine-tuned variants load, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from omnitalk_cli.dit.checkpoint import Normalisation, save_checkpoint
from omnitalk_cli.dit.config import DiTConfig
from omnitalk_cli.dit.model import DualBranchDiT
from omnitalk_cli.errors import InputError
from omnitalk_cli.face.codes import CODE_COUNT
from omnitalk_cli.speech.mel import MelKind
from omnitalk_cli.text.f5_tokens import F5Vocabulary
from omnitalk_cli.weights.importers.tensors import read_tensors

VOCABULARY_FILE = "vocab.txt"
FAMILY = "f5-tts"
_HEAD_DIM = 64
# What precedes the names, the averaged weights first: they are the ones to use.
_PREFIXES = (
    "ema_model_state_dict.ema_model.transformer.",
    "ema_model.transformer.",
    "model_state_dict.transformer.",
    "transformer.",
)
_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)\.(weight|bias)")
_IN_BLOCK = {
    "attn_norm.linear": "modulator.linear",
    "attn.q_norm": "qkv.norm_q",
    "attn.k_norm": "qkv.norm_k",
    "attn.to_out.0": "to_out",
    "ff.ff.0.0": "ff.inner",
    "ff.ff.2": "ff.outer",
}
_ENDS = (
    ("time_embed.time_mlp.", "audio.time.mlp."),
    ("text_embed.", "text."),
    ("input_embed.proj.", "audio.proj."),
    ("input_embed.conv_pos_embed.", "audio.positions."),
    ("norm_out.linear.", "audio.final."),
    ("proj_out.", "audio.out."),
)


def convert_v1(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """``F5TTS_v1_Base`` and its relatives: padding of the text is masked, every head is rotary.

    Raises InputError when ``main`` is no such checkpoint or ``vocab.txt`` is missing or does not
    fit.
    """
    _convert(main, companions, target, text_mask_padding=True, rotary_heads=None)


def convert_v0(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """The first ``F5TTS_Base``: padding is not masked and only the first head knows positions.

    Raises what ``convert_v1`` raises.
    """
    _convert(main, companions, target, text_mask_padding=False, rotary_heads=1)


def convert_v0_bigvgan(main: Path, companions: Mapping[str, Path], target: Path) -> None:
    """The first ``F5TTS_Base`` trained on the mel of BigVGAN. Raises what ``convert_v1`` raises."""
    _convert(main, companions, target, text_mask_padding=False, rotary_heads=1, mel="bigvgan")


def _convert(
    main: Path,
    companions: Mapping[str, Path],
    target: Path,
    *,
    text_mask_padding: bool,
    rotary_heads: int | None,
    mel: MelKind = "vocos",
) -> None:
    vocabulary = companions.get(VOCABULARY_FILE)
    if vocabulary is None:
        raise InputError(
            f"{main}: its {VOCABULARY_FILE} is needed, too; put it into the same folder"
        )
    tokens = F5Vocabulary.read(vocabulary)
    found = transformer_tensors(main)
    try:
        config = config_of(found, text_mask_padding=text_mask_padding, rotary_heads=rotary_heads)
        state = audio_branch(found)
        with torch.device("meta"):
            network = DualBranchDiT(config)
        network.load_state_dict(state, assign=True)
    except (ArithmeticError, LookupError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise InputError(f"{main}: is not a checkpoint of F5-TTS' DiT ({reason})") from error
    if config.vocabulary_size != len(tokens):
        raise InputError(
            f"{vocabulary}: has {len(tokens) - 1} tokens, {main} knows {config.vocabulary_size - 1}"
        )
    save_checkpoint(
        target,
        config=config,
        state=state,
        normalisation=raw_normalisation(),
        extras={
            "family": FAMILY, "vocabulary": "f5", "tokens": list(tokens.tokens), "mel": mel,
            "languages": ["en", "zh"],
        },
        dtype=state["audio.proj.weight"].dtype,
    )  # fmt: skip


def raw_normalisation() -> Normalisation:
    """That of networks which take log-mel and codes as they are."""
    return Normalisation(
        mel_mean=torch.zeros(100),
        mel_std=torch.ones(100),
        code_mean=torch.zeros(CODE_COUNT),
        code_std=torch.ones(CODE_COUNT),
    )


def transformer_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the transformer by their names in F5-TTS, averaged weights where there are
    any. Raises InputError when there are none."""
    tensors = read_tensors(path)
    for prefix in _PREFIXES:
        found = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        if found:
            return found
    raise InputError(f"{path}: holds no transformer of F5-TTS")


def config_of(
    tensors: Mapping[str, Tensor], *, text_mask_padding: bool, rotary_heads: int | None
) -> DiTConfig:
    """The sizes of a transformer of F5-TTS. Raises KeyError and ValueError for another network."""
    dim, inputs = tensors["input_embed.proj.weight"].shape
    vocabulary, text_dim = tensors["text_embed.text_embed.weight"].shape
    numbers = {int(m.group(1)) for name in tensors if (m := _BLOCK.fullmatch(name))}
    convolutions = {name.split(".")[2] for name in tensors if ".text_blocks." in name}
    mel_bins = tensors["proj_out.weight"].shape[0]
    if inputs != 2 * mel_bins + text_dim or not convolutions:
        raise ValueError(f"its input has {inputs} channels")
    return DiTConfig(
        audio_only=True,
        single_depth=0,
        vocabulary_size=vocabulary,
        mel_bins=mel_bins,
        dim=dim,
        heads=tensors["transformer_blocks.0.attn.to_q.weight"].shape[0] // _HEAD_DIM,
        head_dim=_HEAD_DIM,
        ff_mult=tensors["transformer_blocks.0.ff.ff.0.0.weight"].shape[0] // dim,
        fusion_depth=len(numbers),
        text_dim=text_dim,
        text_conv_layers=len(convolutions),
        text_conv_mult=tensors["text_embed.text_blocks.0.pwconv1.weight"].shape[0] // text_dim,
        qk_norm="transformer_blocks.0.attn.q_norm.weight" in tensors,
        position_kernel=tensors["input_embed.conv_pos_embed.conv1d.0.weight"].shape[2],
        position_groups=dim // tensors["input_embed.conv_pos_embed.conv1d.0.weight"].shape[1],
        text_mask_padding=text_mask_padding,
        rotary_heads=rotary_heads,
    )


def audio_branch(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` of F5-TTS' transformer by their names in :class:`DualBranchDiT`.

    Raises ValueError for a tensor that has no place there.
    """
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name == "rotary_embed.inv_freq":
            continue  # computed, not learnt
        block = _BLOCK.fullmatch(name)
        if block is None:
            state[_end(name)] = value
            continue
        number, part, kind = block.groups()
        if part == "attn.to_q":
            pieces = [
                tensors[f"transformer_blocks.{number}.attn.to_{letter}.{kind}"] for letter in "qkv"
            ]
            state[f"fusion.{number}.audio.qkv.to_qkv.{kind}"] = torch.cat(pieces)
        elif part in _IN_BLOCK:
            state[f"fusion.{number}.audio.{_IN_BLOCK[part]}.{kind}"] = value
        elif part not in ("attn.to_k", "attn.to_v"):
            raise ValueError(f"unknown tensor {name}")
    return state


def _end(name: str) -> str:
    for theirs, ours in _ENDS:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    raise ValueError(f"unknown tensor {name}")
