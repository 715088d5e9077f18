"""Runs trials in processes of their own, several at a time, with a time limit each.

A fork server loads torch and transformers once; every trial is a fresh process forked from it, so that no trial can
leave anything behind for the next one, and one that crashes or hangs takes nothing with it.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from holter.experiments.trial import Trial, TrialOutcome, TrialResult
from holter.experiments.worker import merge_ranks, run_rank

PRELOADED = ["torch", "transformers", "transformers.trainer", "accelerate", "holter.experiments.worker"]
POLL = 0.05  # seconds between looks at running trials; far below the second or more that a trial takes
GRACE = 5.0  # seconds between asking a process to end and killing it


@dataclass
class _Running:
    index: int
    trial: Trial
    folder: tempfile.TemporaryDirectory[str]
    processes: list[BaseProcess]
    started: float = field(default_factory=time.monotonic)

    @property
    def overdue(self) -> bool:
        return time.monotonic() - self.started > self.trial.time_limit

    @property
    def ended(self) -> bool:
        alive = [p for p in self.processes if p.is_alive()]
        return not alive or (len(alive) < len(self.processes) and self._one_failed())

    def _one_failed(self) -> bool:
        """A rank that failed leaves the others waiting for it for ever."""
        return any(not p.is_alive() and self._rank_error(i) for i, p in enumerate(self.processes))

    def _rank_error(self, rank: int) -> str:
        content = self._read(rank)
        return str(content.get("error", ""))

    def _read(self, rank: int) -> dict[str, object]:
        try:
            content: dict[str, object] = json.loads(Path(self.folder.name, f"{rank}.json").read_text())
        except (OSError, ValueError):
            process = self.processes[rank]
            return {"error": f"the process of rank {rank} ended with exit code {process.exitcode} and wrote nothing"}
        return content

    def result(self) -> TrialResult:
        if self.overdue and any(p.is_alive() for p in self.processes):
            limit = f"{self.trial.time_limit:g}"
            return TrialResult(outcome=TrialOutcome.TIMED_OUT, error=f"not finished after {limit} seconds")
        return merge_ranks([self._read(rank) for rank in range(len(self.processes))])

    def stop(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        deadline = time.monotonic() + GRACE
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self.folder.cleanup()


class LocalPool:
    """Runs trials on this machine.

    Args:
        jobs: trials at a time.
    """

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs
        self._context = _context()

    def run(self, trials: Sequence[Trial]) -> Iterator[tuple[int, TrialResult]]:
        """Yield (index of the trial, result) as trials end. Leaving the loop early stops what still runs."""
        waiting = list(enumerate(trials))
        running: list[_Running] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    running.append(self._start(*waiting.pop(0)))
                time.sleep(POLL)
                for one in [r for r in running if r.ended or r.overdue]:
                    running.remove(one)
                    result = one.result()
                    one.stop()
                    yield one.index, result
        finally:
            for one in running:
                one.stop()

    def _start(self, index: int, trial: Trial) -> _Running:
        folder = tempfile.TemporaryDirectory(prefix="holter-trial-")
        port = _free_port() if trial.world_size > 1 else 0
        processes: list[BaseProcess] = []
        with _without_main():
            for rank in range(trial.world_size):
                arguments = (trial, rank, port, Path(folder.name))
                process = self._context.Process(target=run_rank, args=arguments, daemon=True)
                process.start()
                processes.append(process)
        return _Running(index=index, trial=trial, folder=folder, processes=processes)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep the child from importing the user's main script again, which it does not need."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        for name in kept:
            setattr(main, name, None)
        if "__file__" in kept:
            del main.__file__
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


def _context() -> ForkServerContext | SpawnContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
