"""The model of a recipe: the real class, from a published checkpoint or from sizes, with its ids checked."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from holter.errors import ConfigError, MissingExtra
from holter.recipes.settings import Settings

Tokenizer = Any
Model = Any


def model_for(settings: Settings, tokenizer: Tokenizer, classes: tuple[str, ...]) -> Model:
    """Build or load, set the special ids on tokenizer and model, add adapters.

    Args:
        settings: of the recipe.
        tokenizer: whose ids the model must share.
        classes: names of the classes; empty where there are none.

    Raises:
        ConfigError: ids that do not fit, or adapters that match nothing.
    """
    import torch

    torch.manual_seed(settings.training.seed)
    _give_padding(tokenizer)
    if settings.model.model_name_or_path:
        model = _load(settings, classes)
    else:
        model = _build(settings, tokenizer, classes)
        _draw_embeddings(model, settings.model.embedding_init_std)
    _share_ids(model, tokenizer)
    _plant(model, settings)
    check_ids(model, tokenizer, planted=settings.faults.model_pad_token_id is not None)
    if settings.is_lora:
        from holter.recipes.adapters import adapted

        model = adapted(model, settings)
    return model


def _give_padding(tokenizer: Tokenizer) -> None:
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            why = "the tokenizer has neither a padding nor an end token"
            raise ConfigError("batches cannot be padded", where="tokenizer_dir", why=why, do="use another tokenizer")
        tokenizer.pad_token = tokenizer.eos_token


def _build(settings: Settings, tokenizer: Tokenizer, classes: tuple[str, ...]) -> Model:
    import transformers

    sizes = dict(settings.model.model_config)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    vocab_size = _rounded(len(tokenizer))
    if settings.is_classification:
        labels = {"num_labels": len(classes), **ids}
        qwen = transformers.Qwen3Config(vocab_size=vocab_size, **(sizes | labels))
        return transformers.Qwen3ForSequenceClassification(qwen)
    shape = {"decoder_start_token_id": ids["pad_token_id"]}
    if settings.recipe == "runyoro":
        mt5 = transformers.MT5Config(vocab_size=vocab_size, **(shape | sizes | ids))
        return transformers.MT5ForConditionalGeneration(mt5)
    t5 = transformers.T5Config(vocab_size=vocab_size, **(shape | sizes | ids))
    return transformers.T5ForConditionalGeneration(t5)


def _draw_embeddings(model: Model, std: float | None) -> None:
    """Fresh embeddings and, where it is another tensor, the output layer of a generating model."""
    import torch

    if std is not None:
        layers = {id(m.weight): m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m}
        for weight in layers.values():
            torch.nn.init.normal_(weight, std=std)


def _rounded(tokens: int) -> int:
    """The next multiple of 8, which is kind to matrix units; no token is ever beyond it."""
    return -(-tokens // 8) * 8


def _load(settings: Settings, classes: tuple[str, ...]) -> Model:
    import transformers

    options: dict[str, Any] = {}
    if settings.model.load_in_8bit or settings.model.load_in_4bit:
        if find_spec("bitsandbytes") is None:
            why = "load_in_8bit and load_in_4bit are carried out by bitsandbytes, which is not installed"
            raise MissingExtra("the base cannot be quantised", why=why, do="pip install 'holter[quantization]'")
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=settings.model.load_in_8bit, load_in_4bit=settings.model.load_in_4bit
        )
    name = settings.model.model_name_or_path
    if settings.is_classification:
        named = {"num_labels": len(classes), "id2label": dict(enumerate(classes))}
        named["label2id"] = {label: i for i, label in enumerate(classes)}
        return transformers.AutoModelForSequenceClassification.from_pretrained(name, **named, **options)
    return transformers.AutoModelForSeq2SeqLM.from_pretrained(name, **options)


def _share_ids(model: Model, tokenizer: Tokenizer) -> None:
    holders = [model.config, getattr(model, "generation_config", None)]
    for holder in (h for h in holders if h is not None):
        holder.pad_token_id = tokenizer.pad_token_id
        if not isinstance(holder.eos_token_id, list):
            holder.eos_token_id = tokenizer.eos_token_id
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(_rounded(len(tokenizer)))


def _plant(model: Model, settings: Settings) -> None:
    """The faults of `FaultSettings` that live in the model, for demonstrations."""
    import torch

    faults = settings.faults
    if faults.head_init_std is not None:
        head = model.score if settings.is_classification else model.lm_head
        torch.nn.init.normal_(head.weight, std=faults.head_init_std)
    if faults.model_pad_token_id is not None:
        model.config.pad_token_id = faults.model_pad_token_id
    if faults.fp16_activations:
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(_through_fp16)


def _through_fp16(module: Any, inputs: Any, output: Any) -> Any:
    return output.half().to(output.dtype)


def check_ids(model: Model, tokenizer: Tokenizer, *, planted: bool = False) -> None:
    """Whether padding and end are the same on tokenizer and model, and every id has an embedding.

    A classifier head finds the last token of a row by the model's pad id; with another id than the tokenizer's it
    reads a padding position.

    Raises:
        ConfigError: naming both values.
    """
    rows = model.get_input_embeddings().num_embeddings
    pad = (model.config.pad_token_id, tokenizer.pad_token_id)
    if pad[0] != pad[1] and not planted:
        why = f"the model has {pad[0]}, the tokenizer {pad[1]}"
        raise ConfigError("the pad ids differ", where="pad_token_id", why=why, do="set both to the tokenizer's")
    if max(len(tokenizer) - 1, tokenizer.pad_token_id, tokenizer.eos_token_id or 0) >= rows:
        why = f"the tokenizer has {len(tokenizer)} tokens, the embedding {rows} rows"
        raise ConfigError("a token has no embedding", where="vocab_size", why=why, do="resize the embeddings")
