"""Each probe against a slow, obvious computation; each fault planted once: present it is named, absent all is quiet."""

import io
import math
import tempfile

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import holter  # noqa: E402
from holter.errors import ConfigError  # noqa: E402
from holter.finding import Basis, Severity  # noqa: E402
from holter.preflight import check  # noqa: E402
from holter.probes import measure  # noqa: E402

CLASSES = 6
PAD = 0


class Rows(torch.utils.data.Dataset):
    def __init__(self, seed, rows=24, classes=CLASSES, text=False):
        draw = torch.Generator().manual_seed(seed)
        lengths = torch.randint(4, 10, (rows,), generator=draw).tolist()
        self.rows = []
        for length in lengths:
            ids = torch.randint(5, 60, (length,), generator=draw)
            self.rows.append({"input_ids": ids, "labels": ids.clone() if text else ids[0] % classes})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return dict(self.rows[index])


def collate(rows, pad=PAD):
    longest = max(len(row["input_ids"]) for row in rows)

    def stack(name, fill):
        return torch.stack([torch.nn.functional.pad(r[name], (0, longest - len(r[name])), value=fill) for r in rows])

    ids = stack("input_ids", pad)
    mask = torch.stack([(torch.arange(longest) < len(r["input_ids"])).long() for r in rows])
    whole = rows[0]["labels"].ndim == 1
    labels = stack("labels", -100) if whole else torch.stack([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def classifier(**changes):
    torch.manual_seed(0)
    config = transformers.Qwen3Config(**{**SIZES, "num_labels": CLASSES, "pad_token_id": PAD, **changes})
    return transformers.Qwen3ForSequenceClassification(config)


SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def trainer_of(model, train=None, held=None, collator=collate, **args):
    torch.set_num_threads(1)
    settings = {
        "output_dir": tempfile.gettempdir(),
        "use_cpu": True,
        "report_to": "none",
        "per_device_train_batch_size": 8,
    }
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            **{**settings, "learning_rate": 1e-3, "max_steps": 20, "logging_steps": 1, **args}
        ),
        train_dataset=train or Rows(1),
        eval_dataset=held or Rows(2, rows=8),
        data_collator=collator,
    )
    trainer.model_accepts_loss_kwargs = False
    return trainer


def codes(found):
    return {f.code for f in found.diagnosis.findings if f.severity >= Severity.WARNING}


def facts_of(built):
    return {name: values[0].value for name, values in measure(built).facts.items()}


@pytest.fixture(scope="module")
def healthy():
    trainer = trainer_of(classifier())
    torch.manual_seed(5)
    return trainer, check(trainer)


def test_a_healthy_set_up_is_healthy_and_says_what_ran(healthy):
    _, found = healthy
    assert found.ok, [f.message for f in found.diagnosis.findings]
    assert [gap.source.key for gap in found.run.gaps] == ["tokenizer", "loading", "adapters"], (
        "and says what was lacking"
    )
    for form, mark in (("text", "HEALTHY"), ("json", '"verdict":"healthy"'), ("html", "<html"), ("markdown", "#")):
        stream = io.StringIO()
        found.write(stream, form)
        assert mark.lower() in stream.getvalue().lower().replace('": "', '":"')
        if form != "json":
            assert "What was measured" in stream.getvalue() and "first gradient norm" in stream.getvalue()


def test_measuring_leaves_everything_as_it_was():
    trainer = trainer_of(classifier())
    before = {name: p.detach().clone() for name, p in trainer.model.state_dict().items()}
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    measure(trainer)
    assert torch.equal(torch.rand(3), expected), "no random number was drawn for good"
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert all(p.grad is None for p in trainer.model.parameters())
    assert not any(m._forward_hooks for m in trainer.model.modules())
    assert trainer.optimizer is None


def test_probes_agree_with_plain_computations(healthy):
    trainer, found = healthy
    facts = {name: values[0].value for name, values in found.run.facts.items()}
    torch.manual_seed(5)
    batch = next(iter(trainer.get_train_dataloader()))
    model = trainer.model.eval()
    with torch.no_grad():
        outputs = model(**batch)
    assert facts["first_loss"] == pytest.approx(float(outputs.loss), rel=1e-5)
    assert facts["logits.std"] == pytest.approx(float(outputs.logits.std(-1).mean()), rel=1e-5)
    assert facts["batch.padding_share"] == pytest.approx(float((batch["input_ids"] == PAD).float().mean()))
    assert facts["first_loss.yardstick"] == pytest.approx(math.log(CLASSES))
    assert facts["data.train.rows"] == 24 and facts["data.eval.rows"] == 8
    labels = [int(row["labels"]) for row in trainer.train_dataset.rows]
    assert facts["data.train.classes"] == len(set(labels))
    assert facts["data.train.label_max"] == max(labels)
    assert facts["data.train.length.max"] == max(len(r["input_ids"]) for r in trainer.train_dataset.rows)
    assert facts["trainable.parameters"] == sum(p.numel() for p in model.parameters())
    assert facts["schedule.max_rate"] == pytest.approx(1e-3) and facts["schedule.steps"] == 20
    largest = facts["headroom.activation.max"]
    module = dict(model.named_modules())[facts["headroom.activation.module"]]
    seen = []
    handle = module.register_forward_hook(lambda m, i, o: seen.append(float(o.abs().max())))
    with torch.no_grad():
        model(**batch)
    handle.remove()
    assert largest == pytest.approx(max(seen), rel=1e-5)
    assert facts["headroom.fp16_bits"] <= math.log2(65504 / largest) + 1e-6


