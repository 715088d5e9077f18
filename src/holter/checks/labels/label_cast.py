"""LAB070 labels-cast-for-another-loss."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, calls, comments, known, plain, seen, written
from holter.checks.messages import ERRORS, said, statements
from holter.checks.noted import noted
from holter.checks.script import last_part, receiver
from holter.checks.shape import point
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

REGRESSIONS = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss", "mse_loss", "l1_loss",
    "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
)  # fmt: skip
CLASSES = ("CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss")
"""Losses that take numbers, and those that take class ids."""

OF_REGRESSION = regex(r"\b(?:mse(?:loss)?|l1(?: ?loss)?|mae|smooth_?l1|huber|regression|bce)\b", re.I)
OF_CLASSES = regex(r"cross[- _]?entropy|\bnll|\bclass(?:es|ification)\b", re.I)
LABEL = regex(r"(?:^|[._])(?:labels?|targets?|y|gt|y_true|ratings?|scores?)$", re.I)
TO_INTEGERS = regex(r"^(?:long|int)$")
LONG = regex(r"(?:torch\.|np\.)?(?:long|int64|int32|int)\b")
ONE = 1
ARGMAX = regex(r"\bargmax\b")
CLASS_IDS = regex(r"^\W*(?:labels?|targets?|classes)\b(?: (?:are|is|in|ids?|from|:))*\W*0\W{1,4}1\W{1,4}2\b")
"""A comment that lists more class ids than two."""

IN_BACKWARD = regex(r"\.backward\(|in backward\b|_engine_run_backward|run_backward")
SAYS_MORE = regex(r"\b[a-z]*(?:error|exception): \S|\bnan\b|out of memory")
"""A traceback that breaks off within the backward pass."""


class LabelsCastForAnotherLoss(Check):
    """What it looks for
        Labels that the script turns into integers for a loss over numbers (``target.long()`` before ``MSELoss``), or
        once into floats and once into integers for the same loss; integer labels, or an argmax, for a head with a
        single output; dtypes of labels that somebody noted and that do not fit each other or the task; and a run with
        a single output that stops within its backward pass.

    Why it hurts
        Turned into integers, labels between 0 and 1 become 0: the loss measures something else. With one output
        transformers takes the mean squared error, whose backward pass refuses integers, and the largest of one logit
        is always class 0.

    How to fix it
        Numbers: float labels everywhere. Classes: integer labels, ``num_labels`` of at least 2 and a cross entropy.

    When to ignore it
        When the two casts belong to two losses of a model with several tasks.

    Threshold
        None: the calls are read.

    Sources
        PyTorch's documentation of MSELoss and CrossEntropyLoss; the choice of the loss by ``num_labels`` in the
        sequence classification heads of transformers.
    """

    code = "LAB070"
    name = "labels-cast-for-another-loss"
    title = "Labels are cast to a type that does not suit the loss"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("code",), ("facts",), ("events", "num_labels"), ("eval_accuracy", "num_labels")))
    bad = (
        case(
            "fractions cut off",
            files={"eval.py": "criterion = nn.MSELoss()\ntarget = target.long()\nloss = criterion(output, target)\n"},
        ),
        script("in the call", "loss = F.smooth_l1_loss(model(x).squeeze(), y.to(torch.int64))\n"),
        script(
            "once as floats, once as integers",
            "def train():\n    target = target.float()\n    loss = criterion(out, target)\n"
            "def validate():\n    target = target.long()\n    loss = criterion(out, target)\n",
        ),
        case("two places", facts={"label_dtype_in_processor": "float", "label_dtype_in_dataset": "int64"}),
        case("one task", config={"task": "text regression"}, facts={"labels.dtype": "torch.int64"}),
        script(
            "one output, and integers",
            "model = AutoModelForSequenceClassification.from_pretrained('x', num_labels=1)\n"
            "item['labels'] = torch.tensor(labels, dtype=torch.long)\n",
        ),
        script(
            "flags as ids",
            "m = AutoModelForSequenceClassification.from_pretrained(\n"
            "    'x', num_labels=5, problem_type='multi_label_classification')\n"
            "item['labels'] = torch.tensor(labels[i], dtype=torch.long)\n",
        ),
        script(
            "one output, and the largest of it",
            "model = AutoModelForSequenceClassification.from_pretrained('x', num_labels=1)\n"
            "def compute_metrics(p):\n    return (np.argmax(p.predictions, axis=-1) == p.label_ids).mean()\n",
        ),
        case(
            "one output, stopped in backward",
            config={"num_labels": 1},
            events=[
                said('  File "trainer.py", line 9, in training_step\n    loss.backward()\n  torch.autograd.backward(')
            ],
        ),
        case("floats for classes", files={"a.py": "y = y.float().to(dev)\nloss = F.cross_entropy(net(x), y)\n"}),
        script(
            "floats for several classes",
            "m = AutoModelForSequenceClassification.from_pretrained('b', num_labels=3)\n"
            "item['labels'] = torch.tensor(self.y[i], dtype=torch.float)\n",
        ),
    )
    good = (
        script(
            "integers for several classes",
            "m = AutoModelForSequenceClassification.from_pretrained('b', num_labels=3)\n"
            "item['labels'] = torch.tensor(self.y[i], dtype=torch.long)\n",
        ),
        case("shares of classes", files={"a.py": "y = F.one_hot(y, 9)\ny = y.float()\nloss = F.cross_entropy(z, y)\n"}),
        script("numbers", "criterion = nn.MSELoss()\ntarget = target.float()\nloss = criterion(output, target)\n"),
        script("classes", "criterion = nn.CrossEntropyLoss()\nlabels = labels.long()\nloss = criterion(out, labels)\n"),
        script(
            "two losses",
            "target = target.float()\na = nn.MSELoss()(out, target)\n"
            "target = target.long()\nb = nn.CrossEntropyLoss()(cls, target)\n",
        ),
        script(
            "either, by the task",
            "if regression:\n    target = target.float()\nelse:\n    target = target.long()\n"
            "loss = criterion(out, target)\n",
        ),
        case("one dtype", facts={"label_dtype_in_processor": "float32", "label_dtype_in_dataset": "float32"}),
        case("ids of classes", config={"task": "classification"}, facts={"labels.dtype": "torch.int64"}),
        script(
            "two outputs",
            "model = AutoModelForSequenceClassification.from_pretrained('x', num_labels=2)\n"
            "item['labels'] = torch.tensor(labels, dtype=torch.long)\n",
        ),
        script(
            "flags",
            "m = AutoModelForSequenceClassification.from_pretrained(\n"
            "    'x', num_labels=5, problem_type='multi_label_classification')\n"
            "item['labels'] = torch.tensor(labels[i], dtype=torch.float)\n",
        ),
        case(
            "one output, scores that move",
            config={"num_labels": 1},
            series={"eval_accuracy": [0.61, 0.72]},
        ),
        case(
            "stopped in backward, and told why",
            config={"num_labels": 1},
            events=[said("  loss.backward()\nRuntimeError: CUDA out of memory")],
        ),
    )
    not_enough = (case("no code", config={"num_labels": 1}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such cast; then a head with one output."""
        found = next((f for code in run.code for f in _cast(code, run)), None) or next(_noted(run), None)
        found = found or next((f for code in run.code for f in _floats_for_classes(code)), None)
        found = found or next(_numbers_as_ids(run), None)
        found = found or next(_one_output(run), None) or next(_flags_as_ids(run), None)
        if found is not None:
            text, evidence, bits = found
            yield self.finding(
                text,
                evidence=evidence,
                clues=clues(text, label_dtype_mismatch=bits),
                severity=Severity.WARNING if bits > SURE else Severity.NOTE,
                fix=Fix(summary="Float labels for a loss over numbers, integers for a cross entropy, in every loop."),
            )


