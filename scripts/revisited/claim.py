"""What the five reports claim, in our words, each with a trial that its author could have run.

A claim predicts what a change would do. Whether the prediction is right is for the trial to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HALVED = "loss@1 < 0.5 * base.loss@1 and grad_norm@1 < 0.5 * base.grad_norm@1"
FINITE = "isfinite(loss) and isfinite(grad_norm)"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        of: ``report 3`` and so on, or ``Holter`` for a hypothesis that the reports do not have.
        says: the claim.
        change: what the trial changes; empty where no small trial can test it.
        expect: what is seen if the claim is right.
        base: settings of both arms, over those of the system.
        means: what follows from the verdict, without numbers: those are in the verdict.
        cause: label of the cause it is about, if it is one.
        steps: optimizer steps of each replay.
    """

    of: str
    says: str
    change: Mapping[str, Any] = field(default_factory=dict)
    expect: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    means: str = ""
    cause: str = ""
    steps: int = 3


@dataclass(frozen=True, kw_only=True)
class System:
    """One of the three systems: its page, its builder, the settings that both arms share, and the claims about it."""

    page: str
    title: str
    symptom: str
    target: str
    settings: Mapping[str, Any]
    claims: tuple[Claim, ...]
    caveat: str
