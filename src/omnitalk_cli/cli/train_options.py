"""Options of ``omnitalk train`` for corpora of clips; docs/training.md says more of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from omnitalk_cli.cli.options import TRAINING, option

Vocabulary = Annotated[
    Path | None,
    option(
        "--vocab", text="F5-TTS' vocab.txt; otherwise its checkpoint's own, or letters.",
        panel=TRAINING, metavar="FILE",
    ),
]  # fmt: skip
InitAudio = Annotated[
    str | None,
    option(
        "--init-audio", text="Checkpoint whose audio stream a new run starts from, such as f5-tts.",
        panel=TRAINING, metavar="NAME|FILE",
    ),
]  # fmt: skip
Shape = Annotated[
    Path | None,
    option(
        "--shape", text="JSON file with settings of the network that differ from the preset's.",
        panel=TRAINING, metavar="FILE",
    ),
]  # fmt: skip
Parallel = Annotated[
    Literal["ddp", "fsdp"] | None,
    option(
        "--parallel", text="How processes of torchrun share the work: whole networks (ddp, as it "
        "is) or parts of one (fsdp).", panel=TRAINING,
    ),
]  # fmt: skip
Frames = Annotated[
    int | None,
    option(
        "--frames", text="Mel frames in a batch of one process, 12800 otherwise.", panel=TRAINING,
        min=64, metavar="N",
    ),
]  # fmt: skip
Accumulate = Annotated[
    int | None,
    option(
        "--accumulate", text="Batches of each process in an update.", panel=TRAINING, min=1,
        metavar="N",
    ),
]  # fmt: skip
Recompute = Annotated[
    bool | None,
    option(
        "--checkpoint-activations/--keep-activations",
        text="Compute blocks again on the way back: a third more work, far less memory.",
        panel=TRAINING, show_default=False,
    ),
]  # fmt: skip
Compile = Annotated[
    bool | None,
    option("--compile/--no-compile", text="Compile the blocks.", panel=TRAINING,
           show_default=False),
]  # fmt: skip
Board = Annotated[
    bool | None,
    option("--tensorboard/--no-tensorboard", text="Curves for TensorBoard, too.", panel=TRAINING,
           show_default=False),
]  # fmt: skip
WarmUp = Annotated[
    int | None,
    option(
        "--warmup-steps", text="Updates in which the learning rate rises.", panel=TRAINING, min=1,
        metavar="N",
    ),
]  # fmt: skip
CheckpointMinutes = Annotated[
    float | None,
    option(
        "--checkpoint-minutes", text="Between two states to go on from; 30 otherwise.",
        panel=TRAINING, min=0, metavar="N",
    ),
]  # fmt: skip
Keep = Annotated[
    int | None,
    option("--keep", text="States that are kept; 3 otherwise.", panel=TRAINING, min=1,
           metavar="N"),
]  # fmt: skip
LogEvery = Annotated[
    int | None,
    option("--log-every", text="Updates in a row of the log.", panel=TRAINING, min=1, metavar="N"),
]
HeldOutEvery = Annotated[
    int | None,
    option(
        "--heldout-every", text="Updates between held-out losses; 0 never.", panel=TRAINING, min=0,
        metavar="N",
    ),
]  # fmt: skip
GenerateEvery = Annotated[
    int | None,
    option(
        "--generate-every", text="Updates between scores of generated clips; 0 never.",
        panel=TRAINING, min=0, metavar="N",
    ),
]  # fmt: skip
Readers = Annotated[
    int | None,
    option(
        "--readers", text="Threads that read clips, in each process.", panel=TRAINING, min=1,
        metavar="N",
    ),
]  # fmt: skip
