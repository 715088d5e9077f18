"""SYS101 memory-short."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case
from holter.checks.measured.look import evidence, number
from holter.finding import Basis, Clue, Finding, Severity
from holter.run import Run
from holter.stages import Stage


class MemoryShort(Check):
    """A step should take more memory than there is.

    What it looks for: the estimate of weights, gradients, optimizer state and activations against the memory of the
    device.

    Why it hurts: the run ends in an out-of-memory error, often only at the longest batch.

    How to fix it: lower per_device_train_batch_size and raise gradient_accumulation_steps, or use
    gradient_checkpointing.

    When to ignore it: where the estimate is known to be too high (checkpointing, offloading).

    Threshold: the estimate above what is available.

    Sources: `holter.recipes.memory`, with its measured error in the documentation.
    """

    code = "SYS101"
    name = "memory-short"
    title = "A step should take more memory than there is"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(facts=("memory.estimate_mib", "memory.available_mib"))

    bad = (case("twice", facts={"memory.estimate_mib": 160000, "memory.available_mib": 80000}),)
    good = (
        case("fits", facts={"memory.estimate_mib": 20000, "memory.available_mib": 80000}),
        case("just fits", facts={"memory.estimate_mib": 79999, "memory.available_mib": 80000}),
    )
    not_enough = (case("not estimated", facts={"memory.available_mib": 80000}),)

    def detect(self, run: Run) -> Iterator[Finding]:
        need, there = number(run, "memory.estimate_mib") or 0.0, number(run, "memory.available_mib") or 0.0
        if need > there:
            yield self.finding(
                f"a step should take {need:,.0f} MiB, {there:,.0f} MiB are there",
                evidence=[evidence(run, "memory.estimate_mib"), evidence(run, "memory.available_mib")],
                clues=[Clue(cause="out-of-memory", bits=4.0, why="estimated before the first step")],
                step=0,
                basis=Basis.MEASURED,
            )
