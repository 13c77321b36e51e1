"""The ablation of fusion: alike but for the fusion, cut cleanly, end to end on a tiny corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from omnitalk_cli.cli.app import app
from omnitalk_cli.dit.config import FUSIONS, DiTConfig, Fusion
from omnitalk_cli.dit.model import Condition, DualBranchDiT, TextInput
from omnitalk_cli.errors import InputError
from omnitalk_cli.evaluation import fusion, fusion_scores, fusion_table
from omnitalk_cli.evaluation.fusion_items import held_out
from omnitalk_cli.evaluation.fusion_scores import severed
from omnitalk_cli.evaluation.scores.result import Score
from omnitalk_cli.evaluation.scores.summary import Mean
from omnitalk_cli.text.vocabulary import Vocabulary
from omnitalk_cli.training.dataset import Utterance, load_utterances
from omnitalk_cli.training.loop import TrainResult
from omnitalk_cli.training.shards import CorpusItem, CorpusWriter
from omnitalk_cli.training.train_config import TrainConfig


def small(kind: Fusion) -> DiTConfig:
    return DiTConfig.tiny(
        fusion=kind, dim=32, visual_dim=16, heads=2, head_dim=8, fusion_depth=2, single_depth=1,
        text_dim=16, position_kernel=3, position_groups=2, given_sound=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fusion")
    rng = np.random.default_rng(0)
    writer = CorpusWriter(folder / "shard-00000.safetensors")
    for number in range(20):
        frames = int(rng.integers(130, 220))
        seconds = frames / 93.75
        edges = np.linspace(0.1, seconds - 0.1, 10)
        writer.add(
            CorpusItem(
                mel=rng.normal(size=(frames, 100)).astype(np.float16),
                codes=rng.random((frames, 61)).astype(np.float16), text="hello, world.",
                words=[(0.1, 0.4 * seconds), (0.5 * seconds, seconds - 0.1)],
                speaker=f"voice{number % 2}", source="test",
                split="heldout" if number % 4 < 2 else "train", alphabet="arpabet",
                phones=[
                    (name, float(a), float(b))
                    for name, a, b in zip("HH AH L OW W ER L D Z".split(), edges, edges[1:],
                                          strict=False)
                ],
            )
        )  # fmt: skip
    writer.write()
    return folder


def test_variants_differ_in_the_fusion_alone() -> None:
    configs = [fusion.variant(kind) for kind in FUSIONS]
    assert [config.fusion for config in configs] == list(FUSIONS)
    for config in configs:
        assert DiTConfig(**{**vars(config), "fusion": "add"}) == configs[FUSIONS.index("add")]
        assert not config.given_sound  # sound and face may meet in the fusion only
    plan = fusion.recipe(10, seed=3)
    assert (plan.steps, plan.seed, plan.audio_only) == (10, 3, (0.0, 0.0))


def _inputs() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    visible = torch.zeros(2, 32, dtype=torch.bool)
    visible[:, :16] = True
    return {
        "audio": draw(2, 32, 100),
        "visual": draw(2, 32, 61),
        "condition": Condition.of(draw(2, 32, 100), draw(2, 32, 61), visible, visible),
        "text": TextInput(
            ids=torch.ones(2, 4, dtype=torch.long), index=torch.zeros(2, 32, dtype=torch.long),
            phase=torch.zeros(2, 32, 2),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_cut_network_is_two_networks(kind: Fusion) -> None:
    torch.manual_seed(0)
    network = DualBranchDiT(small(kind)).eval()
    for parameter in network.parameters():  # zero gates would hide every link
        torch.nn.init.normal_(parameter, std=0.2)
    parts = _inputs()

    @torch.no_grad()
    def run(model: DualBranchDiT, visual: torch.Tensor | None, audio: torch.Tensor) -> Any:
        text = model.text(parts["text"], 32, torch.zeros(2, dtype=torch.bool))
        return model(audio, visual, condition=parts["condition"], text=text,
                     time=torch.full((2,), 0.4))  # fmt: skip

    cut = severed(network)
    heard, seen = run(cut, parts["visual"], parts["audio"])
    alone, _ = run(network, None, parts["audio"])
    assert torch.allclose(heard, alone, atol=1e-5)
    _, still = run(cut, parts["visual"], parts["audio"] + 1)
    assert torch.equal(seen, still)  # the face does not hear
    whole, face = run(network, parts["visual"], parts["audio"])
    assert not torch.allclose(whole, heard, atol=1e-3)
    assert not torch.allclose(face, run(network, parts["visual"], parts["audio"] + 1)[1], atol=1e-3)
    assert sum(p.numel() for p in network.parameters()) >= sum(p.numel() for p in cut.parameters())


def test_held_out_sentences_are_the_same_for_all(corpus: Path) -> None:
    utterances = load_utterances(corpus, "heldout")
    made = [
        held_out(utterances, 4, vocabulary=Vocabulary.phones(), patch=4, seed=2) for _ in range(2)
    ]
    for one, two in zip(*made, strict=True):
        assert np.array_equal(one.mel, two.mel) and one.boundary == two.boundary
        assert one.mel.shape == (960, 100) and one.codes.shape == (960, 61)
        assert 120 <= one.boundary <= 840 and one.text == "hello, world."
    assert len({item.mel[-50:].tobytes() for item in made[0]}) == 4
    with pytest.raises(InputError, match="--sentences"):
        held_out(utterances, 50, vocabulary=Vocabulary.phones(), patch=4, seed=2)


class _Ear:
    model, substitute, why, whisper = "ear", True, "", None

    def __init__(self, name: str | None = None) -> None:
        pass

    def embed(self, audio: np.ndarray) -> np.ndarray:
        return np.abs(np.fft.rfft(audio[:256])).astype(np.float32)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tiny networks, and judges that need nothing installed."""

    def words(audio: np.ndarray, text: str, ear: object, *, language: str) -> dict[str, Score]:
        return {"wer": Score.rate(1, 2, model="ear", substitute=True, note="")}

    monkeypatch.setattr(fusion, "variant", small)
    monkeypatch.setattr(
        fusion, "recipe", lambda steps, seed: TrainConfig(
            steps=steps, seed=seed, tokens=64, lengths=(32,), warmup_steps=2, audio_only=(0.0, 0.0)
        )
    )  # fmt: skip
    monkeypatch.setattr(fusion_scores, "Transcriber", _Ear)
    monkeypatch.setattr(fusion_scores, "VoiceJudge", _Ear)
    monkeypatch.setattr(fusion_scores, "word_scores", words)
    monkeypatch.setattr(fusion_scores, "product_vocoder", lambda: lambda mel: mel.reshape(-1))
    monkeypatch.setenv("OMNITALK_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.slow
def test_eval_fusion_from_corpus_to_table(corpus: Path, tmp_path: Path, quick: None) -> None:
    words = ["eval", "fusion", str(corpus), "-o", str(tmp_path / "runs"), "--train-steps", "2",
             "--sentences", "2", "--device", "cpu", "-q"]  # fmt: skip
    first = CliRunner().invoke(app, [*words, "--json"])
    assert first.exit_code == 0, first.stdout
    found = json.loads(first.stdout)
    assert list(found["variants"]) == list(FUSIONS) and found["sentences"] == 2
    for kind, row in found["variants"].items():
        assert (tmp_path / "runs" / kind / "model.safetensors").is_file()
        assert set(row["whole"]["means"]) == {
            "wer", "sim", "e_fid", "p_fid", "mel", "lips", "driven"
        }  # fmt: skip
        assert {"mel@0.3", "codes@0.3", "given@0.3"} <= set(row["whole"]["heldout"])
        assert row["training"]["steps"] == 2 and row["parameters"] > 10_000
    assert found["variants"]["add"]["paper"] == {"wer": 2.89, "p_fid": 3.2}
    assert "eval-judge" in found["not_measured"]["letters"]
    # A finished run is scored again, not trained again, and gives the same.
    again = CliRunner().invoke(app, [*words, "--json"])
    for kind, row in json.loads(again.stdout)["variants"].items():
        assert row["whole"] == found["variants"][kind]["whole"]
    table = CliRunner().invoke(app, words).stdout
    assert "cross_attention" in table and "streams cut apart" in table and "paper" in table


def test_the_table_warns_when_nothing_is_understood() -> None:
    mean = {"wer": Mean(value=1.02, low=0.9, high=1.1, items=3)}
    heldout = dict.fromkeys(fusion_table._LOSSES, 0.5)
    one = fusion_scores.VariantScores(means=mean, heldout=heldout)
    scores = fusion_scores.FusionScores(
        sentences=3, parameters={"add": 1}, whole={"add": one}, cut={"add": one},
        recordings=mean, models={"wer": "ear"}, missing={},
    )  # fmt: skip
    trained: dict[Fusion, TrainResult] = {
        "add": TrainResult(checkpoint=Path("x"), steps=2, minutes=1.0, hours_seen=0.1, heldout={})
    }
    assert "too badly" in "\n".join(fusion_table.table(trained, scores))
    assert fusion_table.to_dict(trained, scores)["warning"]


def test_eval_fusion_needs_a_corpus(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["eval", "fusion", str(tmp_path), "-o", str(tmp_path / "r")])
    assert result.exit_code == 3 and "holds no corpus" in result.stderr


def test_utterances_can_be_asked_for_by_number(corpus: Path) -> None:
    utterances: list[Utterance] = load_utterances(corpus, "heldout")
    items = held_out(utterances, 6, vocabulary=Vocabulary.phones(), patch=4, seed=0)
    ends = {item.mel[-40:].astype(np.float16).tobytes() for item in items}
    # Whole patches are cut at the end, so that the last frames may lack up to three.
    known = set()
    for utterance in utterances:
        assert utterance.mel is not None
        whole = utterance.mel[: len(utterance.mel) // 4 * 4]
        known.add(whole[-40:].tobytes())
    assert ends <= known
