"""The parts of the engine on Ray that need no cluster."""

from __future__ import annotations

import http.server
import importlib.metadata
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omnitalk_cli.batch import ray_cluster
from omnitalk_cli.batch.engine import Ended, Lost, Noted, Slot, Told
from omnitalk_cli.batch.maker import Made, MakerSettings
from omnitalk_cli.batch.ray_actor import Recorded, RowActor, Unseen
from omnitalk_cli.batch.ray_cluster import Node, check_ray, cluster, places
from omnitalk_cli.batch.ray_engine import RayEngine
from omnitalk_cli.errors import OmnitalkError, SetupError, UsageError, WorkError
from omnitalk_cli.provenance.ledger import Ledger
from ray_rows import LightMaker, jobs


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "threads", "expected"),
    [
        # count, cores and GPUs of each, its device and threads
        (8, 0, "auto", 1, (8, 1, 0, "cpu", 1)),
        (8, 0, "auto", 3, (2, 3, 0, "cpu", 3)),
        (2, 0, "cpu", 4, (1, 2, 0, "cpu", 2)),
        (16, 4, "auto", 4, (4, 4, 1, "cuda", 4)),
        (16, 4, "auto", 8, (4, 4, 1, "cuda", 4)),
        (2, 4, "cuda", 4, (4, 0, 1, "cuda", 1)),
        (16, 4, "cpu", 4, (4, 4, 0, "cpu", 4)),
        (8, 0, "cuda", 1, (0, 1, 0, "cuda", 1)),
        (0, 0, "auto", 1, (0, 0, 0, "cpu", 1)),
        (0, 1, "auto", 2, (1, 0, 1, "cuda", 1)),
    ],
)
def test_places(
    cpus: float, gpus: float, device: str, threads: int, expected: tuple[Any, ...]
) -> None:
    node = Node(id="n", name="n", cpus=cpus, gpus=gpus)
    found = places(node, MakerSettings(device=device, threads=threads))
    settings = found.settings
    assert (found.count, found.cpus, found.gpus, settings.device, settings.threads) == expected
    assert found.count * found.cpus <= cpus and found.count * found.gpus <= gpus


@pytest.mark.parametrize(
    "address", ["", "head", "head:", ":6379", "ray://head:10001", "http://head:1/", "a b:1", "h:1x"]
)
def test_no_address(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="HOST:PORT"), cluster(address, 1):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999"])
def test_nothing_answers(address: str) -> None:
    pytest.importorskip("ray")
    begin = time.monotonic()
    with pytest.raises(WorkError, match="nothing answers"), cluster(address, 1):
        pass
    assert time.monotonic() - begin < 10


@pytest.fixture
def web_server() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_something_else_answers(web_server: str) -> None:
    pytest.importorskip("ray")
    begin = time.monotonic()
    with pytest.raises(WorkError, match="no head of a Ray cluster"), cluster(web_server, 1):
        pass
    assert time.monotonic() - begin < 60


def test_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(ray_cluster.importlib.metadata, "version", missing)
    with pytest.raises(SetupError, match=r"pip install 'omnitalk-cli\[ray\]'"):
        check_ray()


def test_one_gpu_of_many_cannot_be_chosen() -> None:
    with pytest.raises(UsageError, match="cuda:1"):
        RayEngine(MakerSettings(device="cuda:1"))


class Marker(LightMaker):
    """Enters its rows in the ledger of marks, as the real one does."""

    seconds = 0.0

    def make(self, job: Any, **callbacks: Any) -> Made:
        made = super().make(job, **callbacks)
        number = Ledger().record(version="1", output_name=job.output.name)
        return replace(made, mark_id=f"{number:08x}")


class Crashing(LightMaker):
    def make(self, job: Any, **callbacks: Any) -> Made:
        raise SystemExit("out of here")


def _actor(maker: Any, folder: Path) -> RowActor:
    actor = RowActor(MakerSettings(), maker, folder=Path.cwd(), own_cache=True)
    actor.prepare()
    (folder / "out").mkdir()
    (folder / "ref.mp4").write_bytes(b"clip")
    return actor


