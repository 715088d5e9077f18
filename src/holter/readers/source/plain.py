"""Turns expressions of source code into plain data where that needs no running: literals, and names bound to one."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from holter.patterns import regex
from holter.run import Expression
from holter.secrets import mask, mask_value

MAX_TEXT = 400  # characters of an expression kept as text; enough for any one argument a person writes
MAX_EXPONENT = 64  # settings are powers like 2**16; anything larger is not evaluated

FIELD = "<field>"
"""Prefix under which the only class field of a name is known, so that ``config.lr`` can be resolved."""

_HOLDS_FIELDS = regex(r"(^|[._])(self|cls|cfg|conf|config|args|arguments|params|hparams|opts?|settings|options)$", re.I)

IN_PLACE = frozenset({"append", "extend", "insert", "sort", "reverse", "remove", "clear", "update", "add", "discard"})
"""Methods of lists, dicts and sets that change them and return None."""

_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


class Unknown(Exception):
    """The value of an expression is not known without running it."""


def text_of(node: ast.AST) -> str:
    """The source text of an expression, cut at `MAX_TEXT` characters."""
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return "..."
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " ..."


def plain(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Plain data for a literal or a known name, an `Expression` for the rest; lists and dicts may mix both.

    Args:
        node: the expression.
        names: what dotted names are bound to, each once and to plain data.
    """
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [plain(item, names) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _dict(node, names)
    try:
        return constant(node, names)
    except Unknown:
        return Expression(text=text_of(node))


def _dict(node: ast.Dict, names: Mapping[str, Any]) -> Any:
    found: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            other = plain(value, names)
            found.update(other if isinstance(other, dict) else {f"**{text_of(value)}": Expression(text=text_of(value))})
            continue
        name = plain(key, names)
        found[name.text if isinstance(name, Expression) else str(name)] = plain(value, names)
    return found


def constant(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of a constant expression; raises `Unknown` for anything else."""
    if isinstance(node, ast.Constant):
        return _literal(node.value)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _named(node, names)
    if isinstance(node, ast.UnaryOp):
        return _unary(node, names)
    if isinstance(node, ast.BinOp):
        return _binary(node, names)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        return _converted(node.func.id, constant(node.args[0], names))
    raise Unknown


def _literal(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise Unknown


def _named(node: ast.expr, names: Mapping[str, Any]) -> Any:
    name = dotted(node)
    if name in names:
        return names[name]
    if isinstance(node, ast.Attribute) and _HOLDS_FIELDS.search(dotted(node.value)):
        field = f"{FIELD}.{node.attr}"
        if field in names:
            return names[field]
    raise Unknown


def _unary(node: ast.UnaryOp, names: Mapping[str, Any]) -> Any:
    value = constant(node.operand, names)
    if isinstance(node.op, ast.Not):
        return not value
    if isinstance(value, (int, float)) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return -value if isinstance(node.op, ast.USub) else value
    raise Unknown


def _binary(node: ast.BinOp, names: Mapping[str, Any]) -> Any:
    left, right = constant(node.left, names), constant(node.right, names)
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    if isinstance(node.op, ast.Pow) and numbers and abs(right) <= MAX_EXPONENT and abs(left) <= MAX_EXPONENT:
        return _power(left, right)
    if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    operation = _OPERATIONS.get(type(node.op))
    if operation is None or not numbers:
        raise Unknown
    try:
        return operation(left, right)
    except (ArithmeticError, ValueError):
        raise Unknown from None


def _power(left: float, right: float) -> int | float:
    try:
        found = left**right
    except ArithmeticError:
        raise Unknown from None
    if not isinstance(found, (int, float)):  # a root of a negative number
        raise Unknown
    return found


def _converted(name: str, value: Any) -> Any:
    kinds: dict[str, type] = {"float": float, "int": int, "str": str, "bool": bool}
    if name not in kinds:
        raise Unknown
    try:
        return kinds[name](value)
    except (TypeError, ValueError, OverflowError):
        raise Unknown from None


def dotted(node: ast.AST) -> str:
    """A dotted name as written; calls and subscripts inside it keep empty brackets: ``scaler.scale().backward``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func)}()"
    if isinstance(node, ast.Subscript):
        return f"{dotted(node.value)}[]"
    if isinstance(node, ast.Await):
        return dotted(node.value)
    return "()"


def mask_source(key: str, value: Any) -> Any:
    """A value found in source code as it may be kept; expressions keep their text, masked.

    Args:
        key: the name it is bound or passed to.
        value: plain data or an `Expression`.
    """
    if isinstance(value, Expression):
        return Expression(text=mask(value.text))
    if isinstance(value, list):
        return [mask_source(key, item) for item in value]
    if isinstance(value, dict):
        return {name: mask_source(str(name), item) for name, item in value.items()}
    return mask_value(key, value, "")[0]
