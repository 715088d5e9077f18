"""What follows a loss, a gradient or a weight that is not finite. Every process comes here in the same step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holter.errors import TrainingStopped
from holter.guard.ahead import Ahead
from holter.guard.batches import Step
from holter.guard.buffers import put_back
from holter.guard.examine import Examination, examine
from holter.guard.report import tell

if TYPE_CHECKING:
    from holter.guard.core import Core

MOST_TOLD = 10  # faults with a line of their own; a run whose weights are broken has one at every step


def met(core: Core, where: str, step: Step) -> None:
    """Examine a fault and do what the settings say; one that does not stop the run is examined the first time only.

    Args:
        core: the guard.
        where: what was seen: ``loss``, ``step`` or ``loss-scale``.
        step: in which it was.

    Raises:
        TrainingStopped: ``on_fault`` is ``stop``.
    """
    core.faults += 1
    acts = core.settings.on_fault
    core.safety.run(core.outlook.catch_up)  # what led up to it is evidence
    core.safety.run(put_back, step.buffers)  # none are kept where a run continues
    if core.faults == 1 or acts == "stop":
        core.last = _examined(core, where, step)
        everyone = core.peers.gather(None if core.last is None else core.last.summary())
        core.safety.run(tell, core, core.last, everyone)
    else:
        core.safety.run(again, core, step)
    if acts == "skip" and step is core.step:  # a fused optimizer has skipped an earlier one
        core.drop_gradients()
    elif acts == "stop":
        core.detach()
        raise _stopped(core.last, step)


def again(core: Core, step: Step) -> None:
    """A run that goes on after a fault: the first one was examined, the others are counted."""
    core.record.fact("guard.faults", core.faults)
    if core.faults <= MOST_TOLD:
        either = " either" if core.faults > 1 else ""
        core.record.event("fault", f"step {step.index + 1} is not finite{either}", step=step.index)


def _examined(core: Core, where: str, step: Step) -> Examination | None:
    """The step replayed, where weights lie in parts on a copy with whole ones."""
    module, running, ahead = core.model, core.step, core.flags.ahead
    try:
        core.model = core.replica()
    except Exception as error:  # what was done to a module may keep it from being copied
        core.unreplayable = f"the model cannot be copied: {type(error).__name__}: {error}"
    try:
        core.step, core.flags.ahead = Step(index=running.index), Ahead()  # the hooks hear the replay too
        return core.safety.run(examine, core, step, where)
    finally:
        core.model, core.step, core.flags.ahead = module, running, ahead


def _stopped(found: Examination | None, step: Step) -> TrainingStopped:
    became = "has broken the weights" if step.made else "was stopped before it touched the weights"
    what = f"step {step.index + 1} {became}"
    if found is None:
        why = "a loss, a gradient or a weight is not finite"
        return TrainingStopped(what, where="", why=why, do="look into the messages above")
    return TrainingStopped(what, where=found.where, why=found.why, do=found.do)
