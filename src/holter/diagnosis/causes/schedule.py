"""Causes in the learning rate schedule."""

from __future__ import annotations

from holter.diagnosis.cause import Cause, Measurement
from holter.stages import Stage

CAUSES = (
    Cause(
        label="lr-zero",
        title="The learning rate in effect is zero",
        stage=Stage.SCHEDULE,
        through_updates=True,
        definition="The rate is zero or vanishing for the whole run, so nothing is learnt.",
        explanation=(
            "A schedule that starts at zero and is never stepped, a schedule that multiplies by zero, or one that "
            "ignores the optimizer's rate leaves the weights where they were. A rate of 0.0 in the first rows of a "
            "warmup is normal, and one that stands still beside nan gradients is a consequence of skipped steps. "
            "Source: torch.optim.lr_scheduler.LambdaLR; transformers AdafactorSchedule."
        ),
        fix="Give the schedule its initial rate and step it once an optimizer step.",
        expect="The logged learning rate reaches the set value after warmup.",
        confirm=Measurement(
            measure="Print the optimizer's rate after ten steps.",
            command='holter try RUN --set lr_scheduler_type=constant --expect "learning_rate@10 > 0"',
            cost=60,
        ),
    ),
    Cause(
        label="warmup-missing",
        title="The warmup is too short",
        stage=Stage.SCHEDULE,
        through_updates=True,
        definition="The full rate acts from the first steps on, before the optimizer's statistics have settled.",
        explanation=(
            "Adam's second moment rests on few steps at first, so early updates are large and noisy. Transformers then "
            "diverge or stay on a plateau within the first few hundred steps. It acts through updates only, so it "
            "cannot touch the first loss or gradient. Source: Liu et al. 2020, RAdam; Xiong et al. 2020."
        ),
        fix="Set warmup_ratio to 0.05 to 0.1.",
        expect="The loss falls from the start and does not jump in the first hundred steps.",
        confirm=Measurement(
            measure="Replay the first steps with warmup_ratio=0.1.",
            command='holter try RUN --set warmup_ratio=0.1 --expect "last(loss) < first(loss)"',
            cost=120,
        ),
        prior=-0.5,
    ),
    Cause(
        label="warmup-too-long",
        title="The warmup is longer than the run",
        stage=Stage.SCHEDULE,
        through_updates=True,
        definition="The run ends before warmup does, so the rate never gets to its set value.",
        explanation=(
            "warmup_steps is counted in optimizer steps: rows x epochs / (batch x accumulation x processes). A value "
            "copied from pre-training easily exceeds a short fine-tune, which then learns at a fraction of the rate. "
            "While a run is still in its planned warmup it is too early to judge it."
        ),
        fix="Use warmup_ratio (0.03 to 0.1) instead of a number of steps.",
        expect="The logged learning rate reaches the set value within the first tenth of the run.",
        confirm=Measurement(
            measure="Compare warmup_steps with the optimizer steps of the run.",
            command='holter try RUN --set warmup_ratio=0.05 --expect "last(loss) < last(base.loss)"',
            cost=10,
        ),
    ),
    Cause(
        label="scheduler-step-mismatch",
        title="The schedule runs faster or slower than meant",
        stage=Stage.SCHEDULE,
        through_updates=True,
        definition="The scheduler is stepped more or less often than its length assumes.",
        explanation=(
            "A prepared Accelerate scheduler steps once a process; a scheduler stepped every micro-batch runs "
            "accumulation times too fast; one stepped every epoch hardly moves. The rate reaches its end early, or a "
            "cosine turns up again. The warning 'lr_scheduler.step() before optimizer.step()' alone is harmless under "
            "a gradient scaler. Source: accelerate scheduler.py, split_batches and step_with_optimizer."
        ),
        fix="Multiply the schedule's length by the number of processes, or step it once an optimizer step.",
        expect="The rate is at its end value at the last step and not before.",
        confirm=Measurement(
            measure="Compare the logged rate at one step with the schedule's formula.",
            command="holter check RECIPE",
            cost=20,
        ),
    ),
)
