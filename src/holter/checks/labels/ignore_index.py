"""LAB020 ignore-index-differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.labels._erased import erased
from holter.checks.look import calls, known, seen, written
from holter.checks.script import argument, last_part, texts
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import EVENT_ERROR, Assignment, Call, Code, Run
from holter.stages import Stage

LABELS = regex(r"label|target|\btgt|lm_ids", re.I)
NO_LABELS = regex(r"attention|weight|\bbox|bbox|_names?$|_map$|id2|2id|label_list|num_label", re.I)
LOSSES = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")
REFUSED = regex(r"out of bounds|device-side assert|cur_target|n_classes|index out of range|CUDNN|CUDA error", re.I)
"""What a kernel says of a label that is no class; the mark itself is such a label for a loss that ignores another."""

DEFAULT = -100
OF_TRANSFORMERS = regex(r"(?<!pytorch[-_ ])\btransformers\b|hugging ?face|\btrl\b|\bpeft\b", re.I)
HEAD = regex(r"\b(?:Auto|[A-Z]\w+)(?:For[A-Z]\w+|LMHeadModel)\b")
OLD = regex(r"^[01]\.|^2\.[0-5]\b")
"""Versions of transformers of which some losses ignored -1."""

PADDING_ID = regex(r"(?:^|\.)pad(?:_token)?(?:_id|_idx|_index)?$")


class IgnoreIndexDiffers(Check):
    """What it looks for
        Labels in which one number marks what shall not count (``labels[...] = -100``, ``padding_value=``), and a loss
        that ignores another (``ignore_index=-1``), or a model of transformers, whose losses ignore -100.

    Why it hurts
        The marked positions count: the loss is averaged over padding or over the prompt, or the loss stops at a label
        outside the classes.

    How to fix it
        Use one number in both places; PyTorch's default is -100.

    When to ignore it
        When the loss that was found is not the one that sees those labels.

    Threshold
        None: two numbers that differ.

    Sources
        The documentation of ``ignore_index`` in PyTorch's CrossEntropyLoss, and that of ``labels`` in transformers.
    """

    code = "LAB020"
    name = "ignore-index-differs"
    title = "The labels mark what to ignore with another number than the loss"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",),))
    bad = (
        case(
            "-1 for a model of transformers",
            config={"framework": "transformers"},
            files={"a.py": "# mask_tokens()\nlabels[~masked_indices] = -1\n"},
        ),
        script(
            "-1 in a script of transformers",
            "model = AutoModelForTokenClassification.from_pretrained('x')\n"
            "labels[mask == 0] = -1\nout = model(input_ids=ids, labels=labels)\n",
        ),
        script("-100 and -1", "labels[~chosen] = -100\nloss_fct = CrossEntropyLoss(ignore_index=-1)\n"),
        script(
            "padded with 0",
            "labels = pad_sequence(label_rows, batch_first=True, padding_value=0)\n"
            "loss = F.cross_entropy(logits.view(-1, n), labels.view(-1))\n",
        ),
        script(
            "erased in one expression",
            "labels = labels.masked_fill(~keep_mask, 0)\nloss = F.cross_entropy(logits.view(-1, v), labels.view(-1))\n",
        ),
        script("erased", "labels = ids.clone()\nkeep_mask = ids.ge(0)\nlabels[~keep_mask] = 0\n"),
        script(
            "padded with the padding id",
            "labels = pad_sequence(rows, True, padding_value=tok.pad_token_id)\n"
            "out = model(input_ids=x, labels=labels)\n",
        ),
    )
    good = (
        script("a loss of its own", "labels[~chosen] = -1\nloss = masked_loss(logits, labels)\n"),
        case(
            "turned into -100 later",
            config={"framework": "transformers"},
            files={"a.py": "labels[~chosen] = -1\nlabels[labels == -1] = -100\n"},
        ),
        case(
            "an old version",
            config={"framework": "transformers", "versions.transformers": "2.2.0"},
            files={"a.py": "labels[~chosen] = -1\n"},
        ),
        script("alike", "labels[~chosen] = -1\nloss_fct = CrossEntropyLoss(ignore_index=-1)\n"),
        script(
            "two losses, one fits",
            "labels[~chosen] = -100\na = CrossEntropyLoss(ignore_index=-1)\nb = CrossEntropyLoss(ignore_index=-100)\n",
        ),
        script(
            "padded and masked",
            "labels = pad_sequence(rows, True, padding_value=tok.pad_token_id)\n"
            "labels[labels == tok.pad_token_id] = -100\nout = model(input_ids=x, labels=labels)\n",
        ),
        script(
            "ids, not labels", "ids = pad_sequence(rows, True, padding_value=0)\nloss = F.cross_entropy(z, labels)\n"
        ),
        script(
            "replaced to be decoded", "labels[labels == -100] = tok.pad_token_id\ntext = tok.batch_decode(labels)\n"
        ),
        script("weighted with its mask", "labels[~mask] = 0\nloss = (nll(z, labels) * mask).sum() / mask.sum()\n"),
        case("a class", files={"a.py": "labels[scores < 0.5] = 0\nloss = F.cross_entropy(z, labels)\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding for all files together: labels and loss may stand in two of them."""
        found = next(_all(run), None)
        if found is not None:
            evidence, text, by_model = found
            refused = by_model or any(REFUSED.search(event.text) for event in run.events_of(EVENT_ERROR))
            yield self.finding(
                text,
                evidence=evidence,
                clues=clues(
                    text,
                    labels_not_masked=2.0 if by_model else 5.0 if refused else 6.0,
                    label_out_of_range=8.0 if by_model else 7.0 if refused else 2.0,
                ),
                fix=Fix(summary="Use the same number in the labels and as ignore_index; -100 is the default."),
            )


