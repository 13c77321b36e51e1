"""What this machine can do: one check for each thing that the pipeline needs or can use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omnitalk_cli.errors import InputError, SetupError
from omnitalk_cli.pipeline.settings import cache_folder, config_file
from omnitalk_cli.weights import store
from omnitalk_cli.weights.catalog import entries, size_words

State = Literal["ok", "optional", "missing"]
_PACKAGES = ("torch", "numpy", "scipy", "mediapipe", "cv2", "av", "vocos", "safetensors", "c2pa")
_HARDWARE_ENCODERS = ("h264_nvenc", "h264_videotoolbox", "h264_qsv", "h264_vaapi")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    ``state`` is ok, optional (absent, and generate works without it) or missing (generate needs
    it); ``remedy`` says how to get it and is empty when nothing is to be done.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All checks, and whether ``generate`` can work."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing that generate needs is missing."""
        return all(check.state != "missing" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"ready": self.ready, "checks": [asdict(check) for check in self.checks]}


def diagnose(*, ffmpeg: str | None = None) -> Diagnosis:
    """Looks at everything; ``ffmpeg`` is the program the user asks for. Changes nothing."""
    return Diagnosis(
        checks=(
            Check(
                name="python",
                state="ok",
                found=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            ),
            *_packages(),
            *_device(),
            *_ffmpeg(ffmpeg),
            *_weights(),
            *_models(),
            _speech_recognition(),
            _folder("cache folder", cache_folder()),
            _marks(),
            _config(),
            _training(),
        )
    )


def _packages() -> Iterator[Check]:
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        yield Check(
            name="packages", state="missing", found=f"{', '.join(absent)} not installed",
            remedy="pip install -c constraints.txt omnitalk-cli",
        )  # fmt: skip
    else:
        yield Check(name="packages", state="ok", found="all installed")


def _device() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check(name="torch", state="missing", found=f"does not load: {error}",
                    remedy="pip install --force-reinstall torch==2.13.0")  # fmt: skip
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check(name="torch", state="ok", found=f"{torch.__version__}, CPU with {cores} cores")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            yield Check(
                name=f"cuda:{index}", state="ok",
                found=f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB",
            )  # fmt: skip
    elif torch.backends.mps.is_available():
        yield Check(name="mps", state="ok", found="Apple GPU")
    else:
        yield Check(name="gpu", state="optional", found="none; the CPU does the work")


def _ffmpeg(wanted: str | None) -> Iterator[Check]:
    from omnitalk_cli.media.ffmpeg import find_ffmpeg, has_encoder, has_filter

    try:
        program = find_ffmpeg(wanted)
    except SetupError as error:
        yield Check(name="ffmpeg", state="missing", found="not found", remedy=str(error))
        return
    yield Check(name="ffmpeg", state="ok", found=str(program))
    other = "use another ffmpeg: leave --ffmpeg and OMNITALK_FFMPEG out to take the bundled one"
    for kind, has, names in (
        ("encoder", has_encoder, ("libx264", "aac")),
        ("filter", has_filter, ("overlay", "scale")),
    ):
        for name in names:
            there = has(program, name)
            yield Check(
                name=f"{kind} {name}",
                state="ok" if there else "missing",
                found="there" if there else "not in this ffmpeg",
                remedy="" if there else other,
            )
    listed = [name for name in _HARDWARE_ENCODERS if has_encoder(program, name)]
    yield Check(
        name="hardware encoders", state="optional",
        found=f"listed (not tried): {', '.join(listed)}" if listed else "none listed",
    )  # fmt: skip


def _weights() -> Iterator[Check]:
    for entry in entries():
        item = store.look_at(entry)
        yield _embedded(item) if entry.embedded else _public(item)


def _embedded(item: store.Installed) -> Check:
    if item.path is None or item.header is None:
        # The vocoder that works without weights is the default.
        return Check(
            name=f"weights {item.entry.name}",
            state="missing" if item.entry.job == "model" else "optional",
            found="damaged" if item.problem else "not installed",
            remedy=item.entry.how_to_get,
        )
    return Check(
        name=f"weights {item.entry.name}",
        state="ok",
        found=f"{item.header.parameters / 1e6:.1f} M parameters, {item.entry.about}",
    )


