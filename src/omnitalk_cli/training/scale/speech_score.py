"""Word error rate of generated mels, where this machine has what it takes to hear them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from omnitalk_cli.errors import OmnitalkError
from omnitalk_cli.types import SAMPLE_RATE, Float


def word_error_rate(spoken: Sequence[tuple[Float, str, str]]) -> dict[str, float | str]:
    """``wer`` of log-mels ``[T, 100]`` with text and language, English ones only, by faster-whisper
    over the vocoder that needs no weights. Where it cannot be had, ``wer_missing`` says why.
    """
    from omnitalk_cli.speech.asr import ASR_RATE, transcribe
    from omnitalk_cli.speech.asr_models import find_model

    english = [(mel, text) for mel, text, language in spoken if language.startswith("en")]
    if not english:
        return {"wer_missing": "no English clip is held out"}
    try:
        model = find_model()
        if model is None:
            return {"wer_missing": "no speech recognition model is installed"}
        from scipy.signal import resample_poly

        from omnitalk_cli.evaluation.recogniser import spelled, word_errors
        from omnitalk_cli.speech.source import SourceVocoder

        vocoder = SourceVocoder()
        words = edits = 0
        for mel, text in english:
            audio = vocoder(torch.from_numpy(mel)[None])[0].numpy()
            sound = resample_poly(audio, ASR_RATE, SAMPLE_RATE).astype("float32")
            heard = transcribe(sound, model, language="en").transcript.text
            errors = word_errors(spelled(heard), spelled(text))
            words, edits = words + errors.words, edits + errors.edits
    except OmnitalkError as error:
        return {"wer_missing": str(error)}
    if not words:
        return {"wer_missing": "the held-out clips have no words"}
    return {"wer": edits / words, "wer_model": model.name}