Mark = tuple[list[Evidence], str, bool]
"""What is shown and said, and whether the loss surely refuses the mark."""


def _all(run: Run) -> Iterator[Mark]:
    yield from _marked(run)
    yield from _padded(run)
    yield from ((found, text, False) for found, text in erased(run))
    yield from _by_default(run)


def _marked(run: Run) -> Iterator[Mark]:
    marks = [m for code in run.code for a in code.assignments if (m := _mark(a)) is not None]
    losses = [(call, number(call.kwargs["ignore_index"])) for call in _losses(run) if "ignore_index" in call.kwargs]
    indices = {index for _, index in losses}
    if not marks or not losses or None in indices or len(losses) < sum(1 for _ in _losses(run)):
        return
    for assignment, mark in marks:
        if mark not in indices:
            call, index = losses[0]
            shown = f"{assignment.target.removesuffix('[]')}[{assignment.place}] = {mark:g}"
            yield (
                [Evidence(text=shown, source=assignment.source), seen(call)],
                f"labels mark what to ignore with {mark:g}, the loss ignores {index:g}",
                False,
            )


def _by_default(run: Run) -> Iterator[Mark]:
    """Another mark than -100 in labels for a model of transformers, where no loss is made with another one."""
    if any("ignore_index" in call.kwargs for call in _losses(run)) or not _of_transformers(run):
        return
    version = known(run, "versions.transformers")
    if version is not None and OLD.search(written(version.plain)):
        return
    for code in run.code:
        marks = [m for a in code.assignments if (m := _mark(a)) is not None]
        if any(mark == DEFAULT for _, mark in marks) or _masks(code):
            continue
        for assignment, mark in marks:
            name = assignment.target.removesuffix("[]")
            later = (a for a in code.assignments if a.order > assignment.order and a.target == assignment.target)
            if not any(a.place and a.value != mark for a in later):
                shown = Evidence(text=f"{name}[{assignment.place}] = {mark:g}", source=assignment.source)
                yield (
                    [shown],
                    f"labels mark what to ignore with {mark:g}, models of transformers ignore {DEFAULT}",
                    True,
                )


def _of_transformers(run: Run) -> bool:
    framework = known(run, "framework")
    if framework is not None:
        return OF_TRANSFORMERS.search(written(framework.plain)) is not None
    labelled = any("labels" in call.kwargs for code in run.code for call in code.calls)
    return labelled and any(HEAD.search(call.name) for call in calls(run, "from_pretrained"))


def _mark(assignment: Assignment) -> tuple[Assignment, float] | None:
    """A negative number written into labels at some places."""
    value = number(assignment.value)
    name = assignment.target.removesuffix("[]")
    if not assignment.place or value is None or value >= 0 or isinstance(assignment.value, bool):
        return None
    return (assignment, value) if LABELS.search(name) and not NO_LABELS.search(name) else None


def _losses(run: Run) -> Iterator[Call]:
    yield from calls(run, *LOSSES)


def _padded(run: Run) -> Iterator[Mark]:
    """Labels padded with an id, and a loss that ignores -100."""
    for code in run.code:
        if _masks(code):
            continue
        for call in code.named("pad_sequence"):
            rows = " ".join(written(value) for value in call.args[:1])
            if not LABELS.search(f"{last_part(call.target)} {rows}") or NO_LABELS.search(f"{call.target} {rows}"):
                continue
            value = argument(call, 2, "padding_value")
            amount = 0.0 if value is None else number(value)
            by_id = amount is None and PADDING_ID.search(written(value)) is not None
            uses = _used(code, last_part(call.target))
            if (by_id or (amount is not None and amount >= 0)) and uses is not None:
                shown = "the padding id" if by_id else f"{amount:g}"
                yield [seen(call), seen(uses)], f"labels are padded with {shown}, and the loss ignores only -100", False


def _used(code: Code, name: str) -> Call | None:
    """The loss over those labels, with its default of -100."""
    for call in code.calls:
        given = call.kwargs.get("labels")
        if name and given is not None and written(given) == name and "loss" not in call.name.lower():
            return call
        functional = last_part(call.name) in LOSSES[1::2] and "ignore_index" not in call.kwargs
        if functional and any(re.match(rf"{re.escape(name)}\b", written(value)) for value in call.args[1:2] if name):
            return call
    return None


def _masks(code: Code) -> bool:
    return any("-100" in text or "ignore_index" in text.lower() for text in texts(code)) or any(
        "ignore_index" in call.kwargs for call in code.calls
    )
