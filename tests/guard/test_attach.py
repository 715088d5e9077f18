"""A guard that cannot attach never keeps a training from starting."""

import accounting_cases as cases

import holter
from holter.guard.core import Core


def test_training_starts_although_the_guard_cannot_attach(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Core, "attach", lambda *_: 1 / 0)
    guard = holter.Guard(folder=tmp_path)
    trainer = cases.build("BertForSequenceClassification", accumulation=1, max_steps=2, callbacks=[guard])
    trainer.train()
    assert trainer.state.global_step == 2
    assert [r for r in caplog.records if "could not attach" in r.getMessage()]


def test_an_engine_that_steps_by_itself_is_left_alone_and_that_is_said(tmp_path, monkeypatch, caplog):
    guard = holter.Guard(folder=tmp_path)
    trainer = cases.build("BertForSequenceClassification", accumulation=1, max_steps=1)
    monkeypatch.setattr(guard, "_calling_trainer", lambda: trainer)
    trainer.is_deepspeed_enabled = True
    guard.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model, optimizer=object())
    assert guard.core is None
    assert "does not watch" in caplog.text
