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
    name = getattr(getattr(subject.core, "config", None), "_name_or_path", "") or ""
    folder = Path(name)
    files = sorted(folder.glob("*.safetensors")) if name and folder.is_dir() else []
    if not files:
        raise Lacks("a local checkpoint in safetensors, so what was loaded is not known")
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
