"""DAT002 evaluates-on-training-data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.data._pieces import BY_ROW, HELD_OUT_SIDE, TRAIN_SIDE, overlapping_pieces, ranges_that_meet
from holter.checks.look import known, seen, written
from holter.checks.messages import quote, said, statements
from holter.checks.noted import Noted, noted, words_of
from holter.checks.shape import point
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

PAIRS = (
    ("train_file", "validation_file"),
    ("train_data", "eval_data"),
    ("train_dataset", "eval_dataset"),
    ("train_split", "eval_split"),
)

TRAIN_NAME = regex(r"(?<![a-z])train(?:ing)?(?![a-z])", re.I)
HELD_OUT_NAMES = ("val", "valid", "validation", "eval", "evaluation", "dev", "test")
A_PART = regex(r"(?:split|view|subset|part|fold|stage|set)$", re.I)
A_FILE = regex(
    r"(?:files?|paths?|data|csv|jsonl?|tsv|txt|list|ann\w*|manifests?|prefix|records?|source|dir|folder|root|images?|db)$",
    re.I,
)
"""Names of settings for the two sides, which hold a part of one set, or where the rows lie."""

ONE_FILE = regex(r"\.[a-z]\w{1,7}$|train", re.I)
"""A value that names rows; a folder may hold both sides in files of their own."""

SPLIT_OFF = regex(
    r"(?:^|[._])(?:val|valid|validation|eval|test|dev)_?(?:set_?)?(?:split|size|ratio|frac\w*|percent\w*|samples|portion)$",
    re.I,
)
"""A setting by which a script takes its held-out rows from what it read."""

DERIVED = regex(r"(?:\.(?:select|shuffle|take|head|sample)\((?:[^()]|\([^()]*\))*\)|\[[^\]'\"]*:[^\]]*\])+$")
"""What takes rows out of a set without taking them away from it."""

IN_COMMON = regex(
    r"(?:also|overlap\w*|duplicat\w*|found|seen|shared?|occur\w*|contained)[-_ ](?:in|with|by)[-_ ](?:the )?train\w*"
    r"(?: set| data| split| rows)?[^\w\n]{1,5}(\d[\d,]*)(?! ?%|\.)(?:\s*(?:/|of)\s*(\d[\d,]*))?"
)
"""A count of held-out rows that are training rows as well, as scripts print it."""

COMMON_FIRST = regex(
    r"(\d[\d,]*)(?: (?:of|out of)(?: the)? (\d[\d,]*))?(?: [a-z-]+){0,4}? "
    r"(?:overlap|are|is|also|appear|occur|were found|found|seen|contained)(?: (?:also|already))?"
    r" (?:in|with)(?: the)? train"
)
"""The same with the count first: ``17 of 200 test rows are in the training set``."""

IN_BOTH = regex(
    r"(\d[\d,]*)(?: (?:of|out of)(?: the)? (\d[\d,]*))?(?: [a-z-]+){0,4} (?:in|between|by|across) (?:both )?(?:the )?"
    r"train\w*(?: set| data| split)? (?:and|&) (?:the )?(?:test|val\w*|eval\w*|dev)"
)
AFTER_BOTH = regex(
    r"(?:(?:overlap\w*|duplicat\w*|common|shared|intersection|leak\w*)(?: [a-z-]+){0,3} (?:between|of|in) (?:the )?)?"
    r"(?:train\w*(?: ?(?:and|&|/|∩|vs\.?|x|n) ?)(?:the )?(?:test|val\w*|eval\w*|dev\w*)"
    r"|(?:test|val\w*|eval\w*|dev\w*)(?: ?(?:and|&|/|∩|vs\.?|x|n) ?)(?:the )?train\w*)"
    r"(?: set| data| split| rows)?(?P<tail>[^\n\d]{0,24}?)\W{1,3}(?P<count>\d[\d,]*)(?! ?%|[.\d])"
)
COMMON = regex(r"overlap|duplicat|common|shared|intersect|leak|∩|both|same|identical")
"""Counts of what is on both sides, as scripts print them."""

PRINTED_MEET = regex(
    r"(?:len|sum)\((?=[^\n]{0,80}\b(?:train|trn|tr)(?:\b|_))(?=[^\n]{0,80}\b(?:test|val|valid|dev|eval)(?:\b|_))"
    r"[^\n]{0,80}?(?:&|intersect\w*|isin)[^\n]{0,60}?\)\s*[:=>,]*\s*(?P<count>\d[\d,]*)(?![\w.%])"
)
"""What two sets have in common, as an expression with the number it gives on its line or the next."""

LEAST_SHARE = 0.02
"""Short rows repeat by chance; a fiftieth of all does not."""

BOTH = regex(
    r"(?:dup\w*|overlap\w*|shared|leaked|common)_(?:\w+_)?(?:train_(?:and_)?(?:test|eval|val|dev)|(?:test|eval|val|dev)_(?:and_)?train)"
    r"|(?:train_(?:test|eval|val|dev)|(?:test|eval|val|dev)_(?:rows_)?(?:in_)?train)_(?:overlap|dup\w*|fraction|share|count)"
    r"|rows_in_both(?:_splits)?",
    re.I,
)
"""Names of a count or share of rows that stand on both sides of a split."""

ON_BOTH = regex(
    r"\b(?:also|overlap\w*|in common|common|shared?|leak\w*|found|seen|contained|intersect\w*|both|same|dup\w*)\b"
)
IN_EITHER = regex(
    r"\bin train\w* and (?:test|val\w*|eval\w*|dev)\b|\bin (?:test|val\w*|eval\w*|dev)(?: and \w+)? and train\w*\b"
)
OF_ROWS = regex(
    r"\b(?:overlap\w*|dup\w*|leak\w*|intersect\w*|in common|row|rows|samples?|images?|pictures?|photos?|files?"
    r"|sentences?|documents?|patients?|speakers?|subjects?|users?|ids|examples?|utterances?|sequences?|pages?|questions?|records?"
    r"|pairs?|molecules?|proteins?|videos?|clips?|recordings?|items?|instances?|entities|texts?|data)\b"
)
"""What can be on both sides; a seed, a script or an encoder may well be the same."""

CONTAMINATED = regex(r"\bcontaminat\w*|\b(?:in|on|across) both (?:splits?|sets|parts|sides|halves)\b")
HASH = regex(r"(?:md5|sha_?\d*|hash|checksum|digest)$", re.I)
FEW = 1000
"""A count of what is in training and validation data that is smaller than this is no sum of the two."""

NOT_EMPTY = regex(r"\b(?:not|non|n't)[- ](?:empty|zero|none|0)\b")
SETS_MEET = regex(r"\btrain\w* *(?:&|∩|\.?intersection)|(?:&|∩|\bintersection\b)[^&∩]{0,12}\btrain")
SOME = regex(r"\b(?:some|many|most|several|few|all|same|identical|overlap\w*|duplicat\w*|occur\w*|yes|\d+)\b")
NONE = regex(r"\b(?:no|none|not|never|without|removed|dropped|disjoint|separate|before)\b|^\W*0\b|n't\b")
NOT_IN = regex(r"^(?P<of>.*?) (?:that are )?not in (?:the )?(?P<other>.*)$")
WHOLE = regex(r"^(?:total|all|whole|full|data ?set|overall|num|n|number of)(?: \w+)?$")
ROWS = regex(r"\b(?:rows|samples|images|examples|sentences|utterances|files|records|pairs|documents|patients|size)\b")
SLACK = 1.005
"""Counts of parts that exceed the whole by more than rounding."""
WITH_TRAIN = regex(
    r"\b(?:match(?:es)?|overlap\w*|duplicates?|also|found|contained|in common"
    r"|shared|identical|cop(?:y|ies)|near duplicates?)\b"
    r" (?:with|in|of) (?:the )?train(?:ing)?\b"
    r"|\b(?:test|val\w*|eval\w*|dev)\b(?: \w+){0,2} in (?:the )?(?:train(?:ing)?|sft|pre ?training|fine ?tuning)"
    r"(?: (?:data|set|mix\w*|corpus|rows|split))?$"
)
OTHER_COUNT = regex(
    r"\b(?:vocab\w*|sizes?|lengths?|columns?|features?|tokens?|words?|loss"
    r"|accuracy|labels?|classes|label set|domain|source)\b"
)
"""Words for the two sides, for what is on both, and for what may be on both."""

GROUPED = regex(
    r"\b(?:rows|samples|windows|patches|frames|chunks|images|sentences) per "
    r"(?!epoch|second|step|batch|device)\w+"
)
"""A split that parts rows, and a count of rows that belong together."""

BY_NAME = regex(r"rows?_(?:also_)?(?:in|shared_with|found_in)_train|train_\w*overlap|overlap\w*_train")
"""Names of such a count that stands among logged numbers."""


class EvaluatesOnTrainingData(Check):
    """What it looks for
        One data set, file or part of it given for training and for evaluation; counts, in names, words or printed, of
        rows that stand on both sides; parts that add up to more rows than there are.

    Why it hurts
        The evaluation measures memory: overfitting cannot be seen, and the best checkpoint is the last.

    How to fix it
        Split before training, and give the part that was held out.

    When to ignore it
        In a deliberate overfitting test of a few samples.

    Threshold
        The two names are the same; a fiftieth of the rows, where a share is told. A count of rows "in train and val"
        may be their sum: only one below `FEW` is taken for rows that are in both.

    Sources
        None needed.
    """

    code = "DAT002"
    name = "evaluates-on-training-data"
    title = "Training and evaluation use one data set"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",), ("events",), ("facts",), ("config",), *PAIRS))
    bad = (
        case("arguments", files={"a.py": "t = Trainer(model=m, args=a, train_dataset=data, eval_dataset=data)\n"}),
        case("files", config={"train_file": "all.json", "validation_file": "all.json"}),
        script("a part of it", "t = Trainer(train_dataset=d['train'], eval_dataset=d['train'].select(range(99)))\n"),
        script("by another name", "held = rows\nt = Trainer(model=m, train_dataset=rows, eval_dataset=held)\n"),
        case("one view", files={"config.yaml": "loader:\n  train_view: train\n  val_view: train\n"}),
        case(
            "one list of annotations",
            files={"c.yaml": "data:\n  train:\n    ann_file: a/trainval.txt\n  val:\n    ann_file: a/trainval.txt\n"},
        ),
        case("in train and val", facts={"images_in_train_and_val": 28}),
        case("pairs of splits", facts={"duplicate_groups.test_train": 70, "duplicate_groups.test_val": 11}),
        case("told", facts={"images_in_train_and_test": "some, the same pictures occur in both"}),
        case("yes", facts={"train_test_overlap": True}),
        case("what is left", facts={"train_rows": 900, "train_rows_not_in_validation": 700}),
        case("more than there are", facts={"total_images": 1000, "train_images": 1000, "val_images": 200}),
        case("between", events=[said("Found 28 duplicate images between train and val", "message")]),
        case("an intersection", events=[said("train ∩ test: 17", "message")]),
        case("an overlap", events=[said("overlap between train and test sets: 113 rows", "message")]),
        case("asked for", files={"log.txt": ">>> len(set(train['q']) & set(test['q']))\n1204\n"}),
        case("two sets meet", facts={"set(train) & set(test)": "not empty"}),
        case(
            "one range inside the other",
            facts={"train.first_document": 10000, "validation.first_document": 0, "validation.documents": 50000},
        ),
        case("bounds", facts={"train_range": [0, 9000], "test_range": [8000, 10000]}),
        case("tiles that overlap", config={"tile_overlap": 0.3, "train_val_split": "random, over the tiles"}),
        case("in both splits", facts={"speakers_in_both_splits": 12}),
        case("contaminated", facts={"contaminated_test_rows": 120}),
        case("one file", facts={"train_file_sha256": "3f9ac2", "test_file_sha256": "3f9ac2"}),
        case("copies", facts={"test.exact_copies_of_train_rows": 3300}),
        case("in the data of training", facts={"validation_prompts_in_sft_data": 212}),
        case("a share", facts={"duplicate_rows_train_test": 0.4}),
        case("counted under another name", facts={"train_samples_also_in_test": 12}),
        case("the other side is not named", facts={"exact_matches_with_training_set": 31}),
        case("windows of one patient on both sides", facts={"windows_per_patient": 6, "split": "row level, shuffled"}),
        case("counted", events=[said("test rows also in train: 950/1000", "message")]),
        case("counted first", events=[said("450 of 500 dev rows overlap with train", "message")]),
        case("logged", files={"log.txt": "loaded 2 sets\ntrain=900 val=50 val-rows-also-in-train = 40/50 (80.0%)\n"}),
    )
    good = (
        script("split", "t = Trainer(model=m, args=a, train_dataset=d['train'], eval_dataset=d['test'])\n"),
        case("files", config={"train_file": "train.json", "validation_file": "dev.json"}),
        script("parts of one set", "t = Trainer(train_dataset=d[:900], eval_dataset=d[900:])\n"),
        case("words on both sides", facts={"train_test_shared_vocabulary": 0.9}),
        case("one row each", facts={"windows_per_patient": 1, "split": "row level, shuffled"}),
        case("split by patient", facts={"windows_per_patient": 6, "split": "by patient"}),
        case("no share", facts={"duplicate_rows_train_test": 0.0}),
        case("none of them", events=[said("0 of 500 dev rows overlap with train", "message")]),
        case("asked for, and none", files={"log.txt": ">>> len(set(train['q']) & set(test['q']))\n0\n"}),
        case("no set meets", facts={"set(train) & set(test)": "empty"}),
        case("one range after the other", facts={"train_range": [0, 8000], "test_range": [8000, 10000]}),
        case("tiles dealt out by place", config={"tile_overlap": 0.3, "train_val_split": "by region"}),
        case("one start", facts={"train.first_document": 10000, "validation.first_document": 0}),
        case("two files", facts={"train_file_sha256": "3f9ac2", "test_file_sha256": "91bb07"}),
        case("in neither", facts={"speakers_in_both_splits": 0, "contaminated_test_rows": "none"}),
        case(
            "other things that are the same",
            facts={
                "same_tokenizer_for_train_and_test": True,
                "train_val_same_seed": 42,
                "shared_encoder_train_eval": "yes",
            },
        ),
        case("a sum", facts={"images_in_train_and_val": 52000}),
        case("a folder for both", config={"train_dir": "data", "val_dir": "data"}),
        case("split off later", config={"train_path": "all.csv", "test_path": "all.csv", "val_split": 0.1}),
        case("two views", files={"config.yaml": "loader:\n  train_view: train\n  val_view: val\n"}),
        case("no overlap", facts={"train_test_overlap": False, "rows_in_train_and_test": "none, all were removed"}),
        case("nothing is left over", facts={"train_rows": 900, "train_rows_not_in_validation": 900}),
        case("they add up", facts={"total_images": 1000, "train_images": 800, "val_images": 200}),
        case("sizes", events=[said("train / val: 9000 / 1000", "message")]),
        case("an empty intersection", events=[said("train ∩ test: 0", "message")]),
        case("none in common", events=[said("test rows also in train: 0/1000", "message")]),
    )
    not_enough = (case("not said"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first pair that is one and the same."""
        for evidence in _same(run):
            yield self.finding(
                "the same data are used for training and for evaluation",
                evidence=evidence,
                clues=clues("evaluation on the training data", eval_leak=6),
                fix=Fix(summary="Hold out a part of the data for evaluation."),
            )
            return


