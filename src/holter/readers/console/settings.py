"""Settings that a tool prints while it runs: banners, argument dumps, model configurations, versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from holter.names import config_name
from holter.patterns import regex
from holter.readers.base import literal
from holter.readers.numbers import NUMBER, number

_COUNT = rf"\s*[=:]\s*(?P<value>{NUMBER})"
_BANNERS = tuple(
    (name, regex(pattern + _COUNT, re.IGNORECASE))
    for name, pattern in (
        ("train_samples", r"\bNum(?:ber of)?(?: training)? examples"),
        ("num_train_epochs", r"\bNum(?:ber of)? epochs"),
        ("per_device_train_batch_size", r"\b(?:Instantaneous batch size per device|Batch size per device)"),
        ("per_device_train_batch_size", r"\bInstantaneous batch size per GPU"),
        ("total_train_batch_size", r"\bTotal (?:train )?batch size(?: \([^)]*\))?"),
        ("gradient_accumulation_steps", r"\bGradient accumulation steps"),
        ("max_steps", r"\bTotal (?:optimization steps|steps)"),
        ("world_size", r"\bData Parallel GPUs"),
    )
)
_VERSION = regex(
    r"\b(?P<name>transformers|torch|pytorch|accelerate|peft|trl|deepspeed|datasets|tokenizers|bitsandbytes|unsloth|axolotl|"
    r"lightning|pytorch-lightning|sentence-transformers|mlflow|flash[-_]attn|cuda|python)`?"
    r"(?:==|\s*version\s*:?\s*|\s*:\s*v?|\s+v?(?=[\d.\w+]+\W*$))(?P<value>\d+\.\d+[\w.+]*)",
    re.IGNORECASE,
)
_PRECISION = regex(r"\b16-bits training:\s*(?P<value>True|False)")
_PROCESSES = regex(r"\b(?:Num processes|world[ _]?size)\s*[:=]\s*(?P<value>\d{1,9})\b", re.IGNORECASE)
_DUMPED = regex(
    r"^\s*(?:--)?(?P<quote>[\"']?)(?P<key>[A-Za-z_][\w.\- ]{0,60}?)(?P=quote)"
    r"\s*(?:=|:|\.{3,})\s*(?P<value>\S.*?)\s*,?\s*$"
)
_KEYWORD = regex(r"(?<![\w.])(?P<key>[a-z][a-z0-9_]{1,50})=(?P<value>'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[^\s,()\[\]{}]+)")
_PROGRESS = regex(r"[\[(]?\d+[\])]?\s*(?:/|of)\s*[\[(]?\d+[\])]?")
"""``Epochs: [2]/[25]`` tells how far a run is; no setting is written so."""

_NAMES = {"pytorch": "torch", "flash_attn": "flash-attn"}
MAX_VALUE = 200  # characters of a setting's value; longer ones are texts


def find(body: str) -> Iterator[tuple[str, Any, str]]:
    """Settings stated in a line as (our name, plain value, text as written)."""
    if "=" in body or ":" in body or "version" in body:
        yield from _banners(body)
        yield from _versions(body)
        if (match := _PRECISION.search(body)) is not None:
            yield "fp16", match["value"] == "True", match["value"]
        if (match := _PROCESSES.search(body)) is not None:
            yield "world_size", int(match["value"]), match["value"]


def dumped(body: str) -> Iterator[tuple[str, Any, str]]:
    """Settings of an argument dump: one ``key: value`` a line, or ``Name(key=value, ...)`` on one."""
    match = _DUMPED.match(body)
    if match is not None and len(match["value"]) <= MAX_VALUE:
        name = setting(match["key"])
        if _PROGRESS.fullmatch(match["value"]) is not None:
            return
        if name is not None and not match["value"].endswith(("{", "(", "[")):
            yield name, literal(match["value"]), match["value"]
            return
    if "(" in body and body.count("=") > 1:
        for match in _KEYWORD.finditer(body):
            name = setting(match["key"])
            if name is not None:
                yield name, literal(match["value"]), match["value"]


def _banners(body: str) -> Iterator[tuple[str, Any, str]]:
    for name, pattern in _BANNERS:
        match = pattern.search(body)
        if match is not None and (value := number(match["value"])) is not None:
            yield name, int(value) if value == value and abs(value) < 1e18 else value, match["value"]


def _versions(body: str) -> Iterator[tuple[str, Any, str]]:
    for match in _VERSION.finditer(body):
        package = match["name"].lower()
        yield f"versions.{_NAMES.get(package, package)}", match["value"].rstrip("."), match["value"]


@lru_cache(maxsize=4096)
def setting(key: str) -> str | None:
    """Our name of a setting, None when the key is not one."""
    return config_name(key)
