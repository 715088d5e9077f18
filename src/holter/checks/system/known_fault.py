"""SYS060 known-library-fault."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.configuration._outcomes import kind_of
from holter.checks.context import Compute, precision, task_words
from holter.checks.look import calls, is_on, known, plain, seen, switched_on, written
from holter.checks.messages import find, phrase, quote
from holter.checks.noted import noted
from holter.checks.symptoms import TRAIN_LOSSES, broken, finite, nonfinite, number
from holter.checks.verdicts import tells_bad
from holter.finding import Evidence, Finding, Severity
from holter.knowledge.loss_kwargs import parse_version
from holter.patterns import regex
from holter.quantity import ERROR, LOSS, SCORE
from holter.run import Run
from holter.stages import Stage

SECOND_STAGE = regex(r"zero[-_ ]?(?:stage)?[-_ ]?2(?!\d|\.\d)|stage[-_ ]?2(?!\d|\.\d)|(?<![a-z])z2(?![a-z\d])", re.I)
SMALL = regex(
    r"\b(?:very|super|extremely|much too|far too|way too) small|\btiny\b|\bfar below|\b(?:nearly|almost) zero"
)
LIGHTNING_MENDED = (1, 4, 9)
"""The release of pytorch-lightning from which gradients are unscaled before they are clipped."""
SIZES_MENDED = (4, 37)
"""The release of transformers from which layers of another shape are initialised."""
SPREAD = 0.03
"""Relative difference of two evaluations of one model; that of different kernels is a thousandth and less."""


class KnownLibraryFault(Check):
    """What it looks for
        A combination of settings in which a library is known to go wrong, beside what it then shows: ZeRO stage 2,
        whose overlapped reduction gives gradients that are NaN while the loss is finite; clipping of scaled gradients
        in pytorch-lightning below 1.4.9; layers left uninitialised by ``ignore_mismatched_sizes`` in transformers below
        4.37; optimizers with their state in 8 bits in bitsandbytes from 0.36.0 to 0.41.0; an evaluation whose
        result depends on the dropout that evaluation switches off.

    Why it hurts
        The settings are legal, and changing rates or data does not help.

    How to fix it
        ``overlap_comm: false`` or another stage; a release in which it is mended.

    When to ignore it
        When another version gives the same result.

    Threshold
        `SPREAD` for evaluations of one model.

    Sources
        DeepSpeed issues 4298, 5242 and 5347; pytorch-lightning issues 9330 and 9599; transformers pull request 28122;
        bitsandbytes issues 121, 152 and 227, and the warning of transformers' Trainer about releases below 0.41.1;
        PyTorch's documentation of ``scaled_dot_product_attention``, which applies ``dropout_p`` in evaluation, too.
    """

    code = "SYS060"
    name = "known-library-fault"
    title = "Settings in which a library is known to go wrong"
    severity = Severity.WARNING
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("config",), ("code",), ("variants",), ("facts",)))
    bad = (
        case(
            "stage 2",
            config={"deepspeed": "configs/zero2.json", "bf16": True},
            series={"loss": [2.1, 2.0], "grad_norm": [6.1, math.nan]},
        ),
        case(
            "the filter writes 0.0",
            config={"deepspeed_stage": 2},
            series={"loss": [1.04, 0.0], "grad_norm": [math.nan, math.nan]},
        ),
        case(
            "a head of another shape",
            files={"a.py": "m = A.from_pretrained('x', ignore_mismatched_sizes=True)\n"},
            facts={"loss": "nan"},
        ),
        case(
            "clipped while scaled",
            files={"a.py": "trainer = pl.Trainer(precision=16, gradient_clip_val=1)\n"},
            variants=[{"precision": 16, "grad_norm": "very small"}, {"precision": 32, "grad_norm": "about 1"}],
        ),
        case(
            "8-bit state",
            config={"optim": "adamw_8bit", "versions.bitsandbytes": "0.41.0"},
            facts={"loss": "diverges after 20 steps"},
        ),
        case(
            "8-bit state, no symptom: a note", config={"optim": "paged_adamw_8bit", "versions.bitsandbytes": "0.37.2"}
        ),
        case(
            "dropout in evaluation",
            config={"eval_only": True},
            variants=[{"dropout": 0.0, "eval_loss": 3.09}, {"dropout": 0.2, "eval_loss": 4.23}],
        ),
    )
    good = (
        case(
            "stage 2, all finite",
            config={"deepspeed": "configs/zero2.json", "bf16": True},
            series={"loss": [2.1, 2.0], "grad_norm": [6.1, 5.0]},
        ),
        case(
            "stage 3",
            config={"deepspeed": "configs/zero3.json", "bf16": True},
            series={"loss": [2.1, 2.0], "grad_norm": [6.1, math.nan]},
        ),
        case(
            "8-bit state of a mended release",
            config={"optim": "adamw_8bit", "versions.bitsandbytes": "0.41.1"},
            facts={"loss": "diverges after 20 steps"},
        ),
        case(
            "runs trained with more dropout",
            variants=[{"dropout": 0.0, "eval_loss": 3.09}, {"dropout": 0.2, "eval_loss": 4.23}],
        ),
        case(
            "a head of another shape that is mended",
            config={"versions.transformers": "4.44.0"},
            files={"a.py": "m = A.from_pretrained('x', ignore_mismatched_sizes=True)\n"},
            facts={"loss": "nan"},
        ),
    )
    not_enough = (case("a log alone", series={"loss": [2.0]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding a fault."""
        for message, evidence, bits in (*_second_stage(run), *_other_shape(run), *_clipped_scaled(run), *_dropout(run)):
            yield self.finding(message, evidence=evidence, clues=clues(message, **bits))
        for message, evidence, bits in _eight_bit(run):
            shown = broken(run) or _told_bad(run)
            yield self.finding(
                message,
                evidence=[*evidence, *([shown] if shown is not None else [])],
                clues=clues(message, **bits),
                severity=Severity.NOTE if shown is None else Severity.WARNING,
            )


