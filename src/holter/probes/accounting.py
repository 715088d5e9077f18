"""Loss and gradient of two steps of the trainer's own code against the same samples recomputed."""

from __future__ import annotations

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``accounting.*``; see `holter.accounting`."""
    if subject.trainer is None:
        raise Lacks("no Trainer whose steps could be recomputed")
    from holter.accounting import account

    account(subject.trainer).fill(notebook.run)
