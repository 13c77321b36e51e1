"""The fingerprints of a run's rows; files and weights are hashed once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from omnitalk_cli import __version__
from omnitalk_cli.batch.fingerprint import ContentHashes, fingerprint_of
from omnitalk_cli.batch.jobs import Job
from omnitalk_cli.errors import SetupError
from omnitalk_cli.pipeline.reference_text import sidecar


class Fingerprints:
    """By job; for one run."""

    def __init__(self) -> None:
        self._hashes = ContentHashes()
        self._weights: dict[str, str] = {}

    def of(self, job: Job) -> str:
        """The fingerprint of ``job``. Raises InputError for a file that cannot be read and
        SetupError for weights that are missing."""
        beside = "" if "ref_text" in job.options else sidecar(job.ref)
        said = job.text if job.text_file is None else self._hashes.of(job.text_file)
        return fingerprint_of(
            job,
            ref_sha256=_sha256(self._hashes.of(job.ref), beside),
            text_sha256=_sha256(said or ""),
            audio_sha256="" if job.audio is None else self._hashes.of(job.audio),
            versions=self._made_by(job),
            hashes=self._hashes,
        )

    def _made_by(self, job: Job) -> dict[str, str]:
        """The program's version, and the hashes of the weights."""
        from omnitalk_cli.pipeline.models import AUTO, candidates
        from omnitalk_cli.pipeline.reference import EXTRACTOR_VERSION

        used = list(candidates(str(job.options.get("model") or AUTO)))
        vocoder = _vocoder_weights(str(job.options.get("vocoder") or AUTO), used[-1])
        if vocoder is not None:
            used.append(str(vocoder))
        if job.options.get("tracker") == "landmarker":
            from omnitalk_cli.face.landmarker import landmarker_file

            used.append(str(landmarker_file()))
        return {
            "omnitalk": __version__,
            "extractor": str(EXTRACTOR_VERSION),
            **{f"weights {number}": self._weights_of(name) for number, name in enumerate(used)},
        }

    def _weights_of(self, name: str) -> str:
        from omnitalk_cli.weights import store

        if name not in self._weights:
            self._weights[name] = store.sha256(store.find_weights(name))
        return self._weights[name]


def _vocoder_weights(name: str, speaker: str) -> Path | None:
    """The file of the vocoder ``name``, for ``auto`` that of the one for the model ``speaker``;
    None where there is no such file. Whether the two fit is seen when the row is made."""
    from omnitalk_cli.pipeline.models import choose_model
    from omnitalk_cli.speech.vocoders import AUTO, choose_vocoder, find_vocoder

    if name != AUTO:
        return find_vocoder(name)
    chosen = choose_model(speaker, device="cpu", language=None)
    try:
        return find_vocoder(choose_vocoder(chosen.mel, joint=chosen.kind == "joint"))
    except SetupError:  # of a voice that ``auto`` may not take at all
        return None


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
