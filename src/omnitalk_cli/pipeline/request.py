"""From options by name to the settings of each stage, with everything checked before the work.

Nothing here imports a network or a video library before it is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnitalk_cli.errors import InputError, UsageError
from omnitalk_cli.pipeline.settings import check_input

if TYPE_CHECKING:
    from omnitalk_cli.pipeline.performing import SpeechSettings
    from omnitalk_cli.pipeline.production import ProductionOptions
    from omnitalk_cli.pipeline.running import Compile
    from omnitalk_cli.types import Reference

REFERENCE_SUFFIX = ".safetensors"
USUAL_SIZE = 512  # side of the pictures that a reference keeps


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None. Zero and "" are values."""
    return {name: value for name, value in options.items() if value is not None}


def reference_text(value: str | None) -> str | None:
    """``--ref-text``: the text itself, or the content of the file that it names."""
    if value is None or len(value) > 1024 or "\n" in value:
        return value
    path = Path(value)
    try:
        if path.suffix != ".txt" or not path.is_file():
            return value
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the transcript is not UTF-8 text") from error


def reference_options(
    clip: Path,
    *,
    ref_text: str | None,
    ref_start: float | None,
    ref_seconds: float | None,
    ref_audio: Path | None,
    face: int | None,
    asr_model: str | None,
    size: int | None,
    tracker: str | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """ExtractOptions' fields that were given. Pictures are kept larger for a larger video only.

    Raises InputError for a file that cannot be read, SetupError when the speech model or the
    tracker that is asked for is not installed.
    """
    if ref_audio is not None:
        check_input(ref_audio, "a recording of the person's voice")
    if asr_model is not None and ref_text is None:
        from omnitalk_cli.speech.asr_models import find_model

        find_model(asr_model)
    if tracker == "landmarker":
        from omnitalk_cli.face.landmarker import landmarker_file

        landmarker_file()
    features = clip.suffix == REFERENCE_SUFFIX
    large = size is not None and size > USUAL_SIZE and not features
    return given(
        start=ref_start,
        seconds=ref_seconds,
        face_index=face,
        asr_model=asr_model,
        ref_text=reference_text(ref_text),
        audio=ref_audio,
        frame_size=size if large else None,
        tracker=tracker,
        device=None if features or device == "auto" else device,
    )


def speech_settings(
    *,
    model: str,
    device: str,
    dtype: str,
    language: str | None,
    vocoder: str | None,
    options: dict[str, Any],
    compile: Compile = "auto",
    many: bool = False,
) -> SpeechSettings:
    """SpeechSettings, with everything checked that synthesis needs. ``language`` is that of the
    script, None when there is none because a recording is followed. ``many``: more videos follow.

    Raises UsageError for values that do not fit, InputError for a language that the model does not
    speak, SetupError for a device or weights not there.
    """
    from omnitalk_cli.pipeline import models
    from omnitalk_cli.pipeline.devices import choose_device, choose_dtype
    from omnitalk_cli.pipeline.performing import SpeechSettings
    from omnitalk_cli.pipeline.running import settle_compile
    from omnitalk_cli.speech.vocoders import AUTO, settle_vocoder

    where = choose_device(device)
    settle_compile(compile, device=where, seconds=0.0, many=many)
    chosen = models.choose_model(model, device=where, language=language)
    if language is not None:
        models.check_language(chosen, language)
    asked = dtype
    if dtype == "auto" and where.startswith("cuda") and chosen.family == "f5-tts":
        # As its authors run it: what speaks the mel of BigVGAN, in full precision.
        dtype = "float32" if chosen.mel == "bigvgan" else "float16"
    settings = SpeechSettings.of(
        chosen, device=where, dtype=choose_dtype(dtype, where), vocoder=vocoder or AUTO,
        options=options, compile=compile, many=many,
    )  # fmt: skip
    if settings.prompted is not None and language is None:
        raise UsageError(f"{chosen.name} makes speech; for recorded speech leave --model out")
    if settings.prompted is not None:
        settle_vocoder(settings.vocoder, mel=chosen.mel, joint=False)
        free = model == models.AUTO and settings.vocoder == AUTO
        if free and language in models.embedded_languages():
            otherwise = speech_settings(
                model=models.EMBEDDED, device=device, dtype=asked, language=language, vocoder=None,
                options=options, compile=compile, many=many,
            )  # fmt: skip
            settings = replace(settings, otherwise=otherwise)
    return settings


def video_options(
    *,
    overwrite: bool,
    options: dict[str, Any],
    device: str = "auto",
    dtype: str = "auto",
) -> ProductionOptions:
    """ProductionOptions, with everything checked that production needs.

    Raises UsageError for values that do not fit, InputError for an unusable certificate or vocoder
    file, SetupError without ffmpeg, the vocoder, the device or a place for keys and ledger.
    """
    from omnitalk_cli.media.ffmpeg import find_ffmpeg
    from omnitalk_cli.pipeline.devices import choose_device, choose_dtype
    from omnitalk_cli.pipeline.marking import check_marking
    from omnitalk_cli.pipeline.production import ProductionOptions
    from omnitalk_cli.speech.vocoders import settle_vocoder

    where = choose_device(device)
    if dtype != "auto":
        choose_dtype(dtype, where)
    chosen = ProductionOptions(**options, device=where, dtype=dtype, overwrite=overwrite)
    find_ffmpeg(chosen.ffmpeg)
    check_marking(chosen.sign_cert, chosen.sign_key, chosen.timestamp_url)
    settle_vocoder(chosen.vocoder)
    return chosen


def check_frame(reference: Reference, options: ProductionOptions) -> None:
    """Raises, before the long work, InputError when ``reference`` lacks what the view needs or the
    background cannot be read, UsageError when the labels do not fit into the picture."""
    from omnitalk_cli.pipeline.framing import Framing
    from omnitalk_cli.provenance.visible import draw_label

    framing = Framing(reference, options.frame)
    for mark in options.labels.marks:
        if mark is not None:
            draw_label(mark, width=framing.width, height=framing.height)