def test_update_ratio_is_that_of_two_plain_steps():
    trainer = trainer_of(classifier(), weight_decay=0.0)
    torch.manual_seed(5)
    batches = [b for _, b in zip(range(2), trainer.get_train_dataloader(), strict=False)]
    torch.manual_seed(5)
    median = facts_of(trainer)["update.ratio.median"]
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-3, weight_decay=0.0)
    trainer.model.train()
    for batch in batches:
        optimizer.zero_grad()
        trainer.model(**batch).loss.backward()
        optimizer.step()
    params = trainer.model.named_parameters()
    ratios = sorted(float((p.detach() - before[n]).norm() / before[n].norm()) for n, p in params)
    assert median == pytest.approx(ratios[len(ratios) // 2], rel=1e-4)


def broken_accumulation():
    trainer = trainer_of(classifier(), per_device_train_batch_size=4, gradient_accumulation_steps=2)
    trainer.model_accepts_loss_kwargs = True
    return trainer


def all_masked():
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SIZES, pad_token_id=PAD))

    def masked(rows):
        batch = collate(rows)
        return {**batch, "labels": torch.full_like(batch["labels"], -100)}

    return trainer_of(model, Rows(1, text=True), Rows(2, rows=8, text=True), collator=masked)


def pads_counted():
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SIZES, pad_token_id=PAD))

    def counted(rows):
        batch = collate(rows)
        return {**batch, "labels": batch["input_ids"].clone()}

    return trainer_of(model, Rows(1, text=True), Rows(2, rows=8, text=True), collator=counted)


def frozen_head():
    model = classifier()
    model.score.requires_grad_(False)
    return trainer_of(model)


def wide_head():
    model = classifier()
    torch.nn.init.normal_(model.score.weight, std=3.0)
    return trainer_of(model)


def overflowing():
    model = classifier()
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(3e7)
    trainer = trainer_of(model)
    trainer.args.fp16 = True
    return trainer


def shared_rows():
    train = Rows(1)
    held = Rows(1, rows=8)
    held.rows = train.rows[:8]
    return trainer_of(classifier(), train, held)


def encoder():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_labels=CLASSES,
        initializer_range=0.3,
    )
    return transformers.BertForSequenceClassification(config)


def no_mask(rows):
    batch = collate(rows)
    return {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}


PLANTED = [
    ("LOS101", "grad-accum-loss-scale", broken_accumulation),
    ("LAB102", "labels-all-masked", all_masked),
    ("LAB103", "labels-not-masked", pads_counted),
    ("MOD101", "head-not-trained-or-saved", frozen_head),
    ("MOD105", "head-initialisation", wide_head),
    ("NUM101", "fp16-overflow", overflowing),
    ("DAT101", "eval-leak", shared_rows),
    ("OPT101", "warmup-too-long", lambda: trainer_of(classifier(), warmup_steps=500)),
    ("TOK104", "attention-mask-missing", lambda: trainer_of(encoder(), collator=no_mask)),
]


@pytest.mark.parametrize(("code", "cause", "build"), PLANTED, ids=[p[0] for p in PLANTED])
def test_a_planted_fault_is_measured_and_named(code, cause, build):
    found = check(build())
    assert code in codes(found), [(g.source.key, g.why) for g in found.run.gaps]
    named = [c.cause for c in found.diagnosis.causes]
    assert cause in named[:3]
    finding = next(f for f in found.diagnosis.findings if f.code == code)
    assert finding.basis is Basis.MEASURED


def test_label_beyond_the_head_is_named_though_the_loss_fails():
    found = check(trainer_of(classifier(), Rows(1, classes=9), Rows(2, classes=9)))
    assert "LAB101" in codes(found)
    assert found.diagnosis.causes[0].cause == "label-out-of-range"
    assert any(gap.source.key == "logits" for gap in found.run.gaps), "what could not run is listed"


def test_a_plain_loop_and_what_is_none():
    model = classifier()
    loader = [collate([Rows(1)[i] for i in range(4)])]
    found = holter.check((model, loader, torch.optim.SGD(model.parameters(), lr=0.1)))
    assert found.run.fact("update.moved") is not None
    with pytest.raises(ConfigError, match="nothing to check"):
        holter.check(3)