OF_DTYPE = regex(r"\b(?:labels?|targets?|y)\b.*\b(?:dtype|type)\b|\bdtype\b.*\b(?:labels?|targets?)\b")
AS_NUMBERS = regex(r"\b(?:float\d*|double|half|fp32|bfloat16|floattensor)\b|^(?:np\.|torch\.)?float")
AS_IDS = regex(r"\b(?:u?int\d*|long|longtensor|integers?)\b")
"""Dtypes of labels that somebody noted."""

SURE = 5.0
"""Bits up to which it is a note: the loss was seen, and the cast of what it gets."""

Found = tuple[str, list[Evidence], float]


def _cast(code: Code, run: Run) -> Iterator[Found]:
    """Casts of labels before a loss of the same file."""
    made = {last_part(c.target): last_part(c.name) for c in code.named(*REGRESSIONS, *CLASSES) if c.target}
    casts = [c for c in code.calls if _integers(c) and LABEL.search(receiver(c)) and not _by_choice(c)]
    chained = [c for c in code.calls if LONG_CHAIN.match(c.name) and not _by_choice(c)]
    floats = [c for c in code.calls if last_part(c.name) in ("float", "double") and LABEL.search(receiver(c))]
    for loss in code.calls:
        kind = made.get(last_part(loss.name), last_part(loss.name))
        over_numbers = kind in REGRESSIONS or (kind == last_part(loss.name) and _said_of_numbers(loss, code))
        if len(loss.args) < 2 or not (over_numbers or last_part(loss.name) in ("criterion", "loss_fn", "loss_fct")):
            continue
        label = written(loss.args[1])
        inside = next((c for c in casts if _opening(c) in label), None)
        before = next((c for c in casts if c.target == label == receiver(c) and _runs_before(c, loss)), None)
        chain = (c for c in chained if c.target == label == c.name.split(".")[0] and _runs_before(c, loss))
        cast = inside or before or next(chain, None)
        if cast is None or kind in CLASSES:
            continue
        if over_numbers and kind in REGRESSIONS:
            yield f"labels become integers before {kind}", [seen(cast), seen(loss)], 8.0
        other = next((c for c in floats if receiver(c) == receiver(cast) and not _by_choice(c)), None)
        if other is not None and kind == last_part(loss.name):
            shown = [seen(other), seen(cast), seen(loss)]
            yield "labels become floats at one place and integers at another, for the same loss", shown, 6.5
        elif over_numbers:
            yield "labels become integers before a loss over numbers", [seen(cast), seen(loss)], 6.0


