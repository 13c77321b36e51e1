"""omnitalk's imported BigVGAN against NVIDIA's, on random weights in the public layout."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from reporting import SPEECH_LEVEL, Report, chirps, tell_time

from omnitalk_cli.speech.bigvgan import load_bigvgan
from omnitalk_cli.speech.mel import log_mel
from omnitalk_cli.weights.importers.bigvgan import convert

BOUND = 1e-5
# What nvidia/bigvgan_v2_24khz_100band_256x has in its config.json, its training apart.
V2: dict[str, Any] = {
    "resblock": "1", "num_gpus": 0, "segment_size": 65536,
    "upsample_rates": [4, 4, 2, 2, 2, 2], "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "upsample_initial_channel": 1536, "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]], "use_tanh_at_final": False,
    "use_bias_at_final": False, "activation": "snakebeta", "snake_logscale": True,
    "num_mels": 100, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "sampling_rate": 24000,
    "fmin": 0, "fmax": None,
}  # fmt: skip
# nvidia/bigvgan_24khz_100band, the first version.
V1 = {k: v for k, v in V2.items() if not k.endswith("at_final")} | {"fmax": 12000}
# nvidia/bigvgan_base_24khz_100band.
BASE = V1 | {
    "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
}  # fmt: skip
SMALL = V2 | {"upsample_initial_channel": 64}
CASES = {
    "small v2": SMALL,
    "small, resblock 2": SMALL | {"resblock": "2"},
    "small, snake": SMALL | {"activation": "snake"},
    "small, linear scale": SMALL | {"snake_logscale": False},
    "small, snake, linear scale": SMALL | {"activation": "snake", "snake_logscale": False},
    "bigvgan_base_24khz_100band": BASE,
}
LARGE = {"bigvgan_24khz_100band": V1, "bigvgan_v2_24khz_100band_256x": V2}


def random_reference(config: dict[str, Any], mel: torch.Tensor) -> Any:
    """NVIDIA's network with random weights, scaled for the level of speech. ``mel`` [B,T,100]."""
    from bigvgan.bigvgan import BigVGAN
    from bigvgan.env import AttrDict

    torch.manual_seed(0)
    model = BigVGAN(AttrDict(config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(0.7 + 0.6 * torch.rand_like(parameter))
            elif name.endswith(("alpha", "beta")):
                parameter.add_(0.5 * torch.rand_like(parameter))
            elif name.endswith("bias"):
                parameter.normal_(0, 0.05)
        # The last layer before its clamp or tanh, read where it is linear.
        model.conv_post.weight_g.mul_(1e-3)
        level = 1e3 * model(mel[:, :20].transpose(1, 2)).std()
        model.conv_post.weight_g.mul_(1e3 * SPEECH_LEVEL / level)
    return model


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="the networks of 112 M, too")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # the package normalises in the old way
    mel = log_mel(chirps(1.0, rows=2), "bigvgan")
    report = Report()
    for name, config in (CASES | (LARGE if chosen.large else {})).items():
        with tempfile.TemporaryDirectory() as folder:
            main_file, target = Path(folder, "bigvgan_generator.pt"), Path(folder, "m.safetensors")
            part = mel[:, :40] if name.startswith("small") else mel[:1, :16]
            theirs = random_reference(dict(config), mel)
            Path(folder, "config.json").write_text(json.dumps(config))
            torch.save({"generator": theirs.state_dict()}, main_file)
            convert(main_file, {"config.json": Path(folder, "config.json")}, target)
            ours = load_bigvgan(target)
            with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
                normed = theirs(part.transpose(1, 2))[:, 0]
                theirs.remove_weight_norm()
                plain = theirs(part.transpose(1, 2))[:, 0]
                sound = ours(part)
            millions = sum(p.numel() for p in ours.parameters()) / 1e6
            report.compare(f"{name} ({millions:.1f} M)", sound, normed, bound=BOUND)
            report.compare(f"{name}, folded by them", sound, plain, bound=BOUND)
            if not name.startswith("small"):
                tell_time(ours, mel[:1])
    report.finish()


if __name__ == "__main__":
    main()
