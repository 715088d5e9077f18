"""How numbers, values and certainty are put into words; every form of report says them alike."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from holter.diagnosis.result import RankedCause
from holter.finding import Basis

LONGEST = 480
"""Characters of one line of prose; a pasted log line beyond it is cut. JSON keeps all of it."""

BASIS_WORDS = {
    Basis.INFERRED: "inferred from what the run left behind; nothing was run again",
    Basis.MEASURED: "measured on the live objects",
    Basis.CONFIRMED: "confirmed by an experiment",
}

_CERTAINTY = (
    # least confidence, words: everyday words for bands of a calibrated probability
    (0.97, "almost certain"),
    (0.90, "very likely"),
    (0.70, "likely"),
    (0.50, "more likely than not"),
    (0.10, "possible"),
    (0.0, "unlikely"),
)

FAMILY_LETTERS = 3  # of the code of a check
PYTHON_FILES = (".py", ".ipynb")


def certainty(confidence: float) -> str:
    """``very likely (93 %)`` for a probability in [0, 1]."""
    words = next(words for least, words in _CERTAINTY if confidence >= least or least == 0.0)
    return f"{words} ({percent(confidence)})"


def percent(share: float) -> str:
    """A share in [0, 1] in whole percent; never rounded to a certainty that it is not."""
    if 0.995 <= share < 1.0:
        return "> 99 %"
    if 0.0 < share < 0.005:
        return "< 1 %"
    return f"{share:.0%}".replace("%", " %")


def judgement(cause: RankedCause) -> str:
    """One sentence on how sure the diagnosis is of a cause, and on what ground."""
    words = certainty(cause.confidence)
    return f"{words[0].upper()}{words[1:]}, {BASIS_WORDS[cause.basis]}."


def number(value: float) -> str:
    """Up to six significant digits, ``nan`` and ``inf`` as the logs spell them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.6g}"


def setting(value: Any, file: str | None) -> str:
    """A value as one would type it into ``file``: Python spelling in .py and .ipynb, JSON spelling elsewhere."""
    if isinstance(value, str):
        return value if value else '""'
    if file is not None and file.endswith(PYTHON_FILES):
        return repr(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def clip(text: str, longest: int = LONGEST) -> str:
    """One line, cut in the middle of nowhere rather than filling the page."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def sentence(text: str) -> str:
    """The text with a full stop, and with a capital unless it begins with a name such as grad_norm or fp16."""
    text = text.strip()
    if not text:
        return ""
    first = text.split(maxsplit=1)[0].rstrip(",.:;")
    head = text[0].upper() + text[1:] if first.isalpha() and first.islower() else text
    return head if head[-1] in ".!?:…" else f"{head}."


def lacking(reason: str) -> str:
    """What a skipped check lacked, in few enough kinds to be listed in a line each."""
    series = re.match(r"needs \d+ logged (\S+) values", reason)
    if series:
        return f"too few {series[1]} values"
    if re.match(r"needs (?:events|code|variants)\b", reason):
        kinds = {"events": "messages in a log", "code": "source code", "variants": "table of several runs"}
        return f"no {kinds[reason.split()[1].rstrip(',')]}"
    return "settings or facts that nobody gave"


def by_family(codes: Iterable[str]) -> str:
    """``CFG 001 005, NUM 003``: codes in a third of the room."""
    families: dict[str, list[str]] = {}
    for code in sorted(codes):
        families.setdefault(code[:FAMILY_LETTERS], []).append(code[FAMILY_LETTERS:])
    return ", ".join(f"{family} {' '.join(numbers)}" for family, numbers in families.items())


def listed(words: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def count(many: int, singular: str, plural: str = "") -> str:
    """``1 file``, ``12 files``, ``no files``."""
    noun = singular if many == 1 else plural or f"{singular}s"
    return f"{many:,} {noun}" if many else f"no {noun}"