def _floats_for_classes(code: Code) -> Iterator[Found]:
    """Class ids made floats before a cross entropy, or integers of several flags for a head of several labels."""
    made = {c.target for c in code.named(*CLASSES) if c.target}
    casts = [c for c in code.calls if FLOATS.search(f"{call_text(c)}") and not _by_choice(c)]
    for loss in (c for c in code.calls if (c.name in made or last_part(c.name) in CLASSES) and len(c.args) > 1):
        label = written(loss.args[1])
        cast = next((c for c in casts if _runs_before(c, loss) and (_opening(c) in label or c.target == label)), None)
        if cast is not None and LABEL.search(label.partition(".float")[0]) and not SOFT.search(_said(code)):
            yield "class ids become floats before a cross entropy", [seen(cast), seen(loss)], 6.5


def _said(code: Code) -> str:
    return " ".join(written(a.value) for a in code.assignments)


INTEGERS = regex(r"^\[int\(|\.astype\((?:np\.)?int")
LONG_CHAIN = regex(r"^\w+\.(?:long|int)\(\)\.")
SOFT = regex(r"one_hot|mixup|cutmix|smooth|soft|binary|sigmoid|prob|\blam\b", re.I)
FLOATS = regex(r"\.(?:float|double)\(\)|\.(?:to|type)\((?:dtype=)?torch\.float\d*\)")
"""Targets that are shares of classes, which a cross entropy takes as floats; and casts to floats."""


def _noted(run: Run) -> Iterator[Found]:
    """Dtypes of labels at two places, or one beside a task that wants another."""
    facts = [f for f in noted(run) if OF_DTYPE.search(f.words) and isinstance(f.value, str)]
    floats = next((f for f in facts if AS_NUMBERS.search(f.value.lower())), None)
    ids = next((f for f in facts if AS_IDS.search(f.value.lower()) and f is not floats), None)
    if floats is not None and ids is not None:
        yield "labels are floats at one place and integers at another", [floats.evidence, ids.evidence], 6.5
    task = known(run, "task", "problem_type")
    if ids is not None and task is not None and OF_REGRESSION.search(written(task.plain)):
        yield "integer labels for a regression", [ids.evidence, task.evidence], 6.0


def _opening(call: Call) -> str:
    """The name of a call with its opening bracket, as it stands inside an expression."""
    return f"{call.name}("


def _integers(call: Call) -> bool:
    name = last_part(call.name)
    if name in ("to", "type", "astype"):
        return any(LONG.fullmatch(written(value)) for value in (*call.args, *call.kwargs.values()))
    return TO_INTEGERS.match(name) is not None


def _by_choice(call: Call) -> bool:
    return any(guard.startswith("if ") for guard in call.guards)


def _runs_before(cast: Call, loss: Call) -> bool:
    return cast.order < loss.order and cast.scope == loss.scope


