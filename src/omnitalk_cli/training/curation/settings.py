"""Every threshold of the curation in one place, and which of them a stage depends on.

The paper (appendix B.1) names the filters but not their values: the defaults are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from omnitalk_cli.errors import UsageError

SpeakerModelName = Literal["sync", "light-asd"]
AudioQuality = Literal["auto", "dnsmos", "none"]

# Seconds per character of text, lowest and highest: letters, or syllables written with one sign.
# Calm English has 0.07, Chinese 0.23; beyond these a text belongs to other sound, or half of it.
LETTERS, SIGNS = (0.035, 0.18), (0.11, 0.55)
_SIGN_LANGUAGES = ("zh", "yue", "ja", "ko")
DEFAULT_PACE: Mapping[str, tuple[float, float]] = {
    "other": LETTERS,
    **dict.fromkeys(_SIGN_LANGUAGES, SIGNS),
}


def _value(default: float, text: str, low: float, high: float) -> float:
    """A number with its range and its help (the command line shows it)."""
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class CurationSettings:
    """What becomes a clip. Times in seconds, shares 0…1, angles in degrees, loudness in dB of full
    scale. ``seconds_per_character`` has the lowest and highest value by language; ``other`` holds
    for those that are not named. Raises UsageError for values out of range.
    """

    scene_threshold: float = _value(
        3.0, "How much more a picture must change than its neighbours to be a cut.", 1.1, 50
    )
    max_faces: int = field(
        default=3, metadata={"help": "Faces that are followed in a scene.", "low": 1, "high": 20}
    )
    min_seconds: float = _value(2.0, "Shortest clip.", 1.0, 60)
    max_seconds: float = _value(15.0, "Longest clip.", 2.0, 60)
    max_pause: float = _value(1.0, "Longest pause inside a clip.", 0.2, 10)
    speaker_model: SpeakerModelName = "sync"
    min_sync: float = _value(
        0.3, "Lowest agreement of mouth and loudness (-1 to 1) of the speaker.", -1, 1
    )
    min_sync_confidence: float = _value(
        1.0, "Lowest confidence in it, in standard deviations above chance.", -10, 100
    )
    sync_margin: float = _value(
        0.1, "How far the speaker's agreement must be above every other face's.", 0, 2
    )
    max_offset: float = _value(
        0.2, "How early or late the sound may be against the mouth.", 0.02, 0.3
    )
    min_asd: float = _value(0.0, "Lowest mean score of Light-ASD.", -20, 20)
    min_face_share: float = _value(0.01, "Lowest share of the face box in the picture.", 0, 1)
    max_face_share: float = _value(0.7, "Highest share of it.", 0, 1)
    min_face_pixels: float = _value(80, "Lowest height of the face in pixels.", 16, 4000)
    max_lost_share: float = _value(0.05, "Share of pictures in which the face is lost.", 0, 1)
    max_lost_seconds: float = _value(0.4, "Longest time in which the face is lost.", 0, 60)
    max_yaw: float = _value(45, "How far the head may turn aside (95 % of the time).", 1, 90)
    max_pitch: float = _value(35, "How far it may look up or down (95 % of the time).", 1, 90)
    audio_quality: AudioQuality = "auto"
    min_dnsmos: float = _value(2.2, "Lowest DNSMOS P.835 OVRL (1 to 5).", 1, 5)
    min_level: float = _value(-50, "Lowest loudness (RMS).", -90, 0)
    max_clipped: float = _value(0.002, "Share of samples at full scale.", 0, 1)
    seconds_per_character: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: dict(DEFAULT_PACE)
    )
    language: str = "auto"
    allow_no_text: bool = False
    heldout: float = _value(0.05, "Share of videos that are held out of training.", 0, 1)

    def __post_init__(self) -> None:
        for one in fields(self):
            low, high = one.metadata.get("low"), one.metadata.get("high")
            value = getattr(self, one.name)
            if low is not None and not low <= value <= high:
                flag = "--" + one.name.replace("_", "-")
                raise UsageError(f"{flag} must be {low:g} to {high:g}, not {value:g}")
        for name, low, high in (
            ("clip", self.min_seconds, self.max_seconds),
            ("face share", self.min_face_share, self.max_face_share),
        ):
            if low >= high:
                raise UsageError(
                    f"the lowest {name} ({low:g}) must be below the highest ({high:g})"
                )
        for name, kinds in (("speaker_model", SpeakerModelName), ("audio_quality", AudioQuality)):
            if getattr(self, name) not in get_args(kinds):
                known = ", ".join(get_args(kinds))
                raise UsageError(f"--{name.replace('_', '-')} must be one of {known}")
        for language, (low, high) in self.seconds_per_character.items():
            if not 0 <= low < high:
                raise UsageError(
                    f"--seconds-per-character {language}={low:g}:{high:g}: the lowest value must "
                    "be 0 or more and below the highest"
                )

    def pace(self, language: str) -> tuple[float, float]:
        """Lowest and highest seconds per character of ``language`` (``en``, ``zh-TW`` …)."""
        table = {**DEFAULT_PACE, **self.seconds_per_character}
        return table.get(language, table.get(language.split("-")[0], table["other"]))

    def to_dict(self) -> dict[str, object]:
        """JSON-able form of everything."""
        whole = {one.name: getattr(self, one.name) for one in fields(self)}
        pace = {**DEFAULT_PACE, **self.seconds_per_character}
        return {**whole, "seconds_per_character": {k: list(v) for k, v in sorted(pace.items())}}


def read_pace(entries: Iterable[str]) -> dict[str, tuple[float, float]]:
    """``LANGUAGE=LOW:HIGH`` entries as a table. Raises UsageError for another form."""
    table = {}
    for entry in entries:
        language, equals, span = entry.partition("=")
        low, colon, high = span.partition(":")
        try:
            if not (language.strip() and equals and colon):
                raise ValueError
            table[language.strip().lower()] = (float(low), float(high))
        except ValueError:
            raise UsageError(
                f"--seconds-per-character {entry}: give LANGUAGE=LOW:HIGH, e.g. en=0.04:0.15"
            ) from None
    return table
