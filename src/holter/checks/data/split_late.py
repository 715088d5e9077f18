"""DAT010 split-after-copies-were-made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen, written
from holter.checks.script import last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

SPLITS = ("train_test_split", "random_split", "StratifiedShuffleSplit", "ShuffleSplit", "KFold", "StratifiedKFold")
COPIES = regex(
    r"augment|oversampl|over_sampl|smote|fit_resample|resample|back_?translat|paraphras|synonym|upsampl", re.I
)
"""Calls and names of what adds changed or repeated copies of rows."""

WINDOWS = regex(
    r"sliding|(?:make|create|build|get|to|extract)_?\w*(?:windows?|sequences|chunks|patches|segments)|windowed|unfold$",
    re.I,
)
GROUPED = regex(r"group|stratif\w*_by_(?:doc|subject|patient)|GroupShuffle|GroupKFold|shuffle=False", re.I)
READS = (
    "read_csv", "read_json", "read_parquet", "read_table", "read_excel", "read_pickle", "load_dataset",
    "load_from_disk", "open", "JsonDataset", "load_json", "load_jsonl",
)  # fmt: skip
TRAINING = regex(r"train|finetun|fine_tun|sft", re.I)
HELD_OUT = regex(r"test|eval|valid|held|dev_|_dev\b", re.I)
SELECTS = regex(r"Select(?:KBest|Percentile|FromModel|Fpr|Fdr)|\bRFE(?:CV)?\b|SequentialFeatureSelector|selector", re.I)
SCORES_BY_FOLDS = ("cross_val_score", "cross_validate", "cross_val_predict", "GridSearchCV")
"""Choices of features by the labels, and what scores a model by folds."""

FIRST_PART = regex(r"^(?P<of>\w+)\[:(?P<at>[\w.*() -]+)\]$")

SLICE = regex(r"^(?P<of>[\w.]+)\[(?:[^\[\]]*:[^\[\]]*)\]$|^(?P<by>[\w.]+)\.(?:sample|head|tail|select|iloc\[)")


class SplitAfterCopies(Check):
    """What it looks for
        Rows that are split at random after copies or overlapping windows of them were made, and an evaluation that
        takes a part of the file the model was trained on.

    Why it hurts
        Almost the same row stands on both sides: the score measures memory and falls on new data.

    How to fix it
        Split the documents, patients or files first, then augment and cut the training part; or split by group.

    When to ignore it
        When the split is by group in another file.

    Threshold
        None: the order of calls is read.

    Sources
        scikit-learn's guide, "Common pitfalls": data leakage and splitting before transforming.
    """

    code = "DAT010"
    name = "split-after-copies"
    title = "Rows are split after copies of them were made"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "features chosen on all rows",
            "X = SelectKBest(chi2, k=9).fit_transform(M, y)\ns = cross_val_score(LogReg(), X, y, cv=5)\n",
        ),
        script(
            "copies are added",
            "t, y = load()\nt = t + paraphrase_all(t)\ny = y * 2\na, b, c, d = train_test_split(t, y)\n",
        ),
        script(
            "shuffled windows",
            "w = np.lib.stride_tricks.sliding_window_view(s, 96)\nnp.random.shuffle(w)\ntrain, test = w[:n], w[n:]\n",
        ),
        script("augmented", "rows = augment(rows, times=5)\ntrain, test = train_test_split(rows, test_size=0.2)\n"),
        script(
            "windows",
            "x, y = make_windows(series, size=64, stride=8)\n"
            "x_train, x_test, y_train, y_test = train_test_split(x, y)\n",
        ),
        case(
            "a part of the training file",
            files={
                "train.py": "df = pd.read_csv('data/train_rows.csv')\ntrainer.train()\n",
                "evaluate.py": "df = pd.read_csv('data/train_rows.csv')\ndf = df[9000:9000 + NUM_TEST]\n",
            },
        ),
        script(
            "windows one after the other",
            "for i in range(len(t) - 64):\n    x.append(t[i:i + 64])\na, b = train_test_split(np.array(x))\n",
        ),
    )
    good = (
        script(
            "blocks side by side",
            "for i in range(0, len(t), 512):\n    x.append(t[i:i + 512])\na, b = train_test_split(x)\n",
        ),
        script(
            "features chosen in each fold",
            "p = make_pipeline(SelectKBest(chi2, k=9), LogReg())\ns = cross_val_score(p, X, y, cv=5)\n",
        ),
        script("windows in their order", "w = sliding_window_view(s, 96)\ntrain, test = w[:n], w[n:]\n"),
        script("split first", "train, test = train_test_split(rows, test_size=0.2)\ntrain = augment(train, times=5)\n"),
        script(
            "by group",
            "x, y = make_windows(series, size=64)\n"
            "train, test = next(GroupShuffleSplit().split(x, y, groups=patient))\n",
        ),
        case(
            "another file",
            files={
                "train.py": "df = pd.read_csv('data/train_rows.csv')\ntrainer.train()\n",
                "evaluate.py": "df = pd.read_csv('data/test_rows.csv')\ndf = df[:NUM_TEST]\n",
            },
        ),
        script(
            "both parts cut out of one file",
            "df = pd.read_csv('data/train_rows.csv')\ntrain = df[:9000]\ntest = df[9000:]\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such order."""
        found = next(_all(run), None)
        if found is not None:
            message, evidence, bits = found
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, eval_leak=bits),
                fix=Fix(
                    summary="Split first, by document or group; make copies and windows of the training part only."
                ),
            )


Found = tuple[str, list[Evidence], float]


