"""Lines of an interactive session (``>>> ids[:3]``, ``[1, 5, 9]``) as plain source, with its outputs in comments."""

from __future__ import annotations

from holter.patterns import regex

PROMPT = ">>>"
_LINE = regex(r"^(?P<indent>\s*)(?P<sign>>>>|\.\.\.)(?: (?P<rest>.*)|)$")
_SHOWN = regex(r"^(?:[\[({'\"\d]|(?:tensor|array|True|False|None)\b)")
"""What an output looks like where the sign stands before it, as behind ``print(...)`` in reports."""


def without_prompts(text: str) -> str:
    """``text`` with as many lines: code without its signs, and what it printed as comments."""
    if PROMPT not in text:
        return text
    lines: list[str] = []
    printing = False
    for line in text.split("\n"):
        found = _LINE.match(line)
        if found is not None and found["sign"] == PROMPT:
            rest = found["rest"] or ""
            shown = not printing and _SHOWN.match(rest) is not None and _follows_code(lines)
            lines.append(f"{'# ' if shown else ''}{rest}")
            printing = not shown
        elif found is not None and printing:
            lines.append(found["rest"] or "")
        elif printing and line.strip() and not line.lstrip().startswith("#"):
            lines.append(f"# {line.strip()}")
        else:
            printing = printing and bool(line.strip())
            lines.append(line)
    return "\n".join(lines)


def _follows_code(lines: list[str]) -> bool:
    return next((not line.lstrip().startswith("#") for line in reversed(lines) if line.strip()), False)
