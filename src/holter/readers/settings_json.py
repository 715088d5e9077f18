"""JSON settings: Trainer arguments, DeepSpeed, PEFT's ``adapter_config.json``, and the files beside a model.

``config.json``, ``tokenizer_config.json`` and ``generation_config.json`` each name padding and end tokens. They are
kept apart (``pad_token_id``, ``tokenizer.pad_token``, ``generation.pad_token_id``), so that a disagreement shows.
"""

from __future__ import annotations

from holter.readers.base import CERTAIN, LIKELY, UNSURE, Match, Sample
from holter.run import Authority, Run

NAME = "JSON settings"

IGNORED = frozenset(
    {
        "tokenizer.json",
        "vocab.json",
        "added_tokens.json",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
        "preprocessor_config.json",
        "package.json",
        "package-lock.json",
        "dataset_info.json",
        "trainer_state.json",
    }
)
"""Files that hold weights' addresses, vocabularies or data, never settings of a run."""

NAMED = frozenset(
    {
        "config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
        "adapter_config.json",
        "training_args.json",
        "train_config.json",
        "ds_config.json",
        "deepspeed.json",
        "deepspeed_config.json",
    }
)

FEW_KNOWN = 2  # one key that happens to be called ``seed`` does not make settings


def sniff(sample: Sample) -> Match | None:
    """A JSON object of a known name, or one with keys that are settings."""
    if sample.encoding is None or sample.name in IGNORED or not sample.text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    if sample.name in NAMED:
        return Match(score=CERTAIN, why=f"is named {sample.path.name}")
    if sample.suffix not in (".json", ".json5", ".jsonc"):
        return None
    if not sample.whole:
        return Match(score=UNSURE - 5, why="a large JSON object")
    from holter.readers.documents import knows
    from holter.readers.json_tree import read_json

    known = knows(read_json(sample.text))
    if known >= FEW_KNOWN:
        return Match(score=LIKELY - 5, why=f"a JSON object with {known} known settings")
    return Match(score=UNSURE, why="a JSON object")


def read(sample: Sample) -> Run:
    """The settings of the file, by what its name says it is."""
    from holter.readers.documents import add_documents, add_entry, add_faults, too_large
    from holter.readers.json_tree import read_json
    from holter.readers.model_files import BY_NAME, is_model_config
    from holter.readers.tree import TooLarge

    run, tree = Run(), read_json(sample.read_text())
    special = BY_NAME.get(sample.name)
    if special is None or (sample.name == "config.json" and not is_model_config(tree)):
        add_documents(run, tree, sample.source())
        return run
    try:
        for document in tree.documents:
            for entry, tool in special(document):
                add_entry(run, entry, sample.source(), authority=Authority.CONFIG, tool=tool)
    except TooLarge:
        run.gaps.append(too_large(sample.source()))
    add_faults(run, tree, sample.source())
    return run
