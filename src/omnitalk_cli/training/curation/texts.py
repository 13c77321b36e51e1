"""The text of a video's clips: its transcript if there is one, else what is recognised."""

from __future__ import annotations

from pathlib import Path

from omnitalk_cli.errors import InputError
from omnitalk_cli.media.decode import decode_audio
from omnitalk_cli.media.probe import MediaInfo
from omnitalk_cli.speech.asr import ASR_RATE, ASR_VERSION, transcribe
from omnitalk_cli.speech.asr_models import AsrModel
from omnitalk_cli.training.curation.cutting import Piece, spoken_share
from omnitalk_cli.training.curation.stages import StageCache, digest
from omnitalk_cli.training.curation.transcripts import (
    Said,
    find_transcript,
    guess_language,
    read_cues,
    read_text,
    said_in_cues,
    said_in_words,
)
from omnitalk_cli.types import Float, Word

VERSION = 1
_WHOLE = 0.95  # of the video's sound: a clip with this much of it has all of the text
_LONGEST_ALIGNED = 300.0  # seconds; a longer text is not laid on the sound


class TextSource:
    """Says what is said in pieces of one video.

    ``folder`` holds transcripts, ``model`` is a faster-whisper model (None: no recognition),
    ``language`` a code or ``auto``. A transcript is taken before recognition.
    """

    def __init__(
        self,
        video: Path,
        info: MediaInfo,
        levels: Float,
        cache: StageCache,
        *,
        folder: Path | None,
        model: AsrModel | None,
        language: str,
    ) -> None:
        self._info = info
        self._levels = levels
        self._cache = cache
        self._file = find_transcript(folder, video) if folder is not None else None
        self._model = model
        self._language = language

    def said(self, piece: Piece, start: float, end: float) -> Said:
        """The text of ``piece``, which lies in the stretch ``start``…``end`` of the video.

        Raises SetupError when the model cannot be loaded.
        """
        try:
            if self._file is not None and self._file.suffix == ".txt":
                return self._of_text(self._file, piece)
            if self._file is not None:
                found = said_in_cues(read_cues(self._file), piece.start, piece.end)
                return self._result(*found, source="subtitles")
        except InputError as error:
            return Said(reason=str(error))
        if self._model is None:
            return Said(
                reason="its text is not known: no transcript and no speech recognition model"
            )
        return self._recognised(self._model, piece, start, end)

    def _result(self, text: str, reason: str, *, source: str, language: str = "") -> Said:
        if reason:
            return Said(reason=reason)
        known = self._language if self._language != "auto" else language or guess_language(text)
        return Said(text=text, language=known, source=source)

    def _of_text(self, file: Path, piece: Piece) -> Said:
        text = read_text(file)
        if not text:
            return Said(reason="its transcript is empty")
        if spoken_share(self._levels, piece.start, piece.end) >= _WHOLE:
            return self._result(text, "", source="text")
        language = self._language if self._language != "auto" else guess_language(text)
        seconds = min(self._info.audio_seconds, self._info.usable_seconds)
        if language != "en" or seconds > _LONGEST_ALIGNED:
            return Said(
                reason="which part of the video's text it has is not known; give subtitles (.srt)"
            )
        words = self._cache.data("aligned", [VERSION, digest(text)], lambda: self._aligned(text))
        if not words:
            return Said(
                reason="the video's text cannot be laid on its sound; give subtitles (.srt)"
            )
        return self._result(*said_in_words(_words(words), piece.start, piece.end), source="text")

    def _aligned(self, text: str) -> list[tuple[str, float, float]]:
        from omnitalk_cli.pipeline.reference_text import timed_words

        words = timed_words(decode_audio(self._info.path, info=self._info), text)
        return [(word.text, word.start, word.end) for word in words]

    def _recognised(self, model: AsrModel, piece: Piece, start: float, end: float) -> Said:
        key = [VERSION, ASR_VERSION, model.identity(), self._language]

        def hear() -> dict[str, object]:
            sound = decode_audio(
                self._info.path, rate=ASR_RATE, start=start, seconds=end - start, info=self._info
            )
            asked = None if self._language == "auto" else self._language
            heard = transcribe(sound, model, language=asked).transcript
            words = [(word.text, start + word.start, start + word.end) for word in heard.words]
            return {"language": heard.language, "words": words}

        # A whole stretch at once, whichever of its clips are asked for: the same words every time.
        found = self._cache.data("asr", [*key, round(start, 4), round(end, 4)], hear)
        text, reason = said_in_words(_words(found["words"]), piece.start, piece.end)
        return self._result(text, reason, source="asr", language=str(found["language"]))


def _words(rows: object) -> list[Word]:
    assert isinstance(rows, list)
    return [Word(text=str(text), start=float(a), end=float(b)) for text, a, b in rows]
