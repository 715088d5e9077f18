"""NUM011 epsilon-underflows."""

from __future__ import annotations

from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import optimiser_is_scale_invariant
from holter.checks.look import half_weights, known, mixed_half
from holter.checks.symptoms import broken, number
from holter.finding import Evidence, Finding, Severity
from holter.run import Run
from holter.stages import Stage

FP16_SMALLEST = 2.0**-24
"""Smallest positive number of float16, 5.96e-8; anything below half of it becomes 0."""

DEFAULT_EPSILON = 1e-8
"""Of Adam and AdamW in torch, Chainer, TensorFlow and transformers."""


class EpsilonUnderflows(Check):
    """The optimizer's epsilon is zero in the dtype of the weights.

    What it looks for: weights held in float16 (not autocast over fp32 weights), an Adam-like optimizer, and an epsilon
    below the smallest float16 number; the default of 1e-8 is.

    Why it hurts: Adam divides by the root of the second moment plus epsilon. In float16 both can be 0, and 0/0 is NaN:
    a weight whose gradient was tiny becomes NaN at the first update.

    How to fix it: keep the weights in fp32 under autocast, or raise adam_epsilon to 1e-4 for float16 weights.

    When to ignore it: when the optimizer keeps fp32 copies of weights and moments.

    Threshold: 5.96e-8, the smallest number of float16.

    Sources: IEEE 754 half precision; torch ``Adam`` and Chainer issue 6299 for the same fault in two libraries.
    """

    code = "NUM011"
    name = "epsilon-underflows"
    title = "adam_epsilon is zero in float16"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    factor = "adam_epsilon"
    needs = Needs(any_of=(("torch_dtype",), ("precision",), ("dtype",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        weights, optim, epsilon = half_weights(run), known(run, "optim"), known(run, "adam_epsilon")
        adam = optimiser_is_scale_invariant(run)
        if weights is None or adam is not True or mixed_half(run) is not None:
            return
        value = number(epsilon.plain) if epsilon is not None else DEFAULT_EPSILON
        if value is None or value >= FP16_SMALLEST / 2:
            return
        evidence = [weights.evidence]
        if optim is not None:
            evidence.append(optim.evidence)
        if epsilon is not None:
            evidence.append(epsilon.evidence)
        else:
            evidence.append(Evidence(text=f"adam_epsilon is not given; the default is {DEFAULT_EPSILON:g}"))
        why = f"an epsilon of {value:g} rounds to 0 in float16, whose smallest number is 6e-8"
        bits = 4.0 if epsilon is not None else 3.0
        yield self.finding(
            f"adam_epsilon {value:g} is 0 in float16, so Adam divides by zero where the gradient is tiny",
            evidence=evidence,
            severity=Severity.ERROR if broken(run) is not None else Severity.WARNING,
            clues=clues(why, optimizer_eps_underflow=bits, low_precision_weights=bits - 0.5),
        )

    bad = [
        case("given", config={"torch_dtype": "float16", "optim": "Adam", "adam_epsilon": 1e-8}),
        case("by default", config={"torch_dtype": "float16", "optim": "adamw_torch"}),
    ]
    good = [
        case("large enough", config={"torch_dtype": "float16", "optim": "Adam", "adam_epsilon": 1e-4}),
        case("autocast", config={"fp16": True, "precision": "fp16", "optim": "Adam"}),
        case("plain SGD", config={"torch_dtype": "float16", "optim": "sgd"}),
        case("bf16 has the range", config={"torch_dtype": "bfloat16", "optim": "Adam", "adam_epsilon": 1e-8}),
    ]
    not_enough = [case("no dtype", config={"optim": "Adam"})]
