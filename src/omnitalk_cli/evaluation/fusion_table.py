"""The ablation of fusion as a table, beside the paper's Table 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from omnitalk_cli.dit.config import Fusion
from omnitalk_cli.evaluation.fusion_scores import FusionScores, VariantScores
from omnitalk_cli.evaluation.scores.summary import Mean
from omnitalk_cli.training.loop import TrainResult

# WER (%) and P-FID on the paper's Custom set (system.md section 2); the rest of its row is not
# known to us.
PAPER: dict[Fusion, tuple[float, float]] = {
    "mm_attention": (1.58, 0.12), "cross_attention": (1.72, 0.18), "linear": (2.32, 1.54),
    "add": (2.89, 3.20),
}  # fmt: skip

_COLUMNS = (
    ("wer", "WER", 3), ("letters", "letters", 3), ("sim", "SIM", 3), ("e_fid", "E-FID", 3),
    ("p_fid", "P-FID", 3), ("mel", "mel", 3), ("lips", "lips", 2), ("driven", "driven", 2),
)  # fmt: skip
_LOSSES = (
    "mel@0.02", "mel@0.3", "mel@0.6", "codes@0.02", "codes@0.3", "codes@0.6", "given@0.02",
    "given@0.3", "given@0.6",
)  # fmt: skip
# Above this a word error rate ranks noise.
USELESS_WER = 0.9


def to_dict(trained: Mapping[Fusion, TrainResult], scores: FusionScores) -> dict[str, Any]:
    """JSON-able form of everything."""

    def variant(one: VariantScores) -> dict[str, Any]:
        return {
            "means": {name: mean.to_dict() for name, mean in one.means.items()},
            "heldout": {name: round(value, 4) for name, value in one.heldout.items()},
        }

    return {
        "sentences": scores.sentences,
        "variants": {
            fusion: {
                "parameters": scores.parameters[fusion],
                "training": trained[fusion].to_dict(),
                "whole": variant(scores.whole[fusion]),
                "cut": variant(scores.cut[fusion]),
                "paper": dict(zip(("wer", "p_fid"), PAPER[fusion], strict=True)),
            }
            for fusion in trained
        },
        "recordings": {name: asdict(mean) for name, mean in scores.recordings.items()},
        "models": scores.models,
        "not_measured": scores.missing,
        "warning": warning(scores) or None,
    }


def table(trained: Mapping[Fusion, TrainResult], scores: FusionScores) -> list[str]:
    """Lines for people: scores with intervals, the cut, the losses, who measured."""
    known = [column for column in _COLUMNS if column[0] in next(iter(scores.whole.values())).means]
    head = f"{'':22} {'M':>5} " + "".join(f"{title:>19}" for _, title, _ in known)
    lines = [f"{scores.sentences} held-out sentences, in brackets 95 % of a bootstrap over them",
             head + f"{'paper: WER %':>14}{'P-FID':>7}"]  # fmt: skip
    for fusion in trained:
        size = scores.parameters[fusion] / 1e6
        wer, pose = PAPER[fusion]
        lines.append(
            _row(fusion, f"{size:.2f}", scores.whole[fusion].means, known)
            + f"{wer:>14.2f}{pose:>7.2f}"
        )
        lines.append(_row("  streams cut apart", "", scores.cut[fusion].means, known))
    lines.append(_row("recordings", "", scores.recordings, known))
    lines += ["", f"{'held-out L1':22} " + "".join(f"{name:>11}" for name in _LOSSES)]
    for fusion in trained:
        for name, one in ((fusion, scores.whole[fusion]), ("  cut", scores.cut[fusion])):
            cells = "".join(f"{one.heldout[loss]:>11.3f}" for loss in _LOSSES)
            lines.append(f"{name:22} {cells}")
    steps = ", ".join(
        f"{fusion} {one.steps} steps, {one.hours_seen:.1f} h heard"
        for fusion, one in trained.items()
    )
    lines += ["", f"trained: {steps}"]
    names = {name: title for name, title, _ in _COLUMNS}
    lines += [f"{names[name]}: {model}" for name, model in scores.models.items()]
    lines += [f"{names[name]}: not measured; {why}" for name, why in scores.missing.items()]
    if warning(scores):
        lines.append(warning(scores))
    return lines


def warning(scores: FusionScores) -> str:
    """Says when the models speak too badly for a word error rate to rank them; else empty."""
    rates = [one.means["wer"].value for one in scores.whole.values() if "wer" in one.means]
    if rates and min(rates) > USELESS_WER:
        return "the models speak too badly for WER to rank them: look at letters, mel and losses"
    return ""


def _row(
    name: str, size: str, means: Mapping[str, Mean], columns: list[tuple[str, str, int]]
) -> str:
    cells = ""
    for key, _, digits in columns:
        mean = means.get(key)
        text = "-"
        if mean is not None:
            text = f"{mean.value:.{digits}f}"
            if mean.low is not None and mean.high is not None:
                text += f" ({mean.low:.{digits}f}..{mean.high:.{digits}f})"
        cells += f"{text:>19}"
    return f"{name:22} {size:>5} {cells}"
