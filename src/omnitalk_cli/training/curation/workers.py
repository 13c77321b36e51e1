"""Work spread over processes: one that dies takes only its own piece of work along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

DIED = "the process that worked on it died (out of memory, or a fault in a library)"


def spread(
    work: Callable[[T], R], items: Sequence[T], *, workers: int, setup: Callable[[], None]
) -> Iterator[tuple[int, R | None]]:
    """``(number, result)`` of every item as it is done; None when its process died, twice.

    ``work`` and ``setup`` (called once in every new process) must be importable. With one worker
    all is done in this process. Raises what ``work`` raises; then, and when the loop is left, no
    process stays behind.
    """
    if workers == 1 or len(items) < 2:
        for number, item in enumerate(items):
            yield number, work(item)
        return
    left = dict(enumerate(items))
    done = set()
    for number, result in _pool(work, left, workers, setup):
        done.add(number)
        yield number, result
    # Those that were under way when a process died: alone, so that the culprit is known.
    for number in sorted(left.keys() - done):
        alone = [result for _, result in _pool(work, {number: left[number]}, 1, setup)]
        yield number, alone[0] if alone else None


def _pool(
    work: Callable[[T], R], items: dict[int, T], workers: int, setup: Callable[[], None]
) -> Iterator[tuple[int, R]]:
    """Results until all is done or a process has died."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=context, initializer=_begin, initargs=(setup,)
    )
    waiting = list(items.items())[::-1]
    running: dict[Future[Any], int] = {}
    ended = False
    try:
        while waiting or running:
            while waiting and len(running) < workers + 1:
                number, item = waiting.pop()
                running[pool.submit(work, item)] = number
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
        ended = True
    except BrokenProcessPool:
        pass
    finally:
        children = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=ended, cancel_futures=True)
        for child in children:
            if child.is_alive() and not ended:
                child.terminate()


def _begin(setup: Callable[[], None]) -> None:
    """In a new process: Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    setup()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
