"""The actors of a run on Ray, and the machines that they are on."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitalk_cli import __version__
from omnitalk_cli.batch.engine import Slot
from omnitalk_cli.batch.maker import MakerSettings
from omnitalk_cli.batch.ray_actor import MakerFactory, RowActor
from omnitalk_cli.batch.ray_cluster import (
    Cluster,
    Node,
    Places,
    first_line,
    last_line,
    places,
    version_of_node,
)

_MOST_DEATHS = 3  # in a row, of a machine's actors that never became ready
_STOP_SECONDS = 3.0


@dataclass(eq=False)
class Machine:
    """A node, and what is known of it: ``asked`` is the question after its version, ``fault`` why
    it is not used."""

    node: Node
    places: Places
    asked: Any
    fault: str = ""
    deaths: int = 0

    @property
    def used(self) -> bool:
        """Whether rows are to be made there."""
        return self.asked is None and not self.fault


@dataclass(eq=False)
class Worker:
    """An actor. ``news`` is what it tells next: Ray's reference while it loads, its generator while
    it makes a row, None while it waits."""

    machine: Machine
    number: int
    slot: Slot
    actor: Any
    news: Any
    ready: bool = False

    def next_news(self) -> Any:
        """Ray's reference of what is told next; waits for it."""
        return self.news if not self.ready else next(self.news)


class Fleet:
    """Machines and their actors, ``most`` at most (None: as many as there is room for)."""

    def __init__(
        self,
        cluster: Cluster,
        settings: MakerSettings,
        *,
        most: int | None,
        factory: MakerFactory,
        own_cache: bool,
    ) -> None:
        self._cluster, self._settings, self._most = cluster, settings, most
        self._factory, self._own_cache = factory, own_cache
        self._question = version_of_node()
        self.machines: dict[str, Machine] = {}
        self.workers: list[Worker] = []

    def meet(self) -> list[Worker]:
        """Take in machines that are new; returns the actors of those that have gone."""
        nodes = self._cluster.nodes()
        for name in set(self.machines) - set(nodes):
            del self.machines[name]
        for name in set(nodes) - set(self.machines):
            found = places(nodes[name], self._settings)
            if found.count:
                ask = self._cluster.on(nodes[name], self._question, cpus=0, gpus=0)
                self.machines[name] = Machine(node=nodes[name], places=found, asked=ask.remote())
        return [one for one in self.workers if one.machine.node.id not in nodes]

    def learn(self, seconds: float) -> list[Machine]:
        """Hear the versions of new machines; returns those that cannot be used."""
        asked = {one.asked: one for one in self.machines.values() if one.asked is not None}
        if not asked:
            return []
        ray = self._cluster.ray
        told, _ = ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
        for answer in told:
            machine = asked[answer]
            machine.asked = None
            try:
                machine.fault = _version_fault(machine.node, ray.get(answer))
            except ray.exceptions.RayError as error:
                machine.fault = f"machine {machine.node.name} fails: {first_line(error)}"
        return [asked[answer] for answer in told if asked[answer].fault]

    def fill(self) -> None:
        """Begin the actors that are missing, on all machines in turn."""
        used = [machine for machine in self.machines.values() if machine.used]
        there = {(worker.machine.node.id, worker.number) for worker in self.workers}
        for number in range(max((machine.places.count for machine in used), default=0)):
            for machine in used:
                if self._most is not None and len(self.workers) >= self._most:
                    return
                if number < machine.places.count and (machine.node.id, number) not in there:
                    self.workers.append(self._begin(machine, number))

    def _begin(self, machine: Machine, number: int) -> Worker:
        where = machine.places
        kind = self._cluster.on(machine.node, RowActor, cpus=where.cpus, gpus=where.gpus)
        actor = kind.remote(
            where.settings, self._factory, folder=Path.cwd(), own_cache=self._own_cache
        )
        name = f"{machine.node.name} {machine.node.id[:6]}/{number + 1}"
        return Worker(
            machine=machine, number=number, slot=Slot(name=name), actor=actor,
            news=actor.prepare.remote(),
        )  # fmt: skip

    def dismiss(self, worker: Worker) -> None:
        """End the actor, if it has not ended already."""
        self.workers.remove(worker)
        with suppress(Exception):
            self._cluster.ray.kill(worker.actor)

    def dismiss_unused(self) -> None:
        """End the actors of machines that are not used any more, when they have no row."""
        for worker in list(self.workers):
            if not worker.machine.used and worker.slot.job is None:
                self.dismiss(worker)

    def bury(self, worker: Worker, error: BaseException | None) -> str:
        """Let go of an actor that has died; returns why, as far as ``error`` tells."""
        self.dismiss(worker)
        machine = worker.machine
        if not worker.ready:
            machine.deaths += 1
            if machine.deaths >= _MOST_DEATHS:
                machine.fault = (
                    f"machine {machine.node.name}: its actors end before they can begin "
                    f"({last_line(error)})"
                )
        if machine.node.id not in self._cluster.nodes():
            return f"machine {machine.node.name} has gone"
        hint = " (out of memory)" if "memory" in str(error) else ""
        return f"its actor on machine {machine.node.name} died{hint}"

    def hopeless(self) -> str:
        """Why no machine can be used ("": some can, or may come)."""
        faults = [machine.fault for machine in self.machines.values()]
        return faults[0] if faults and all(faults) else ""

    def stop(self) -> None:
        """End all actors, and wait until they have ended: before that, they may still write."""
        workers, ray = list(self.workers), self._cluster.ray
        for worker in workers:
            self.dismiss(worker)
        end = time.monotonic() + _STOP_SECONDS
        for worker in workers:
            with suppress(Exception):  # the answer of one that has ended is an error
                while worker.news is not None and (left := end - time.monotonic()) > 0:
                    if ray.wait([worker.news], timeout=left)[0]:
                        ray.get(worker.next_news())
                        worker.news = worker.news if worker.ready else None


def _version_fault(node: Node, version: str) -> str:
    if version == __version__:
        return ""
    found = f"has omnitalk-cli {version}" if version else "has no omnitalk-cli"
    return f"machine {node.name} {found}, this one {__version__}; install the same version on all"
