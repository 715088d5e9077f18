"""Runs trials on a Ray cluster: the one that ``RAY_ADDRESS`` names, or a local one started for the occasion."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from holter.errors import MissingExtra, TrialError
from holter.experiments.pool import LocalPool
from holter.experiments.trial import Trial, TrialOutcome, TrialResult


class RayEngine:
    """Runs each trial as one Ray task.

    The task starts the trial in a process of its own on the node it lands on, with the same time limit and the same
    outcomes as `LocalPool`; Ray decides where. The folders of `Trial.path` must exist on every node.

    Args:
        jobs: CPUs of a cluster that is started here; an existing cluster decides for itself.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(self, jobs: int = 1) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtra(
                "--engine ray needs Ray", why=str(error), do="pip install 'holter[ray]', or use --engine local"
            ) from error
        self._ray: Any = ray
        self.jobs = jobs

    def run(self, trials: Sequence[Trial]) -> Iterator[tuple[int, TrialResult]]:
        """Yield (index of the trial, result) as trials end. Leaving the loop early cancels what still runs."""
        ray, started = self._ray, self._connect()
        task = ray.remote(_run_one)
        waiting = {
            task.options(num_cpus=min(trial.world_size, self.jobs)).remote(trial): index
            for index, trial in enumerate(trials)
        }
        try:
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(ready[0]), self._result(ready[0])
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
            if started:
                ray.shutdown()

    def _connect(self) -> bool:
        if self._ray.is_initialized():
            return False
        address = os.environ.get("RAY_ADDRESS")
        options = {"address": address} if address else {"num_cpus": self.jobs, "include_dashboard": False}
        try:
            self._ray.init(log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, RuntimeError, OSError) as error:
            raise TrialError("could not reach a Ray cluster", where=address or "local", why=str(error)) from error
        return True

    def _result(self, reference: Any) -> TrialResult:
        try:
            result: TrialResult = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return TrialResult(outcome=TrialOutcome.CRASHED, error=f"Ray: {error}".splitlines()[0])
        return result


def _run_one(trial: Trial) -> TrialResult:
    return next(result for _, result in LocalPool(jobs=1).run([trial]))
