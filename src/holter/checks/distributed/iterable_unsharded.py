"""DIS011 iterable-rows-repeat."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import calls, seen
from holter.checks.script import last_part, mentions
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

DIVIDES = (
    "get_worker_info", "worker_id", "worker_init_fn", "num_replicas", "split_dataset_by_node", "islice", "get_rank",
    "world_size", "process_index", "RANK", "rank", "shard", "num_workers_total", "prepare", "replicas",
)  # fmt: skip
"""Names of what divides rows among workers or processes."""

ITERATES = regex(r"(?:^|\.)(\w+)\.__iter__$")
LEAST = 2
"""Workers from which rows repeat."""


class IterableRowsRepeat(Check):
    """What it looks for
        An iterable data set of one's own, read by several workers of a loader, that does not ask which of them it is.

    Why it hurts
        Each worker holds a copy and reads all rows: an epoch holds every row as often as there are workers, one after
        the other in the same order.

    How to fix it
        ``torch.utils.data.get_worker_info()`` in ``__iter__``, and the rank of the process likewise.

    When to ignore it
        When rows are drawn at random without end.

    Threshold
        Two workers.

    Sources
        PyTorch's documentation of IterableDataset, on multi-process loading.
    """

    code = "DIS011"
    name = "iterable-rows-repeat"
    title = "Each worker reads all rows"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "four workers",
            "class Rows(IterableDataset):\n    def __iter__(self):\n        for line in open(self.path):\n"
            "            yield parse(line)\nloader = DataLoader(Rows(), batch_size=8, num_workers=4)\n",
        ),
    )
    good = (
        script(
            "divided",
            "class Rows(IterableDataset):\n    def __iter__(self):\n        info = get_worker_info()\n"
            "        for line in part(self.path, info.id):\n            yield parse(line)\n"
            "loader = DataLoader(Rows(), batch_size=8, num_workers=4)\n",
        ),
        script(
            "one reader",
            "class Rows(IterableDataset):\n    def __iter__(self):\n        for line in open(self.path):\n"
            "            yield parse(line)\nloader = DataLoader(Rows(), batch_size=8, num_workers=0)\n",
        ),
        script(
            "rows by number",
            "class Rows(Dataset):\n    def __iter__(self):\n        return iter(self.rows)\n"
            "    def __getitem__(self, i):\n        return self.rows[i]\n"
            "loader = DataLoader(Rows(), num_workers=4)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The class that iterates and the loader that reads it."""
        if any(mentions(code, *DIVIDES) for code in run.code):
            return
        for code in run.code:
            scopes = {item.scope: item for item in code.calls if ITERATES.search(item.scope)}
            methods = {last_part(item.scope.rpartition(".")[0]) for item in code.calls if "__getitem__" in item.scope}
            methods |= {
                last_part(a.scope.rpartition(".")[0]) for a in code.assignments if a.scope.endswith("__getitem__")
            }
            for scope, inside in scopes.items():
                name = last_part(scope.rpartition(".")[0])
                loaders = [
                    c
                    for c in calls(run, "DataLoader")
                    if (number(c.kwargs.get("num_workers")) or 0) >= LEAST and c.kwargs.get("shuffle") is not True
                ]
                if name in methods or not loaders or not code.named(name):
                    continue
                yield self.finding(
                    "rows of an iterable data set are read in full by each worker",
                    evidence=[Evidence(text=f"{scope} asks for no worker", source=inside.source), seen(loaders[0])],
                    clues=clues("each worker reads all rows", ddp_duplicate_data=5.5),
                    fix=Fix(summary="Divide the rows by get_worker_info() and by the rank of the process."),
                )
                return