def _same(run: Run) -> Iterator[list[Evidence]]:
    for code in run.code:
        for call in code.calls:
            if _one_set(call, code):
                yield [seen(call)]
    said_ = statements(run)
    for statement, after in zip(said_, [*said_[1:], None], strict=False):
        counted = IN_COMMON.search(statement.folded) or COMMON_FIRST.search(statement.folded)
        if "&" in statement.folded or "inters" in statement.folded or "isin" in statement.folded:
            counted = counted or PRINTED_MEET.search(f"{statement.folded} {'' if after is None else after.folded}")
        counted = counted or _in_both(statement.folded)
        if counted is not None and _share(counted) >= LEAST_SHARE:
            yield [quote(statement)]
    for name, values in run.facts.items():
        amount = number(values[0].value)
        other = OTHER_COUNT.search(words_of(name))
        if BOTH.search(name) and amount is not None and amount >= LEAST_SHARE and not other:
            yield [Evidence(text=f"{name} is {amount:g}", source=values[0].source, value=amount)]
    yield from _on_both_sides(run)
    for name, series in run.series.items():
        if BY_NAME.search(name) and len(series) and series[0] > 0.0:
            yield [point(series, 0)]
    for train, held_out in PAIRS:
        first, second = known(run, train), known(run, held_out)
        if first is not None and second is not None and isinstance(first.plain, str) and first.plain == second.plain:
            yield [first.evidence, second.evidence]
    yield from _one_value(run)