def _said_of_numbers(loss: Call, code: Code) -> bool:
    """Whether comments call a loss of no known kind one over numbers."""
    if last_part(loss.name) not in ("criterion", "loss_fn", "loss_fct", "loss_func"):
        return False
    said_ = " ".join(code.comments)
    return OF_REGRESSION.search(said_) is not None and OF_CLASSES.search(said_) is None


def _one_output(run: Run) -> Iterator[Found]:
    """What a head with one output, which is trained as a regression, cannot do."""
    outputs = known(run, "num_labels")
    if outputs is None or number(outputs.plain) != ONE or _other_loss(run):
        return
    for call in calls(run, "tensor", "LongTensor", "as_tensor", "long"):
        if _of_labels(call) and _whole(call):
            yield "integer labels for a head with one output", [seen(call), outputs.evidence], 6.5
    told = (c for _, c in comments(run) if CLASS_IDS.search(c))
    for comment in told:
        shown = Evidence(text=f"# {comment}", source=outputs.evidence.source)
        yield "class ids for a head with one output, which takes the squared error", [shown, outputs.evidence], 6.0
    share = run.series.get("eval_accuracy")
    if share is not None and len(share) > 1 and len(set(share)) == 1:
        shown = point(share, len(share) - 1)
        yield "classes are scored, and one output is trained as a regression", [shown, outputs.evidence], 5.0
    for code in run.code:
        for call in code.calls:
            if ARGMAX.search(last_part(call.name)) and ("metric" in call.scope.lower() or "pred" in call_text(call)):
                yield "the largest of a single output is always the first", [seen(call), outputs.evidence], 6.5
    stopped = next((s for s in statements(run) if s.kind in ERRORS and IN_BACKWARD.search(s.folded)), None)
    if stopped is not None and not any(SAYS_MORE.search(s.folded) for s in statements(run)):
        shown = Evidence(
            text=f"stopped in backward: {stopped.text.strip().splitlines()[-1].strip()}", source=stopped.source
        )
        yield "a head with one output, and the run stops in its backward pass", [shown, outputs.evidence], 4.5


def _flags_as_ids(run: Run) -> Iterator[Found]:
    """Integer labels where each of several flags is a number for a binary cross entropy."""
    problem = known(run, "problem_type")
    given = [(c, c.kwargs["problem_type"]) for c in calls(run, "from_pretrained") if "problem_type" in c.kwargs]
    shown = problem.evidence if problem is not None else seen(given[0][0]) if given else None
    of_library = problem is not None and not given and problem.value.source.file.endswith(".py")
    if shown is None or of_library or "multi_label" not in shown.text:
        return
    for row in (a for code in run.code for a in code.assignments):
        if "label" in row.target and INTEGERS.match(written(row.value)):
            made = Evidence(text=f"{row.target} = {written(row.value)}"[:160], source=row.source)
            yield "integer labels for several flags at once, whose loss takes numbers", [made, shown], 7.0
    for call in calls(run, "tensor", "LongTensor", "as_tensor", "long"):
        if _of_labels(call) and _whole(call):
            yield "integer labels for several flags at once, whose loss takes numbers", [seen(call), shown], 7.0


def _numbers_as_ids(run: Run) -> Iterator[Found]:
    """Float labels for several classes of transformers, which takes them for flags."""
    outputs = known(run, "num_labels")
    if outputs is None or (number(outputs.plain) or 0) <= ONE or _other_loss(run):
        return
    if any("problem_type" in c.kwargs for c in calls(run, "from_pretrained")) or any(
        True for _ in calls(run, "one_hot")
    ):
        return
    for call in calls(run, "tensor", "as_tensor"):
        if "label" in call.target and len(call.args) == 1 and FLOAT.match(written(call.kwargs.get("dtype", ""))):
            yield "float labels for several classes, which are taken for flags", [seen(call), outputs.evidence], 6.5


FLOAT = regex(r"^(?:torch\.)?float(?:32)?$")


def _whole(call: Call) -> bool:
    return last_part(call.name) in ("LongTensor", "long") or bool(LONG.fullmatch(written(call.kwargs.get("dtype", ""))))


def _of_labels(call: Call) -> bool:
    target = f"{call.target} {receiver(call)} {written(call.args[0]) if call.args else ''}".lower()
    return "label" in target and "id" not in target.replace("label_id", "label").split("_")


def _other_loss(run: Run) -> bool:
    """Whether the loss is the script's own, or chosen by hand, so that one output need not be a regression."""
    return plain(run, "problem_type") is not None or any(True for _ in calls(run, *REGRESSIONS, *CLASSES))
