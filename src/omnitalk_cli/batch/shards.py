"""Parts of a table for several machines that do not talk to each other."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from omnitalk_cli.batch.job_table import Checked


def shard_of(checked: Checked, number: int, of: int) -> Checked:
    """The rows of part ``number`` (1 to ``of``). Which part a row is in depends on its id only, so
    that it stays there when rows are added; all parts together are the table. The unusable rows
    are told by the first part."""
    jobs = tuple(
        job
        for job in checked.jobs
        if int.from_bytes(hashlib.sha256(job.id.encode()).digest()[:8], "big") % of == number - 1
    )
    if number == 1:
        return replace(checked, jobs=jobs, rows=len(jobs) + checked.broken)
    return replace(checked, jobs=jobs, problems=(), rows=len(jobs))
