"""``omnitalk train``: train a model on a corpus; a run that was stopped goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnitalk_cli.cli import options as opt
from omnitalk_cli.cli import train_options as at_scale
from omnitalk_cli.cli.console import Console, session
from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.pipeline.request import given
from omnitalk_cli.pipeline.settings import check_input


def train(
    corpus: Annotated[
        Path, typer.Argument(help="Folder made by omnitalk corpus.", metavar="CORPUS")
    ],
    folder: Annotated[
        Path,
        opt.option(
            "--output", "-o", text="Folder of the run: checkpoint, state, log.",
            panel=opt.TRAINING, env=False, metavar="FOLDER",
        ),
    ],
    what: Annotated[
        Literal["tiny", "base"],
        opt.option(
            "--preset", text="The embedded model's size or the paper's.", panel=opt.TRAINING
        ),
    ] = "tiny",
    minutes: Annotated[
        float | None,
        opt.option(
            "--minutes", text="Budget in minutes of training; of clips: of this sitting.",
            panel=opt.TRAINING, min=0.01, metavar="N",
        ),
    ] = None,
    train_steps: Annotated[
        int | None,
        opt.option(
            "--train-steps", text="Budget in steps instead; of clips 750000 otherwise.",
            panel=opt.TRAINING, min=1, metavar="N",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        opt.option("--tokens", text="Tokens in a step.", panel=opt.TRAINING, min=16, metavar="N"),
    ] = None,
    learning_rate: Annotated[
        float | None,
        opt.option(
            "--learning-rate", text="Highest learning rate.", panel=opt.TRAINING, min=0,
            metavar="N",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        opt.option(
            "--init", text="Checkpoint that a new run starts from, as far as its weights fit.",
            panel=opt.TRAINING, metavar="FILE",
        ),
    ] = None,
    init_audio: at_scale.InitAudio = None,
    vocab: at_scale.Vocabulary = None,
    shape: at_scale.Shape = None,
    parallel: at_scale.Parallel = None,
    frames: at_scale.Frames = None,
    accumulate: at_scale.Accumulate = None,
    checkpoint_activations: at_scale.Recompute = None,
    compile_blocks: at_scale.Compile = None,
    warmup_steps: at_scale.WarmUp = None,
    checkpoint_minutes: at_scale.CheckpointMinutes = None,
    keep: at_scale.Keep = None,
    log_every: at_scale.LogEvery = None,
    heldout_every: at_scale.HeldOutEvery = None,
    generate_every: at_scale.GenerateEvery = None,
    tensorboard: at_scale.Board = None,
    readers: at_scale.Readers = None,
    seed: opt.FixedSeed = 0,
    device: opt.Device = "auto",
    dtype: opt.DType = "auto",
    json_output: opt.Json = False,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:  # fmt: skip
    """Train a model on a corpus; a stopped run goes on where it was."""
    others = int(os.environ.get("RANK", "0")) > 0  # torchrun's other processes say nothing
    with session(quiet=quiet or others, verbose=verbose, json_output=json_output) as console:
        wanted = given(
            accumulate=accumulate, checkpoint_activations=checkpoint_activations,
            checkpoint_minutes=checkpoint_minutes, compile=compile_blocks, frames=frames,
            generate_every=generate_every, heldout_every=heldout_every, keep=keep,
            log_every=log_every, parallel=parallel, readers=readers, tensorboard=tensorboard,
            warmup_steps=warmup_steps,
        )  # fmt: skip
        chosen: dict[str, Any] = {"seed": seed} | given(
            minutes=minutes, steps=train_steps, learning_rate=learning_rate
        )
        if init is not None:
            check_input(init, "a checkpoint to start from")
        if any(corpus.glob("clips-*.safetensors")):
            if tokens is not None:
                raise UsageError(f"{corpus} holds clips: say --frames instead of --tokens")
            _on_clips(
                console, corpus, folder, small=what == "tiny", shape=shape, vocab=vocab, init=init,
                init_audio=init_audio, device=device, dtype=dtype, chosen=chosen | wanted,
                silent=others,
            )  # fmt: skip
            return
        wanted |= given(init_audio=init_audio, vocab=vocab, shape=shape)
        if not any(corpus.glob("shard-*.safetensors")):
            raise InputError(f"{corpus}: holds no corpus; make one with `omnitalk corpus speech`")
        if wanted:
            name = next(iter(wanted)).replace("_", "-")
            raise UsageError(f"--{name} is for corpora of clips; {corpus} holds speech")
        if (minutes is None) == (train_steps is None):
            raise UsageError("give the budget either as --minutes or as --train-steps")
        _on_speech(
            console, corpus, folder, small=what == "tiny", init=init, device=device,
            chosen=chosen | given(tokens=tokens), silent=others,
        )  # fmt: skip


def _on_speech(
    console: Console, corpus: Path, folder: Path, *, small: bool, init: Path | None, device: str,
    chosen: dict[str, Any], silent: bool,
) -> None:  # fmt: skip
    """The embedded model's trainer, on the corpus that it was trained on."""
    from omnitalk_cli.dit.config import DiTConfig
    from omnitalk_cli.pipeline.devices import choose_device
    from omnitalk_cli.text.vocabulary import Vocabulary
    from omnitalk_cli.training.loop import train as run
    from omnitalk_cli.training.train_config import TrainConfig

    phones: dict[str, Any] = {"vocabulary_size": len(Vocabulary.phones())}
    result = run(
        DiTConfig.tiny() if small else DiTConfig.base(**phones),
        TrainConfig(**chosen) if small else TrainConfig.paper(**chosen),
        corpus=corpus,
        folder=folder,
        device=choose_device(device),
        init=init,
        progress=console.progress,
        log=console.detail,
    )
    if silent:
        return
    scores = ", ".join(f"{name} {value:.3f}" for name, value in result.heldout.items())
    console.result(
        result.to_dict(),
        [
            str(result.checkpoint),
            f"{result.steps} steps, {result.minutes:.1f} minutes, "
            f"{result.hours_seen:.1f} hours heard; held out: {scores}",
        ],
    )


