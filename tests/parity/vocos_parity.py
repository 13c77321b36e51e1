"""omnitalk's imported Vocos against the vocos package, on random weights in the public layout."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from reporting import SPEECH_LEVEL, Report, chirps, tell_time

from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.speech.vocoder import VocosConfig, VocosVocoder, load_vocoder
from omnitalk_cli.weights.importers.vocos import convert

BOUND = 1e-5
# As published with charactr/vocos-mel-24khz.
CONFIG = """\
feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args:
    sample_rate: 24000
    n_fft: 1024
    hop_length: 256
    n_mels: 100
    padding: center

backbone:
  class_path: vocos.models.VocosBackbone
  init_args:
    input_channels: 100
    dim: 512
    intermediate_dim: 1536
    num_layers: 8

head:
  class_path: vocos.heads.ISTFTHead
  init_args:
    dim: 512
    n_fft: 1024
    hop_length: 256
    padding: center
"""


def main() -> None:
    """Compare and report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    VocosVocoder(VocosConfig(dim=8, intermediate_dim=8, num_layers=1))  # makes torchaudio load
    from vocos import Vocos

    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(CONFIG)
        torch.manual_seed(0)
        theirs = Vocos.from_hparams(str(folder / "config.yaml")).eval()
        mel = log_mel(chirps(2.0, rows=2))
        with torch.no_grad():
            # A network at its beginning hardly depends on its input.
            for parameter in theirs.backbone.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
            level = theirs.decode(mel.transpose(1, 2)).std()
            theirs.head.out.bias[:513] += torch.log(SPEECH_LEVEL / level)
        torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
        companions = {"config.yaml": folder / "config.yaml"}
        convert(folder / "pytorch_model.bin", companions, folder / "model.safetensors")
        ours = load_vocoder(folder / "model.safetensors")
        print(f"{sum(p.numel() for p in ours.parameters()) / 1e6:.2f} M parameters")
        for label, part in {"two rows": mel, "one row": mel[:1], "two frames": mel[:, :2]}.items():
            expected = theirs.decode(part.transpose(1, 2))
            report.compare(f"vocos, {label}", ours(part), expected, bound=BOUND)
        expected = theirs.decode(mel[:1].transpose(1, 2))
        report.compare("vocos, streamed", ours.decode(mel[:1], chunk=40), expected, bound=BOUND)
        tell_time(ours, mel[:1])
    report.finish()


if __name__ == "__main__":
    main()