def _public(item: store.Installed) -> Check:
    entry = item.entry
    licence = entry.licence.name
    if entry.licence.non_commercial:
        licence += ": no commercial use"
    name = f"weights {entry.name}"
    if item.problem:
        return Check(name=name, state="optional", found=item.problem, remedy=item.repair)
    if item.path is None:
        return Check(
            name=name, state="optional",
            found=f"not installed ({entry.download}, {licence}), {entry.about}",
            remedy=entry.how_to_get,
        )  # fmt: skip
    return Check(name=name, state="ok", found=f"{size_words(item.size)}, {licence}, {entry.about}")


def _models() -> Iterator[Check]:
    """What ``--model auto`` and ``--vocoder auto`` take."""
    from omnitalk_cli.pipeline.devices import choose_device
    from omnitalk_cli.pipeline.models import choose_model
    from omnitalk_cli.speech.vocoders import choose_vocoder

    for language, name in (("en", "English"), ("zh", "Chinese")):
        try:
            chosen = choose_model("auto", device=choose_device("auto"), language=language)
            if chosen.kind == "joint" and language not in chosen.languages:
                yield Check(
                    name=f"speaks {name}", state="optional", found="no model that does",
                    remedy="omnitalk weights pull --profile voice --accept-license CC-BY-NC-4.0",
                )  # fmt: skip
                continue
            vocoder = choose_vocoder(chosen.mel, joint=chosen.kind == "joint")
        except (SetupError, InputError, ImportError, OSError) as error:
            yield Check(name=f"speaks {name}", state="optional", found=str(error))
            continue
        why = f": {chosen.why}" if chosen.why else ""
        yield Check(
            name=f"speaks {name}", state="ok",
            found=f"with {chosen.name} through the vocoder {vocoder}{why}",
        )  # fmt: skip


def _speech_recognition() -> Check:
    from omnitalk_cli.speech.asr_models import find_model, installed_models

    remedy = "give --ref-text or a .txt beside the clip; without them the model does without"
    pull = "omnitalk weights pull whisper-base"
    try:
        version = importlib.metadata.version("faster-whisper")
        from omnitalk_cli.pipeline.devices import choose_device

        model = find_model(device=choose_device("auto"))
    except (ImportError, OSError, SetupError) as error:
        return Check(name="speech recognition", state="optional", found=str(error), remedy=remedy)
    if model is None:
        return Check(
            name="speech recognition",
            state="optional",
            found=f"faster-whisper {version}, no model",
            remedy=f"{remedy}; or {pull}",
        )
    others = ", ".join(known.name for known in installed_models() if known.name != model.name)
    return Check(
        name="speech recognition",
        state="ok",
        found=f"whisper {model.name} ({model.size / 1e6:.0f} MB) in {model.folder}"
        + (f"; also {others}" if others else ""),
    )


def _folder(name: str, path: Path) -> Check:
    parent = path
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if parent.is_dir() and os.access(parent, os.W_OK):
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
        size = sum(file.stat().st_size for file in files) / 1e6
        return Check(name=name, state="ok", found=f"{path} ({len(files)} files, {size:.0f} MB)")
    return Check(
        name=name, state="optional", found=f"{path} cannot be written",
        remedy="set OMNITALK_CACHE_DIR to a folder that can, or use --no-cache",
    )  # fmt: skip


def _marks() -> Check:
    """Whether files can be signed and entered: makes neither key nor ledger."""
    from omnitalk_cli.pipeline.marking import check_marking
    from omnitalk_cli.provenance.identity import local_anchor
    from omnitalk_cli.provenance.keys import key_folder

    try:
        check_marking(None, None, None)
        signer = "there" if local_anchor() else "made on first use"
    except SetupError as error:
        return Check(name="signing key, ledger", state="missing", found="unusable",
                     remedy=str(error))  # fmt: skip
    return Check(name="signing key, ledger", state="ok", found=f"{key_folder()} (key: {signer})")


def _config() -> Check:
    path = config_file()
    there = path.is_file()
    return Check(
        name="options file", state="ok" if there else "optional",
        found=str(path) if there else f"none at {path}",
    )  # fmt: skip


def _training() -> Check:
    wanted = ("espeakng_loader", "pocketsphinx", "wordfreq")
    absent = [name for name in wanted if importlib.util.find_spec(name) is None]
    if not absent:
        return Check(name="training", state="ok", found="all its packages are installed")
    return Check(
        name="training", state="optional", found=f"{', '.join(absent)} not installed",
        remedy="pip install 'omnitalk-cli[train]'",
    )  # fmt: skip
