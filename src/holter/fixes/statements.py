"""Statements that a script may be missing, and the statement after which each belongs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Anchor = Mapping[str, str]
"""Names found at the anchor, to be filled into the text."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement to insert.

    Attributes:
        anchor: gives the names to fill in where a statement is the one to follow, else None.
        text: the statement, with ``{names}`` of the anchor and ``{value}``.
        wanted: what was looked for, for the message where nothing was found.
    """

    anchor: Callable[[ast.stmt], Anchor | None]
    text: str
    wanted: str

    def write(self, anchor: Anchor, value: Any) -> str:
        """The statement as it will stand in the file, without indentation."""
        return self.text.format(**anchor, value=repr(value))


def _assigned_call(*endings: str) -> Callable[[ast.stmt], Anchor | None]:
    def anchor(statement: ast.stmt) -> Anchor | None:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)):
            return None
        name = ast.unparse(statement.value.func).rsplit(".", 1)[-1]
        return {"target": ast.unparse(statement.targets[0])} if name.endswith(endings) else None

    return anchor


def _assigned_pad_token(statement: ast.stmt) -> Anchor | None:
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Attribute):
        return None
    target = statement.targets[0]
    named = target.attr in ("pad_token", "pad_token_id") and "config" not in ast.unparse(target.value)
    return {"tokenizer": ast.unparse(target.value)} if named else None


def _optimizer_step(statement: ast.stmt) -> Anchor | None:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return None
    func = statement.value.func
    if isinstance(func, ast.Attribute) and func.attr == "step" and "opt" in ast.unparse(func.value).lower():
        return {"optimizer": ast.unparse(func.value)}
    return None


STATEMENTS: dict[str, Statement] = {
    "model_accepts_loss_kwargs": Statement(
        anchor=_assigned_call("Trainer"),
        text="{target}.model_accepts_loss_kwargs = {value}",
        wanted="a line such as `trainer = Trainer(...)`",
    ),
    "model.config.pad_token_id": Statement(
        anchor=_assigned_pad_token,
        text="model.config.pad_token_id = {tokenizer}.pad_token_id",
        wanted="a line such as `tokenizer.pad_token = ...`",
    ),
    "zero_grad": Statement(
        anchor=_optimizer_step,
        text="{optimizer}.zero_grad()",
        wanted="a line such as `optimizer.step()`",
    ),
}
