"""Settings stated in the text of a report: list entries, inline code, comparison tables, a sentence about precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from holter.names import NEVER_BARE, config_name, normal, series_name
from holter.patterns import regex
from holter.quantity import is_result
from holter.readers.base import literal
from holter.readers.markdown_blocks import Block, cells, plain_text
from holter.readers.roles import Role, role_of
from holter.run import Authority, Run, Source, Value
from holter.secrets import mask_value
from holter.values import add, number

IDENTITY = frozenset(
    {
        "model_name_or_path",
        "architectures",
        "auto_class",
        "model_type",
        "num_labels",
        "vocab_size",
        "task",
        "tokenizer_name",
    }
)
"""What a proposal leaves alone: it changes settings, not what is trained."""

_PLAIN_ENOUGH = frozenset({"seed", "optimizer", "scheduler", "epochs", "eps", "pad_token_id", "eos_token_id"})
"""General words that mean a setting even in a sentence's place; ``precision`` there is more often a metric."""

_KEY = r"[A-Za-z_][\w.\-]{0,60}"
_INLINE = regex(rf"`\s*({_KEY})\s*(?::\s*(?:bool|int|float|str)\s*=|[:=])\s*(?:&\w+\s+)?([^`]{{1,80}}?)\s*`")
_ARROW = regex(rf"`?({_KEY})`?\s*[:=]\s*`?([^\s`→]+)`?\s*(?:→|->|=>)\s*\**`?([^\s`*,;]+)`?\**")
_BULLET = regex(
    rf"^\s*(?:[-*+]|\d+\.)\s+(?:\[[ xX]\]\s+)?(?:\*\*)?`?({_KEY}(?: {_KEY})?)`?(?:\*\*)?\s*[:=]\s*(?:\*\*)?"
    r"(.{1,100})$"
)
_VERSION = regex(
    r"^\s*(?:[-*+]\s+)?\**(Transformers|Pytorch|PyTorch|Datasets|Tokenizers|PEFT|TRL|Accelerate|DeepSpeed)\**:?\s+v?(\d+\.\d+[\w.+]*)\s*$",
    re.I,
)
_PRECISION = regex(
    r"\b(?:using|used|trained (?:in|with)|running (?:in|with)|hard-?coded)\s+(fp16|bf16|fp32|float16|bfloat16)\b", re.I
)
_FINE_TUNED = regex(r"\bfine-tuned version of \[([\w.\-]+/[\w.\-]+|[\w.\-]+)\]\(")
_CARD_OPTIMIZER = regex(
    r"^- optimizer: (?:Use )?(?:OptimizerNames\.)?(\w+) with betas=\(([\d.]+),\s*([\d.]+)\) and epsilon=([\d.e\-]+)"
)
_CARD_AMP = regex(r"^- mixed_precision_training: (?:Native AMP|Apex.*)$")  # written for fp16 only, not for bf16
_FILE = regex(r"[\w\-./]+\.(?:py|ipynb|ya?ml|json|sh|toml)")
_CITED = regex(r"\(([\w\-./]+\.(?:py|ipynb|ya?ml|json|sh|toml))(?::(\d+)(?:-\d+)?)?[^)]*\)")
_NAME_VALUE = regex(r"([A-Za-z][\w\-]*(?: [A-Za-z][\w\-]*){0,2}) ([-+]?[\d.]+(?:e[-+]?\d+)?|true|false|none)$", re.I)
FEW_NAMED = 2
"""Settings of one line without a colon from which it is a list of them, and no sentence."""

_SIMPLE = regex(r"[-+]?[\d.][\w.\-+]*|true|false|none|null|no|yes|\[[^\]]*\]|\"[^\"]*\"|'[^']*'|[\w./\-]+", re.I)


def add_line(run: Run, block: Block, place: Source, role: Role) -> None:
    """Add what one line of text states."""
    line = block.lines[0]
    label = re.match(r"^\s*(?:[-*+]|\d+\.)\s+\**([\w가-힣\ufffd ]{2,20}?)\**\s*:", line)
    if label is not None and role_of(label.group(1)) is not None:
        role = role_of(label.group(1)) or role
    if match := _VERSION.match(line):
        package = match.group(1).lower().replace("pytorch", "torch")
        run.add_setting(f"versions.{package}", _value(match.group(2), place, line.strip()))
        return
    if _add_card_line(run, line, place):
        return
    if (match := _PRECISION.search(line)) and role is not Role.PROPOSED:
        add(run, "precision", match.group(1).lower(), template=_value(None, place, match.group()))
    changed = [match for match in _ARROW.finditer(line) if _is_setting(match.group(1))]
    for match in changed:
        state(run, match.group(1), match.group(2), place, Role.RAN if role is Role.PROPOSED else role)
        state(run, match.group(1), match.group(3), place, Role.PROPOSED)
    if changed:
        return
    cited = _CITED.search(line)
    at = _cited_place(place, cited) if cited else place
    for match in _INLINE.finditer(line):
        state(run, match.group(1), match.group(2), at, role)
    for key, text in _named_in_passing(line):
        state(run, key, text, at, role)
    if (match := _BULLET.match(line)) and not _INLINE.search(line):
        value = plain_text(match.group(2)).split(" (")[0].strip()
        if _SIMPLE.fullmatch(value) and not (number(value) == 0 and series_name(match.group(1)) is not None):
            state(run, match.group(1), value, at, role)


