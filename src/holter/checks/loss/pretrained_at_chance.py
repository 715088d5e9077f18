"""LOS019 pretrained-model-starts-at-chance."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import count_of, family, has_plain_loss, model_names, task_words
from holter.checks.shape import point, shape, updates_before
from holter.checks.symptoms import number
from holter.finding import Clue, Evidence, Finding, Severity
from holter.run import Run, Series, Value
from holter.stages import Stage

NEAR = 0.08
"""Relative distance from ln(vocabulary): the first loss of a model whose output does not depend on its input."""

HUGE_NORM = 1000.0
"""Norm of a gradient. Healthy first gradients of pre-trained models are 0.1 to 100."""

SCRATCH = ("scratch", "pretrain", "pre-train", "reset")


class PretrainedModelStartsAtChance(Check):
    """The first loss of a pre-trained language model equals ln(vocabulary).

    What it looks for: a known vocabulary, a checkpoint that is fine-tuned for text, and a first loss within 8 % of
    ln(vocabulary), in the log or in a table of runs; and whether the gradient norm beside it is in the thousands.

    Why it hurts: that is the loss of guessing. A pre-trained model never has it, so its output is noise before any
    update: a broken attention kernel, weights that were not loaded, or token ids that belong to another vocabulary.

    How to fix it: run the same batch with attn_implementation="eager" and in fp32; compare the report of missing and
    unexpected keys at loading.

    When to ignore it: in training from scratch, and for heads that were initialised anew.

    Threshold: `NEAR` around ln(vocabulary); `HUGE_NORM` adds weight.

    Sources: cross-entropy of a uniform guess is ln(vocabulary).
    """

    code = "LOS019"
    name = "pretrained-model-starts-at-chance"
    title = "A pre-trained model starts at the loss of guessing"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(config=["vocab_size"], any_of=(("loss",), ("variants",)))

    def detect(self, run: Run) -> Iterator[Finding]:
        rows = count_of(run, "vocab_size")
        words = task_words(run)
        row = family(run)
        if rows is None or rows < 1000 or count_of(run, "num_labels") is not None or not has_plain_loss(run):
            return
        if not model_names(run) or any(word in words for word in SCRATCH) or (row is not None and "T5" in row.name):
            return
        found = _first_of_log(run, math.log(rows)) or _first_of_table(run, math.log(rows))
        if found is None:
            return
        evidence, norm, step = found
        huge = norm is not None and norm >= HUGE_NORM
        yield self.finding(
            f"The first loss equals ln({rows}) = {math.log(rows):.4g}, the loss of guessing",
            evidence=evidence,
            step=step,
            clues=list(_clues(huge)),
        )

    bad = [
        case("the log", config={"vocab_size": 151936, "model_name_or_path": "Qwen2.5-0.5B"},
             series={"loss": [11.93, 12.6], "grad_norm": [23700.0, 3.3e6]}),
        case("a table of runs", config={"vocab_size": 32000, "model_name_or_path": "llama"},
             variants=[{"step": 1, "loss": 10.4, "grad_norm": 9000.0}, {"step": 1, "loss": 2.1}]),
    ]  # fmt: skip
    good = [
        case("an ordinary start", config={"vocab_size": 32000, "model_name_or_path": "llama"},
             series={"loss": [2.1, 2.0]}),
        case("from scratch", config={"vocab_size": 32000, "model_name_or_path": "gpt2", "task": "pretraining"},
             series={"loss": [10.4, 9.8]}),
        case("a log that begins later", config={"vocab_size": 32000, "model_name_or_path": "llama"},
             series={"loss": [10.4, 10.3]}, steps=[4000, 4100]),
    ]  # fmt: skip
    not_enough = [case("vocabulary not known", series={"loss": [10.4]}, config={"model_name_or_path": "llama"})]


EARLY_STEP = 100
"""Updates; a later line no longer shows the untouched checkpoint."""

Start = tuple[list[Evidence], float | None, int | None]


def _first_of_log(run: Run, level: float) -> Start | None:
    loss: Series | None = run.series.get("loss")
    if loss is None or not len(loss) or not math.isclose(loss[0], level, rel_tol=NEAR):
        return None
    if (loss.step(0) or 1) > EARLY_STEP:
        return None
    norms = run.series.get("grad_norm")
    evidence = [point(loss, 0)]
    norm = norms[0] if norms is not None and len(norms) else None
    if norms is not None and norm is not None and norm >= HUGE_NORM:
        evidence.append(point(norms, 0))
    falls = len(loss) > 2 and shape(loss).tail < 0.7 * loss[0] and (norm is None or norm < HUGE_NORM)
    return None if falls else (evidence, norm, updates_before(loss, 0) or 0)


def _first_of_table(run: Run, level: float) -> Start | None:
    for row in run.variants:
        step = number(row["step"].value) if "step" in row else None
        loss = _cell(row, "loss")
        if loss is None or step is None or step > 1 or not math.isclose(loss[0], level, rel_tol=NEAR):
            continue
        norm = _cell(row, "grad_norm")
        evidence = [Evidence(text=f"loss is {loss[0]:g} at step 1", source=loss[1].source, step=1, value=loss[0])]
        if norm is not None:
            evidence.append(Evidence(text=f"grad_norm is {norm[0]:g}", source=norm[1].source, step=1, value=norm[0]))
        return evidence, norm[0] if norm is not None else None, 0
    return None


def _cell(row: dict[str, Value], name: str) -> tuple[float, Value] | None:
    value = number(row[name].value) if name in row else None
    return (value, row[name]) if value is not None else None


def _clues(huge: bool) -> Iterator[Clue]:
    why = "a pre-trained model never starts at the loss of guessing, and no update had been made"
    yield from clues(why, weights_loaded_wrong=3.0, attention_kernel_bug=2.5, lr_too_high=-6, warmup_missing=-6)
    yield from clues(why, tokenizer_fast_slow_mismatch=1.0, embeddings_not_resized=1.0, labels_all_masked=-2)
    if huge:
        yield from clues("and the gradient is a thousand times too large", attention_kernel_bug=2.5, fp16_overflow=0.5)
