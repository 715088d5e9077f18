"""Several files of one training become one Run, and nothing is dropped."""

import json

from holter.readers import read
from holter.readers.merge import merge
from holter.run import Run, Series, Source


def series(name, file, values, steps=None):
    made = Series(name=name, source=Source(file=file))
    for index, value in enumerate(values):
        made.append(value, step=steps[index] if steps else float("nan"))
    return made


def part(*found):
    run = Run()
    for each in found:
        (run.other_series.append(each) if each.name in run.series else run.series.update({each.name: each}))
    return run


def test_the_fullest_loss_leads_and_its_file_is_believed_for_all_it_holds():
    short = part(series("loss", "a", [1.0]), series("grad_norm", "a", [1.0, 2.0, 3.0]), series("reward", "a", [5.0]))
    long = part(series("loss", "b", [3.0, 2.0, 1.0]), series("grad_norm", "b", [9.0]))
    run = merge([short, long])
    assert (run.series["loss"].source.file, run.series["grad_norm"].source.file) == ("b", "b")
    assert run.series["reward"].source.file == "a"
    assert sorted((each.name, each.source.file) for each in run.other_series) == [("grad_norm", "a"), ("loss", "a")]


def test_of_two_as_full_the_one_with_steps_is_believed():
    bare, placed = series("loss", "a", [2.0, 1.0]), series("loss", "b", [2.0, 1.0], steps=[1, 2])
    assert merge([part(bare), part(placed)]).series["loss"] is placed
    assert merge([part(bare), part(series("loss", "c", [2.0, 1.0]))]).series["loss"] is bare


def test_a_log_kept_for_comparison_is_not_believed_beside_the_run(tmp_path):
    (tmp_path / "log.txt").write_text("Step 1: loss=9.0\n")
    (tmp_path / "log_good.txt").write_text("Step 1: loss=2.0, loss_scale=128\nStep 2: loss=1.0, loss_scale=128\n")
    run = read([tmp_path])
    assert list(run.series["loss"].values) == [9.0]
    assert "loss_scale" not in run.series
    assert {each.name for each in run.other_series} == {"loss", "loss_scale"}
    assert len(read([tmp_path / "log_good.txt"]).series["loss"]) == 2


def test_a_train_loss_of_every_epoch_is_the_loss_and_one_at_the_end_is_not(tmp_path):
    epochs, summary = tmp_path / "epochs.log", tmp_path / "summary.log"
    epochs.write_text("Epoch 1 | train_loss: 2.0 | val_loss: 3.0\nEpoch 2 | train_loss: 1.0 | val_loss: 2.0\n")
    summary.write_text("{'loss': 2.0, 'epoch': 1.0}\n{'train_runtime': 9.0, 'train_loss': 1.5, 'epoch': 1.0}\n")
    assert list(read([epochs]).series["loss"].values) == [2.0, 1.0]
    run = read([summary])
    assert (list(run.series["loss"].values), list(run.series["train_loss"].values)) == ([2.0], [1.5])


def test_a_log_and_a_state_of_one_run(tmp_path):
    history = [{"step": step, "loss": 1.0 / step, "epoch": step / 10} for step in (1, 2, 3)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history, "max_steps": 3}))
    (tmp_path / "train.log").write_text(
        "".join(f"{ {'loss': row['loss'], 'epoch': row['epoch']} }\n" for row in history)
    )
    run = read([tmp_path])
    assert run.series["loss"].source.file == "trainer_state.json"
    assert [each.source.file for each in run.other_series] == ["train.log"]
    assert not list(run.conflicts())


def test_the_same_input_gives_the_same_run(tmp_path):
    for name in ("b.log", "a.log", "c/d.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"Step 1: loss=2.0\nhello from {name}\n")
    assert repr(read([tmp_path])) == repr(read([tmp_path]))
