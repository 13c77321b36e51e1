"""The fingerprints of a run's rows; files and weights are hashed once."""

from __future__ import annotations

import hashlib

from omnitalk_cli import __version__
from omnitalk_cli.batch.fingerprint import ContentHashes, fingerprint_of
from omnitalk_cli.batch.jobs import Job
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
        from omnitalk_cli.pipeline.models import EMBEDDED, candidates
        from omnitalk_cli.pipeline.reference import EXTRACTOR_VERSION
        from omnitalk_cli.speech.vocoders import AUTO, find_vocoder, settle_vocoder

        model = str(job.options.get("model") or AUTO)
        used = list(candidates(model))
        vocoder = find_vocoder(
            settle_vocoder(str(job.options.get("vocoder") or AUTO), joint=model == EMBEDDED)
        )
        if vocoder is not None:
            used.append(str(vocoder))
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


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