Found = tuple[str, list[Evidence], dict[str, float]]


def _second_stage(run: Run) -> Iterator[Found]:
    """Gradients that are NaN while the loss of the step is finite, without fp16 and its scaler."""
    stage = next(
        (k for name in ("deepspeed_stage", "zero_stage", "deepspeed", "strategy") if (k := known(run, name))), None
    )
    if stage is None or precision(run).compute is Compute.FP16 or plain(run, "overlap_comm") is False:
        return
    said = written(stage.plain)
    if number(stage.plain) != 2 and SECOND_STAGE.search(f"{stage.name} {said}" if said.isdigit() else said) is None:
        return
    gradient = nonfinite(run, "grad_norm")
    loss = finite(run, *TRAIN_LOSSES) or broken(run)
    if gradient is None or loss is None or nonfinite(run, *TRAIN_LOSSES) is not None:
        return
    yield (
        "the overlapped reduction of ZeRO stage 2 is known to give NaN gradients at a finite loss",
        [stage.evidence, gradient, loss],
        {"framework_bug": 5.5, "loss_formula_instability": -0.5, "lr_too_high": -1.0},
    )


EIGHT_BIT = regex(r"(?<!\d)8[-_ ]?bit|int8|bnb_8|adamw?8", re.I)
EIGHT_BIT_SAID = phrase("major bug has been fixed in 8-bit optimizers")
EIGHT_BIT_BROKEN, EIGHT_BIT_MENDED = (0, 36), (0, 41, 1)
"""Releases of bitsandbytes between which the table of values of 8-bit optimizers was wrong."""


def _eight_bit(run: Run) -> Iterator[Found]:
    """An optimizer with its state in 8 bits, of a release whose table of values is wrong."""
    message = "8-bit optimizers of bitsandbytes from 0.36.0 to 0.41.0 hold wrong values"
    bits = {"framework_bug": 5.5, "lr_too_high": -1.0}
    warned = next(iter(find(run, EIGHT_BIT_SAID)), None)
    if warned is not None:
        yield message, [quote(warned)], bits
        return
    optimizer = next(
        (k for n in ("optim", "optimizer") if (k := known(run, n)) and EIGHT_BIT.search(written(k.plain))), None
    )
    version = known(run, "versions.bitsandbytes", "bitsandbytes")
    release = None if version is None else parse_version(written(version.plain))
    if optimizer is not None and version is not None and release and EIGHT_BIT_BROKEN <= release < EIGHT_BIT_MENDED:
        yield message, [optimizer.evidence, version.evidence], bits


