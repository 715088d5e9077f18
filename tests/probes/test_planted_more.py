"""Faults of data, tokens, adapters and optimizer, each planted once in a small set-up of real classes."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from holter.finding import Basis, Severity  # noqa: E402
from holter.preflight import check  # noqa: E402

from .test_measure import PAD, SIZES, Rows, classifier, collate, trainer_of  # noqa: E402

EOS = 4
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # what PEFT asks
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),  # the planted fault itself
]


def words():
    """A tokenizer of whole words w0 ... w59 with pad 0 and end 4."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {**{f"w{i}": i for i in range(60)}, "<pad>": 60, "</s>": 61}
    vocabulary = {**{w: i for w, i in vocabulary.items() if i not in (PAD, EOS)}, "<pad>": PAD, "</s>": EOS}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="w1"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="w1", model_max_length=64
    )


def language_model(**changes):
    torch.manual_seed(0)
    config = transformers.Qwen3Config(**{**SIZES, "pad_token_id": PAD, "eos_token_id": EOS, **changes})
    return transformers.Qwen3ForCausalLM(config)


class Listed(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return dict(self.rows[index])


def text_rows(seed, rows=16, change=lambda row: row):
    found = []
    for row in Rows(seed, rows=rows, text=True).rows:
        ids = torch.cat([row["input_ids"], torch.tensor([EOS])])
        found.append(change({"input_ids": ids, "labels": ids.clone()}))
    return Listed(found)


def generator(change=lambda row: row, collator=collate, model=None, **args):
    trainer = trainer_of(model or language_model(), text_rows(1, 24, change), text_rows(2, 8, change), collator, **args)
    trainer.processing_class = words()
    return trainer


def classes_of(change, train=24):
    """A classifier on rows of a table that ``change`` has changed, number by number."""
    held = Listed([change(i, row) for i, row in enumerate(Rows(2, rows=8).rows)])
    return trainer_of(classifier(), Listed([change(i, row) for i, row in enumerate(Rows(1, rows=train).rows)]), held)


def emptied():
    def change(row):
        short = len(row["input_ids"]) <= 6
        return {**row, "labels": torch.full_like(row["labels"], -100)} if short else row

    return generator(change)


def cut():
    tokenizer = words()
    tokenizer.model_max_length = 6
    trainer = generator(lambda row: {name: value[:6] for name, value in row.items()})
    trainer.processing_class = tokenizer
    return trainer


def end_masked():
    def hidden(rows):
        batch = collate(rows)
        return {**batch, "labels": batch["labels"].masked_fill(batch["input_ids"] == EOS, -100)}

    trainer = generator(collator=hidden, model=language_model(pad_token_id=EOS))
    trainer.processing_class.pad_token = "</s>"
    return trainer


def with_column(rows):
    plain = [{k: v for k, v in row.items() if k in ("input_ids", "labels")} for row in rows]
    return {**collate(plain), "token_type_ids": torch.stack([row["token_type_ids"] for row in rows])}


def lora(model, **settings):
    from peft import LoraConfig, get_peft_model

    config = {"r": 2, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **settings}
    return get_peft_model(model, LoraConfig(**config))


def new_tokens_frozen():
    tokenizer, model = words(), language_model()
    tokenizer.add_tokens(["<a>", "<b>"])
    new = tokenizer.convert_tokens_to_ids("<a>")
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table[new] = table.mean(0)

    def change(row):
        ids = row["input_ids"].clone()
        ids[1] = new
        return {"input_ids": ids, "labels": ids.clone()}

    trainer = generator(change, model=lora(model))
    trainer.processing_class = tokenizer
    return trainer


def checkpointed_without_inputs():
    """All up to the first layer is frozen, so reentrant checkpointing cuts the layers off, as in older libraries."""
    model = classifier()
    model.get_input_embeddings().requires_grad_(False)
    model.enable_input_require_grads = lambda: None
    word = "activation" if hasattr(transformers.TrainingArguments, "activation_checkpointing") else "gradient"
    chosen = {f"{word}_checkpointing": True, f"{word}_checkpointing_kwargs": {"use_reentrant": True}}
    return trainer_of(model, **chosen)


def with_optimizer(trainer, optimizer):
    trainer.optimizer = optimizer
    return trainer


def half_weights(eps):
    model = classifier().to(torch.bfloat16)
    return trainer_of(model, adam_epsilon=eps, learning_rate=1e-6)


def decayed():
    model = classifier()
    groups = [{"params": list(model.parameters()), "weight_decay": 5.0}]
    return with_optimizer(trainer_of(model, max_steps=200), torch.optim.AdamW(groups, lr=1e-3))


def clipped_sgd():
    model = classifier()
    trainer = trainer_of(model, max_grad_norm=1e-3)
    return with_optimizer(trainer, torch.optim.SGD(model.parameters(), lr=1e-3))


def padded_to_the_limit():
    def padded(rows):
        batch = collate(rows)
        wide = {"input_ids": PAD, "attention_mask": 0}
        extra = {n: torch.nn.functional.pad(batch[n], (0, 40), value=v) for n, v in wide.items()}
        return {**batch, **extra}

    return trainer_of(classifier(), collator=padded)


def quantised():
    model = language_model()
    model.is_quantized = True
    trainer = generator()
    trainer.model = model
    return trainer


def garbled():
    def change(row):
        return {**row, "text": "SeÃ±or\x07 of row"}

    return generator(change, collator=lambda rows: collate([{k: r[k] for k in ("input_ids", "labels")} for r in rows]))


def repeated_ids():
    return classes_of(lambda i, row: {**row, "doc_id": i % 14})


def constant_labels():
    return classes_of(lambda i, row: {**row, "labels": torch.tensor(2)})


def far_layers():
    return generator(model=lora(language_model(), layers_to_transform=[0, -1]))


def other_pad():
    trainer = trainer_of(classifier(pad_token_id=9))
    trainer.processing_class = words()
    return trainer


def table_too_short():
    trainer = generator()
    trainer.processing_class.add_tokens([f"<new{i}>" for i in range(8)])
    return trainer


def end_twice():
    def change(row):
        return {name: torch.cat([value, torch.tensor([EOS])]) for name, value in row.items()}

    return generator(change)


def tokens_only(rows):
    return collate([{k: row[k] for k in ("input_ids", "labels")} for row in rows])


PLANTED = [
    ("DAT103", "labels-all-masked", emptied),
    ("DAT104", None, cut),
    ("DAT105", None, garbled),
    ("DAT106", None, repeated_ids),
    ("DAT108", None, constant_labels),
    ("DAT102", None, lambda: trainer_of(classifier(), Rows(1, rows=40, classes=3), Rows(2, rows=12))),
    ("LAB104", "pad-equals-eos", end_masked),
    ("TOK101", "pad-token-wrong", other_pad),
    ("TOK102", "embeddings-not-resized", table_too_short),
    ("TOK103", "double-special-tokens", end_twice),
    ("TOK105", "new-tokens-frozen", new_tokens_frozen),
    ("MOD102", "checkpointing-no-input-grad", checkpointed_without_inputs),
    ("MOD103", "low-precision-weight-update", lambda: half_weights(1e-8)),
    ("NUM103", "low-precision-weight-update", lambda: half_weights(1e-8)),
    ("NUM104", "optimizer-eps-underflow", lambda: generator(model=language_model().half())),
    ("OPT102", "grad-clip-too-strict", clipped_sgd),
    ("OPT103", None, decayed),
    ("SYS102", None, padded_to_the_limit),
    ("MOD107", "adapter-targets-unmatched", far_layers),
    ("MOD108", "quantized-without-adapter", quantised),
]


@pytest.mark.parametrize(("code", "cause", "build"), PLANTED, ids=[p[0] for p in PLANTED])
def test_a_planted_fault_is_measured_and_named(code, cause, build):
    built = build()
    if code == "DAT106":
        built.data_collator, built.args.remove_unused_columns = tokens_only, False
    found = check(built)
    seen = {f.code: f for f in found.diagnosis.findings if f.severity >= Severity.WARNING}
    assert code in seen, [(g.source.key, g.why) for g in found.run.gaps]
    assert seen[code].basis is Basis.MEASURED
    if cause is not None:
        assert cause in [c.cause for c in found.diagnosis.causes[:3]]


@pytest.mark.parametrize("build", [generator, lambda: generator(model=lora(language_model()), learning_rate=2e-4)])
def test_without_a_fault_all_is_quiet(build):
    found = check(build())
    assert found.ok, [(f.code, f.message) for f in found.diagnosis.findings]
    assert found.run.fact("batch.labels.rows_with_end").value == found.run.fact("batch.labels.rows").value
    assert "⟪" in found.run.fact("batch.row").value


def test_weights_that_the_checkpoint_lacks_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    classifier().save_pretrained(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    lost = "model.layers.1.mlp.up_proj.weight"
    save_file({n: t for n, t in whole.items() if n != lost}, tmp_path / "model.safetensors", {"format": "pt"})
    model = transformers.Qwen3ForSequenceClassification.from_pretrained(tmp_path)
    found = check(trainer_of(model))
    assert found.run.fact("loading.missing").value == [lost]
    assert "weights-loaded-wrong" in [c.cause for c in found.diagnosis.causes]


def test_a_leaking_column_is_found_where_it_reaches_the_model():
    from holter.probes.rows import gather

    rows = [{"input_ids": [i], "label": i % 3, "code": f"c{i % 6}", "noise": i % 5, "key": str(i)} for i in range(60)]
    split = gather(rows)
    assert set(split.leaks) == {"code", "key"}, "noise stands with several labels"
    trainer = classes_of(lambda i, row: {**row, "kind": int(row["labels"])})
    trainer.args.remove_unused_columns = False
    trainer.data_collator = lambda rows: {**tokens_only(rows), "kind": torch.tensor([row["kind"] for row in rows])}
    assert "DAT107" in {f.code for f in check(trainer).diagnosis.findings}