def _in_both(text: str) -> re.Match[str] | None:
    """A count of what two sides have in common; sizes of the two sides are none."""
    if COMMON.search(text) is None:
        return None
    return IN_BOTH.search(text) or AFTER_BOTH.search(text)


def _one_value(run: Run) -> Iterator[list[Evidence]]:
    """A setting for the training side and its like for the other, with one value."""
    if any(SPLIT_OFF.search(name) and (number(v[0].value) or 0.0) > 0.0 for name, v in run.config.items()):
        return
    for name, values in run.config.items():
        text = values[0].value
        if TRAIN_NAME.search(name) is None or not isinstance(text, str) or not text:
            continue
        for other in (TRAIN_NAME.sub(side, name) for side in HELD_OUT_NAMES):
            second = run.config.get(other)
            if second is None or second[0].value != text:
                continue
            if A_PART.search(name) or (A_FILE.search(name) and ONE_FILE.search(text)):
                yield [
                    Evidence(text=f"{key} is {text}", source=v.source, value=text)
                    for key, v in ((name, values[0]), (other, second[0]))
                ]


def _on_both_sides(run: Run) -> Iterator[list[Evidence]]:
    """Counts of rows that are on both sides, and rows that belong together in a split that parts them."""
    facts = list(noted(run))
    for fact in facts:
        if not OTHER_COUNT.search(fact.words) and _tells_of_both(fact):
            yield [fact.evidence]
    yield from _left_over(run, facts)
    yield from ranges_that_meet(facts)
    by_name = {f.name: f for f in facts if HASH.search(f.name) and isinstance(f.value, str) and f.value}
    for name, fact in by_name.items():
        for other in (TRAIN_NAME.sub(side, name) for side in HELD_OUT_NAMES if TRAIN_NAME.search(name)):
            if other in by_name and by_name[other].value == fact.value:
                yield [fact.evidence, by_name[other].evidence]
    yield from overlapping_pieces(run)
    grouped = next((f for f in facts if GROUPED.search(f.words) and (number(f.value) or 0.0) > 1.0), None)
    parted = next((f for f in facts if "split" in f.words and any(BY_ROW.search(t.lower()) for t in f.texts)), None)
    if grouped is not None and parted is not None:
        yield [grouped.evidence, parted.evidence]


