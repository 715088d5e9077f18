"""Settings found in parsed source code, the strongest statement first.

Within one file a later attribute assignment (``args.fp16 = True``) outranks the keyword of a constructor, which
outranks a constant, which outranks the default of a dataclass. Defaults of argparse count as defaults: nobody
gave them. Nothing is run, so a value that is computed is left out; the call keeps its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from holter.names import NEVER_BARE, config_name, normal
from holter.patterns import regex
from holter.readers.source import openmmlab
from holter.readers.source.constructors import CALLED, Constructor, constructor_of
from holter.readers.source.plain import IN_PLACE
from holter.readers.source.walk import Walker
from holter.run import Assignment, Authority, Call, Code, Expression, Run, Source, Value
from holter.values import add

_HOLDER = regex(r"(^|[._])(args|cfg|conf|config|params|hparams|opts?|settings|options)$", re.I)
_DICT = regex(r"(params?|config|cfg|args|kwargs|settings|hyper\w*|options|defaults|ds_\w*|deepspeed\w*)$", re.I)
_ENUM = regex(r"(?:\w+\.)*[A-Z]\w*\.([A-Z][A-Z0-9_]*)")
_DTYPE = regex(r"(?:torch|np|jnp|tf)\.(float16|bfloat16|float32|float64|half|float|int8)")
_IN_PLACE_CALL = regex(r"[\w.\[\]'\"]+\.(" + "|".join(sorted(IN_PLACE)) + r")\(.*\)", re.S)
_LOADER = regex(r"(^|\.)(\w+)\.from_pretrained$")
_ENTRY = regex(r"main|train\w*|fine_?tune\w*|run\w*", re.I)  # functions that a command line calls
_CASTS = {"half": "float16", "bfloat16": "bfloat16"}
_MEASURES = regex(r"(?<![a-z])(?:eval|valid|val(?=_|\b)|test|infer|predict|generat|sampl|deploy|export|serve)", re.I)
# functions, and modes of a model, in which nothing is trained
_NOT_A_CARD = frozenset({"cuda", "cpu", "auto", "mps", "gpu", "cuda:0"})
MANY_KNOWN = 3  # a dict with so many known keys is one of settings, whatever its name

Found = tuple[str, Any, Source, str]  # key, plain value, place, raw text


class Unsettled(Exception):
    """The value of a setting is computed."""


def add_settings(run: Run, walker: Walker, code: Code, authority: Authority) -> None:
    """Add the settings of ``code``, which ``walker`` collected, to ``run``."""
    for way in _WAYS:
        for (key, value, source, raw), tool in way(code, walker):
            add(run, key, value, template=Value(value=value, source=source, raw=raw, authority=authority), tool=tool)
    for found in _lengths(code):
        add(run, "max_length", found[1], template=Value(value=None, source=found[2], raw=found[3], authority=authority))
    for key, value, source, raw in _options(code):
        add(run, key, value, template=Value(value=value, source=source, raw=raw, authority=Authority.DEFAULT))


def settle(value: Any) -> Any:
    """Plain data for a value of a call; raises `Unsettled` where it is computed."""
    if isinstance(value, Expression):
        if match := _ENUM.fullmatch(value.text) or _DTYPE.fullmatch(value.text):
            return match.group(1)
        if _IN_PLACE_CALL.fullmatch(value.text):
            return None
        raise Unsettled
    if isinstance(value, list):
        return [settle(item) for item in value]
    if isinstance(value, dict):
        return {key: settle(item) for key, item in value.items()}
    return value


def raw_of(value: Any) -> str:
    """How a value is written."""
    return value.text if isinstance(value, Expression) else str(value) if isinstance(value, str) else repr(value)


def _settled(key: str, value: Any, source: Source) -> Iterator[Found]:
    """The setting, or several for a nested dict; nothing where it is computed."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _settled(f"{key}.{inner}" if key else str(inner), item, source)
        return
    try:
        yield key, settle(value), source, raw_of(value)
    except Unsettled:
        return


# -- constructors ------------------------------------------------------------------------------------------------------


def _constructors(code: Code, walker: Walker) -> Iterator[tuple[Found, str | None]]:
    trained = _trained(code)
    for call in code.calls:
        if _LOADER.search(call.name):
            yield from ((found, None) for found in _loader(call, walker))
        elif (row := constructor_of(call.name)) is not None:
            yield from ((found, row.tool) for found in _of_row(call, row, walker))
        elif (dtype := _cast_to(call, code)) is not None:
            if _is_model(call, trained) and not _MEASURES.search(f"{call.scope} {call.name}"):
                yield ("torch_dtype", dtype, call.source, f"{call.name}(...)"), None
        elif _is_tokenizing(call):
            yield from ((found, None) for found in _tokenizing(call))


