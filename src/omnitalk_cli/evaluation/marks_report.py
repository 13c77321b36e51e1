"""The benchmark of the marks in rows: as a table for people, as an object for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from omnitalk_cli.evaluation.attacks import AUDIO_ATTACKS, CHAIN, VIDEO_ATTACKS
from omnitalk_cli.evaluation.false_marks import FalseMarks
from omnitalk_cli.evaluation.mark_material import Outcome
from omnitalk_cli.evaluation.marks import Marks

READ_BAR = 0.95
PSNR_BAR = 44.0  # dB
PESQ_BAR = 4.0
FRAME_BAR = 5.0  # ms for 512x512
SOUND_BAR = 0.02  # of real time

_ASKED = {one.name for one in (*VIDEO_ATTACKS, *AUDIO_ATTACKS, CHAIN) if one.asked}


@dataclass(frozen=True, kw_only=True)
class Row:
    """How often ids of ``bits`` bits were read after ``attack``; ``wrong``: another id was read.

    ``weakest``: the least agreement of a right reading. ``asked``: the bar of 95 % applies.
    """

    attack: str
    bits: int
    tries: int
    read: int
    wrong: int
    weakest: float
    missed: list[str]
    asked: bool

    @property
    def share(self) -> float:
        """Of the tries that were read."""
        return self.read / self.tries


def rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """One row for each attack and payload, in the order of the outcomes."""
    groups: dict[tuple[str, int], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault((one.attack, one.bits), []).append(one)
    return [
        Row(
            attack=attack,
            bits=bits,
            tries=len(group),
            read=sum(one.right for one in group),
            wrong=sum(one.wrong for one in group),
            weakest=min((one.confidence for one in group if one.right), default=0.0),
            missed=sorted({one.clip for one in group if not one.right}),
            asked=attack in _ASKED,
        )
        for (attack, bits), group in groups.items()
    ]


def chain_row(marks: Marks) -> Row | None:
    """The screen share: read when one of the layers is."""
    if not marks.chain:
        return None
    layers = [[one for one in pair if one is not None] for pair in marks.chain]
    return Row(
        attack=CHAIN.name,
        bits=32,
        tries=len(layers),
        read=sum(any(one.right for one in pair) for pair in layers),
        wrong=sum(one.wrong for pair in layers for one in pair),
        weakest=min(max(one.confidence for one in pair) for pair in layers),
        missed=[pair[0].clip for pair in layers if not any(one.right for one in pair)],
        asked=True,
    )


def below(marks: Marks) -> list[str]:
    """What falls short of the bars, one phrase each; empty when nothing does."""
    chain = chain_row(marks)
    measured = rows(marks.video) + rows(marks.audio) + ([chain] if chain else [])
    short = [
        f"{row.attack} ({row.bits} bit): {row.share:.0%} read"
        for row in measured
        if row.asked and row.share < READ_BAR
    ]
    short += [f"{row.attack}: {row.wrong} wrong ids" for row in measured if row.wrong]
    for name, false in (("picture", marks.false_video), ("sound", marks.false_audio)):
        if false.ids:
            short.append(f"{name}: {false.ids} ids in {false.tries} tries without our mark")
    short += [f"{one.clip}: PSNR {one.psnr:.1f} dB" for one in marks.seen if one.psnr < PSNR_BAR]
    quality = [one.pesq for one in marks.heard if one.pesq is not None]
    if quality and fmean(quality) < PESQ_BAR:
        short.append(f"PESQ {fmean(quality):.2f}")
    for value, bar, what in (
        (_mean(one.frame_512 for one in marks.cost), FRAME_BAR, "ms per frame of 512x512"),
        (_mean(one.sound_share for one in marks.cost), SOUND_BAR, "of real time for the sound"),
    ):
        if value is not None and value > bar:
            short.append(f"{value:.3g} {what}")
    return short


def to_dict(marks: Marks) -> dict[str, Any]:
    """For ``--json``."""
    chain = chain_row(marks)
    return {
        "clips": marks.clips,
        "video": [asdict(row) | {"share": row.share} for row in rows(marks.video)],
        "visibility": [one.to_dict() for one in marks.seen],
        "audio": [asdict(row) | {"share": row.share} for row in rows(marks.audio)],
        "audibility": [one.to_dict() for one in marks.heard],
        "chain": (
            asdict(chain)
            | {"share": chain.share}
            | dict(zip(("by_picture", "by_sound"), _layers(marks), strict=True))
            if chain
            else None
        ),
        "false": {"video": marks.false_video.to_dict(), "audio": marks.false_audio.to_dict()},
        "cost": [asdict(one) for one in marks.cost],
        "below": below(marks),
    }


def table(marks: Marks) -> list[str]:
    """For people."""
    lines: list[str] = []
    chain = chain_row(marks)
    for title, group in (
        ("picture", rows(marks.video)),
        ("sound", rows(marks.audio)),
        ("picture or sound", [chain] if chain else []),
    ):
        if group:
            lines += [f"{title:50s} {'bits':>4s} {'read':>9s} {'':>5s} {'weakest':>7s}  not read"]
            lines += [_line(row) for row in group] + [""]
    if marks.chain:
        seen, heard = _layers(marks)
        lines[-1:] = [f"  by the picture {seen}, by the sound {heard}", ""]
    lines += _seen(marks) + _heard(marks)
    for name, false in (("picture", marks.false_video), ("sound", marks.false_audio)):
        if false.tries:
            lines.append(_false(name, false))
    if marks.cost:
        lines += _cost(marks)
    short = below(marks)
    return lines + ["", *([f"below the bar: {one}" for one in short] or ["all bars are reached"])]


def _layers(marks: Marks) -> list[int]:
    """How often the picture alone, and the sound alone, gave the id after the screen share."""
    sides = zip(*marks.chain, strict=True)
    return [sum(one is not None and one.right for one in side) for side in sides]


def _line(row: Row) -> str:
    missed = ", ".join(row.missed[:4]) + (" ..." if len(row.missed) > 4 else "")
    return (
        f"{row.attack:50s} {row.bits:4d} {row.read:4d}/{row.tries:<4d} {row.share:5.0%} "
        f"{row.weakest:7.2f}  {missed}"
    ).rstrip()


def _seen(marks: Marks) -> list[str]:
    if not marks.seen:
        return []
    names = list(marks.seen[0].moving)
    head = " ".join(f"{name.replace('_', ' '):>12s}" for name in names)
    lines = [
        "visibility: PSNR in dB; in flat still areas the mark (and the picture's own changes), in "
        "grey levels",
        f"{'':32s} {'PSNR':>6s} {'worst':>6s} {'flat':>5s} {'standing':>9s} {head}",
    ]
    for one in marks.seen:
        bands = " ".join(f"{one.moving[name]:5.3f} ({one.own[name]:4.2f})" for name in names)
        lines.append(
            f"{one.clip:32s} {one.psnr:6.2f} {one.worst_psnr:6.2f} {one.flat_share:5.0%} "
            f"{one.standing:9.3f} {bands}"
        )
    return [*lines, ""]


def _heard(marks: Marks) -> list[str]:
    if not marks.heard:
        return []
    quality = [one.pesq for one in marks.heard if one.pesq is not None]
    heard = f"{fmean(quality):.2f}, worst {min(quality):.2f}" if quality else "not measured"
    masked = [one.noise_to_mask for one in marks.heard]
    return [
        f"audibility: PESQ {heard}; SNR {fmean(one.snr for one in marks.heard):.1f} dB; noise to "
        f"mask {fmean(masked):.1f} dB, worst {max(masked):.1f}; "
        f"{fmean(one.unmasked for one in marks.heard):.1%} of it over the threshold",
        "",
    ]


def _false(name: str, false: FalseMarks) -> str:
    return (
        f"{name} without our mark: {false.tries} tries ({false.foreign} with another key's), "
        f"{false.ids} ids, {false.marks} marks, highest confidence {false.highest:.2f}"
    )


def _cost(marks: Marks) -> list[str]:
    texts = []
    for attribute, text in (
        ("frame_512", "{:.2f} ms per frame of 512x512"),
        ("frame_1080", "{:.1f} ms of 1920x1080"),
        ("sound_share", "{:.2%} of real time for the sound"),
        ("read_video", "reading {:.2f} s for 150 frames"),
        ("read_audio", "{:.2f} s for the sound"),
    ):
        value = _mean(getattr(one, attribute) for one in marks.cost)
        if value is not None:
            texts.append(text.format(value))
    return ["cost of one core: " + ", ".join(texts)]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
