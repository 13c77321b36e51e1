"""How clearly a model speaks in voices it has never heard, and how like them it sounds.

``python -m omnitalk_cli.evaluation.cloning --human DIR --judge FILE`` says held-out sentences in
the voices of held-out virtual speakers; human recordings of the same sentences pass through the
same vocoder and the same listeners, as they are and shifted to a virtual speaker. With ``--clips``
real clips give the voice instead. The result is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitalk_cli.errors import InputError, OmnitalkError
from omnitalk_cli.evaluation.cloning_clips import measure_clips
from omnitalk_cli.evaluation.judge import Judge
from omnitalk_cli.evaluation.listeners import (
    Heard,
    Listeners,
    rates,
    say,
    semitones,
    voice_of,
)
from omnitalk_cli.evaluation.recogniser import Recogniser
from omnitalk_cli.evaluation.speaker import SpeakerJudge, cosine
from omnitalk_cli.evaluation.speech import pitch_statistics
from omnitalk_cli.evaluation.virtual import (
    READER,
    SPEAKERS,
    Sentence,
    VirtualSpeaker,
    assign,
    copy_speaker,
    read_sentences,
    virtual_reference,
)
from omnitalk_cli.pipeline.synthesis import (
    SpeechMotionModel,
    SynthesisOptions,
    load_model,
)
from omnitalk_cli.progress import Progress, silent
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoders import open_vocoder
from omnitalk_cli.types import SAMPLE_RATE, Reference
from omnitalk_cli.weights import store

BAR = 1.3  # error rates over those of human recordings
LIKENESS_BAR = 0.85


class CopyCache:
    """What is heard of human recordings does not depend on the model: kept in a JSON file.

    ``path`` None keeps nothing. Raises InputError when the file is something else.
    """

    def __init__(self, path: Path | None, *, setting: str) -> None:
        self._path, self._setting = path, setting
        self._known: dict[str, dict[str, int]] = {}
        if path is not None and path.exists():
            try:
                self._known = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: is no cache of measurements ({error})") from error

    def get(self, key: str, make: Callable[[], Heard]) -> Heard:
        """The stored counts of ``key`` under this setting, or those that ``make`` gives."""
        full = f"{self._setting} {key}"
        if full not in self._known:
            self._known[full] = asdict(make())
            if self._path is not None:
                self._path.write_text(json.dumps(self._known), encoding="utf-8")
        return Heard(**self._known[full])


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One sentence in one voice: generated, and the human recordings of it.

    ``likeness`` is the cosine of the generated voice with the reference, ``prepared`` the same
    after Resemblyzer's preparation, ``stranger`` that with the nearest other speaker's; ``pitch``
    the distance of both median pitches in semitones; ``cpu`` and ``seconds`` the work of model and
    vocoder and the length of the speech.
    """

    speaker: str
    generated: Heard
    copied: Heard
    shifted: Heard
    likeness: float
    prepared: float
    stranger: float
    pitch: float
    cpu: float
    seconds: float


def measure(
    pairs: Sequence[tuple[Sentence, VirtualSpeaker]],
    references: dict[str, Reference],
    model: SpeechMotionModel,
    listeners: Listeners,
    options: SynthesisOptions,
    *,
    cache: CopyCache,
    progress: Progress = silent,
) -> list[Utterance]:
    """Says every sentence in its voice. ``references`` by the speaker's name."""
    sounds = {name: listeners.sound(one.mel) for name, one in references.items()}
    voices = {name: listeners.speaker.embed(sound) for name, sound in sounds.items()}
    pitches = {name: pitch_statistics(sound).median_hz for name, sound in sounds.items()}
    found = []
    for number, (sentence, speaker) in enumerate(pairs):
        progress("cloning", number, len(pairs))
        begin = time.process_time()
        audio = say(sentence.text, references[speaker.name], model, listeners, options)
        cpu = time.process_time() - begin
        voice = voice_of(listeners, audio)
        other = copy_speaker(number, speaker)

        def copied(sentence: Sentence = sentence) -> Heard:
            mel = log_mel(torch.from_numpy(sentence.audio())).numpy()
            return listeners.hear(listeners.sound(mel), sentence.text)

        def shifted(sentence: Sentence = sentence, other: VirtualSpeaker = other) -> Heard:
            mel = other.mel(sentence.audio())
            return listeners.hear(listeners.sound(mel), sentence.text)

        found.append(
            Utterance(
                speaker=speaker.name,
                generated=listeners.hear(audio, sentence.text),
                copied=cache.get(sentence.key, copied),
                shifted=cache.get(f"{sentence.key} {other.name}", shifted),
                likeness=cosine(voice, voices[speaker.name]),
                prepared=cosine(
                    voice_of(listeners, audio, prepared=True),
                    voice_of(listeners, sounds[speaker.name], prepared=True),
                ),
                stranger=max(
                    (cosine(voice, v) for name, v in voices.items() if name != speaker.name),
                    default=0.0,
                ),
                pitch=semitones(pitch_statistics(audio).median_hz, pitches[speaker.name]),
                cpu=cpu,
                seconds=len(audio) / SAMPLE_RATE,
            )
        )
    return found


