"""Of which rows a number in a log is: of those trained on or of held-out ones."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from holter.readers.console.phases import named
from holter.readers.console_log import read_lines
from holter.run import Run

TWINS = {"loss": [0.31, 0.21], "eval_loss": [0.51, 0.61], "accuracy": [0.91, 0.96], "eval_accuracy": [0.81, 0.79]}
LOSSES = {"loss": [0.31, 0.21], "eval_loss": [0.51, 0.61]}


def log(text: str) -> Run:
    return read_lines(enumerate(text.split("\n"), 1), "train.log")


def read(template: str, first: str = "") -> dict[str, list[float]]:
    """The series of two epochs in a layout; ``L``, ``A``, ``VL``, ``VA`` and ``E`` stand for the numbers."""
    text = first
    for epoch in (0, 1):
        row = {name: str(TWINS[series][epoch]) for name, series in NAMES.items()}
        text += template.format(E=epoch + 1, **row, VN=int(float(row["VA"]) * 100)) + "\n"
    run = log(text)
    found = {name: list(series) for name, series in run.series.items()}
    if "train_loss" in found and "loss" not in found:
        found["loss"] = found.pop("train_loss")
    return found


NAMES = {"L": "loss", "A": "accuracy", "VL": "eval_loss", "VA": "eval_accuracy"}

LAYOUTS = {
    "full stops": "epoch {E}: train loss {L}. train accuracy {A}\nepoch {E}: test loss {VL}. test accuracy {VA}",
    "glued": "epoch:{E}loss: {L}accuracy: {A}val_loss: {VL}val_acc: {VA}",
    "sections of a line": "{E}epoch results: [train] loss={L}, acc={A}, train_time=0.8, [valid] loss={VL}, acc={VA}, time=9 s",
    "sections with brackets": "epoch {E} train [loss {L}, acc {A}] test [loss {VL}, acc {VA}]",
    "tuples": "Epoch: {E}   Train: (loss = {L}, acc = {A})   Test: (loss = {VL}, acc = {VA})",
    "word before two pairs": "Epoch {E}/9\n-----\ntrain Loss: {L} Acc: {A}\nval Loss: {VL} Acc: {VA}",
    "headings": "=== Epoch {E} ===\nTraining:\n  loss: {L}\n  accuracy: {A}\nValidation:\n  loss: {VL}\n  accuracy: {VA}",
    "abbreviated": "Epoch: {E} | Time: 0m 21s\n\tTrain Loss: {L} | Train Acc: {A}\n\t Val. Loss: {VL} |  Val. Acc: {VA}",
    "both in one": "Epoch {E} | loss (train/val): {L} / {VL} | acc (train/val): {A} / {VA}",
    "sentences": "After epoch {E} the training loss is {L} and the training accuracy is {A}\n"
    "After epoch {E} the validation loss is {VL} and the validation accuracy is {VA}",
    "MXNet": "Epoch[{E}] Train-accuracy={A}\nEpoch[{E}] Train-cross-entropy={L}\n"
    "Epoch[{E}] Validation-accuracy={VA}\nEpoch[{E}] Validation-cross-entropy={VL}",
    "a mean beside the last batch": "Epoch: [{E}][10/20]\tLoss {L} (0.7)\tAcc@1 {A} (0.5)\n"
    "Test: [78/78]  Time: 0.1 (0.2)  Loss:  0.9 ({VL})  Acc@1: 0.3 ({VA})",
    "a count of right answers": "Epoch {E} train loss: {L} train acc: {A}\n"
    "Test set: Average loss: {VL}, Accuracy: {VN}/100 ({VN}%)",
    "a table of two phases": "Epoch {E}\n    Training |  Validation\nloss     |  {L}  |  {VL}\naccuracy |  {A}  |  {VA}",
    "a boxed table": "Epoch {E}\n╒═══════╤═════════╤════════════╕\n│ class │    loss │   accuracy │\n╞═══════╪═════════╪════════════╡\n"
    "│ train │  {L} │     {A} │\n│ vali  │  {VL} │     {VA} │\n╘═══════╧═════════╧════════════╛",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_rows_of_a_number_are_told(name):
    found = read(LAYOUTS[name])
    assert {series: found.get(series) for series in TWINS} == TWINS


OF_LOSSES = {
    "a word alone after the quantity": "Epoch {E} | iter 20 | loss train: {L}, val: {VL} | iter time: 3 ms",
    "the quantity first": "EPOCH {E}:\nLOSS train {L} valid {VL}",
    "XGBoost": "[{E}]\ttrain-mlogloss:{L}\tvalid-mlogloss:{VL}",
    "LightGBM": "[{E}]\ttraining's multi_logloss: {L}\tvalid_1's multi_logloss: {VL}",
    "Megatron": " iteration {E}/ 100 | lm loss: {L} | grad norm: 1.2 |\n"
    " validation loss at iteration {E} | lm loss value: {VL} | lm loss PPL: 3.1E+00 |",
    "Caffe": "I0514 09:12:15.121212 12345 solver.cpp:228] Iteration {E}, loss = {L}\n"
    "I0514 09:12:15.121212 12345 solver.cpp:337] Iteration {E}, Testing net (#0)\n"
    "I0514 09:12:15.121212 12345 solver.cpp:404]     Test net output #1: loss = {VL} (* 1 = {VL} loss)",
    "two bars": "Epoch {E}/inf, loss={L}: 100%|####| 24/24 [01:01<00:00,  3.3it/s]\n"
    "Validating, loss=9.9:  94%|###9| 11/12 [00:21<00:01,  5.6it/s]\rValidating, loss={VL}: 100%|####| 12/12 [00:21<00:00,  5.6it/s]",
}


@pytest.mark.parametrize("name", OF_LOSSES)
def test_the_rows_of_a_loss_are_told(name):
    found = read(OF_LOSSES[name])
    assert {series: found.get(series) for series in LOSSES} == LOSSES


def test_test_rows_beside_validation_stay_apart():
    found = read("epoch {E} train loss {L}\nDEV : loss {VL} - score {VA}\nTEST : loss 0.9 - score 0.4")
    assert found["eval_loss"] == LOSSES["eval_loss"]
    assert found["test_loss"] == [0.9, 0.9]


def test_a_heading_ends_when_a_quantity_comes_again():
    run = log("loss: 2.1  [  64/600]\nTest Error: \n Accuracy: 78.5%, Avg loss: 0.7\n\nloss: 1.9  [ 128/600]")
    assert list(run.series["loss"]) == [2.1, 1.9]
    assert list(run.series["eval_loss"]) == [0.7]
    assert list(run.series["eval_accuracy"]) == [0.785]


def test_a_score_with_a_twin_of_its_own_is_of_training_rows():
    run = log("loss: 0.3 - val_loss: 0.5 - acc: 0.9 - val_acc: 0.8")
    assert list(run.series["accuracy"]) == [0.9]


def test_a_step_between_name_and_number():
    run = log("Minibatch loss at step 100: 3.2\nMinibatch accuracy: 81.5%")
    assert run.series["loss"].step(0) == 100
    assert list(run.series["accuracy"]) == [0.815]


@pytest.mark.parametrize(
    "key", ["box_loss", "loss at step", "best val loss", "train time", "test samples", "batch size"]
)
def test_other_names_are_no_plain_loss_or_score(key):
    what = named(key)
    assert what is None or not what.name


def test_a_dict_over_several_lines_behind_a_prefix():
    line = "I0514 09:12:15.112233 140121 model_lib_v2.py:708] {'Loss/classification_loss': 0.21,\n 'Loss/total_loss': 0.47,\n 'learning_rate': 0.01}"
    run = log(line)
    assert list(run.series["loss"]) == [0.47]
    assert list(run.series["learning_rate"]) == [0.01]


def test_the_loss_of_that_name_is_the_loss_beside_others():
    run = log("epoch 3: batch_loss: 0.4, loss: 0.5")
    assert list(run.series["loss"])[-1:] == [0.5]


def test_accumulated_iterations_are_steps_and_no_accuracy():
    line = "INFO  Train:  1/3 ( 33%) [  49/323 ( 15%)]  Loss: 36.77 (81.7)  LR: 1.351e-04  Acc_iter {}  Data time: 0.0"
    run = log("\n".join(line.format(step) for step in (50, 100, 150)))
    assert [run.series["loss"].step(at) for at in range(3)] == [50, 100, 150]
    assert "accuracy" not in run.series
