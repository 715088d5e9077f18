"""Brings values of settings into one form, and says what else they settle: ``mixed_precision: bf16`` means bf16."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from holter.names import config_name, meaning_of
from holter.patterns import regex
from holter.run import Run, Value

_NUMBER = regex(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DTYPES = {
    "float16": ("float16", "fp16", "half", "16-true", "f16"),
    "bfloat16": ("bfloat16", "bf16", "bf16-true"),
    "float32": ("float32", "fp32", "float", "32-true", "32", "f32", "full"),
}
_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "fusedadam": "adamw_torch_fused",
    "fused_adam": "adamw_torch_fused",
    "adamw_fused": "adamw_torch_fused",
    "deepspeedcpuadam": "adamw_torch",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "pagedadamw": "paged_adamw_32bit",
    "adamw8bit": "adamw_bnb_8bit",
    "adamw_8bit": "adamw_bnb_8bit",
    "pagedadamw8bit": "paged_adamw_8bit",
    "lion": "lion_32bit",
    "rmsprop": "rmsprop",
    "adagrad": "adagrad",
}
_SCHEDULES = {
    "get_linear_schedule_with_warmup": "linear",
    "get_cosine_schedule_with_warmup": "cosine",
    "get_constant_schedule_with_warmup": "constant_with_warmup",
    "get_constant_schedule": "constant",
    "get_polynomial_decay_schedule_with_warmup": "polynomial",
    "get_cosine_with_hard_restarts_schedule_with_warmup": "cosine_with_restarts",
    "get_inverse_sqrt_schedule": "inverse_sqrt",
    "get_wsd_schedule": "warmup_stable_decay",
    "warmupcosinelr": "cosine",
    "warmupdecaylr": "linear",
    "warmuplr": "constant_with_warmup",
    "cosineannealinglr": "cosine",
    "linearlr": "linear",
}
_DTYPE_SETTINGS = frozenset({"torch_dtype", "bnb_4bit_compute_dtype"})
_TEXTS = frozenset(
    {"target_modules", "modules_to_save", "architectures", "layers_to_transform", "cuda_visible_devices"}
)
_NO_IS_A_WORD = frozenset({"eval_strategy", "save_strategy", "logging_strategy", "mixed_precision"})
_NONE_IS_A_WORD = frozenset({"bias"})
_ADAPTERS = {"full": "none", "freeze": "none", "false": "none", "": "none"}


def normalise(name: str, value: Any) -> Any:
    """The value of a setting in Holter's form; text that says more than the form holds is kept as it is.

    Args:
        name: our name, see `holter.names`.
        value: plain data as read.
    """
    if isinstance(value, str):
        changed = _from_text(name, value.strip())
        value = value if changed == value.strip() else changed
    if value is False and name in _NO_IS_A_WORD:
        return "no"
    if name == "architectures" and isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def _from_text(name: str, text: str) -> Any:
    last = re.sub(r"^(torch|jnp|np|tf|transformers|torch\.optim(\.lr_scheduler)?)\.", "", text)
    lowered = last.rsplit(".", 1)[-1].lower() if name in ("optim", "lr_scheduler_type") else last.lower()
    if name in _DTYPE_SETTINGS:
        return next((dtype for dtype, words in _DTYPES.items() if lowered in words), last)
    if name == "optim":
        return _OPTIMIZERS.get(lowered, lowered)
    if name == "lr_scheduler_type":
        return _SCHEDULES.get(lowered, last.rsplit(".", 1)[-1])
    if name == "adapters":
        return _ADAPTERS.get(text.lower(), text.lower())
    if text.lower() in ("none", "null", "~"):
        return text.lower() if name in _NONE_IS_A_WORD else None
    if name in _TEXTS or name.startswith("versions."):
        return text
    return number(text)


def number(text: str) -> Any:
    """An int or float for text that is one (YAML reads ``2e-5`` as text), a bool for true/false, else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not _NUMBER.fullmatch(text):
        return text
    digits = text.replace("_", "")
    if re.fullmatch(r"[-+]?\d{1,300}", digits):
        return int(digits)
    return float(digits)