def _of_row(call: Call, row: Constructor, walker: Walker) -> Iterator[Found]:
    last = call.name.rsplit(".", 1)[-1]
    if call.kwargs.get("enabled", True) is True:
        for setting, meant in row.own.items():
            yield setting, last if meant == CALLED else meant, call.source, f"{last}(...)"
    for key, value in zip(row.positional, call.args, strict=False):
        if key:
            yield from _settled(key, value, call.source)
    for keyword, value in call.kwargs.items():
        known = row.keywords.get(keyword) or config_name(keyword, row.tool)
        if (not row.only or keyword in row.only) and (known is not None or row.keep_unknown):
            yield from _settled(known or keyword, value, _keyword_place(call, keyword, walker))


def _keyword_place(entry: Call | Assignment, keyword: str, walker: Walker) -> Source:
    return replace(entry.source, line=walker.lines.get((entry.order, keyword), entry.source.line))


def _loader(call: Call, walker: Walker) -> Iterator[Found]:
    match = _LOADER.search(call.name)
    owner = match.group(2) if match else ""
    if "okenizer" in owner or "rocessor" in owner:
        keys = {"padding_side", "use_fast", "model_max_length", "truncation_side", "pad_token", "eos_token"}
        for key, value in call.kwargs.items():
            if key in keys:
                yield from _settled(key, value, _keyword_place(call, key, walker))
        return
    if owner.endswith("Config") or owner == "GenerationConfig":
        return
    if owner.startswith(("Peft", "AutoPeft")):
        yield "adapters", "lora", call.source, f"{owner}.from_pretrained(...)"
        yield from _settled("adapter_name_or_path", next(iter(call.args[1:]), Expression(text="?")), call.source)
    elif owner.startswith("Auto"):
        yield "auto_class", owner, call.source, owner
    else:
        yield "architectures", owner, call.source, owner
    if call.args and not owner.startswith("Peft"):
        yield from _settled("model_name_or_path", call.args[0], call.source)
    for key, value in call.kwargs.items():
        yield from _settled(key, value, _keyword_place(call, key, walker))


def _trained(code: Code) -> set[str]:
    """Names of the objects whose parameters are handed out, as one does for an optimizer."""
    return {call.name.rsplit(".", 1)[0] for call in code.named("parameters", "named_parameters")}


def _cast_to(call: Call, code: Code) -> str | None:
    """The 16-bit dtype to which a call casts its object, also where a constant names it; None for any other call."""
    last = call.name.rsplit(".", 1)[-1]
    if last in _CASTS:
        return None if call.args else _CASTS[last]
    if last not in ("to", "type", "astype"):
        return None
    named = {a.target: a.value.text for a in code.assignments if isinstance(a.value, Expression)}
    for value in (*call.args, call.kwargs.get("dtype")):
        match = _DTYPE.fullmatch(named.get(value.text, value.text)) if isinstance(value, Expression) else None
        if match is not None and match.group(1) in ("float16", "half", "bfloat16"):
            return _CASTS.get(match.group(1), "float16")
    return None


def _is_model(call: Call, trained: set[str]) -> bool:
    """Whether the object of a cast is a model, by its name or since its parameters are trained."""
    owner = call.name.rsplit(".", 1)[0]
    return "model" in owner.lower() or bool({owner.split("(")[0], call.target} & trained)


def _is_tokenizing(call: Call) -> bool:
    last = call.name.rsplit(".", 1)[-1].removesuffix("_plus").lower()
    return ("tok" in last and "izer" in last) or last in ("tok", "encode", "batch_encode")


def _lengths(code: Code) -> list[Found]:
    """The length at which the tokenizer cuts, where all its calls in a file agree: two lengths are input and target."""
    calls = [call for call in code.calls if _is_tokenizing(call) and "max_length" in call.kwargs]
    found = [one for call in calls for one in _settled("max_length", call.kwargs["max_length"], call.source)]
    return found[:1] if len({str(one[1]) for one in found}) == 1 and len(found) == len(calls) else []


def _tokenizing(call: Call) -> Iterator[Found]:
    for key in ("max_length", "truncation", "padding", "add_special_tokens"):
        if key in call.kwargs:
            yield from _settled(f"tokenizer_call.{key}", call.kwargs[key], call.source)


# -- assignments -------------------------------------------------------------------------------------------------------


def _attributes(code: Code, walker: Walker) -> Iterator[tuple[Found, str | None]]:
    for assignment in reversed(code.assignments):
        key = _attribute_key(assignment)
        if key is not None:
            yield from ((found, None) for found in _settled(key, assignment.value, assignment.source))


