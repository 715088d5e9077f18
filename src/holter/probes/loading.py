"""What a checkpoint folder holds against what the model has: missing, unexpected and newly initialised weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from holter.probes.base import Lacks, Notebook
from holter.probes.subject import Subject

LONGEST_HEADER = 100 * 2**20  # bytes; the format allows 100 MB (safetensors specification)


def probe(subject: Subject, notebook: Notebook) -> None:
    """Write ``loading.*``: names in the checkpoint that the model lacks, and the other way round."""
    files = _files(getattr(getattr(subject.core, "config", None), "_name_or_path", "") or "")
    if not files:
        raise Lacks("a checkpoint in safetensors on this machine, so what was loaded is not known")
    stored = {key for file in files for key in tensor_names(file)}
    model = set(subject.core.state_dict())
    prefix = getattr(subject.core, "base_model_prefix", "")
    stripped = {key.removeprefix(f"{prefix}.") for key in stored} | stored
    missing = sorted(key for key in model if key not in stripped and key.removeprefix(f"{prefix}.") not in stripped)
    reachable = model | {key.removeprefix(f"{prefix}.") for key in model}
    unexpected = sorted(
        key for key in stored if key not in reachable and key.removeprefix(f"{prefix}.") not in reachable
    )
    tied = set(getattr(subject.core, "_tied_weights_keys", None) or ())
    notebook.fact("loading.missing", [key for key in missing if key not in tied])
    notebook.fact("loading.unexpected", unexpected)


def _files(name: str) -> list[Path]:
    """The safetensors files of a folder, or of a name in the hub's local cache; nothing is downloaded."""
    if name and Path(name).is_dir():
        return sorted(Path(name).glob("*.safetensors"))
    from huggingface_hub import try_to_load_from_cache

    for file in ("model.safetensors", "model.safetensors.index.json"):
        try:
            found = try_to_load_from_cache(name, file)
        except ValueError:
            return []
        if isinstance(found, str):
            return sorted(Path(found).parent.glob("*.safetensors"))
    return []


def tensor_names(file: Path) -> list[str]:
    """Names of the tensors in a safetensors file, from its header alone.

    Raises:
        ValueError: the header is not one.
    """
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        if size > LONGEST_HEADER:
            raise ValueError(f"{file.name} has no safetensors header")
        header = json.loads(stream.read(size))
    return [name for name in header if name != "__metadata__"]
