"""MOD024 loss-formula-unstable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, written
from holter.checks.model._unstable_forms import GUARDED, empty_quotient, form_of
from holter.checks.script import spelt_out
from holter.checks.symptoms import EVAL_LOSSES, TRAIN_LOSSES, nonfinite
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Code, Expression, Run
from holter.stages import Stage

SHARES = regex(r"(?:\w+\.)*(?:softmax|sigmoid)\(")

TEXT_LIMIT = 140

STRONG = 2.0
"""Bits above which a form is seldom sound; a common form gets no more from a NaN than one bit."""

BROKEN = 3.0
"""Bits that a NaN adds: the form is there, and so is what it does."""

WRITTEN = regex(r"\w\s*\(|\|\||/|\*\*")
"""A formula within a note or setting has a call, a norm, a quotient or a power."""

OF_GRADIENT = regex(r"grad|derivative|jacobian|backward", re.I)
PROBED = regex(r"\.grad\b|\.backward\(|\.gradient\(|value_and_grad")
"""What a small program calls that prints a gradient."""
OF_LOSS = regex(r"loss|criterion|nll|likelihood|elbo|\bkld?\b|\bL_\w|distance|divergence|penalty|regulari[sz]", re.I)
"""Classes, functions and names of losses."""
SCOPE = regex(
    r"loss|log_?p|ratio|criterion|penalty|divergence|distance|similarity|entropy|norm|score|focal|dice|forward", re.I
)


class LossFormulaUnstable(Check):
    """What it looks for
        A loss written by hand that takes the logarithm of a difference or of a probability, divides by a count, norm
        or spread that may be 0, takes the mean of chosen entries of which there may be none, or an exponential
        without a bound, in a run with NaN or infinite losses; and a root, norm, spread or arc where the gradient is
        NaN. Formulas in notes and settings count, too. A loss over classes whose logits a remark calls 16 bits wide is
        noted as well.

    Why it hurts
        ``log(1 - exp(x))`` cancels to log(0) when x is near 0; ``log(softmax(x))`` is log(0) for a sure model; a mask
        without a token divides 0 by 0. The derivative of a root or norm is infinite at 0, also behind ``clamp(0)``:
        infinity times 0 is NaN.

    How to fix it
        ``log_softmax``, ``logsigmoid``, ``log1mexp`` by cases, ``clamp(min=1)`` on counts, ``sqrt(x + eps)``.

    When to ignore it
        Without a NaN this is a note.

    Threshold
        None.

    Sources
        Maechler, "Accurately computing log(1 - exp(-|a|))"; PyTorch's documentation of logsigmoid
        and of autograd at points without a derivative.
    """

    code = "MOD024"
    name = "loss-formula-unstable"
    title = "The loss formula cancels or divides by zero"
    severity = Severity.ERROR
    stage = Stage.LOSS
    needs = Needs(any_of=(("code",), ("facts",), ("config",)))
    bad = (
        case(
            "a root within a loss",
            files={"a.py": "class L_color(M):\n    def forward(self, a, b):\n        return torch.pow(a - b, 0.5)\n"},
            facts={"loss": "nan"},
        ),
        case(
            "a constant that 1 swallows",
            files={"a.py": "cost = -tf.reduce_sum((1 - x) * tf.log(1e-10 + 1 - y), 1)\n"},
            facts={"loss": "nan"},
        ),
        case(
            "a root of what may be 0",
            files={"a.py": "d = (a - b).pow(2).sum(1)\nloss = F.relu(margin - d.sqrt()).pow(2)\n"},
            facts={"gradient": "nan"},
        ),
        case(
            "a clamp at 0 under a root",
            files={"a.py": "distance = (xy + wh).clamp(0).sqrt()\n"},
            facts={"grad": "nan"},
        ),
        script(
            "the derivative of a norm",
            "x = torch.zeros(3, requires_grad=True)\nx.norm().backward()\nprint(x.grad)\n# tensor([nan])\n",
        ),
        case(
            "no chosen entry",
            files={"a.py": "count = (labels != -100).sum()\ndef loss_of(x):\n    return x / count\n"},
            facts={"loss": "nan"},
        ),
        case(
            "the mean of none",
            files={"a.py": "loss = per_token[mask > 0].mean()\n"},
            facts={"loss": "nan"},
        ),
        case(
            "in another library",
            files={"a.py": "loss = -tf.reduce_mean(y * tf.math.log(tf.nn.softmax(logits)))\n"},
            facts={"loss": "nan"},
        ),
        case(
            "a softmax by hand",
            files={"a.py": "p = jnp.exp(x) / jnp.sum(jnp.exp(x), -1)\n"},
            facts={"loss": "nan"},
        ),
        case("summed in 16 bits", files={"a.py": "lp = jax.nn.log_softmax(logits)   # dtype: bfloat16\n"}),
        case(
            "a spread that may be 0",
            files={"a.py": "def gaussian_nll(m, sigma, y):\n    return ((y - m) ** 2 / (2 * sigma ** 2)).mean()\n"},
            facts={"loss": "nan"},
        ),
        case("in a note", facts={"loss": "nan", "penalty": "log(1 - softmax(logits)[eos]) over all rows"}),
        case("of a share", files={"a.py": "loss = -K.mean(y * K.log(p_t))\n"}, facts={"loss": float("nan")}),
        case(
            "of exponentials",
            files={"a.py": "norm = torch.log(torch.exp(scores).sum(-1))\n"},
            facts={"loss": float("nan")},
        ),
        case(
            "of a softmax by another name",
            files={"a.py": "q = torch.softmax(z, -1)\nl = -torch.log(q.gather(1, y)).mean()\n"},
            facts={"loss": float("nan")},
        ),
        case(
            "cancels",
            files={"a.py": "odds = lp - torch.log(1 - torch.exp(lp))\n"},
            facts={"loss": float("nan")},
        ),
    )
    good = (
        case(
            "a root kept from 0",
            files={"a.py": "distance = (xy + wh).clamp(min=1e-7).sqrt()\n"},
            facts={"gradient": "nan"},
        ),
        case("widened before", files={"a.py": "lp = log_softmax(logits.float(), -1)   # logits are bfloat16\n"}),
        case(
            "a root of a size",
            files={"a.py": "scores = q @ k.transpose(-2, -1) / math.sqrt(d_k)\n"},
            facts={"gradient": "nan"},
        ),
        case(
            "a count kept from 0",
            files={"a.py": "count = max((labels != -100).sum(), 1)\nloss = total / count\n"},
            facts={"loss": "nan"},
        ),
        case(
            "a guarded logarithm",
            files={"a.py": "loss = -(y * torch.log(p_t + 1e-7)).mean()\n"},
            facts={"loss": float("nan")},
        ),
        case("stable", files={"a.py": "loss = -F.logsigmoid(x).mean()\n"}, facts={"loss": float("nan")}),
        case(
            "guarded",
            files={"a.py": "loss = (x * mask).sum() / mask.sum().clamp(min=1)\n"},
            facts={"loss": float("nan")},
        ),
    )
    not_enough = (case("a log alone", series={"loss": [float("nan")]}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """A note until a NaN is seen."""
        symptom = nonfinite(run)
        found = list(_found(run, gradient=_only_gradient(run, symptom)))
        if not found:
            return
        bits = max(bits for _, bits in found)
        strong = bits > STRONG
        alone = not (run.series or run.events or run.facts or run.variants)
        bare = alone and any(_log_of_share(code) for code in run.code)
        weight = bits + (0.0 if symptom is None else BROKEN if strong else 1.0)
        shown = sorted(found, key=lambda pair: -pair[1])
        yield self.finding(
            "the loss is written in a form that loses all digits or divides by zero for legal inputs",
            evidence=[*(e for e, _ in shown[:3]), *([symptom] if symptom is not None else [])],
            clues=clues("an unstable form of the loss", loss_formula_instability=weight),
            severity=Severity.ERROR if symptom is not None and strong else Severity.WARNING if bare else Severity.NOTE,
            fix=Fix(summary="Use logsigmoid, log_softmax or log1p forms, and clamp counts to at least 1."),
        )


def _only_gradient(run: Run, symptom: Evidence | None) -> bool:
    """Whether it is the gradient that is not finite, and no loss is known to be."""
    if symptom is None or nonfinite(run, *TRAIN_LOSSES, *EVAL_LOSSES) is not None:
        return False
    return OF_GRADIENT.search(symptom.text) is not None or any(
        PROBED.search(call_text(call)) for code in run.code for call in code.calls
    )


def _found(run: Run, *, gradient: bool) -> Iterator[tuple[Evidence, float]]:
    for code in run.code:
        shares = _shares(code)
        for text, evidence, in_loss in _texts(code):
            if bits := form_of(text, gradient=gradient, in_loss=in_loss) or (
                2.5 if shares and _of_shares(shares, text) else 0.0
            ):
                yield evidence, bits
        if (rough := _in_half(code)) is not None:
            yield rough, 3.0
        for assignment in code.assignments:
            if (quotient := _quotient(assignment, code)) is not None:
                yield quotient, 2.4
    for values in (*run.facts.values(), *run.config.values()):
        value = values[0]
        if isinstance(value.value, str) and WRITTEN.search(value.value) and not value.is_default:
            bits = form_of(value.value, gradient=gradient)
            if bits:
                yield Evidence(text=value.value[:TEXT_LIMIT], source=value.source), bits


HALF = regex(r"\b(?:bfloat16|bf16|float16|fp16|half precision)\b", re.I)
WIDE = regex(r"float32|fp32|\.float\(\)|upcast|float64|autocast")
SUMMED = regex(
    r"(?:^|\.)(?:log_softmax|logsumexp|(?:softmax_|sparse_categorical_|categorical_)?cross_?entropy\w*|nll_loss)$"
)


def _in_half(code: Code) -> Evidence | None:
    """A loss over classes whose logits a remark beside it calls 16 bits wide, and that nothing widens."""
    remark = next((comment for comment in code.comments if HALF.search(comment) and not WIDE.search(comment)), None)
    call = next((call for call in code.calls if SUMMED.search(call.name)), None)
    if remark is None or call is None or any(WIDE.search(call_text(other)) for other in code.calls):
        return None
    return Evidence(text=f"{call_text(call)}  # {remark}"[:TEXT_LIMIT], source=call.source)


def _shares(code: Code) -> set[str]:
    """Names to which the code has given a softmax or a sigmoid."""
    shares = {a.target for a in code.assignments if isinstance(a.value, Expression) and SHARES.match(a.value.text)}
    return shares | {call.target for call in code.calls if call.target and SHARES.match(f"{call.name}(")}


def _of_shares(shares: set[str], text: str) -> bool:
    """Whether a logarithm is taken of one of them."""
    return GUARDED.search(text) is None and any(
        re.search(rf"log\(\s*{re.escape(name)}\b|\b{re.escape(name)}\.log\(\)", text) for name in shares
    )


def _log_of_share(code: Code) -> bool:
    """Whether a logarithm is taken of what a softmax or a sigmoid gave, which nothing keeps from 0."""
    kept = {a.target for a in code.assignments if GUARDED.search(written(a.value))}
    shares = _shares(code) - kept
    texts = [text for text, _, _ in _texts(code)]
    return any(_of_shares(shares, text) or (LOG_OF.search(text) and not GUARDED.search(text)) for text in texts)


LOG_OF = regex(r"\blog\(\s*(?:1(?:\.0?)? - )?(?:\w+\.)*(?:softmax|sigmoid)\((?![^()]*log)")


def _quotient(assignment: Assignment, code: Code) -> Evidence | None:
    """A quotient by a number of chosen entries that nothing keeps from 0, in what speaks of a loss."""
    value = assignment.value
    if not isinstance(value, Expression) or "/" not in value.text:
        return None
    if SCOPE.search(f"{assignment.target} {value.text} {assignment.scope}") is None and assignment.target != "return":
        return None
    spelt = spelt_out(value, assignment, code)
    if not empty_quotient(spelt) or any(("> 0" in guard or "!= 0" in guard) for guard in assignment.guards):
        return None
    text = f"{assignment.target} = {value.text}"
    return Evidence(text=text[:TEXT_LIMIT], source=assignment.source)


CALLED = regex(r"log|sqrt|norm$|pow$|cos|sin$|cdist|std$|exp$|focal|mean$|entropy")
"""Names of calls that are looked at by themselves, where nothing is assigned."""


def _texts(code: Code) -> Iterator[tuple[str, Evidence, bool]]:
    for assignment in code.assignments:
        if isinstance(assignment.value, Expression):
            text = f"{assignment.target} = {assignment.value.text}"
            in_loss = OF_LOSS.search(f"{assignment.scope} {assignment.target}") is not None
            yield text, Evidence(text=text[:TEXT_LIMIT], source=assignment.source), in_loss
    for call in code.calls:
        text = call_text(call)
        if CALLED.search(call.name) and "()" not in call.name:  # without its receiver, a method tells nothing
            in_loss = OF_LOSS.search(f"{call.scope} {call.target}") is not None
            yield text, Evidence(text=text[:TEXT_LIMIT], source=call.source), in_loss
