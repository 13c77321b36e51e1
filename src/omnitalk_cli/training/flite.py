"""flite: speech in four men's and women's voices made of recordings of real speakers.

Its program is called once a sentence; it is found in ``$OMNITALK_FLITE`` or on the path. Times of
words and phones come from forced alignment, as those of recordings do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np

from omnitalk_cli.errors import SetupError, WorkError
from omnitalk_cli.training.augment import scale_pitch
from omnitalk_cli.types import Float

VOICES = ("rms", "awb", "slt", "kal16")
FLITE_RATE = 16_000


def find_flite() -> str:
    """The program. Raises SetupError where there is none."""
    found = shutil.which(os.environ.get("OMNITALK_FLITE", "flite"))
    if found is None:
        raise SetupError("no flite program: install flite, or name its file in OMNITALK_FLITE")
    return found


def say(text: str, voice: str, folder: Path, *, stretch: float = 1.0) -> Float:
    """``text`` in one of :data:`VOICES`, ``[S]`` float32 at 24 kHz with nothing above 8 kHz.

    ``stretch`` multiplies its length; ``folder`` is where the program writes. Raises SetupError,
    and WorkError when nothing usable comes out.
    """
    target = folder / "flite.wav"
    command = [find_flite(), "-voice", voice, "--setf", f"duration_stretch={stretch:.3f}"]
    done = subprocess.run(
        [*command, "-t", text, "-o", str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise WorkError(f"flite could not speak {text!r}: {done.stderr.strip()}")
    try:
        with wave.open(str(target)) as stored:
            rate = stored.getframerate()
            data = stored.readframes(stored.getnframes())
    except (OSError, wave.Error, EOFError) as error:
        raise WorkError(f"flite could not speak {text!r}: {error}") from error
    if rate != FLITE_RATE:
        raise WorkError(f"flite's voice {voice} speaks at {rate} Hz, not {FLITE_RATE}")
    audio = np.frombuffer(data, np.int16).astype(np.float32) / 32768.0
    return scale_pitch(audio, 1.0, rate=FLITE_RATE)[0]
