"""Make examples/reference.mp4: Mira, who does not exist, says a sentence.

Her face is the package's face model (a mean of many), drawn by a small software renderer
(``person/``), her voice is espeak-ng's, her motion is ``omnitalk_cli.training.motion``. Nobody was
filmed or recorded. One core needs about four minutes:

    python examples/make_reference.py [-o examples/reference.mp4] [--still picture.png]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from person import motion, studio, voice
from person.portrait import Portrait

from omnitalk_cli.media.encode import VideoWriter

HERE = Path(__file__).resolve().parent
SIZE, FPS, SUPERSAMPLING = 512, 25, 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=HERE / "reference.mp4")
    parser.add_argument("--text", type=Path, default=HERE / "reference.txt")
    parser.add_argument("--still", type=Path, help="only draw one picture, to this PNG file")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--crf", type=int, default=21, help="quality of H.264: lower is better")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    rng = np.random.default_rng(options.seed)
    look, film, speech, moves = rng.spawn(4)
    portrait = Portrait(look, size=SIZE, over=2.0 if options.still else SUPERSAMPLING)

    def grain() -> np.ndarray:
        rough = film.standard_normal((SIZE, SIZE)).astype(np.float32)
        return 1.6 * cv2.GaussianBlur(rough, (0, 0), 0.6)

    audio, phones = voice.speak(options.text.read_text(encoding="utf-8").strip(), speech)
    frames = int(len(audio) / voice.SAMPLE_RATE * FPS)
    codes = motion.perform(audio, phones, moves, fps=FPS, frames=frames)
    if options.still:
        picture = studio.develop(portrait.frame(codes[2]), SIZE, grain())
        cv2.imwrite(str(options.still), picture[..., ::-1])
        return
    with VideoWriter(
        options.output, width=SIZE, height=SIZE, fps=FPS, audio=audio, frames=frames,
        crf=options.crf, preset="slow", overwrite=True, metadata={
            "title": "Mira, a person who does not exist",
            "comment": "Synthetic media: drawn by examples/make_reference.py, voice by espeak-ng.",
        },
    ) as video:  # fmt: skip
        for number in range(frames):
            breath = 0.5 - 0.5 * np.cos(2 * np.pi * number / FPS / 3.6)
            linear = portrait.frame(codes[number], breath=breath)
            video.write(studio.develop(linear, SIZE, grain()))
            print(f"\rframe {number + 1} of {frames}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
