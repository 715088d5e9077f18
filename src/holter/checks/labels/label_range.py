"""LAB009 labels-beyond-outputs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.labels._label_tables import BORDER, mapped, outputs_of
from holter.checks.look import Known, calls, comments, known, plain, seen, written
from holter.checks.messages import holds, said, statements
from holter.checks.noted import noted
from holter.checks.script import texts
from holter.checks.symptoms import number, numbers
from holter.finding import Evidence, Finding, Fix, Severity
from holter.knowledge.tasks import task_in, task_of
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

LARGEST = ("max_label", "label_max", "labels_max", "largest_label", "labels.max", "label.max", "maximum_label")
SMALLEST = ("min_label", "label_min", "labels_min", "smallest_label", "labels.min", "label.min", "minimum_label")
LISTED = ("unique_labels", "label_ids", "label_values", "labels")
COUNTED = ("classes_in_data", "num_unique_labels", "distinct_labels", "unique_label_count", "label_count")
IGNORED = -100
_OF = r"(?:labels?|targets?|masks?|annotations?|gt|ground truth|categor(?:y|ies)|class (?:ids?|ind(?:ex|ices)))"
_END = r"(?:max(?:imum)?|min(?:imum)?|largest|smallest|highest|lowest)"
OF_LABELS = regex(
    rf"\b{_OF}(?: (?:ids?|class|ind(?:ex|ices)|pixels?|columns?|field))?"
    rf" (?:values?|unique|distinct|range|present|contents?|ids?"
    rf"|{_END}|in (?:the |all )?(?:masks?|labels?|data|files?|annotations?))\b|\bclass values?\b"
    r"|\bclasses in (?:the )?(?:csv|data\w*|files?|labels|annotations?)\b"
    rf"|\b(?:unique|distinct|{_END}|range of|values? (?:in|of)) (?:the )?{_OF}\b"
)
NO_RANGE = regex(
    r"\b(?:counts?|numbers?|num|n|per|share|fractions?|ratio|lengths?|len|sizes?|weights?|shape|attention|pad\w*|loss"
    r"|tokens?|input|vocab\w*|embeddings?|smoothing|logits?|prob\w*|scores?|rows|columns|names?|samples|position\w*"
    r"|ignored?|masked|fill|threshold|frequency|modules?|accuracy|iou|before|prompt|special"
    r"|lang\w*|bos|eos|start|end|users?|items?|nodes?|groups?|gpus?|devices?|times?|steps?|kl|mask ids?|reward\w*)\b"
)
"""Names of the values that labels have, and of what else is told of labels."""

_LIST = r"(?:array|tensor|set)?\(?[\[{]\s*(?P<ids>-?\d+\.?(?:[\s,]+-?\d+\.?)*)\s*[\]}]"
_LABEL = r"(?:labels?|targets?|masks?|classes|annotations?|gt|y)"
PRINTED = regex(
    rf"(?:\bunique\((?:[^\n]{{0,24}}\W)?{_LABEL}(?:\W[^\n]{{0,12}})?\)|\b{_LABEL}\W[^\n]{{0,6}}\.?\bunique\(\)"
    rf"|\b(?:unique|distinct) (?:values? (?:in|of) )?(?:the )?{_LABEL}\b(?: values?)?|\b{_LABEL} (?:unique|values)\b)"
    rf"[^\n\[{{]{{0,12}}{_LIST}"
)
LARGEST_PRINTED = regex(
    r"(?:\b(?:max(?:imum)?|largest|highest)(?: of)?(?: the)? (?:label|target|mask|class id)s?(?: value| id| index)?"
    r"|\b(?:labels?|targets?|masks?)\.max\(\))[\s:=>]{1,5}(?:tensor\()?(?P<ids>\d+)\b"
)
"""Values of labels as debugging code prints them."""

WRITTEN_RANGE = regex(r"^\W*-?\d+(?:\s*(?:,|to|-|\.\.+|and|or)\s*-?\d+)+\W*$")
NUMBER = regex(r"(?<!\d)-?\d+")
NOTED_RANGE = regex(
    r"^(?:\W|(?:the|our|my|all)\b)*(?:(?:labels?|targets?|classes|stars?|ratings?|scores?|values?|ids?)\b"
    r"(?:\s*(?:are|is|in|from|go|run|values?|ids?|take|:|=))*)?\s*(?P<ids>\d+(?:\s*(?:\.\.+|,|/|to|-|and|or)\s*\d+)+)\W*$"
)
"""A comment that does nothing but say which labels there are."""

LOSSES = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")

SHOWN = 120
"""Characters of a printed line that are shown."""

CLASSIFIER = regex(r"ForSequenceClassification\.from_pretrained$")
GIVES = frozenset({"num_labels", "config", "id2label", "label2id"})
DEFAULT_OUTPUTS = 2
"""Of a classification head in transformers, where nobody says how many."""


class LabelsBeyondOutputs(Check):
    """What it looks for
        Labels in the data that are below 0 (other than the ignore value) or not below ``num_labels``; masks whose
        object is 255, as image programs draw it, in a segmentation of two classes.

    Why it hurts
        The loss refuses them, on a GPU with an assertion that stops the process.

    How to fix it
        Map labels to 0 .. num_labels - 1, and give ``num_labels`` where the model is made.

    When to ignore it
        When the loss ignores that id on purpose; a 255 beside two classes or more is taken for such a mark.

    Threshold
        None.

    Sources
        PyTorch's documentation of cross_entropy; MMSegmentation's guide to custom data sets, on the values of masks.
    """

    code = "LAB009"
    name = "labels-beyond-outputs"
    title = "Labels do not fit num_labels"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(
        any_of=(
            ("code",),
            ("task", "num_labels"),
            ("facts",),
            ("events", "num_labels"),
            *((name,) for name in SMALLEST),
            *((n, "num_labels") for n in (*LARGEST, *LISTED, *COUNTED)),
        )
    )
    bad = (
        case("too large", config={"num_labels": 3}, facts={"max_label": 3}),
        case("from 1", config={"num_labels": 3}, facts={"unique_labels": [1, 2, 3]}),
        case(
            "three classes and a default head",
            config={"task": "mnli"},
            files={"a.py": "model = BertForSequenceClassification.from_pretrained('bert-base-cased')\n"},
        ),
        case("a range", config={"num_labels": 40}, facts={"labels.min": 0, "labels.max": 40}),
        case("negative", facts={"min_label": -1}),
        case(
            "a layer of one's own",
            facts={"unique_labels": [1, 2, 3]},
            files={"a.py": "self.fc = nn.Linear(64, 3)\nloss = nn.CrossEntropyLoss()(self.fc(x), y)\n"},
        ),
        case("white", config={"num_labels": 2}, facts={"mask_values": [0, 255]}),
        case("white, told by the task", config={"task": "binary segmentation"}, facts={"values_in_masks": "0, 255"}),
        case("units", facts={"classes_in_csv": "1..6", "model_output_units": 6}),
        case("as a range", config={"num_labels": 5}, facts={"label_range": "1 to 5"}),
        case(
            "printed",
            config={"num_labels": 21},
            files={"log.txt": "np.unique(np.array(label))\n> array([  0, 147, 151, 220], dtype=uint8)\n"},
        ),
        case("printed of a tensor", config={"num_labels": 3}, events=[said("labels.unique() tensor([1, 2, 3])")]),
        script(
            "a table from 1",
            "label2id = {'bad': 1, 'good': 2, 'best': 3}\n"
            "model = AutoModelForSequenceClassification.from_pretrained('x', num_labels=len(label2id))\n",
        ),
        script(
            "a list with one more",
            "label_list = ['O', 'B-X', 'I-X']\n"
            "m = AutoModelForTokenClassification.from_pretrained('x', num_labels=2)\n",
        ),
        case(
            "counts of pandas", config={"num_labels": 3}, facts={"df['label'].value_counts()": {"1": 9, "2": 8, "3": 7}}
        ),
        case("counts from 1", config={"num_labels": 3}, facts={"label_counts": {"1": 90, "2": 80, "3": 7}}),
        case(
            "a border that the loss does not know",
            config={"num_labels": 5},
            files={
                "a.py": "criterion = nn.CrossEntropyLoss()\nloss = criterion(out, masks.long())\n",
                "log.txt": "np.unique(mask)\n[  0   1   2   3   4 255]\n",
            },
        ),
        case(
            "told in a comment",
            config={"num_labels": 5},
            files={"a.py": "labels = df['stars'].astype(int)  # 1 .. 5\n"},
        ),
        case("the largest", config={"num_labels": 3}, events=[said("max label: 3", "message")]),
    )
    good = (
        case(
            "as many as the set has",
            config={"task": "mnli"},
            files={"a.py": "model = BertForSequenceClassification.from_pretrained('bert-base-cased', num_labels=3)\n"},
        ),
        case("fit", config={"num_labels": 3}, facts={"unique_labels": [0, 1, 2]}),
        case("a range that fits", config={"num_labels": 40}, facts={"labels.min": 0, "labels.max": 39}),
        case("ignored", facts={"min_label": -100}),
        case(
            "a hidden layer of one's own",
            facts={"unique_labels": [0, 1, 2]},
            files={"a.py": "self.hidden = nn.Linear(64, 2)\nloss = nn.CrossEntropyLoss()(self.fc(x), y)\n"},
        ),
        script(
            "a table from 0",
            "label2id = {'bad': 0, 'good': 1, 'best': 2}\n"
            "model = AutoModelForSequenceClassification.from_pretrained('x', num_labels=len(label2id))\n",
        ),
        script(
            "a list that fits",
            "label_list = ['O', 'B-X', 'I-X']\n"
            "m = AutoModelForTokenClassification.from_pretrained('x', num_labels=3)\n",
        ),
        case("counts", config={"num_labels": 3}, facts={"label_counts": {"0": 90, "1": 80, "2": 7}}),
        case("counts by name", config={"num_labels": 3}, facts={"label_counts": {"bad": 90, "good": 80, "best": 7}}),
        case("a border", config={"num_labels": 3}, facts={"mask_values": [0, 1, 2, 255]}),
        case(
            "an id of a token",
            config={"num_labels": 2},
            facts={"mask_id": 103, "target_lang_id": 7, "target_text_max": 64},
        ),
        case("a count", config={"num_labels": 3}, facts={"labels_per_sample": 7, "target_length": [5, 9]}),
        case(
            "printed, and fit",
            config={"num_labels": 21},
            files={"log.txt": "np.unique(np.array(label))\n> array([  0, 7, 15, 255], dtype=uint8)\n"},
        ),
        case(
            "a border that the loss knows",
            config={"num_labels": 5},
            files={
                "a.py": "criterion = nn.CrossEntropyLoss(ignore_index=255)\n",
                "log.txt": "np.unique(mask)\n[  0   1   2   3   4 255]\n",
            },
        ),
        case("in a comment", config={"num_labels": 5}, files={"a.py": "y = df['stars'] - 1  # 0 .. 4\n"}),
        case("printed pixels", config={"num_labels": 3}, events=[said("unique pixels: [1 2 3]", "message")]),
    )
    not_enough = (case("labels not measured", config={"num_labels": 3}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Range first, then the number of classes."""
        outputs = outputs_of(run)
        size = None if outputs is None else number(outputs.plain)
        for found in (known(run, *LARGEST), known(run, *SMALLEST), known(run, *LISTED)):
            values = [] if found is None else [v for v in numbers(found.plain) if v != IGNORED]
            wrong = [v for v in values if v < 0 or (size is not None and v >= size)]
            if found is not None and wrong and not _bordered(values, wrong):
                yield self._found(
                    f"{found.name} holds {wrong[0]:g}, the model has {size or '?'} outputs", found.evidence, outputs
                )
                return
        for value, evidence in _told(run, size):
            yield self._found(f"{evidence.text}, the model has {size or 2:g} outputs: {value:g}", evidence, outputs)
            return
        for evidence, size_of in mapped(run, size):
            text = f"{evidence.text}, the model has {size_of:g} outputs"
            yield self._found(text, evidence, outputs)
            return
        yield from self._of_task(run, outputs)
        counted = known(run, *COUNTED)
        amount = None if counted is None else number(counted.plain)
        if counted is not None and amount is not None and size is not None and size > 1 and amount > size:
            yield self._found(
                f"{amount:g} classes in the data, {size:g} outputs of the model", counted.evidence, outputs
            )

    def _of_task(self, run: Run, outputs: Known | None) -> Iterable[Finding]:
        """A public set with more classes than the model has outputs, which are two where nobody says."""
        comments_ = (comment for _, comment in comments(run))
        task = task_of(written(plain(run, "task")), written(plain(run, "task_name"))) or task_in(*comments_)
        built = next((call for call in calls(run, "from_pretrained") if CLASSIFIER.search(call.name)), None)
        size = None if outputs is None else number(outputs.plain)
        if task is None or (size is None and (built is None or not GIVES.isdisjoint(built.kwargs))):
            return
        if (size or DEFAULT_OUTPUTS) < task.classes and size != 1:
            shown = [outputs.evidence] if outputs is not None else [seen(built)] if built is not None else []
            yield self.finding(
                f"{task.name} has {task.classes} classes, the model has {size or DEFAULT_OUTPUTS:g} outputs",
                evidence=shown,
                clues=clues("labels outside the model's outputs", label_out_of_range=7),
                fix=Fix(summary="Give num_labels where the model is made."),
            )

    def _found(self, message: str, found: Evidence, outputs: Known | None) -> Finding:
        return self.finding(
            message,
            evidence=[found, *([outputs.evidence] if outputs is not None else [])],
            clues=clues("labels outside the model's outputs", label_out_of_range=8),
            fix=Fix(summary="Map labels to 0 .. num_labels - 1 and give num_labels where the model is made."),
        )


