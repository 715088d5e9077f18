"""What a person wrote down of a run: ``setting.yaml``, ``facts.yaml``, ``observed.yaml``, ``runs.yaml``, ``probe.*``.

A ``probe.py`` is a script like any other. A guard writes files of these names too, and signs them.
"""

from __future__ import annotations

import re
from typing import Any

from holter.patterns import regex
from holter.readers.base import CERTAIN, Match, Sample
from holter.run import Run

NAME = "facts somebody wrote down"

SIGNATURE, SIGNED = "written_by", "holter.Guard"
"""Entry by which a guard tells its own files from those that a person wrote."""

_KINDS = {
    "setting": "settings",
    "settings": "settings",
    "facts": "facts",
    "fact": "facts",
    "observed": "observed",
    "observations": "observed",
    "runs": "runs",
    "probe": "probe",
    "probes": "probe",
}
_ENTRY = regex(r"\s*(?:#.*\s+)*(?:- )?[A-Za-z_][\w.\-/]*:(?:\s|$)")
_SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".txt")


def sniff(sample: Sample) -> Match | None:
    """A file of one of the agreed names."""
    if sample.encoding is None or sample.suffix not in _SUFFIXES or not _kind(sample):
        return None
    if sample.suffix == ".txt" and not _ENTRY.match(sample.text):
        return None
    return Match(score=CERTAIN, why=f"is named {sample.path.name}")


def _kind(sample: Sample) -> str | None:
    return _KINDS.get(sample.path.stem.lower())


def read(sample: Sample) -> Run:
    """Settings, facts, one-point series or rows, as the name of the file says."""
    from holter.readers.written import read_written

    return read_written(sample, _kind(sample) or "facts")


def parse_setting(text: str) -> tuple[str, Any]:
    """``key=value`` as (our name, plain value); ``yes``, ``no``, numbers, lists and null as in YAML.

    Raises:
        ConfigError: there is no ``=`` or no key.
    """
    from holter.errors import ConfigError
    from holter.names import config_name
    from holter.readers.base import literal
    from holter.values import normalise

    key, sign, rest = text.partition("=")
    key, rest = key.strip(), rest.strip()
    if not sign or not re.fullmatch(r"[\w.\-/]+", key):
        raise ConfigError(
            f"could not take the setting {text!r}",
            where="--set",
            why="it is not of the form key=value",
            do="write for example --set max_grad_norm=1.0",
        )
    value = _WORDS.get(rest.lower(), literal(rest))
    if isinstance(value, str) and rest[:1] in ("[", "{"):
        from holter.readers.yaml_tree import read_yaml

        tree = read_yaml(rest)
        value = tree.documents[0].plain() if tree.documents and not tree.faults else rest
    name = config_name(key) or key
    return name, normalise(name, value)


_WORDS = {"yes": True, "on": True, "no": False, "off": False, "": None}