def _named_in_passing(line: str) -> Sequence[tuple[str, str]]:
    """The settings of a line such as ``- lr 5e-5, bs 16, fp16``: most of its parts are a name and a value."""
    parts = re.split(r",\s+| and ", re.sub(r"^\s*(?:[-*+]|\d+[.)])\s+", "", line).strip().rstrip("."))
    pairs = [match.groups() for part in parts if (match := _NAME_VALUE.match(part.strip())) is not None]
    known = [(key, text) for key, text in pairs if _is_setting(key)]
    return known if len(known) >= FEW_NAMED and 2 * len(known) >= len(parts) else []


def _add_card_line(run: Run, line: str, place: Source) -> bool:
    """Add what only the model cards that the Trainer writes put into words; whether it was such a line."""
    if match := _FINE_TUNED.search(line):
        put(run, "model_name_or_path", match.group(1), _value(None, place, match.group()), Role.RAN)
        return True
    if match := _CARD_OPTIMIZER.match(line):
        for key, text in zip(("optim", "adam_beta1", "adam_beta2", "adam_epsilon"), match.groups(), strict=True):
            if text is not None:
                put(run, key, text, _value(None, place, text), Role.RAN)
        return True
    if match := _CARD_AMP.match(line):
        put(run, "fp16", True, _value(None, place, match.group().strip()), Role.RAN)
        return True
    return False


def _cited_place(place: Source, cited: re.Match[str]) -> Source:
    line = f":{place.line}" if place.line else ""
    return Source(file=cited.group(1), line=int(cited.group(2)) if cited.group(2) else None, key=f"{place.file}{line}")


def _is_setting(key: str) -> bool:
    return config_name(key) is not None and (normal(key) in _PLAIN_ENOUGH or normal(key) not in NEVER_BARE)


def state(run: Run, key: str, text: str, place: Source, role: Role) -> None:
    """Add one stated setting: to the settings when it ran, else to the facts ``proposed.*`` or ``other.*``."""
    if not _is_setting(key):
        return
    text = text.split("  #")[0].strip().rstrip(",;")
    put(run, key, literal(text.strip("\"'")), _value(None, place, text), role)


def put(run: Run, key: str, value: Any, template: Value, role: Role) -> None:
    """Add a plain value under the role of its passage."""
    name = config_name(key) or key
    value, raw = mask_value(key, value, template.raw)
    given = Value(value=value, source=template.source, raw=raw, authority=Authority.PROSE)
    if role is Role.RAN or (role is Role.PROPOSED and name in IDENTITY):
        add(run, key, value, template=given)
    else:
        prefix = "proposed" if role is Role.PROPOSED else "other"
        run.add_fact(f"{prefix}.{name}", given)


def _value(value: Any, place: Source, raw: str) -> Value:
    return Value(value=value, source=place, raw=raw, authority=Authority.PROSE)


# -- tables ------------------------------------------------------------------------------------------------------------


def add_table(run: Run, block: Block, place: Source, role: Role) -> bool:
    """Add a table of settings, one column a file or a state; whether it was one."""
    header = cells(block.lines[0])
    rows = [(block.first + at, cells(line)) for at, line in enumerate(block.lines) if at > 1]
    known = [row for row in rows if row[1] and _is_setting(row[1][0])]
    if len(header) < 2 or not known or not _names_settings(header, len(known), len(rows)):
        return False
    if config_name(header[0]) is not None and any(is_result(key) for key in header[1:]):
        return False  # a setting and what came of its values
    columns = sorted(range(1, len(header)), key=lambda at: not header[at].endswith(".ipynb"))
    for line, row in known:
        for at in columns:
            if at < len(row) and row[at]:
                _cell(run, row[0], row[at], header[at], Source(file=place.file, line=line, cell=place.cell), role)
    return True


def _names_settings(header: list[str], known: int, rows: int) -> bool:
    """Whether the first column holds settings: most rows do, and it is no table of metrics by step."""
    return known * 2 > rows and not re.search(r"\b(step|epoch|loss)\b", header[0], re.I)


def _cell(run: Run, key: str, text: str, column: str, place: Source, role: Role) -> None:
    if _FILE.fullmatch(column):
        place = Source(file=column, key=f"{place.file}:{place.line}")
    else:
        role = role_of(column) or role
    text = text.split(" (")[0].strip().strip("\"'")
    value = number(text) if not isinstance(literal(text), (bool, list)) else literal(text)
    if isinstance(value, str) and len(value.split()) > 3:
        return
    put(run, key, literal(text) if text.lower() in ("none", "null") else value, _value(None, place, text), role)