def _bordered(values: list[float], wrong: list[float]) -> bool:
    """Whether all that is wrong is the mark of borders beside two classes or more."""
    return set(wrong) == {BORDER} and len(set(values)) > 2


def _counts_borders(run: Run) -> bool:
    """Whether the script has a loss of its own that knows no other mark than -100."""
    losses = list(calls(run, *LOSSES))
    told = any("255" in text or "ignore" in text.lower() for code in run.code for text in texts(code))
    return bool(losses) and not told and not any("255" in written(v[0].value) for v in run.config.values())


def _told(run: Run, outputs: float | None) -> Iterator[tuple[float, Evidence]]:
    """Values of labels under any name, or printed by the run, that no output stands for."""
    of_two = "binary" in written(plain(run, "task") or "").lower()
    size = outputs if outputs is not None and outputs > 1 else DEFAULT_OUTPUTS if of_two else None
    if size is None:
        return
    for values, evidence in (*_of_facts(run), *_printed(run), *_commented(run)):
        wrong = [v for v in values if v >= size or v < min(IGNORED, -1)]
        if wrong and (not _bordered(values, wrong) or _counts_borders(run)):
            yield wrong[0], evidence


def _of_facts(run: Run) -> Iterator[tuple[list[float], Evidence]]:
    for fact in noted(run):
        if OF_LABELS.search(fact.words) and not NO_RANGE.search(fact.words):
            text = fact.value if isinstance(fact.value, str) else ""
            listed = [float(n) for n in NUMBER.findall(text)] if WRITTEN_RANGE.match(text) else numbers(fact.value)
            yield [v for v in listed if v == int(v)] if all(map(math.isfinite, listed)) else [], fact.evidence


def _commented(run: Run) -> Iterator[tuple[list[float], Evidence]]:
    for code, comment in comments(run):
        match = NOTED_RANGE.match(comment)
        ids = [float(n) for n in re.findall(r"\d+", match["ids"])] if match is not None else []
        if ids and ids == sorted(ids) and ids[0] <= 1.0:
            yield ids, Evidence(text=f"# {comment}", source=code.source)


def _printed(run: Run) -> Iterator[tuple[list[float], Evidence]]:
    """What was printed of labels, on the line that says so or the next one."""
    if not any(holds(run, word) for word in ("unique", "distinct", "max", "largest", "highest")):
        return
    lines = [s for s in statements(run) if s.kind != "fact"]
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        both = line.folded if after is None else f"{line.folded} {after.folded}"
        match = PRINTED.search(both) or LARGEST_PRINTED.search(line.folded)
        if match is not None and match.start() < len(line.folded):
            values = [float(n.rstrip(".")) for n in re.findall(r"-?\d+\.?", match["ids"])]
            shown = Evidence(text=" ".join(match[0].split())[:SHOWN], source=line.source, step=line.step)
            yield values, shown