def _all(run: Run) -> Iterator[Found]:
    for code in run.code:
        yield from _split_late(code)
        yield from _chosen_early(code)
        yield from _halved_late(code)
    yield from _part_of_training_file(run)


def _split_late(code: Code) -> Iterator[Found]:
    for split in code.calls:
        if last_part(split.name) not in SPLITS or GROUPED.search(call_text(split)) or not split.args:
            continue
        name = written(split.args[0])
        if split.name.endswith(f".{last_part(split.name)}") and "." in split.name and not name.isidentifier():
            continue
        if any(GROUPED.search(call_text(call)) for call in code.calls if call.order < split.order):
            continue
        made = _made(code, split, name) or _appended(code, split, name)
        if made is not None:
            what = "copies" if COPIES.search(made.name) else "overlapping windows" if made.loops else "windows"
            yield f"rows are split at random after {what} of them were made", [seen(made), seen(split)], 6.0


def _chosen_early(code: Code) -> Iterator[Found]:
    """Features chosen by the labels of all rows, of which folds or a split then hold some out."""
    for call in code.calls:
        if last_part(call.name) != "fit_transform" or len(call.args) < 2 or not call.target.isidentifier():
            continue
        made = next((c for c in code.calls if c.target and c.target == receiver(call)), call)
        if not SELECTS.search(f"{call.name} {made.name}"):
            continue
        for split in code.calls:
            given = split.order > call.order and call.target in map(written, split.args)
            if given and last_part(split.name) in (*SPLITS, *SCORES_BY_FOLDS):
                yield (
                    "features are chosen by the labels of all rows before some are held out",
                    [seen(call), seen(split)],
                    5.0,
                )


def _halved_late(code: Code) -> Iterator[Found]:
    """Copies or windows that are shuffled and cut in two."""
    parts = {written(a.value) for a in code.assignments}
    for cut in code.assignments:
        match = FIRST_PART.match(written(cut.value))
        if match is None or f"{match['of']}[{match['at']}:]" not in parts:
            continue
        earlier = [c for c in code.calls if c.order < cut.order]
        made = [c for c in earlier if c.target == match["of"]]
        mixed = [c for c in earlier if "shuffle" in c.name and [match["of"]] == [*map(written, c.args[:1])]]
        if made and mixed and (COPIES.search(made[-1].name) or WINDOWS.search(last_part(made[-1].name))):
            yield "windows or copies are shuffled and then cut in two", [seen(made[-1]), seen(mixed[0])], 6.0


def _made(code: Code, split: Call, name: str) -> Call | None:
    """The last call before the split that made the rows, where it makes copies or windows."""
    makers = [
        c
        for c in code.calls
        if c.order < split.order and c.scope == split.scope and name in [part.strip() for part in c.target.split(",")]
    ]
    added = [
        a
        for a in code.assignments
        if a.order < split.order and a.target == name and (not makers or a.order > makers[-1].order + 1)
    ]
    if added and COPIES.search(written(added[-1].value)):
        return next((c for c in code.calls if COPIES.search(c.name) and c.order < added[-1].order), None)
    if not makers:
        return None
    last = makers[-1]
    return last if COPIES.search(last_part(last.name)) or WINDOWS.search(last_part(last.name)) else None


def _appended(code: Code, split: Call, name: str) -> Call | None:
    """``x.append(s[i:i + w])`` in a loop whose steps are shorter than the window."""
    inner = STACKED.match(name)
    name = inner[1] if inner is not None else name
    made = (a for a in code.assignments if a.target == name and a.order < split.order and a.scope == split.scope)
    names = {name, *(match[1] for a in made if (match := STACKED.match(written(a.value))) is not None)}
    for call in code.named("append"):
        window = WINDOW.search(written(call.args[0])) if call.args else None
        if window is None or call.order > split.order or receiver(call) not in names or not call.loops:
            continue
        steps = STEPS.search(call.loops[-1])
        counts = call.loops[-1].startswith(f"for {window['at']} in range(")
        if counts and (steps is None or steps[1] != window["length"]):
            return call
    return None


STACKED = regex(r"^(?:\w+\.)*(?:stack|v?stack|array|asarray|tensor|concatenate)\((\w+)\)$")
WINDOW = regex(r"\[(?P<at>\w+) ?: ?(?P=at) ?\+ ?(?P<length>[\w.]+)\]")
STEPS = regex(r"range\([^,]+,[^,]+,\s*([\w.]+)\)$")
"""A list made an array, a window by its start and length, and the step from one start to the next."""


def _part_of_training_file(run: Run) -> Iterator[Found]:
    """One file read twice, and the second time a part of it is taken for the evaluation."""
    reads = [(code, call, call.args[0]) for code in run.code for call in code.named(*READS) if call.args]
    for code, second, path in reads:
        if not isinstance(path, str) or not TRAINING.search(path) or HELD_OUT.search(path):
            continue
        first = next((c for _, c, other in reads if other == path and _before(c, second)), None)
        if first is None or "split" in second.kwargs:
            continue
        for cut in code.assignments:
            sliced = SLICE.match(written(cut.value))
            of = (sliced["of"] or sliced["by"]) if sliced else ""
            after = cut.order > second.order and of == second.target and second.target != ""
            if after and HELD_OUT.search(f"{cut.target} {written(cut.value)} {second.source.file}"):
                shown = Evidence(text=f"{cut.target} = {written(cut.value)}", source=cut.source)
                yield f"the evaluation takes a part of {path}, which is read for training", [seen(first), shown], 6.0


def _before(one: Call, other: Call) -> bool:
    return one is not other and (one.source.file != other.source.file or one.order < other.order)
