"""How a file's own key says what Holter's settings say: one word for two switches, or a dtype by name."""

from __future__ import annotations

import re
from typing import Any

_PRECISION: dict[str, dict[str, Any]] = {
    # key as files spell it -> precision -> the word of that tool
    "mixed_precision": {"fp16": "fp16", "bf16": "bf16", "fp32": "no"},
    "precision": {"fp16": "16-mixed", "bf16": "bf16-mixed", "fp32": "32-true"},
    "torch_dtype": {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"},
    "dtype": {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"},
}
WORDS = tuple(_PRECISION)
"""Keys under which one word says what ``fp16`` and ``bf16`` say with two switches."""
_OTHER_STYLES: tuple[tuple[Any, dict[str, Any]], ...] = (
    # value that stands there now -> how the same tool, or an older version of it, writes the others
    (16, {"fp16": 16, "bf16": "bf16", "fp32": 32}),
    ("16", {"fp16": "16", "bf16": "bf16", "fp32": "32"}),
    ("fp16", {"fp16": "fp16", "bf16": "bf16", "fp32": "fp32"}),
    ("float16", {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}),
    ("half", {"fp16": "half", "bf16": "bfloat16", "fp32": "float32"}),
)
_SWITCHES = ("fp16", "bf16")
_SETTINGS = (*_SWITCHES, *WORDS)


def translate(key: str, spelling: str, new: Any, all_new: dict[str, Any], old: Any = None) -> Any:
    """The value to write under the key that the file uses.

    Args:
        key: the setting by Holter's name, such as ``fp16``.
        spelling: the key as the file has it, such as ``trainer.precision``.
        new: the value for ``key``.
        all_new: every setting of the same fix, since ``fp16: false`` beside ``bf16: true`` is one word elsewhere.
        old: the word that stands there now, which shows how the tool writes it.
    """
    name = (spelling or key).rsplit(".", 1)[-1].lstrip("-").replace("-", "_")
    if name not in _PRECISION or key not in _SETTINGS:
        return new
    words = _PRECISION[name]
    if name == "precision":
        words = next((style for word, style in _OTHER_STYLES if type(word) is type(old) and word == old), words)
    return words[_wanted(key, new, all_new)]


def _wanted(key: str, new: Any, all_new: dict[str, Any]) -> str:
    if all_new.get("bf16") is True:
        return "bf16"
    if key in _SWITCHES:
        return key if new is True else "fp32"
    word = str(new).lower()
    if re.search(r"bf-?16|bfloat16", word):
        return "bf16"
    return "fp16" if "16" in word or "half" in word else "fp32"