def _attribute_key(assignment: Assignment) -> str | None:
    target = assignment.target
    if match := re.fullmatch(r"([\w.]+)\['([\w.\-]+)'\]", target):
        holder, key = match.groups()
        if holder.endswith("environ"):
            return key if config_name(key) else None
        return key if _HOLDER.search(holder) else None
    holder, _, key = target.rpartition(".")
    if not holder or "()" in holder or "[]" in holder:
        return None
    last = holder.rsplit(".", 1)[-1].lower()
    if last in ("tokenizer", "tok"):
        return f"tokenizer.{key}"
    if holder.endswith(".generation_config"):
        return f"generation_config.{key}"
    if holder.endswith("model.config"):
        return f"model.config.{key}" if config_name(f"model.config.{key}") != config_name(key) else key
    if _HOLDER.search(holder):
        return key
    if holder == "self" and assignment.scope.endswith("__init__") and normal(key) not in NEVER_BARE:
        return key if config_name(key) else None
    return None


def _constants(code: Code, walker: Walker) -> Iterator[tuple[Found, str | None]]:
    for assignment in code.assignments:
        if assignment.order in walker.fields or not assignment.target.isidentifier() or assignment.loop_depth:
            continue
        if assignment.scope and normal(assignment.target) in NEVER_BARE:
            continue
        if assignment.order in walker.arguments and (
            assignment.value is None or not _ENTRY.fullmatch(assignment.scope)
        ):
            continue
        if isinstance(assignment.value, dict) or config_name(assignment.target) is None:
            continue
        yield from (
            (found, None) for found in _settled(assignment.target, assignment.value, assignment.source) if _fits(found)
        )


def _fits(found: Found) -> bool:
    """Whether the value can be a setting of this name: ``device = "cuda"`` names no card, ``model = None`` no model."""
    name, value = config_name(found[0]), found[1]
    if name == "devices":
        return value not in _NOT_A_CARD
    if name in ("model_name_or_path", "optim", "lr_scheduler_type", "tokenizer_name", "architectures"):
        return isinstance(value, str) and bool(value)
    return True


def _dicts(code: Code, walker: Walker) -> Iterator[tuple[Found, str | None]]:
    for assignment in code.assignments:
        if isinstance(assignment.value, Mapping):
            yield from _of_dict(assignment, assignment.value, assignment.target, walker)
    of_openmmlab = list(openmmlab.settings_of(code))
    for key, keyword, call in of_openmmlab:
        yield from ((f, None) for f in _settled(key, call.kwargs[keyword], _keyword_place(call, keyword, walker)))
    for call in code.calls:
        if call.name == "dict" and call.target and not of_openmmlab:
            yield from _of_dict(call, call.kwargs, call.target, walker)


def _of_dict(
    entry: Call | Assignment, entries: Mapping[str, Any], target: str, walker: Walker
) -> Iterator[tuple[Found, str | None]]:
    tool = "deepspeed" if {"zero_optimization", "train_micro_batch_size_per_gpu"} & set(entries) else None
    known = sum(1 for key in entries if config_name(str(key)) is not None)
    if tool is None and (not known or not (known >= MANY_KNOWN or _DICT.search(target))):
        return
    for key, value in entries.items():
        for found in _settled(str(key), value, _keyword_place(entry, str(key), walker)):
            yield found, tool


def _fields(code: Code, walker: Walker) -> Iterator[tuple[Found, str | None]]:
    for assignment in code.assignments:
        if assignment.order in walker.fields and config_name(assignment.target) is not None:
            for found in _settled(assignment.target, _field_default(assignment.value), assignment.source):
                if _fits(found):
                    yield found, None


def _field_default(value: Any) -> Any:
    """The default inside ``field(default=...)``; the walker keeps the call as text."""
    if isinstance(value, Expression) and (
        match := re.match(r"(?:dataclasses\.)?field\(.*?default=([^,()]+)", value.text)
    ):
        from holter.readers.base import literal

        return literal(match.group(1))
    return value


def _options(code: Code) -> Iterator[Found]:
    for call in code.named("add_argument", "option"):
        yield from _option(call)


def _option(call: Call) -> Iterator[Found]:
    given = [text for text in call.args if isinstance(text, str) and text.startswith("-")]
    if not given:
        return
    key = max(given, key=len).split("/")[0].lstrip("-").replace("-", "_")
    if config_name(key) is None:
        return
    if "default" in call.kwargs:
        yield from _settled(key, call.kwargs["default"], call.source)
    elif call.kwargs.get("action") in ("store_true", "store_false"):
        yield key, call.kwargs["action"] == "store_false", call.source, str(call.kwargs["action"])


_WAYS: tuple[Callable[[Code, Walker], Iterator[tuple[Found, str | None]]], ...] = (
    _attributes,
    _constructors,
    _dicts,
    _constants,
    _fields,
)
