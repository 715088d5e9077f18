"""Expressions over a Run: the language of symptoms and predictions.

    loss@1 > 40                        the loss logged at step 1
    isnan(grad_norm@<=20)              any grad_norm of the first 20 steps is not a number
    grad_norm@1 / good.grad_norm@1 > 5 against the run called ``good``
    loss_factor ~= 1                   a fact, within `APPROXIMATELY`
    last(loss) < first(loss) - 0.1 and not isnan(eval_loss)
    crashed == 1                       the set-up is refused, or breaks

A bare series stands for its last value. A comparison of several values holds when it holds for any of them.
What the runs do not hold is unknown, and an expression that depends on it is neither true nor false.
Nothing is evaluated by Python: the text is tokenised and parsed here.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holter.errors import ConfigError
from holter.experiments.nodes import (
    Node,
    Scope,
    and_,
    combine,
    compare,
    constant,
    each,
    look_up,
    not_,
    or_,
    predicate,
    reduce,
)
from holter.run import Run

APPROXIMATELY = 0.02
"""Relative tolerance of ``~=``: four-digit logs and a different order of summation differ by less than 2 %."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>`[^`]+`|[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*)"
    r"|(?P<op>@<=|@>=|@<|@>|@|<=|>=|==|!=|~=|<|>|\+|-|\*|/|\(|\)|,))"
)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "~=": lambda a, b: math.isclose(a, b, rel_tol=APPROXIMATELY),
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.copysign(math.inf, a) if a else math.nan,
}
_NUMERIC: dict[str, Callable[[list[float]], float]] = {
    "max": max,
    "min": min,
    "mean": lambda v: sum(v) / len(v),
    "first": lambda v: v[0],
    "last": lambda v: v[-1],
    "count": lambda v: float(len(v)),
}
_ELEMENTWISE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ln": lambda v: math.log(v) if v > 0 else math.nan,
    "sqrt": lambda v: math.sqrt(v) if v >= 0 else math.nan,
}
_PREDICATE: dict[str, Callable[[list[float]], bool]] = {
    "isnan": lambda v: any(math.isnan(x) for x in v),
    "isinf": lambda v: any(math.isinf(x) for x in v),
    "isfinite": lambda v: all(math.isfinite(x) for x in v),
}
_WINDOWS: dict[str, Callable[[float, float], bool]] = {
    "@": operator.eq,
    "@<=": operator.le,
    "@<": operator.lt,
    "@>=": operator.ge,
    "@>": operator.gt,
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an expression came to.

    Attributes:
        truth: True, False, or None where something it needs was not logged.
        values: each reference as written -> the values it stood for.
        unknown: references for which the runs hold nothing.
    """

    truth: bool | None
    values: Mapping[str, list[float]]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """A parsed expression; `holds` evaluates it."""

    text: str
    references: tuple[str, ...]
    _node: Node

    def holds(self, run: Run, **others: Run) -> Outcome:
        """Evaluate over ``run``; ``others`` are runs that the text calls by name, such as ``good.loss@1``."""
        scope = Scope({"": run, "run": run, "bad": run, **others})
        truth = self._node(scope)
        return Outcome(
            truth=truth if isinstance(truth, bool) else None,
            values=scope.values,
            unknown=tuple(dict.fromkeys(scope.unknown)),
        )


def parse(text: str) -> Symptom:
    """Parse an expression.

    Raises:
        ConfigError: the text is not an expression, or is one that is neither true nor false.
    """
    parser = _Parser(text)
    node = parser.whole()
    return Symptom(text=text.strip(), references=tuple(dict.fromkeys(parser.references)), _node=node)


class _Parser:
    """Recursive descent; each level returns a closure over the scope and whether it is a truth value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens(text)
        self.at = 0
        self.references: list[str] = []

    def _tokens(self, text: str) -> list[tuple[str, str, int]]:
        found, at = [], 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self._error(at, "this character has no meaning here")
            found.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return found

    def _error(self, at: int, why: str) -> ConfigError:
        return ConfigError(
            "could not understand the expression",
            where=f"{self.text!r}, character {at + 1}",
            why=why,
            do="write something like: loss@1 > 40, or isnan(grad_norm@<=20), or grad_norm@1 / good.grad_norm@1 > 5",
        )

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _here(self) -> int:
        return self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)

    def _take(self, *wanted: str) -> str | None:
        if self._peek() in wanted and self.at < len(self.tokens):
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def _expect(self, wanted: str) -> None:
        if self._take(wanted) is None:
            raise self._error(self._here(), f"expected {wanted!r}, found {self._peek() or 'the end'!r}")

    def whole(self) -> Node:
        node, is_truth = self._either()
        if self.at < len(self.tokens):
            raise self._error(self._here(), f"did not expect {self._peek()!r}")
        if not is_truth:
            raise self._error(0, "it is a number, neither true nor false; compare it with something")
        return node

    def _either(self) -> tuple[Node, bool]:
        node, truth = self._both()
        while self._take("or"):
            other = self._truth(self._both())
            node, truth = or_(self._truth((node, truth)), other), True
        return node, truth

    def _both(self) -> tuple[Node, bool]:
        node, truth = self._negated()
        while self._take("and"):
            other = self._truth(self._negated())
            node, truth = and_(self._truth((node, truth)), other), True
        return node, truth

    def _negated(self) -> tuple[Node, bool]:
        if self._take("not"):
            return not_(self._truth(self._negated())), True
        return self._compared()

    def _compared(self) -> tuple[Node, bool]:
        left, truth = self._sum()
        sign = self._take(*_ORDER)
        if sign is None:
            return left, truth
        right = self._number(self._sum())
        return compare(self._number((left, truth)), right, _ORDER[sign]), True

    def _sum(self) -> tuple[Node, bool]:
        return self._chain(self._product, "+", "-")

    def _product(self) -> tuple[Node, bool]:
        return self._chain(self._signed, "*", "/")

    def _chain(self, operand: Callable[[], tuple[Node, bool]], *signs: str) -> tuple[Node, bool]:
        node, truth = operand()
        while sign := self._take(*signs):
            node, truth = combine(self._number((node, truth)), self._number(operand()), _ARITHMETIC[sign]), False
        return node, truth

    def _signed(self) -> tuple[Node, bool]:
        if self._take("-"):
            return each(self._number(self._signed()), operator.neg), False
        return self._atom()

    def _atom(self) -> tuple[Node, bool]:
        if self._take("("):
            inside = self._either()
            self._expect(")")
            return inside
        if self.at >= len(self.tokens):
            raise self._error(len(self.text), "something is missing at the end")
        kind, word, at = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return constant(float(word)), False
        if kind != "name" or word in ("and", "or", "not"):
            raise self._error(at, f"did not expect {word!r}")
        if self._take("("):
            return self._function(word, at)
        return self._reference(word), False

    def _function(self, name: str, at: int) -> tuple[Node, bool]:
        argument = self._number(self._either())
        self._expect(")")
        if name in _PREDICATE:
            return predicate(argument, _PREDICATE[name]), True
        if name in _NUMERIC:
            return reduce(argument, _NUMERIC[name]), False
        if name in _ELEMENTWISE:
            return each(argument, _ELEMENTWISE[name]), False
        known = ", ".join(sorted([*_PREDICATE, *_NUMERIC, *_ELEMENTWISE]))
        raise self._error(at, f"there is no function {name!r}; there are {known}")

    def _reference(self, word: str) -> Node:
        window, text = None, word
        sign = self._take(*_WINDOWS)
        if sign is not None:
            if self.at >= len(self.tokens) or self.tokens[self.at][0] != "number":
                raise self._error(self._here(), f"a step number must follow {sign!r}")
            bound = float(self.tokens[self.at][1])
            self.at += 1
            window, text = (_WINDOWS[sign], bound), f"{word}{sign}{bound:g}"
        self.references.append(text)
        return look_up(word.strip("`"), window, text, whole=self._inside_reduction())

    def _inside_reduction(self) -> bool:
        depth = 0
        for index in range(self.at - 1, -1, -1):
            word = self.tokens[index][1]
            depth += (word == ")") - (word == "(")
            if depth < 0:
                return index > 0 and self.tokens[index - 1][1] in {*_NUMERIC, *_PREDICATE}
        return False

    def _truth(self, found: tuple[Node, bool]) -> Node:
        if not found[1]:
            raise self._error(self._here(), "a comparison was expected, not a number")
        return found[0]

    def _number(self, found: tuple[Node, bool]) -> Node:
        if found[1]:
            raise self._error(self._here(), "a number was expected, not a comparison")
        return found[0]
