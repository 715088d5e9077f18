"""LAB021 mask-one-place-off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.labels._listed import padding_kept, prefix_counts_padding
from holter.checks.look import call_text, written
from holter.checks.script import first_in_each, last_part, spelt_out
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Code, Expression, Run
from holter.stages import Stage

NEXT = regex(r"\[\s*(?:(?:\.\.\.|:)\s*,\s*)*1:\s*(?:\]|,)")
"""``x[1:]``, ``x[:, 1:]``: what follows each token."""

ALL_BUT_LAST = regex(r"\[\s*(?:(?:\.\.\.|:)\s*,\s*)+:-1\s*(?:\]|,)")
LENGTH = regex(
    r"^(?:\w+\.)?\w*(?:(?:prompt|context|source|prefix|instruction|query|question|user|input|response)\w*"
    r"(?:len(?:gth)?|start|end|idx|size|lens)\w*|(?:len|start)\w*_(?:prompt|context|source|prefix|response)\w*)"
    r"(?:\[\w+\])?$|^len\(\w*(?:prompt|context|source|prefix|instruction|query|question)\w*\)$",
    re.I,
)
"""A number of tokens of the prompt, with nothing taken off it."""

LABELS = regex(r"label|target|\btgt|mask", re.I)
MASK = regex(r"mask", re.I)
LOG_PROBABILITIES = regex(r"log_?p(?:s|rob\w*)?\b|logp", re.I)
WEIGHTED = regex(r"\*\s*\(?\w*mask\w*\[[^\[\]]*:\s*-1\s*\]|\w*mask\w*\[[^\[\]]*:\s*-1\s*\](?:\.\w+\(\))?\s*\*", re.I)
LOSS_OF_EACH = regex(r"loss|cross_entropy|\bce\b|nll|log_?p", re.I)
"""A loss of each token, multiplied by a mask without its last place."""

BELONGS = regex(r"\[\s*[it]\s*\].{0,40}\btoken\w*.{0,12}\b[it] ?\+ ?1|\b[it] ?\+ ?1\b.{0,40}\[\s*[it]\s*\]")


class MaskOnePlaceOff(Check):
    """What it looks for
        Labels or log-probabilities that were already moved by one place, cut or masked with a prompt length that
        counts places before the move, or weighted with a mask that was not moved; listed rows in which the prompt is
        masked from the padding on, or the mask is 1 at padding.

    Why it hurts
        The first token of each answer is left out of the loss, or the last one of the prompt is put in. Where two
        answers differ in their first token only, nothing is left to learn from.

    How to fix it
        After ``labels = ids[1:]`` the answer starts at ``prompt_len - 1``. Masking before the move avoids the sum.

    When to ignore it
        When the first token of the answer is the same in every row.

    Threshold
        None: the slices are read.

    Sources
        Position t of a causal model's output belongs to token t + 1: transformers' notes on labels of causal models.
    """

    code = "LAB021"
    name = "mask-one-place-off"
    title = "The mask of the prompt is one place off"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), ("facts",)))
    bad = (
        script("labels moved, then masked", "labels = ids[1:]\nlabels[:prompt_len] = [-100] * prompt_len\n"),
        script(
            "a mask of places for log-probabilities",
            "mask[0, prompt_len:-1] = 1\nloss = masked_mean(token_logps, mask[:, :-1])\n",
        ),
        script(
            "log-probabilities moved, then cut",
            "logps = gather(logits[:, :-1], ids[:, 1:])\nanswer_logps = logps[:, prompt_len:]\n",
        ),
        script(
            "a mask of the loss that was not moved",
            "labels = ids[:, 1:]\nloss = loss_fn(logits[:, :-1].mT, labels) * attention_mask[:, :-1]\n",
        ),
        case(
            "listed, from the padding on",
            facts={
                "prompt_length": 2,
                "tokens": ["[PAD]", "P1", "P2", "A1"],
                "labels": [-100, -100, "P2", "A1"],
            },
        ),
        case("a mask at padding", facts={"pad_token_id": 1, "target": [7, 8, 3, 1, 1], "loss_mask": [1, 1, 1, 1, 0]}),
    )
    good = (
        script(
            "a mask moved with the labels, of the loss",
            "labels = ids[:, 1:]\nloss = loss_fn(logits[:, :-1].mT, labels) * attention_mask[:, 1:]\n",
        ),
        case(
            "listed, from the first token",
            facts={
                "prompt_length": 2,
                "tokens": ["[PAD]", "P1", "P2", "A1"],
                "labels": [-100, -100, -100, "A1"],
            },
        ),
        case(
            "padding that is the end",
            facts={"pad_token_id": 2, "eos_token_id": 2, "targets": [5, 2, 2], "mask": [1, 1, 0]},
        ),
        script("one less", "labels = ids[1:]\nlabels[:prompt_len - 1] = [-100] * (prompt_len - 1)\n"),
        script("masked, then moved", "labels = ids.clone()\nlabels[:prompt_len] = -100\nlabels = labels[1:]\n"),
        script(
            "a mask that is moved with the labels",
            "mask[0, prompt_len:] = 1\nloss = masked_mean(token_logps, mask[:, 1:])\n",
        ),
        script(
            "cut one before", "logps = gather(logits[:, :-1], ids[:, 1:])\nanswer_logps = logps[:, prompt_len - 1:]\n"
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such mask or cut of each file."""
        for message, evidence in first_in_each(run, _off):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, label_shift_error=6.0, labels_not_masked=1.0),
                fix=Fix(summary="Start one place earlier: after a shift the answer begins at prompt_len - 1."),
            )
        yield from self._unmasked(run)

    def _unmasked(self, run: Run) -> Iterable[Finding]:
        """What counts in the loss and should not, by a mask at other places than its targets."""
        for message, found in (
            ("the loss of each next token is weighted with the mask of the token before it", _unmoved(run)),
            ("the prompt is masked from the padding on, so its end counts in the loss", prefix_counts_padding(run)),
            ("the mask of the loss is 1 at padding", padding_kept(run)),
        ):
            evidence = list(found)
            if evidence:
                yield self.finding(
                    message,
                    evidence=evidence,
                    clues=clues(message, labels_not_masked=6.5, label_shift_error=1.0),
                    fix=Fix(
                        summary="Cut the mask as the labels are cut: mask[:, 1:], counted from the first real token."
                    ),
                )
                return