def _on_clips(
    console: Console, corpus: Path, folder: Path, *, small: bool, shape: Path | None,
    vocab: Path | None, init: Path | None, init_audio: str | None, device: str, dtype: str,
    chosen: dict[str, Any], silent: bool,
) -> None:  # fmt: skip
    """The paper's trainer, on clips of people; one of many processes under torchrun."""
    changes = _shape(shape)
    if vocab is not None:
        check_input(vocab, "F5-TTS' vocab.txt")
    if dtype == "float16":
        raise UsageError("--dtype float16: training takes bfloat16 or float32")
    from omnitalk_cli.dit.config import DiTConfig
    from omnitalk_cli.pipeline.devices import choose_device, choose_dtype
    from omnitalk_cli.training.scale.config import ScaleConfig
    from omnitalk_cli.training.scale.run import train_clips

    place = choose_device(device)
    recipe: dict[str, Any] = {"bfloat16": str(choose_dtype(dtype, place)) == "torch.bfloat16"}
    preset: dict[str, Any] = {}
    if small:
        preset = {"text_layout": "filler"}
        recipe |= {"learning_rate": 1e-3, "ema": 0.999}
    try:
        network = (DiTConfig.tiny if small else DiTConfig.base)(**preset | changes)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{shape}: {error}") from error
    result = train_clips(
        network,
        ScaleConfig(**recipe | chosen),
        corpus=corpus,
        folder=folder,
        device=place,
        vocabulary=vocab,
        init=init,
        init_audio=init_audio,
        progress=console.progress,
        note=console.note,
    )
    if result.interrupted:
        console.note(f"update {result.steps} is kept; the same command goes on from it")
        raise KeyboardInterrupt
    if silent:
        return
    scores = ", ".join(f"{name} {value:.3f}" for name, value in result.heldout.items())
    console.result(
        result.to_dict(),
        [
            str(result.checkpoint),
            f"{result.steps} updates, {result.epochs} epochs, {result.minutes:.1f} minutes, "
            f"{result.hours_seen:.1f} hours seen by {result.processes} processes"
            + (f"; held out: {scores}" if scores else ""),
        ],
    )


def _shape(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    check_input(path, "a JSON file with settings of the network")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: must hold one object of settings")
    return found
