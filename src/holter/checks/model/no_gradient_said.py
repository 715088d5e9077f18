"""MOD008 no-gradient-path."""

from __future__ import annotations

from collections.abc import Iterable

from holter.checks.base import case
from holter.checks.messages import ERRORS, MessageCheck, find, phrase, quote, said
from holter.finding import Clue, Finding, Fix, Severity
from holter.run import Run
from holter.stages import Stage

NO_INPUT_GRADIENT = phrase("none of the inputs have requires_grad=true")
"""Also printed by healthy runs, for instance in evaluation; beside the error below it settles the cause."""

DETACHED = phrase("does not require grad and does not have a grad_fn", *ERRORS)
CUT = "checkpointing got inputs without gradients, and the loss has none"
SEVERED = "the loss hangs on no trainable parameter"


class NoGradientPath(MessageCheck):
    """What it looks for
        Backward or the optimizer saying that nothing trainable takes part in the loss.

    Why it hurts
        Either every parameter is frozen, or gradient checkpointing in its reentrant form runs over inputs that ask for
        no gradient, as with adapters on a frozen embedding, and cuts the way back.

    How to fix it
        Count the parameters with ``requires_grad``. None: load the adapter with ``is_trainable=True`` or unfreeze.
        Some: ``model.enable_input_require_grads()`` or
        ``gradient_checkpointing_kwargs={"use_reentrant": False}``.

    When to ignore it
        Never: the run cannot go on.

    Threshold
        None: the wording is that of the library. Beside the checkpointing warning, the error is about checkpointing.

    Sources
        Messages of PyTorch's autograd, checkpoint and optimizers.
    """

    code = "MOD008"
    name = "no-gradient-path"
    title = "Nothing trainable takes part in the loss"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    summary = "nothing trainable takes part in the loss"
    cure = Fix(
        summary="Print the parameters with requires_grad; with checkpointing call model.enable_input_require_grads()."
    )
    phrases = (
        phrase(
            "does not require grad and does not have a grad_fn",
            *ERRORS,
            no_trainable_params=4,
            checkpointing_no_input_grad=3.5,
        ),
        phrase("optimizer got an empty parameter list", no_trainable_params=7, adapter_targets_unmatched=2),
        phrase("no inf checks were recorded", no_trainable_params=4, checkpointing_no_input_grad=2),
        phrase("no trainable parameters", no_trainable_params=7),
        phrase("no parameters to optimize", no_trainable_params=7),
        phrase("0 trainable parameters", no_trainable_params=0, severity=Severity.NOTE),
        phrase("module * has no parameters that require grad", no_trainable_params=6),
        phrase(
            "distributeddataparallel is not needed when a module doesn't have any parameters", no_trainable_params=7
        ),
        phrase("must require * gradient * no parameters", no_trainable_params=4),
    )
    bad = (
        case(
            "error",
            events=[said("RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn")],
        ),
        case("optimizer", events=[said("ValueError: optimizer got an empty parameter list")]),
    )
    good = (
        case("warning alone", events=[said("UserWarning: None of the inputs have requires_grad=True.", "warning")]),
        case("a count", events=[said("1,024 trainable parameters", "message")]),
    )
    not_enough = (case("nothing was said"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The warning of checkpointing beside the error names the cause; otherwise both stay possible."""
        detached, cut = find(run, DETACHED), find(run, NO_INPUT_GRADIENT)
        if not (detached and cut):
            yield from super().detect(run)
            return
        yield self.finding(
            CUT,
            evidence=[quote(detached[0]), quote(cut[0])],
            clues=[
                Clue(cause="checkpointing-no-input-grad", bits=9, why=CUT),
                Clue(cause="no-trainable-params", bits=-3, why="the warning of checkpointing explains the error"),
            ],
            fix=Fix(summary="Call model.enable_input_require_grads(), or use_reentrant=False for checkpointing."),
        )