def _tells_of_both(fact: Noted) -> bool:
    """Whether a fact counts, or tells of, what stands on both sides."""
    amount = number(fact.value)
    sides = TRAIN_SIDE.search(fact.words) and HELD_OUT_SIDE.search(fact.words)
    either = sides is not None and IN_EITHER.search(fact.words) is not None
    of_rows = OF_ROWS.search(fact.words) is not None
    both = WITH_TRAIN.search(fact.words) or (sides and of_rows and ON_BOTH.search(fact.words))
    both = both or CONTAMINATED.search(fact.words)
    if amount is not None:
        return bool(both and amount >= LEAST_SHARE) or (either and 0.0 < amount < FEW)
    told = fact.value.lower() if isinstance(fact.value, str) else ""
    said_so = fact.flag is True or (SOME.search(told) is not None and NONE.search(told) is None)
    if NOT_EMPTY.search(told) and sides and (both or SETS_MEET.search(fact.words)):
        return True
    return bool(sides) and said_so and bool(both or either) and NONE.search(fact.words) is None


def _left_over(run: Run, facts: list[Noted]) -> Iterator[list[Evidence]]:
    """Rows that are missing after those of the other side were taken out, and parts larger than the whole."""
    counts = {f.words: (n, f) for f in facts if (n := number(f.value)) is not None and n >= 1.0}
    for words, (amount, fact) in counts.items():
        match = NOT_IN.match(words)
        sides = "" if match is None else words
        if match is None or not TRAIN_SIDE.search(sides) or not HELD_OUT_SIDE.search(sides):
            continue
        whole = counts.get(match["of"])
        if whole is not None and (whole[0] - amount) / whole[0] >= LEAST_SHARE:
            yield [whole[1].evidence, fact.evidence]
    total = next((c for words, c in counts.items() if WHOLE.match(words) and ROWS.search(words)), None)
    parts = [
        next((c for w, c in counts.items() if side.match(w) and ROWS.search(w) and len(w.split()) == 2), None)
        for side in (TRAIN_SIDE, HELD_OUT_SIDE)
    ]
    if total is not None and all(p is not None for p in parts):
        known_parts = [p for p in parts if p is not None]
        if sum(p[0] for p in known_parts) > SLACK * total[0] and all(p[0] <= total[0] for p in known_parts):
            yield [total[1].evidence, *(p[1].evidence for p in known_parts)]


def _share(counted: re.Match[str]) -> float:
    """The share of rows in common; of a bare count only whether there is any."""
    groups = counted.groupdict()
    count = float((groups["count"] if "count" in groups else counted[1]).replace(",", ""))
    whole = 0.0 if "count" in groups else float((counted[2] or "0").replace(",", ""))
    return count / whole if whole else float(count > 0)


def _one_set(call: Call, code: Code) -> bool:
    train, held_out = call.kwargs.get("train_dataset"), call.kwargs.get("eval_dataset")
    if train is None or held_out is None:
        return False
    names = {a.target: written(a.value) for a in code.assignments if a.order < call.order}
    if names.get(written(held_out)) == written(train) or names.get(written(train)) == written(held_out):
        return True
    return written(train) == written(held_out) or DERIVED.sub("", written(held_out)) == written(train)
