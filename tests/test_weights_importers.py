"""Every importer that the catalogue names can be loaded."""

from __future__ import annotations

import pytest

from omnitalk_cli.weights.catalog import entries
from omnitalk_cli.weights.importers.registry import IMPORTERS


@pytest.mark.parametrize("name", IMPORTERS)
def test_importers_load(name: str) -> None:
    assert callable(IMPORTERS[name].load())


def test_every_public_entry_has_one() -> None:
    sources = [entry.source for entry in entries()]
    assert {source.importer for source in sources if source is not None} == set(IMPORTERS)
