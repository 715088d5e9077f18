"""One table: each tool's key -> our name, its kind, meaning and unit.

Names are spelt as users of the transformers Trainer, PEFT and TRL write them. A word that means two things elsewhere
has one meaning here and a note. Readers go through `config_name` and `series_name` only; a key that neither knows is
kept under its own flattened name, so nothing is lost.

Spellings are separated by blanks. ``tool:key`` holds for the files of one tool only; ``a.b`` is a nested key; a key in
`NEVER_BARE` counts only at the top level or under the parents spelt out here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from holter.names_config import CONFIG_ROWS
from holter.names_series import SERIES_ROWS
from holter.names_setup import SETUP_ROWS
from holter.patterns import regex
from holter.quantity import TIMES, is_bare, is_split, parted

SERIES = "series"
CONFIG = "config"


@dataclass(frozen=True, kw_only=True)
class Name:
    """One row of the table.

    Attributes:
        name: as Holter spells it.
        kind: ``series`` or ``config``.
        meaning: in a few words.
        unit: of the number, empty where it has none.
        note: what the same word means elsewhere.
        spellings: keys of other tools that mean the same.
    """

    name: str
    kind: str
    meaning: str
    unit: str = ""
    note: str = ""
    spellings: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers; ``number`` stands as the unit of one without."""
        return bool(self.unit)


def _rows(kind: str, text: str) -> tuple[Name, ...]:
    found: list[dict[str, str]] = []
    for line in text.strip().splitlines():
        if line.startswith("    "):
            mark, rest = line.strip().split(" ", 1)
            field = "spellings" if mark == "=" else "note"
            found[-1][field] = f"{found[-1].get(field, '')} {rest}".strip()
        elif not line.startswith("#"):
            name, _, rest = line.partition(": ")
            meaning, _, unit = rest.rstrip("]").partition(" [")
            found.append({"name": name, "meaning": meaning, "unit": unit})
    return tuple(_name(kind, row) for row in found)


def _name(kind: str, row: dict[str, str]) -> Name:
    spellings = tuple(row.get("spellings", "").split())
    return Name(
        name=row["name"],
        kind=kind,
        meaning=row["meaning"],
        unit=row["unit"],
        note=row.get("note", ""),
        spellings=spellings,
    )


NAMES: tuple[Name, ...] = _rows(SERIES, SERIES_ROWS) + _rows(CONFIG, CONFIG_ROWS.rstrip() + SETUP_ROWS)

_NEVER_BARE_WORDS = """
name type model stage enabled dtype path alpha beta rank dropout bias r eps args task data loss_type device
devices seed size bits target run method mode script adapter optimizer scheduler strategy pad_token eos_token
bos_token pad_token_id eos_token_id bos_token_id decoder_start_token_id precision length steps epochs
"""
NEVER_BARE = frozenset(_NEVER_BARE_WORDS.split())
"""Keys too general to be recognised below an unknown parent: ``dataset.name`` is not the name of the model."""

_OWN_WORDS = """
training train trainer training_args training_arguments args arguments params parameters hyperparameters hparams
config cfg base defaults common finetune finetuning fine_tuning sft solver experiment run
"""
OWN = frozenset(_OWN_WORDS.split())
"""Parents that hold settings of the run itself: ``training.seed`` is its seed."""

_OTHERS_WORDS = """
eval evaluation val valid validation test ref reference critic reward_model teacher discriminator rollout
generation generate inference vae text_encoder vision vision_config text_config data dataset datasets
dataloader tokenizer generation_config logger logging wandb profiler tokenizer_call model_config collator
"""
OTHERS = frozenset(_OTHERS_WORDS.split())
"""Parents under which a training setting belongs to something else: ``critic.optim.lr`` is not the rate of the run."""


_CLASS = regex(r"[A-Z]+[a-z]+\w*?[A-Z]\w*")
_CAMEL = regex(r"(?:n|[a-z]{2,}\d*)(?:[A-Z]+[a-z0-9]*)+")


def normal(key: str) -> str:
    """The key as the table spells it: lower case, ``_`` for blanks, dashes and humps, no option dashes."""
    plain = re.sub(r"[\s\-]+", "_", key.strip().lstrip("-").strip())
    return (parted(plain) if _CAMEL.fullmatch(plain) else plain).lower()


_OBSERVER = regex(r"^(?:my|our|observed|reported|measured)_(?=[a-z])")
_OBSERVED = regex(
    r"(?<!^samples)(?<!^tokens)(?<!^rows)(?<!^examples)(?<!^steps)(?<!^batches)(?<!^images)(?<!input_tokens)(?<!_first)"
    r"_(?:i_see|i_get|i_saw|seen|observed|reported|measured|logged)$"
)
"""Whose number it is, before or behind its name; ``tokens_seen`` is a count of its own."""

