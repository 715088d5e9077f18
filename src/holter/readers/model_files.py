"""JSON files beside a model: ``config.json``, ``tokenizer_config.json``, ``generation_config.json``, the adapter's own.

Each names padding and end tokens; they are kept apart, so that a disagreement shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holter.names import config_name
from holter.readers.documents import tool_of
from holter.readers.tree import Entry, Node, Tree, flatten

_MODEL_WORDS = """
architectures model_type vocab_size num_labels pad_token_id eos_token_id bos_token_id decoder_start_token_id
problem_type tie_word_embeddings num_hidden_layers hidden_size num_attention_heads attn_implementation
checkpoint_dtype model_name_or_path
"""
_MODEL_SETTINGS = frozenset(_MODEL_WORDS.split())
_TOKENS = ("pad_token", "eos_token", "bos_token", "unk_token", "sep_token", "cls_token", "mask_token")

Special = Callable[[Node], Iterator[tuple[Entry, str | None]]]


def is_model_config(tree: Tree) -> bool:
    return any({"model_type", "architectures", "transformers_version"} & document.keys() for document in tree.documents)


def _model(document: Node) -> Iterator[tuple[Entry, str | None]]:
    """Of a model's config only what concerns training keeps its plain name: its ``max_length`` is one of generation."""
    labels = document.get("id2label")
    if labels is not None and labels.pairs:
        yield Entry(key="num_labels", value=len(labels.pairs), line=labels.line, raw="id2label"), None
    for entry in flatten(document):
        if entry.key.split(".")[0] in ("id2label", "label2id"):
            continue
        name = config_name(entry.key, "config")
        if name in _MODEL_SETTINGS and (
            "." not in entry.key or (entry.key.startswith("text_config.") and document.get(entry.key[12:]) is None)
        ):
            yield _renamed(entry, name), None
        else:
            yield _renamed(entry, f"model_config.{entry.key}"), None


def _renamed(entry: Entry, key: str) -> Entry:
    return Entry(key=key, value=entry.value, line=entry.line, raw=entry.raw)


def _tokenizer(document: Node) -> Iterator[tuple[Entry, str | None]]:
    ids = _token_ids(document)
    for key, node in document.pairs or ():
        if key == "added_tokens_decoder":
            continue
        if key in _TOKENS:
            content = node.get("content") if node.pairs is not None else node
            token = content.value if content is not None else None
            yield Entry(key=f"tokenizer.{key}", value=token, line=node.line, raw=str(token)), None
            if token in ids:
                yield Entry(key=f"tokenizer.{key}_id", value=ids[token], line=node.line, raw=str(token)), None
        elif key in ("padding_side", "truncation_side", "tokenizer_class"):
            yield Entry(key=key, value=node.value, line=node.line, raw=node.raw), None
        else:
            for entry in flatten(node, f"tokenizer.{key}"):
                yield entry, None


def _token_ids(document: Node) -> dict[object, int]:
    added = document.get("added_tokens_decoder")
    found: dict[object, int] = {}
    for number, token in (added.pairs or ()) if added is not None else ():
        content = token.get("content")
        if content is not None and number.isdigit():
            found[content.value] = int(number)
    return found


def _generation(document: Node) -> Iterator[tuple[Entry, str | None]]:
    for entry in flatten(document):
        yield _renamed(entry, f"generation.{entry.key}"), None


def _adapter(document: Node) -> Iterator[tuple[Entry, str | None]]:
    for entry in flatten(document):
        yield entry, "peft"


def _any(document: Node) -> Iterator[tuple[Entry, str | None]]:
    tool = tool_of(document)
    for entry in flatten(document):
        yield entry, tool


BY_NAME: dict[str, Special] = {
    "config.json": _model,
    "tokenizer_config.json": _tokenizer,
    "special_tokens_map.json": _tokenizer,
    "generation_config.json": _generation,
    "adapter_config.json": _adapter,
    "training_args.json": _any,
    "train_config.json": _any,
    "ds_config.json": _any,
    "deepspeed.json": _any,
    "deepspeed_config.json": _any,
}