def _off(code: Code) -> Iterator[tuple[str, list[Evidence]]]:
    for masked in code.assignments:
        name = masked.target.removesuffix("[]")
        if not masked.place or not LABELS.search(name):
            continue
        first, _, last = masked.place.rpartition(",")[2].strip().partition(":")
        if not first and LENGTH.match(last.strip()):
            yield from _moved_before(code, masked, name)
        elif MASK.search(name) and LENGTH.match(spelt_out(Expression(text=first), masked, code).strip("()")):
            yield from _moved_after(code, masked, name)
    for cut in code.assignments:
        value = written(cut.value)
        sliced = re.fullmatch(r"([\w.]+)\[(?:[^\[\],]*,\s*)?([^\[\],:]+):\]", value)
        if sliced is None or not LOG_PROBABILITIES.search(sliced[1]) or not LENGTH.match(sliced[2].strip()):
            continue
        moved = ALL_BUT_LAST.search(spelt_out(Expression(text=sliced[1]), cut, code)) is not None
        if moved or any(BELONGS.search(comment) for comment in code.comments):
            yield "log-probabilities moved by one place are cut at the length of the prompt", [_shown(cut)]


def _unmoved(run: Run) -> Iterator[Evidence]:
    """``loss_fn(logits, labels) * mask[:, :-1]`` where the labels are ``ids[:, 1:]``."""
    for code in run.code:
        moved = next((a for a in code.assignments if _targets_moved(a)), None)
        if moved is None or MASK.search(moved.target):
            continue
        for assignment in code.assignments:
            value = written(assignment.value)
            weighted = WEIGHTED.search(value) is not None and LOSS_OF_EACH.search(f"{assignment.target} {value}")
            if weighted and assignment.order > moved.order and assignment.scope == moved.scope:
                yield _shown(moved)
                yield _shown(assignment)
                return


def _targets_moved(assignment: Assignment) -> bool:
    """Labels that leave the first token out, or a loss that is given such."""
    value = written(assignment.value)
    of_loss = re.search(r"(?:cross_entropy|nll_loss|loss_f\w+|criterion|\bce)\(", value) is not None
    return NEXT.search(value) is not None and (of_loss or LABELS.search(assignment.target) is not None)


def _moved_before(code: Code, masked: Assignment, name: str) -> Iterator[tuple[str, list[Evidence]]]:
    earlier = [a for a in code.assignments if a.target == name and a.order < masked.order and a.scope == masked.scope]
    if earlier and NEXT.search(written(earlier[-1].value)) and written(earlier[-1].value).count("[") == 1:
        message = "labels that were moved by one place are masked over the whole length of the prompt"
        yield message, [_shown(earlier[-1]), _shown(masked)]


def _moved_after(code: Code, masked: Assignment, name: str) -> Iterator[tuple[str, list[Evidence]]]:
    """A mask over places of tokens, without its last place beside log-probabilities of the tokens that follow."""
    used = regex(rf"(?<![\w.]){re.escape(name)}{ALL_BUT_LAST.pattern}")
    for call in code.calls:
        text = call_text(call)
        if call.order > masked.order and used.search(text) and LOG_PROBABILITIES.search(text):
            message = "a mask over places of tokens is used for the tokens that follow them"
            yield message, [_shown(masked), Evidence(text=f"{last_part(call.name)}: {text}"[:160], source=call.source)]


def _shown(assignment: Assignment) -> Evidence:
    name = assignment.target.removesuffix("[]")
    place = f"[{assignment.place}]" if assignment.place else ""
    return Evidence(text=f"{name}{place} = {written(assignment.value)}", source=assignment.source)