_WHOLE_REPORT = regex(r"(?:results?|observ(?:ed|ations?)|measure(?:d|ments)|metrics?|findings|facts)\.(?=[a-z])", re.I)
"""A parent that holds all that was written down."""

_WHEN_WORDS = "after before at during within in from since until with without under on by while"
_WHEN = frozenset(_WHEN_WORDS.split())
MOST_PARTS = 9
"""Words of a name; more are a sentence or a quotation, and stay as they are."""


@cache
def told_name(key: str) -> str:
    """The name that somebody gave an observation, whatever its style: ``my_loss``, ``Loss seen`` and ``loss`` are one.

    Lower case with ``_`` between words; nobody named as the observer; the word for a time, or for the rows, before the
    quantity (``first_loss``, ``eval_loss``), and a clause behind it (``loss_after_resume``).
    """
    bare = _WHOLE_REPORT.sub("", key.strip(), count=1)
    name = parted(bare).lower() if _CLASS.fullmatch(bare) else normal(bare)
    if not name or name.count("_") >= MOST_PARTS or not re.fullmatch(r"[\w./]+", name):
        return key
    if not name.replace("_", "").isalnum() or (_CLASS.fullmatch(bare) and not is_bare(name)):
        head, dot, tail = bare.partition(".")
        return f"{_unobserved(head)}{dot}{tail}" if dot else _unobserved(bare)
    return _in_order(_unobserved(name).split("_"))


def _unobserved(name: str) -> str:
    return _OBSERVER.sub("", _OBSERVED.sub("", name), count=1)


def _is_quantity(name: str) -> bool:
    return is_bare(name) or _index(SERIES).get(name) == name


def _in_order(words: list[str]) -> str:
    """The words with the quantity where most people write it."""
    name = "_".join(words)
    if len(words) > 2 and words[0] in _WHEN:
        for at in range(2, len(words)):
            if _is_quantity("_".join(words[at:])):
                return "_".join((*words[at:], *words[:at]))
    last, before = words[-1], "_".join(words[:-1])
    if before and (last in TIMES or is_split(last)) and _is_quantity(before):
        return f"{last}_{before}"
    return "grad_norm" if name == "norm_grad" else name


@cache
def _index(kind: str) -> dict[str, str]:
    index: dict[str, str] = {}
    for row in NAMES:
        if row.kind == kind:
            for spelling in (row.name, *row.spellings):
                index.setdefault(spelling.lower(), row.name)
    return index


@cache
def config_name(key: str, tool: str | None = None) -> str | None:
    """Our name of a setting, or None when the key is not known.

    Args:
        key: as written; nested keys joined with dots. Falls back to the last components of a nested key.
        tool: ``deepspeed``, ``accelerate``, ``peft``, ``llamafactory`` ... where the file says whose it is.
    """
    index, wanted = _index(CONFIG), normal(key)
    if tool is not None and (found := index.get(f"{tool}:{wanted}")) is not None:
        return found
    parts = wanted.split(".")
    for start in range(len(parts)):
        tail = ".".join(parts[start:])
        if not OTHERS.isdisjoint(parts[:start]) or (tail in NEVER_BARE and not OWN.issuperset(parts[:start])):
            continue
        if (found := index.get(tail)) is not None:
            return found
    return None


@cache
def series_name(key: str) -> str | None:
    """Our name of a logged quantity, or None when the key is not known.

    ``eval/x``, ``val_x`` and the like become ``eval_x``; ``train/x`` becomes ``x``.
    """
    index, wanted = _index(SERIES), normal(key)
    found = index.get(wanted) or index.get(wanted := _unobserved(wanted))
    if found is not None:
        return found
    prefix, _, rest = _split_prefix(wanted)
    if not rest:
        return None
    inner = index.get(rest)
    if prefix == "eval":
        found = inner or rest
        return found if found.startswith("eval_") else f"eval_{found}"
    return inner


def metric_name(key: str) -> str:
    """Our name of a logged quantity, or the key itself with evaluation prefixes unified."""
    return series_name(key) or normal(key)


_PREFIXES = {
    "eval": ("eval/", "eval_", "val/", "val_", "valid/", "valid_", "validation/", "validation_", "dev_", "eval."),
    "train": ("train/", "training/", "train.", "loss_metrics/", "global_avg_", "metrics/"),
}


def _split_prefix(key: str) -> tuple[str, str, str]:
    for kind, prefixes in _PREFIXES.items():
        for prefix in prefixes:
            if key.startswith(prefix) and len(key) > len(prefix):
                return kind, prefix, key[len(prefix) :]
    return "", "", ""


@cache
def _rows_by_name() -> dict[str, Name]:
    return {row.name: row for kind in (SERIES, CONFIG) for row in NAMES if row.kind == kind}


def meaning_of(name: str) -> Name | None:
    """The row of a name, settings first, or None."""
    return _rows_by_name().get(name)
