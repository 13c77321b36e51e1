"""F5-TTS: our audio branch against the authors' own network, on random weights in their layout.

``python tests/parity/f5_parity.py [--depth 22] [--frames 400]``: importing, one evaluation of the
network (1e-4), sampling of 16 steps from the same noise (1e-3), tokens of 200 sentences (equal).
Ends with 1 when one is over its bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from f5_public_layout import VARIANTS, publish, reference_model, vocabulary_file
from sentences import mixed_sentences

from omnitalk_cli.dit.checkpoint import load_checkpoint
from omnitalk_cli.dit.model import Condition, TextInput
from omnitalk_cli.pipeline.prompted import PromptedOptions, sample
from omnitalk_cli.text.f5_tokens import F5Vocabulary, f5_tokens
from omnitalk_cli.weights.importers import f5_tts

NETWORK_BOUND, SAMPLING_BOUND = 1e-4, 1e-3
STEPS = 16


def network(variant: str, *, depth: int, frames: int) -> tuple[float, float]:
    """Greatest absolute differences of one evaluation, and of the mel after sampling."""
    reference = reference_model(variant, depth=depth)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish(reference, folder / "model.safetensors")
        convert = f5_tts.convert_v1 if variant == "f5-tts" else f5_tts.convert_v0
        companions = {"vocab.txt": vocabulary_file()}
        convert(folder / "model.safetensors", companions, folder / "ours.safetensors")
        ours = load_checkpoint(folder / "ours.safetensors", device="cpu", dtype=torch.float32)
    words = f5_tokens("The reference says this. 然后我们用中文说一句话, and go on in English.")
    vocabulary = F5Vocabulary.read(vocabulary_file())
    ids = torch.tensor([vocabulary.encode(words)])
    given = frames // 3
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(1, given, 100, generator=generator) * 2 - 4
    noise = torch.randn(1, frames, 100, generator=generator)
    padded = torch.cat([mel, torch.zeros(1, frames - given, 100)], dim=1)
    visible = (torch.arange(frames) < given)[None]
    condition = Condition.of(padded, torch.zeros(1, frames, 61), visible, torch.zeros_like(visible))
    worst = 0.0
    with torch.inference_mode():
        for drop in (False, True):
            theirs = reference.transformer(
                x=noise, cond=padded, text=ids - 1, time=torch.tensor(0.3),
                drop_audio_cond=drop, drop_text=drop,
            )  # fmt: skip
            dropped = torch.tensor([drop])
            text = ours.model.text(TextInput(ids=ids), frames, dropped)
            out, _ = ours.model(
                noise, None, condition=condition.drop(audio=dropped, visual=dropped), text=text,
                time=torch.tensor([0.3]),
            )  # fmt: skip
            worst = max(worst, float((out - theirs).abs().max()))
        drawn = torch.randn
        try:
            torch.randn = lambda *size, **_: noise[0]  # what they start from, whatever the seed
            theirs, _ = reference.sample(
                mel, [words], frames, steps=STEPS, cfg_strength=2.0, sway_sampling_coef=-1.0, seed=0
            )
        finally:
            torch.randn = drawn
        options = PromptedOptions(steps=STEPS, cfg_text=3.0, cfg_audio=3.0, schedule="epss")
        (sampled, *_) = sample(ours.model, condition, TextInput(ids=ids), (noise,), options)
    target = slice(given, None)
    return worst, float((sampled[:, target] - theirs[:, target]).abs().max())


def tokens() -> int:
    """How many of 200 sentences have other tokens or ids than theirs."""
    from f5_tts.model.utils import convert_char_to_pinyin, get_tokenizer, list_str_to_idx

    table, _ = get_tokenizer(str(vocabulary_file()), "custom")
    vocabulary = F5Vocabulary.read(vocabulary_file())
    wrong = 0
    for sentence in mixed_sentences(200):
        (theirs,) = convert_char_to_pinyin([sentence])
        ids = list_str_to_idx([theirs], table)[0] + 1
        mine = f5_tokens(sentence)
        wrong += mine != theirs or vocabulary.encode(mine) != ids.tolist()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, default=22)
    parser.add_argument("--frames", type=int, default=400)
    given = parser.parse_args()
    if given.frames < 120:
        parser.error("--frames: the text alone needs 80, and the reference a third of all")
    failed = False
    for variant in VARIANTS:
        one, whole = network(variant, depth=given.depth, frames=given.frames)
        failed |= one > NETWORK_BOUND or whole > SAMPLING_BOUND
        print(f"{variant:<10} network {one:.2e} (bound {NETWORK_BOUND:g}), "
              f"{STEPS} steps {whole:.2e} (bound {SAMPLING_BOUND:g})")  # fmt: skip
    wrong = tokens()
    print(f"tokens     {wrong} of 200 sentences differ (bound 0)")
    return int(failed or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
