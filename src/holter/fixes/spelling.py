"""How a file's own key says what Holter's settings say: one word for two switches, or a dtype by name."""

from __future__ import annotations

from typing import Any

_PRECISION: dict[str, dict[str, str]] = {
    # key as files spell it -> precision -> the word of that tool
    "mixed_precision": {"fp16": "fp16", "bf16": "bf16", "fp32": "no"},
    "precision": {"fp16": "16-mixed", "bf16": "bf16-mixed", "fp32": "32-true"},
    "torch_dtype": {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"},
    "dtype": {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"},
}


def translate(key: str, spelling: str, new: Any, all_new: dict[str, Any]) -> Any:
    """The value to write under the key that the file uses.

    Args:
        key: the setting by Holter's name, such as ``fp16``.
        spelling: the key as the file has it, such as ``trainer.precision``.
        new: the value for ``key``.
        all_new: every setting of the same fix, since ``fp16: false`` beside ``bf16: true`` is one word elsewhere.
    """
    words = _PRECISION.get(spelling.rsplit(".", 1)[-1].lstrip("-"))
    if words is None or key not in ("fp16", "bf16", "torch_dtype"):
        return new
    if all_new.get("bf16") is True:
        return words["bf16"]
    if key == "torch_dtype" and isinstance(new, str):
        wanted = {"bfloat16": "bf16", "float16": "fp16"}.get(new, "fp32")
        return words[wanted]
    return words[key] if new is True else words["fp32"]