def test_an_actor_tells_everything(tmp_path: Path) -> None:
    actor = _actor(Marker, tmp_path)
    (job,) = jobs(tmp_path / "out", 1, ref=tmp_path / "ref.mp4")
    *told, recorded, made = actor.make(job, tmp_path / "out")
    assert {type(one) for one in told} == {Told, Noted}
    assert isinstance(made, Made) and made.exit_code == 0
    assert isinstance(recorded, Recorded) and f"{recorded.entry.id:08x}" == made.mark_id


def test_an_actor_survives_its_maker(tmp_path: Path) -> None:
    actor = _actor(Crashing, tmp_path)
    (job,) = jobs(tmp_path / "out", 1, ref=tmp_path / "ref.mp4")
    (made,) = actor.make(job, tmp_path / "out")
    assert isinstance(made, Made) and made.exit_code == 1 and "out of here" in made.message


@pytest.mark.parametrize("missing", ["out", "ref.mp4"])
def test_an_actor_that_does_not_see_the_files(tmp_path: Path, missing: str) -> None:
    actor = _actor(LightMaker, tmp_path)
    (job,) = jobs(tmp_path / "out", 1, ref=tmp_path / "ref.mp4")
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    assert list(actor.make(job, tmp_path / "out")) == [Unseen(path=tmp_path / missing)]


def _heard(message: Made | Unseen, job: Any) -> tuple[Any, str]:
    """What the engine makes of the end of a row, and what it then holds against the machine."""
    engine = RayEngine(MakerSettings())
    machine = SimpleNamespace(node=Node(id="n", name="far", cpus=1, gpus=0), fault="")
    return engine._ended(machine, job, message), machine.fault  # type: ignore[arg-type]


def test_a_machine_without_the_shared_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnitalk_cli.batch.ray_engine._SEE_SECONDS", 0.2)
    (job,) = jobs(tmp_path, 1, ref=tmp_path / "ref.mp4")
    # Seen from here, but not from there; then written there, and not seen here.
    for message in (Unseen(path=tmp_path), Made()):
        event, fault = _heard(message, job)
        assert isinstance(event, Lost) and event.why == fault
        assert "far" in fault and "disk that all machines see" in fault
    # Nobody sees it: the row's own fault. And failures are what they are.
    event, fault = _heard(Unseen(path=job.ref), job)
    assert isinstance(event, Ended) and event.made.exit_code == 3 and not fault
    event, fault = _heard(Made(exit_code=3, message="no face"), job)
    assert isinstance(event, Ended) and event.made.message == "no face" and not fault
    job.output.write_bytes(b"video")
    event, fault = _heard(Made(), job)
    assert isinstance(event, Ended) and event.made.exit_code == 0 and not fault


def test_slots_are_those_of_actors_that_are_ready() -> None:
    engine = RayEngine(MakerSettings())
    used, unused = SimpleNamespace(used=True), SimpleNamespace(used=False)
    job = jobs(Path("out"), 1, ref=Path("ref"))[0]
    workers = [
        SimpleNamespace(ready=ready, machine=machine, slot=Slot(name=name, job=busy))
        for name, ready, machine, busy in (
            ("a", True, used, None), ("b", False, used, None), ("c", True, unused, None),
            ("d", True, unused, job),
        )
    ]  # fmt: skip
    engine._fleet = SimpleNamespace(workers=workers)  # type: ignore[assignment]
    assert [slot.name for slot in engine.slots] == ["a", "d"]


def test_marks_of_others_are_taken_over(tmp_path: Path) -> None:
    there, here = Ledger(tmp_path / "there"), Ledger(tmp_path / "here")
    number = there.record(version="1", output_name="a.mp4", text_hash="0" * 64)
    there.complete(number, output_hash="1" * 64, marks=("video", "audio"))
    (entry,) = there.find(number)
    assert here.adopt(entry) and here.find(number) == [entry]
    assert not here.adopt(replace(entry, output_name="b.mp4")) and here.find(number) == [entry]
    with pytest.raises((ValueError, OmnitalkError)):
        here.adopt(replace(entry, id=1, output_hash="no hash"))
