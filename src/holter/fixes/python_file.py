"""Patches Python source: a default, a keyword argument, a missing statement; everything else stays byte for byte.

The source is parsed, never run. The standard parser gives the exact place of every value, so the text is edited
in place instead of being printed anew.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holter.fixes.patch import Edit
from holter.fixes.spans import Span, replace
from holter.fixes.statements import STATEMENTS

_MAGIC = re.compile(r"^(\s*)([%!].*)$", re.M)
_ARGUMENT_CLASSES = ("TrainingArguments", "SFTConfig", "DPOConfig", "GRPOConfig", "ORPOConfig", "KTOConfig")
_DTYPES = ("float16", "bfloat16", "float32", "float64")
_LORA_KEYS = (
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "modules_to_save",
    "layers_to_transform",
    "task_type",
)


@dataclass(frozen=True, kw_only=True)
class _Place:
    name: str
    value: ast.expr
    line: int


def patch(text: str, edits: Sequence[Edit]) -> str:
    """The text with each edit made and nothing else touched.

    Raises:
        ValueError: the text is not Python, or holds no place for an edit.
    """
    for edit in edits:
        text = _patch_one(text, edit)
    return text


def _patch_one(text: str, edit: Edit) -> str:
    try:
        tree = ast.parse(_without_magics(text))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"not Python: {error}") from error
    names = _Positions(text)
    place = _find(tree, edit)
    if place is not None:
        span = names.span(place.value, "")
        new = _spell(place.value, text[span.start : span.end], edit.new)
        return replace(text, [Span(start=span.start, end=span.end, new=new)])
    if edit.key in STATEMENTS:
        return _insert_statement(text, tree, names, edit)
    return _insert_keyword(text, tree, names, edit)


def _spell(node: ast.expr, old: str, new: object) -> str:
    """As it stood: ``torch.float16`` stays an attribute of ``torch``, and a word keeps its quotes."""
    if isinstance(node, ast.Attribute) and isinstance(new, str) and new in _DTYPES:
        return f"{ast.unparse(node.value)}.{new}"
    written = repr(new)
    return f'"{new}"' if old.startswith('"') and written == f"'{new}'" and '"' not in written else written


def _without_magics(text: str) -> str:
    """Notebook magics as comments of the same length, so that every position stays."""
    return _MAGIC.sub(lambda m: m[1] + "#" + " " * (len(m[2].encode()) - 1), text)


class _Positions:
    """Turns the parser's lines and UTF-8 columns into characters of the text."""

    def __init__(self, text: str) -> None:
        self.lines = re.split("(?<=\n)|(?<=\r)(?!\n)", text)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.expr, new: str) -> Span:
        start = self.at(node.lineno, node.col_offset)
        return Span(start=start, end=self.at(node.end_lineno or 0, node.end_col_offset or 0), new=new)


def _find(tree: ast.Module, edit: Edit) -> _Place | None:
    name = (edit.spelling or edit.key).rsplit(".", 1)[-1].lstrip("-").replace("-", "_")
    places = [p for p in _places(tree) if p.name == name and (edit.key not in STATEMENTS or _is_literal(p))]
    on_line = [p for p in places if edit.line is not None and p.line == edit.line]
    if on_line:
        return on_line[-1]
    return places[-1] if len(places) == 1 else next((p for p in places if _holds(p, edit)), None)


def _is_literal(place: _Place) -> bool:
    """A statement that sets it from a variable serves another purpose, and stays."""
    return isinstance(place.value, ast.Constant)


def _holds(place: _Place, edit: Edit) -> bool:
    return isinstance(place.value, ast.Constant) and place.value.value in (edit.old, edit.new)


def _places(tree: ast.Module) -> Iterator[_Place]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from _targets([node.target], node.value)
        elif isinstance(node, ast.Assign):
            yield from _targets(node.targets, node.value)
        elif isinstance(node, ast.Dict):
            yield from _entries(node)
        elif isinstance(node, ast.Call):
            yield from _arguments(node)


def _targets(targets: Sequence[ast.expr], value: ast.expr) -> Iterator[_Place]:
    for target in targets:
        if isinstance(target, ast.Name):
            yield _Place(name=target.id, value=value, line=target.lineno)
        elif isinstance(target, ast.Attribute):
            yield _Place(name=target.attr, value=value, line=target.lineno)


def _entries(node: ast.Dict) -> Iterator[_Place]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield _Place(name=key.value, value=value, line=key.lineno)


def _arguments(call: ast.Call) -> Iterator[_Place]:
    if _called(call).endswith("add_argument"):
        flag = next((a.value for a in reversed(call.args) if isinstance(a, ast.Constant)), None)
        default = next((k.value for k in call.keywords if k.arg == "default"), None)
        if isinstance(flag, str) and default is not None:
            yield _Place(name=flag.lstrip("-").replace("-", "_"), value=default, line=call.lineno)
        return
    for keyword in call.keywords:
        if keyword.arg:
            yield _Place(name=keyword.arg, value=keyword.value, line=keyword.lineno)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _insert_keyword(text: str, tree: ast.Module, positions: _Positions, edit: Edit) -> str:
    wanted = ("LoraConfig",) if edit.key in _LORA_KEYS else _ARGUMENT_CLASSES
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and _called(n).endswith(wanted)]
    if len(calls) != 1:
        count = "no call" if not calls else f"{len(calls)} calls"
        raise ValueError(f"{count} of {' or '.join(wanted[:2])} there; {edit.key} belongs into exactly one")
    call = calls[0]
    written = f"{edit.key}={edit.new!r}"
    given: list[ast.expr] = [*call.args, *(k.value for k in call.keywords)]
    if not given:
        at = positions.at(call.end_lineno or 0, call.end_col_offset or 0) - 1
        return text[:at] + written + text[at:]
    last = max(given, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
    at = positions.at(last.end_lineno or 0, last.end_col_offset or 0)
    joint = ", "
    if last.lineno != call.lineno:
        first_column = min(node.col_offset for node in call.keywords) if call.keywords else last.col_offset
        joint = ",\n" + " " * first_column
    return text[:at] + joint + written + text[at:]


def _insert_statement(text: str, tree: ast.Module, positions: _Positions, edit: Edit) -> str:
    template = STATEMENTS[edit.key]
    for parent in ast.walk(tree):
        for body in (getattr(parent, "body", None), getattr(parent, "orelse", None)):
            for statement in body if isinstance(body, list) else ():
                anchor = template.anchor(statement)
                if anchor is not None:
                    return _put_after(text, positions, statement, template.write(anchor, edit.new))
    raise ValueError(f"found no place for it: {template.wanted}")


def _put_after(text: str, positions: _Positions, statement: ast.stmt, written: str) -> str:
    line = statement.end_lineno or 0
    before = positions.lines[statement.lineno - 1]
    indent = before[: len(before) - len(before.lstrip())]
    newline = "\r\n" if "\r\n" in text else "\n"
    following = positions.lines[line] if line < len(positions.lines) else ""
    if following.strip() == written:
        return text
    at = positions.starts[line]
    if not text[:at].endswith(("\n", "\r")):
        return text[:at] + newline + indent + written + text[at:]
    return text[:at] + indent + written + newline + text[at:]