def summary(utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Rows per speaker, their means, the ratios of error rates and whether they meet the bars."""
    rows = []
    for name in dict.fromkeys(one.speaker for one in utterances):
        rows.append({"speaker": name, **_row([one for one in utterances if one.speaker == name])})
    mean = _row(utterances)
    ratios = {
        f"{rate}_over_{kind}": round(mean["generated"][rate] / max(mean[kind][rate], 1e-9), 3)
        for rate in ("wer", "cer")
        for kind in ("copied", "shifted")
    }
    return {
        "speakers": rows,
        "mean": mean,
        "ratios": ratios,
        "bars": {"ratio": BAR, "likeness": LIKENESS_BAR},
        "meets": {
            **{name: value <= BAR for name, value in ratios.items()},
            "likeness": mean["likeness"] >= LIKENESS_BAR,
            "likeness_of_every_speaker": all(row["likeness"] >= LIKENESS_BAR for row in rows),
        },
    }


def _row(utterances: Sequence[Utterance]) -> dict[str, Any]:
    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), 4)

    return {
        "sentences": len(utterances),
        "generated": rates([one.generated for one in utterances]),
        "copied": rates([one.copied for one in utterances]),
        "shifted": rates([one.shifted for one in utterances]),
        "likeness": mean([one.likeness for one in utterances]),
        "prepared_likeness": mean([one.prepared for one in utterances]),
        "least_likeness": round(min(one.likeness for one in utterances), 4),
        "stranger": mean([one.stranger for one in utterances]),
        "pitch_semitones": round(float(np.median([one.pitch for one in utterances])), 2),
        "real_time_factor": round(
            sum(one.cpu for one in utterances) / sum(one.seconds for one in utterances), 3
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures one model at one setting; returns the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        result = _run(options)
    except OmnitalkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    text = json.dumps(result, indent=None if options.json else 1)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    chosen = {
        name: getattr(options, name)
        for name in ("steps", "schedule", "seed", "reference_seconds")
        if getattr(options, name) is not None
    }
    if options.cfg is not None:
        chosen |= dict(zip(("cfg_text", "cfg_audio", "cfg_video"), options.cfg, strict=True))
    settings = SynthesisOptions(**chosen)
    model = load_model(options.model, device="cpu", dtype=torch.float32)
    listeners = Listeners(
        vocoder=open_vocoder(options.vocoder),
        judge=Judge.load(options.judge),
        recogniser=Recogniser(),
        speaker=SpeakerJudge(),
    )
    result: dict[str, Any] = {
        "setting": asdict(settings) | {
            "model": model.name, "model_sha256": model.sha256, "vocoder": options.vocoder,
            "transcript": options.transcript,
        },
    }  # fmt: skip
    progress = _progress if options.verbose else silent
    if options.clips:
        result["real"] = measure_clips(
            options.clips, options.references, model, listeners, settings, progress=progress
        )
    if options.human is None:
        return result
    sentences = read_sentences(options.human, options.speech)
    pairs = assign(sentences, options.sentences)
    face = None
    if options.face is not None:
        from omnitalk_cli.pipeline.reference_store import load_reference

        face = load_reference(options.face)
    references = {}
    for speaker in SPEAKERS:
        avoid = {sentence.text for sentence, one in pairs if one == speaker}
        if avoid:
            references[speaker.name] = virtual_reference(
                options.human, speaker, avoid=avoid if speaker.base == READER else (),
                transcript=options.transcript, face=face,
            )  # fmt: skip
    cache = CopyCache(
        options.copies, setting=f"{options.vocoder} {store.sha256(options.judge)[:12]}"
    )
    found = measure(pairs, references, model, listeners, settings, cache=cache, progress=progress)
    texts = len({sentence.text for sentence, _ in pairs})
    return result | {"sentences": len(pairs), "different_sentences": texts} | summary(found)


def _progress(stage: str, done: float, total: float | None) -> None:
    sys.stderr.write(f"{stage} {done:.0f}/{total or 0:.0f}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Speech in voices never heard before.")
    parser.add_argument("--human", type=Path, help="the human corpus (metadata.csv)")
    parser.add_argument("--speech", type=Path, help="folder with lj.csv: more sentences")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--clips", type=Path, nargs="+", default=[], help="clips for the voice")
    parser.add_argument(
        "--references", type=Path, default=Path("references"),
        help="folder for the clips' features, made once",
    )  # fmt: skip
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--vocoder", default="source")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--schedule")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--reference-seconds", type=float)
    parser.add_argument("--cfg", type=float, nargs=3, metavar=("TEXT", "AUDIO", "VIDEO"))
    parser.add_argument("--transcript", action="store_true", help="tell what English ones say")
    parser.add_argument("--face", type=Path, help="features file whose motion is the reference's")
    parser.add_argument("--copies", type=Path, help="JSON file that keeps the human figures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--json", action="store_true", help="on one line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