def derived(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Settings that follow from one setting; only where the words leave no doubt.

    Args:
        name: our name.
        value: in the form of `normalise`.
    """
    if name in ("precision", "mixed_precision") and value is not None:
        yield from _of_precision(str(value).lower())
    elif name in ("load_in_8bit", "load_in_4bit") or value is None:
        return
    elif name == "quantization_bit" and value in (4, 8):
        yield f"load_in_{value}bit", True
    elif name == "use_peft" and isinstance(value, bool):
        yield "adapters", "lora" if value else "none"
    elif name == "adapters" and str(value).startswith("qlora"):
        yield "load_in_4bit", True
    elif name == "devices" and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        yield "world_size", value
    elif name == "betas" and isinstance(value, list) and len(value) == 2:
        yield from (("adam_beta1", value[0]), ("adam_beta2", value[1]))
    elif name == "model_name_or_path" and re.fullmatch(r"[A-Z]\w*(For[A-Z]|Model|LMHead)\w*", str(value)):
        yield "architectures", value
    elif name in ("left_pad_target", "left_pad_source") and isinstance(value, bool):
        yield "padding_side", "left" if value else "right"
    elif name == "framework" and str(value).upper() == "FSDP":
        yield "strategy", "FSDP"


def _of_precision(text: str) -> Iterator[tuple[str, Any]]:
    words = [word for word in re.split(r"[,\s/()]+", text) if word]
    first, rest = words[0] if words else "", set(words[1:])
    if first in ("8-bit", "8bit", "int8"):
        yield "load_in_8bit", True
        first = words[1] if len(words) > 1 else ""
    elif first in ("4-bit", "4bit", "nf4", "int4"):
        yield "load_in_4bit", True
        first = words[1] if len(words) > 1 else ""
    words_of_weights = {"weights", "full", "pure", "true"} | (set() if "amp" in rest else {"native"})
    whole = bool(rest & words_of_weights) or first.endswith("-true")
    half = {"fp16": "fp16", "16": "fp16", "float16": "fp16", "16-mixed": "fp16", "fp16-mixed": "fp16", "half": "fp16"}
    half |= {"bf16": "bf16", "bfloat16": "bf16", "bf16-mixed": "bf16", "16-true": "fp16", "bf16-true": "bf16"}
    if first in half and whole:
        yield "torch_dtype", "float16" if half[first] == "fp16" else "bfloat16"
    elif first in half:
        yield from (("fp16", half[first] == "fp16"), ("bf16", half[first] == "bf16"))
    elif first in ("fp32", "32", "float32", "32-true", "no", "none", "full"):
        yield from (("fp16", False), ("bf16", False))
    elif first == "tf32":
        yield "tf32", True


def add(run: Run, key: str, value: Any, *, template: Value, tool: str | None = None) -> str:
    """Add a setting under our name, in our form, with what follows from it.

    A setting that is a number is one in ``run.config``; where several or something else is written (``auto``, a list of
    values that were tried) it becomes a fact of the same name.

    Args:
        run: where to.
        key: as written, nested keys joined with dots.
        value: plain data.
        template: a Value whose source, raw text and authority are used.
        tool: see `holter.names.config_name`.

    Returns:
        The name it was added under.
    """
    name = config_name(key, tool) or key
    value = normalise(name, value)
    if is_reference(value):
        run.add_setting(name, replace(template, value=value))
        return name
    if _wants_number(name) and isinstance(value, (str, list, dict)):
        bound = bounded(value, whole=_is_count(name)) if isinstance(value, str) else None
        factors = _factors(value) if isinstance(value, str) and name in _BATCHES else ()
        if factors:
            run.add_setting("effective_batch_size", replace(template, value=math.prod(factors)))
            bound = math.prod(factors) if name == "effective_batch_size" else factors[0]
        if bound is None:
            run.add_fact(name, replace(template, value=value))
            return name
        value = bound
    run.add_setting(name, replace(template, value=value))
    for other, follows in derived(name, value):
        run.add_setting(other, replace(template, value=follows))
    return name


def is_reference(value: Any) -> bool:
    """Whether a value names another one (``${globals.lr}``), which is known once all files are read."""
    return isinstance(value, str) and "${" in value


def _wants_number(name: str) -> bool:
    row = meaning_of(name)
    return row is not None and row.is_number


_BATCHES = frozenset({"per_device_train_batch_size", "effective_batch_size"})
_PRODUCT = regex(r"(\d{1,6})((?:\s*[x×*]\s*\d{1,6})+)(?:\s*(?:=.*|\(.*\)))?")


def _factors(text: str) -> tuple[int, ...]:
    """The factors of a batch written as ``16 x 2 x 4``: sequences per device first; empty for other text."""
    match = _PRODUCT.fullmatch(text.strip())
    return () if match is None else tuple(int(digits) for digits in re.findall(r"\d+", match[1] + match[2]))


def _is_count(name: str) -> bool:
    row = meaning_of(name)
    return row is not None and row.unit in _COUNTS


_COUNTS = frozenset({"count", "updates", "epochs", "sequences", "tokens", "rows"})
_MORE = regex(r">(?!=)|above|over|more than")
_LESS = regex(r"<(?!=)|below|under|less than")
_BOUND = regex(
    r"(?:[<>=≤≥~≈±]+|below|under|above|over|about|around|at least|at most|up to|less than|more than|approx\w*\.?)?\s*"
    r"([-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(%|k|K)?(?:\s+[a-z]+)?"
)


def bounded(text: str, *, whole: bool = False) -> int | float | None:
    """The number in ``<2000``, ``about 5``, ``10%`` or ``1,000 steps``; None when the text is something else.

    Args:
        text: as written; the caller keeps it, since it alone says on which side of the number the value lies.
        whole: a count: ``<2000`` gives 1999 and ``>1`` gives 2, the nearest number that the words allow.
    """
    match = _BOUND.fullmatch(text.strip())
    if match is None:
        return None
    value = number(match.group(1).replace(",", ""))
    if isinstance(value, str):
        return None
    factor = {"%": 0.01, "k": 1000, "K": 1000}.get(match.group(2) or "", 1)
    found: int | float = value * factor
    if whole and _MORE.match(text.strip()):
        return found + 1
    return found - 1 if whole and _LESS.match(text.strip()) else found