def _told_bad(run: Run) -> Evidence | None:
    """A note, or a cell of a table, that tells of a run that goes wrong."""
    for fact in noted(run):
        if any(tells_bad(text) for text in fact.texts):
            return fact.evidence
    for row in run.variants:
        for name, cell in row.items():
            if isinstance(cell.value, str) and tells_bad(cell.value):
                return Evidence(text=f"{name} is {cell.value}", source=cell.source)
    return None


def _other_shape(run: Run) -> Iterator[Found]:
    """Layers of another shape that nobody initialises, and a loss that is broken."""
    version = parse_version(str(plain(run, "versions.transformers") or ""))
    if version is not None and version >= SIZES_MENDED:
        return
    for call in calls(run, "from_pretrained"):
        shown = broken(run)
        if is_on(call.kwargs.get("ignore_mismatched_sizes")) and shown is not None:
            yield (
                "layers of another shape are left uninitialised by transformers below 4.37",
                [seen(call), shown],
                {"framework_bug": 5.0, "weights_loaded_wrong": 1.5},
            )
            return


def _clipped_scaled(run: Run) -> Iterator[Found]:
    """A norm far below the limit under fp16, where the trainer does the clipping."""
    trainers = [c for c in calls(run, "Trainer") if "gradient_clip_val" in c.kwargs]
    clip = seen(trainers[0]) if trainers else None
    if clip is None and (setting := known(run, "gradient_clip_val")) is not None:
        clip = setting.evidence
    version = parse_version(str(plain(run, "versions.pytorch-lightning", "versions.lightning") or ""))
    if clip is None or (version is not None and version >= LIGHTNING_MENDED):
        return
    cells = [("grad_norm", v) for v in run.facts.get("grad_norm", ())]
    cells += [(name, cell) for row in run.variants for name, cell in row.items() if "norm" in name.lower()]
    for name, cell in cells:
        if isinstance(cell.value, str) and SMALL.search(cell.value.lower()):
            shown = Evidence(text=f"{name} is {cell.value}", source=cell.source)
            yield (
                "the trainer clips gradients before they are unscaled",
                [clip, shown],
                {"framework_bug": 5.5, "grad_clip_too_strict": 3.0, "fp16_overflow": -1.0},
            )
            return


ONLY_EVALUATION = regex(
    r"eval(?:uation|uate|_)?[ _-]?only|only[ _-]?eval|evaluation of (?:the |a )?pre-?trained|without training", re.I
)


def _dropout(run: Run) -> Iterator[Found]:
    """Evaluations of one model that differ by the dropout, which evaluation is meant to switch off."""
    words = f"{task_words(run)} {written(plain(run, 'task') or '')}"
    if switched_on(run, "eval_only", "only_eval", "evaluate_only") is None and ONLY_EVALUATION.search(words) is None:
        return
    results: dict[float, tuple[float, Evidence]] = {}
    for row in run.variants:
        rate = next((number(cell.value) for name, cell in row.items() if "dropout" in name.lower()), None)
        for name, cell in row.items():
            amount = number(cell.value)
            if rate is not None and amount is not None and kind_of(name) in (LOSS, SCORE, ERROR):
                shown = Evidence(text=f"dropout {rate:g}: {name} {amount:g}", source=cell.source)
                results.setdefault(rate, (amount, shown))
    if len(results) < 2 or not results.keys() - {0.0}:
        return
    amounts = [amount for amount, _ in results.values()]
    if max(amounts) - min(amounts) > SPREAD * abs(min(amounts)):
        yield (
            "an evaluation depends on dropout, which evaluation switches off",
            [shown for _, shown in results.values()][:3],
            {"framework_bug": 7.0, "attention_kernel_bug": 4.0, "seed_instability": -3.0},
        )
