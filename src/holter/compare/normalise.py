"""Two set-ups in one vocabulary: names, dtypes, optimizers and schedules spelt alike, defaults filled in and marked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from holter.knowledge.defaults import lora_defaults, trainer_defaults
from holter.run import Authority, Run, Source, Value

_TRAINER_MARKS = ("output_dir", "per_device_train_batch_size", "num_train_epochs", "lr_scheduler_type", "save_strategy")
_LORA_MARKS = ("lora_alpha", "target_modules", "modules_to_save", "layers_to_transform")

_OPTIMIZERS = (
    # pattern -> the family whose update is the same up to rounding
    (re.compile(r"8bit|bnb", re.I), "adamw-8bit"),
    (re.compile(r"adafactor", re.I), "adafactor"),
    (re.compile(r"adam_?w|fusedadam", re.I), "adamw"),
    (re.compile(r"^adam$", re.I), "adam"),
    (re.compile(r"sgd", re.I), "sgd"),
)
_SCHEDULES = (
    (re.compile(r"restart", re.I), "cosine-with-restarts"),
    (re.compile(r"cosine", re.I), "cosine"),
    (re.compile(r"constant", re.I), "constant"),
    (re.compile(r"polynomial", re.I), "polynomial"),
    (re.compile(r"linear|warmupdecay|warmuplr", re.I), "linear"),
)
_DTYPES = (
    (re.compile(r"bf-?16|bfloat16", re.I), "bfloat16"),
    (re.compile(r"fp-?16|float16|^16|half", re.I), "float16"),
    (re.compile(r"fp-?32|float32|^32|^no$", re.I), "float32"),
)
_FAMILIES = {"optim": _OPTIMIZERS, "lr_scheduler_type": _SCHEDULES, "torch_dtype": _DTYPES, "precision": _DTYPES}


@dataclass(frozen=True, kw_only=True)
class Normal:
    """One setting in the common vocabulary; ``value`` is comparable, ``given`` is what was read."""

    value: Any
    given: Value

    @property
    def is_default(self) -> bool:
        """Whether it is the library's default, which nobody wrote."""
        return self.given.is_default


def normalise(run: Run) -> dict[str, Normal]:
    """Every setting of a run in the common vocabulary, derived ones included.

    Defaults are filled in only where the run shows that the library was used. A version that is not known fills in
    what has never changed.
    """
    found = {name: Normal(value=_family(name, v[0].value), given=v[0]) for name, v in run.config.items() if v}
    for name, value in _defaults(run).items():
        if name not in found:
            given = Value(value=value, source=Source(file="library default"), authority=Authority.DEFAULT)
            found[name] = Normal(value=_family(name, value), given=given)
    for name, fact in run.facts.items():
        if name.startswith("training_step."):
            found[name] = Normal(value=fact[0].value, given=fact[0])
    _merge_warmup(found)
    _resolve_layers(found)
    _add_derived(found)
    return found


def _family(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in _FAMILIES:
        return next((family for pattern, family in _FAMILIES[name] if pattern.search(value)), value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if name in ("target_modules", "modules_to_save") and isinstance(value, (list, tuple)):
        return sorted(map(str, value))
    return value


def _defaults(run: Run) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if any(name in run.config for name in _TRAINER_MARKS):
        known.update(trainer_defaults(version_of(run, "transformers")))
    if any(name in run.config for name in _LORA_MARKS):
        known.update(lora_defaults())
    return known


def version_of(run: Run, package: str) -> tuple[int, ...] | None:
    """The version of a package as numbers, None where no source states it."""
    value = run.get(f"versions.{package}")
    numbers = re.findall(r"\d+", str(value).split("+")[0])[:3] if value is not None else []
    return tuple(map(int, numbers)) or None


def _merge_warmup(found: dict[str, Normal]) -> None:
    """Warmup in steps where the planned steps are known; a ratio of 0 and 0 steps are the same thing."""
    ratio, total = found.get("warmup_ratio"), found.get("max_steps")
    if ratio is None or not isinstance(ratio.value, (int, float)):
        return
    steps = found.get("warmup_steps")
    if steps is not None and not steps.is_default and steps.value:
        del found["warmup_ratio"]  # TrainingArguments: warmup_steps overrides warmup_ratio
    elif total is not None and isinstance(total.value, int) and total.value > 0:
        found["warmup_steps"] = Normal(value=math.ceil(ratio.value * total.value), given=ratio.given)
        del found["warmup_ratio"]
    elif ratio.value == 0:
        del found["warmup_ratio"]
    else:
        found.pop("warmup_steps", None)


def _resolve_layers(found: dict[str, Normal]) -> None:
    """Negative layer indices as the layers a reader means; PEFT itself matches nothing with them."""
    layers, count = found.get("layers_to_transform"), found.get("num_hidden_layers")
    if layers is None or not isinstance(layers.value, list) or count is None or not isinstance(count.value, int):
        return
    if all(isinstance(i, int) for i in layers.value):
        resolved = sorted(i + count.value if i < 0 else i for i in layers.value)
        found["layers_to_transform"] = Normal(value=resolved, given=layers.given)


def _add_derived(found: dict[str, Normal]) -> None:
    factors = [found.get(n) for n in ("per_device_train_batch_size", "gradient_accumulation_steps", "world_size")]
    known = [f for f in factors[:2] if f is not None and isinstance(f.value, int)]
    if len(known) == 2:
        world = factors[2].value if factors[2] is not None and isinstance(factors[2].value, int) else 1
        given = Value(value=None, source=Source(file="computed"), authority=Authority.DEFAULT)
        product = known[0].value * known[1].value * world
        found["effective_batch_size"] = Normal(value=product, given=given)
