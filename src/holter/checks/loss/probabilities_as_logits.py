"""LOS040 probabilities-given-as-logits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen, written
from holter.checks.script import first_in_each, last_part, spelt_out
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

FUNCTIONS = (
    "cross_entropy", "binary_cross_entropy_with_logits", "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
)  # fmt: skip
MODULES = ("CrossEntropyLoss", "BCEWithLogitsLoss")
SQUASHED = regex(r"^\(*(?:\w+\.)*(?:softmax|sigmoid|Softmax|Sigmoid)\(|\.(?:softmax|sigmoid)\([^()]*\)\)*$")
ENDS_SQUASHED = regex(r"(?:activation=)?['\"](?:softmax|sigmoid)['\"]")
LOG = regex(r"log_?softmax|log_?sigmoid|\blog\(", re.I)


class ProbabilitiesAsLogits(Check):
    """What it looks for
        The result of softmax or sigmoid given to a loss that applies it itself: ``CrossEntropyLoss``,
        ``BCEWithLogitsLoss``, or a loss of Keras with ``from_logits=True``; also where a model of the same file ends
        in one.

    Why it hurts
        Squashed twice, the outputs of all classes lie near each other: the loss cannot fall below a floor (about 0.31
        for two classes) and gradients are small, so the model learns slowly or not at all.

    How to fix it
        Give the loss the logits.

    When to ignore it
        Never.

    Threshold
        None: names are followed to what they were assigned.

    Sources
        PyTorch's documentation of the input of CrossEntropyLoss and BCEWithLogitsLoss.
    """

    code = "LOS040"
    name = "probabilities-given-as-logits"
    title = "Probabilities are given to a loss that expects logits"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("code",),))
    bad = (
        case("softmax", files={"a.py": "p = F.softmax(logits, dim=-1)\nloss = F.cross_entropy(p, y)\n"}),
        script("sigmoid, by a module", "fn = nn.BCEWithLogitsLoss()\nloss = fn(torch.sigmoid(model(x)), y)\n"),
        script(
            "the end of a model",
            "def forward(self, x):\n    return torch.softmax(self.fc(x), 1)\nce = nn.CrossEntropyLoss()\n",
        ),
        script("the last layer", "net = nn.Sequential(nn.Linear(9, 1), nn.Sigmoid())\nf = nn.BCEWithLogitsLoss()\n"),
        script("Keras", "m.add(Dense(5, activation='softmax'))\nf = CategoricalCrossentropy(from_logits=True)\n"),
        script("TensorFlow", "p = tf.nn.sigmoid(z)\nc = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=p)\n"),
    )
    good = (
        script("TensorFlow", "p = tf.nn.sigmoid(z)\nc = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z)\n"),
        case("its own pair", files={"a.py": "net = nn.Sequential(nn.Linear(9, 1), nn.Sigmoid())\nf = nn.BCELoss()\n"}),
        script(
            "weights of attention, not the end of a model",
            "def forward(self, x):\n    w = q(x).softmax(-1)\n    return w @ x\nc = nn.CrossEntropyLoss()\n",
        ),
        case("Keras", files={"a.py": "m.add(Dense(5))\nf = CategoricalCrossentropy(from_logits=True)\n"}),
        case("logits", files={"a.py": "p = F.softmax(logits, dim=-1)\nloss = F.cross_entropy(logits, y)\n"}),
        case("its own pair", files={"a.py": "loss = nn.BCELoss()(torch.sigmoid(model(x)), y)\n"}),
        script("soft targets", "loss = F.cross_entropy(student, F.softmax(teacher / 2.0, dim=-1))\n"),
        case("logarithms", files={"a.py": "p = F.log_softmax(z, -1)\nloss = F.cross_entropy(p, y)\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such call of each file."""
        for evidence in first_in_each(run, _squashed):
            yield self.finding(
                "probabilities are given to a loss that expects logits",
                evidence=evidence,
                clues=clues("softmax or sigmoid is applied twice", loss_formula_instability=7.0),
                fix=Fix(summary="Give the loss the logits; it applies softmax or sigmoid itself."),
            )


def _squashed(code: Code) -> Iterator[list[Evidence]]:
    modules = {c.target for c in code.calls if c.target and last_part(c.name) in MODULES}
    for call in code.calls:
        function = last_part(call.name)
        applies = function in FUNCTIONS or call.name in modules
        given = call.kwargs.get("input", call.kwargs.get("logits", call.args[0] if call.args else None))
        if not applies or given is None:
            continue
        made = _last(code, call, written(given))
        text = written(given if made is None else made.value)
        if SQUASHED.search(text) and not LOG.search(text):
            shown = [] if made is None else [Evidence(text=f"{made.target} = {text}", source=made.source)]
            yield [*shown, seen(call)]

    yield from _at_the_end(code)


def _at_the_end(code: Code) -> Iterator[list[Evidence]]:
    """A model of the file whose last layer is a softmax or a sigmoid, beside a loss that applies it."""
    for loss in (c for c in code.calls if "rossentropy" in c.name and c.kwargs.get("from_logits") is True):
        layers = [c for c in code.named("Dense", "Activation") if c.order < loss.order and c.scope == loss.scope]
        other = any(layers[-1].order < c.order < loss.order for c in code.named("compile", "from_pretrained") if layers)
        if layers and not other and ENDS_SQUASHED.search(call_text(layers[-1])):
            yield [seen(layers[-1]), seen(loss)]
    makes = code.named(*MODULES)
    if len({last_part(c.name) for c in makes}) != 1 or code.named("BCELoss", "NLLLoss", "log_softmax", "log"):
        return
    squashers = "softmax" if makes[0].name.endswith("CrossEntropyLoss") else "softmax|sigmoid"
    layer = re.compile(rf"^\(*(?:\w+\.)*(?:{squashers})\(", re.I)
    own = {c.target: c for c in code.calls if c.target.startswith("self.") and layer.match(f"{c.name}(")}
    for call in code.named("Sequential"):
        if call.args and layer.match(written(call.args[-1])) and not re.search(r"att|gate|_se\b", call.target):
            yield [seen(call), seen(makes[0])]
    ends = [a for a in code.assignments if a.target == "return" and last_part(a.scope) == "forward"]
    for end in ends:
        text = spelt_out(end.value, end, code)
        of_layer = any(text.strip("(").startswith(f"{name}(") for name in own)
        alone = not end.guards and sum(other.scope == end.scope for other in ends) == 1
        if alone and (of_layer or (layer.match(text) and text.endswith(")"))):
            yield [Evidence(text=f"return {text}"[:160], source=end.source), seen(makes[0])]


def _last(code: Code, call: Call, name: str) -> Assignment | None:
    earlier = [a for a in code.assignments if a.target == name and a.order < call.order and a.scope == call.scope]
    return earlier[-1] if earlier else None
