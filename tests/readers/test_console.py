# ruff: noqa: E501 (log lines are as long as they are)
"""Console logs of many tools, each with lines written for this test."""

import math

import pytest

from holter.readers import read
from holter.readers.console_log import read_lines
from holter.run import (
    EVENT_ERROR,
    EVENT_LOAD,
    EVENT_MESSAGE,
    EVENT_OVERFLOW,
    EVENT_RESUME,
    EVENT_TRAINABLE,
    EVENT_WARNING,
    Authority,
)


def log(text):
    return read_lines(enumerate(text.split("\n"), start=1), "train.log")


def points(run, name):
    return list(run.series[name].values)


def same(left, right):
    return len(left) == len(right) and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(left, right, strict=True)
    )


DIALECTS = {
    "transformers 4": ("{'loss': 2.5, 'grad_norm': nan, 'learning_rate': 1e-05, 'epoch': 0.5}", {"loss": [2.5], "grad_norm": [math.nan], "learning_rate": [1e-5]}),
    "transformers 5": ("{'loss': '0.0', 'grad_norm': 'inf', 'learning_rate': '2.5e-06', 'epoch': '1'}", {"loss": [0.0], "grad_norm": [math.inf]}),
    "wrapped dict": ("{'loss': 2.5, 'grad_norm':\n 1.5,\n 'epoch': 0.5}", {"loss": [2.5], "grad_norm": [1.5]}),
    "fragment": ("'loss': 0.000, 'grad_norm': nan", {"loss": [0.0], "grad_norm": [math.nan]}),
    "cut off": ("{'loss': 2.5, 'grad_norm': 1.2, 'learning_r", {"loss": [2.5], "grad_norm": [1.2]}),
    "bar before dict": (" 10%|#     | 10/100 [00:10<01:30, 1.0it/s]{'loss': 2.5, 'epoch': 0.1}", {"loss": [2.5]}),
    "colours": ("\x1b[32m{'loss': 2.5}\x1b[0m", {"loss": [2.5]}),
    "rank prefix": ("[rank0]: {'loss': 2.5}", {"loss": [2.5]}),
    "log prefix": ("2031-05-06 07:08:09,123 - INFO - train - {'loss': 2.5}", {"loss": [2.5]}),
    "output object": ("TrainOutput(global_step=30, training_loss=nan, metrics={'train_runtime': 9.5})", {"train_loss": [math.nan]}),
    "metrics block": ("***** eval metrics *****\n  epoch = 3.0\n  eval_loss = 2.25\n  perplexity = 9.5", {"eval_loss": [2.25], "eval_perplexity": [9.5]}),
    "hand-written step": ("Step 3: loss=6.5, grad_norm=1.25, lr=1.5e-08", {"loss": [6.5], "grad_norm": [1.25], "learning_rate": [1.5e-8]}),
    "hand-written epoch": ("Epoch 2: Training Loss: 7.5, Validation Loss: nan, BLEU: 0.00", {"loss": [7.5], "eval_loss": [math.nan], "eval_bleu": [0.0]}),
    "nanoGPT": ("step 0: train loss 10.5, val loss 10.75\niter 5: loss 10.25, time 20.50ms, mfu -100.00%", {"train_loss": [10.5], "eval_loss": [10.75], "loss": [10.25]}),
    "MLX": ("Iter 10: Train loss 2.5, Learning Rate 1.000e-05, It/sec 0.5, Peak mem 8.1 GB", {"train_loss": [2.5], "learning_rate": [1e-5]}),
    "torchtune bar, no number": ("1|20|Loss: nan: 100%|##| 20/20 [00:10<00:00, 2.0it/s]", {"loss": [math.nan]}),
    "torchtune bar": ("1|20|Loss: 2.5: 100%|##| 20/20 [00:10<00:00, 2.0it/s]", {"loss": [2.5]}),
    "torchtune line": ("Step 7 | loss:2.5 lr:1e-05 tokens_per_second_per_gpu:900 grad_norm:3.5", {"loss": [2.5], "grad_norm": [3.5]}),
    "fairseq": ("epoch 002:    100 / 2000 loss=8.5, ppl=300.5, num_updates=1100, lr=1e-05, gnorm=1.5, loss_scale=128", {"loss": [8.5], "grad_norm": [1.5], "loss_scale": [128.0]}),
    "Megatron": (" iteration        5/     100 | elapsed time per iteration (ms): 18.5 | learning rate: 1.5E-09 | lm loss: 2.25E+00 | loss scale: 4096.0 | grad norm: 1.5 |", {"loss": [2.25], "loss_scale": [4096.0], "grad_norm": [1.5]}),
    "Lightning": ("Epoch 3:  40%|####      | 40/100 [00:10<00:15, 3.90it/s, v_num=0, train_loss=0.5, val_loss=0.75]", {"train_loss": [0.5], "eval_loss": [0.75]}),
    "Keras": ("100/100 [====] - 5s 48ms/step - loss: 0.45 - accuracy: 0.75 - val_loss: nan", {"loss": [0.45], "accuracy": [0.75], "eval_loss": [math.nan]}),
    "Coqui": ("     | > loss: 4.5  (4.25)\n     | > grad_norm: 0  (0)\n     | > current_lr: 5e-06 ", {"loss": [4.5], "grad_norm": [0.0], "learning_rate": [5e-6]}),
    "mmengine": ("2031/05/06 07:08:09 - mmengine - INFO - Epoch(train)  [2][ 50/1000]  lr: 1.0e-03  eta: 0:10:00  loss: 2.25  grad_norm: 12.5", {"loss": [2.25], "grad_norm": [12.5]}),
    "torchtitan": ("[titan] 2031-05-06 07:08:09,000 - root - INFO - step:  4  loss: 12.25  grad_norm:  4.5  memory:  5.3GiB(6.7%)  tps: 1,234", {"loss": [12.25], "grad_norm": [4.5], "tokens_per_second": [1234.0]}),
    "verl": ("step:5 - actor/pg_loss:0.5 - actor/grad_norm:1.25 - critic/score/mean:0.5", {"loss": [0.5], "grad_norm": [1.25]}),
    "image classification": ("Epoch: [0][  10/5005]\tTime  0.301 ( 0.5)\tLoss 7.125e+00 (7.0e+00)\tAcc@1   0.00 (  0.10)", {"loss": [7.125]}),
    "bracketed": ("Epoch [1/10], Step [100/600], Loss: 0.5", {"loss": [0.5]}),
    "DeepSpeed step": ("[2031-05-06 07:08:09,123] [INFO] [logging.py:96:log_dist] [Rank 0] step=2, skipped=1, lr=[2.5e-09, 2.5e-09], mom=[[0.9, 0.95]]", {"learning_rate": [2.5e-9]}),
    "running loss": ("Running loss: 0.75", {"loss": [0.75]}),
    "average": ("  Average training loss: 0.55\n  Average validation loss: 0.65", {"loss": [0.55], "eval_loss": [0.65]}),
    "pairs": ("INFO:root:epoch=3 loss=1,234.5 val_loss=1.75", {"loss": [1234.5], "eval_loss": [1.75]}),
    "percent": ("Epoch 3 | train_loss: 0.5 | val_acc: 87.5%", {"eval_accuracy": [0.875]}),
    "notebook table": ("Step\tTraining Loss\tValidation Loss\n500\t2.5\tNo log\n1000\t1.5\tnan", {"loss": [2.5, 1.5], "eval_loss": [math.nan]}),
    "plain header": ("Epoch Training Loss Validation Loss Accuracy\n1 No log 0.75 0.5\n2 0.5 0.25 0.75", {"loss": [0.5], "eval_loss": [0.75, 0.25], "eval_accuracy": [0.5, 0.75]}),
    "markdown table": ("| Step | Loss | Grad Norm |\n|-----:|------|-----------|\n| 1 | 77.5 | ~200.5 |\n| 10 | **69.5** | 196 |", {"loss": [77.5, 69.5], "grad_norm": [200.5, 196.0]}),
    "starred header": ("****train_loss,train_acc,valid_loss****\n5.5 2.5 4.5", {"train_loss": [5.5], "accuracy": [2.5], "eval_loss": [4.5]}),
    "json line": ('{"loss": 1.25, "lr": 1e-05, "step": 5}', {"loss": [1.25], "learning_rate": [1e-5]}),
    "tensor values": ("{'loss': tensor(2.5, device='cuda:0'), 'epoch': 1}", {"loss": [2.5]}),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_read(name):
    text, expected = DIALECTS[name]
    run = log(text)
    for series, values in expected.items():
        assert series in run.series, sorted(run.series)
        assert same(points(run, series), values), (series, points(run, series))


STEPS = {
    "Step 3: loss=6.5": ("loss", 3, None),
    "Epoch 2: loss: 7.5": ("loss", None, 2.0),
    "epoch 002:    100 / 2000 loss=8.5, num_updates=1100": ("loss", 1100, 2.0),
    "1|20|Loss: 2.5": ("loss", 20, 1.0),
    "iteration  5/ 100 | lm loss: 2.25E+00 |": ("loss", 5, None),
    "{'loss': 2.5, 'epoch': 0.5}": ("loss", None, 0.5),
    "{'loss': 2.5, 'global_step/max_steps': '7/100'}": ("loss", 7, None),
}


@pytest.mark.parametrize("text", STEPS)
def test_step_and_epoch_of_a_line(text):
    name, step, epoch = STEPS[text]
    series = log(text).series[name]
    assert (series.step(0), series.epoch(0)) == (step, epoch)


def test_the_progress_bar_gives_the_step_of_the_row_printed_over_it():
    bar = "{:3d}%|#         | {}/200 [00:05<01:00,  1.9it/s]"
    lines = []
    for step in (10, 20, 30):
        lines += [
            bar.format(step // 2, step),
            f"{{'loss': {step / 10}, 'epoch': {step / 100}}}",
            bar.format(step // 2, step),
        ]
    run = log("\r".join(lines))
    assert [run.series["loss"].step(i) for i in range(3)] == [10, 20, 30]
    assert run.get("max_steps") == 200
    assert run.setting("max_steps").authority is Authority.RECORDED


def test_a_row_without_a_newer_bar_has_no_step():
    bar = " 10%|#         | 20/200 [00:05<01:00,  1.9it/s]"
    run = log(f"{bar}\n{{'loss': 2.0, 'epoch': 0.1}}\n{bar}\n{{'loss': 1.0, 'epoch': 0.2}}\nThe end")
    assert [run.series["loss"].step(i) for i in range(2)] == [20, None]


def test_bars_with_titles_are_not_the_run():
    run = log("Map: 100%|####| 9000/9000 [00:05<00:00, 1.9it/s]\n{'loss': 2.0, 'epoch': 0.1}")
    assert run.series["loss"].step(0) is None
    assert "max_steps" not in run.config


def test_a_bar_alone_tells_how_far_the_run_came():
    run = log("  0%|          | 0/6000 [00:01<?, ?it/s]")
    assert run.get("max_steps") == 6000
    assert run.events[0].data == {"done": 0.0, "total": 6000.0}


def test_steps_within_an_epoch_are_counted_through():
    run = log("Epoch [1/3], Step [100/600], Loss: 0.5\nEpoch [2/3], Step [100/600], Loss: 0.25")
    assert [run.series["loss"].step(i) for i in range(2)] == [100, 700]
    assert run.get("num_train_epochs") == 3


def test_a_level_before_the_place_is_cut_and_the_place_is_kept():
    run = log("2020-01-02 03:04:05,678 - INFO - Epoch [2][50/400]\tlr: 0.02000, eta: 0:30:54, loss: 1.5")
    assert (run.series["loss"].step(0), run.series["loss"].epoch(0)) == (50, 2.0)


def test_ranks_are_kept_apart_and_rank_zero_is_believed():
    run = log("[rank1]: {'loss': 9.0}\n[rank0]: {'loss': 2.0}\n[rank1]: {'loss': 9.5}\n[rank0]: {'loss': 1.0}")
    assert points(run, "loss") == [2.0, 1.0]
    assert [list(other.values) for other in run.other_series] == [[9.0, 9.5]]
    assert run.other_series[0].source.key == "rank 1"


def test_raw_spelling_is_kept_where_the_number_does_not_say_it_all():
    run = log("{'loss': '0.0', 'grad_norm': 'nan', 'epoch': '1'}\n{'loss': '1.5', 'grad_norm': '0', 'epoch': '2'}")
    assert run.series["loss"].raw == {0: "0.0"}
    assert run.series["grad_norm"].raw == {0: "nan", 1: "0"}


def test_lines_are_cited():
    run = log("hello\n\n{'loss': 2.0}\nbye")
    assert str(run.series["loss"].place(0)) == "train.log:3"


OVERFLOWS = {
    "[INFO] [loss_scaler.py:183:update_scale] [deepspeed] OVERFLOW! Rank 3 Skipping step. Attempted loss scale: 65536, reducing to 32768": {"loss_scale": 65536.0, "reducing_to": 32768.0, "rank": 3},
    "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, but hysteresis is 2. Reducing hysteresis to 1": {"loss_scale": 65536.0, "rank": 0},
    "[deepscale] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 4294967296, reducing to 2147483648.0": {"loss_scale": 4294967296.0, "reducing_to": 2147483648.0, "rank": 0},
    "[deepspeed] fp16 dynamic loss scale overflow! Skipping step. Attempted loss scale: 65536.0, reducing to 32768.0": {"loss_scale": 65536.0, "reducing_to": 32768.0},
    "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 16384.0": {"reducing_to": 16384.0},
    "NOTE: overflow detected, setting loss scale to: 1024.0": {"reducing_to": 1024.0},
}  # fmt: skip


@pytest.mark.parametrize("text", OVERFLOWS)
def test_an_overflow_is_an_event_and_no_metric(text):
    run = log(text)
    (event,) = run.events_of(EVENT_OVERFLOW)
    assert dict(event.data) == OVERFLOWS[text]
    assert not run.series


def test_a_scale_at_its_minimum_is_an_error():
    run = log("Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.")
    assert [event.kind for event in run.events] == [EVENT_ERROR]


TRACE = """Traceback (most recent call last):
  File "train.py", line 10, in <module>
    main()
  File "model.py", line 5, in forward
    return self.head(hidden)
ValueError: too many labels"""


def test_a_traceback_is_one_event_that_ends_with_the_exception():
    run = log(f"start\n{TRACE}\nafterwards")
    (event,) = run.events_of(EVENT_ERROR)
    assert event.text.endswith("ValueError: too many labels")
    assert 'File "model.py", line 5, in forward' in event.text
    assert event.source.line == 2
    assert event.data["exception"] == "ValueError"
    assert [message.text for message in run.events_of(EVENT_MESSAGE)] == ["start", "afterwards"]


def test_tracebacks_of_two_ranks_are_taken_apart():
    lines = [line for pair in zip(TRACE.split("\n"), TRACE.split("\n"), strict=True) for line in pair]
    mixed = "\n".join(f"[rank{number % 2}]: {line}" for number, line in enumerate(lines))
    events = log(mixed).events_of(EVENT_ERROR)
    assert len(events) == 2
    assert {event.data["rank"] for event in events} == {0, 1}
    assert all(event.text.count("File") == 2 for event in events)


def test_a_traceback_without_its_head_or_its_end_is_still_an_error():
    headless = "\n".join(TRACE.split("\n")[3:])
    endless = "\n".join(TRACE.split("\n")[:3])
    assert "ValueError: too many labels" in log(headless).events_of(EVENT_ERROR)[0].text
    assert "main()" in log(endless).events_of(EVENT_ERROR)[0].text


ERRORS = (
    "AssertionError: no padding token",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
    "RuntimeError: CUDA error: device-side assert triggered",
    "Loss.cu:250: nll_loss: block: [0,0,0], thread: [3,0,0] Assertion `t >= 0 && t < n_classes` failed.",
    "Cuda runtime error",
)


@pytest.mark.parametrize("text", ERRORS)
def test_a_bare_error_line_is_an_error(text):
    assert [event.kind for event in log(text).events] == [EVENT_ERROR]


def test_indented_lines_belong_to_the_exception_before_them():
    text = "RuntimeError: Error(s) in loading state_dict for Net:\n\tsize mismatch for head.weight: [3] and [4]."
    run = log(text)
    assert "size mismatch" in run.events_of(EVENT_ERROR)[0].text
    assert "head.weight" in run.events_of(EVENT_LOAD)[0].text


def test_warnings_are_grouped_by_template():
    run = log("\n".join(f"WARNING: token mismatch: {n} vs. {n + 1}." for n in range(5)))
    (event,) = run.events_of(EVENT_WARNING)
    assert event.count == 5
    assert event.text == "WARNING: token mismatch: 0 vs. 1."


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Trainable parameters: 0.048% (4.473M/9241.706M)", {"trainable": 4473000, "total": 9241706000}),
        ("#trainable params: 598.5 M || all params: 8767.1 M || trainable%: 6.8%",
         {"trainable": 598500000, "total": 8767100000}),
        ("trainable params: 1.2M, all params: 7B", {"trainable": 1200000, "total": 7000000000}),
    ],
)  # fmt: skip
def test_trainable_parameters_beside_a_share(line, expected):
    assert [event.data for event in log(line).events_of(EVENT_TRAINABLE)] == [expected]


@pytest.mark.parametrize("line", ["Loss: nan values filtered: 0", "grad nan: False, loss nan: False", "loss nan: 0"])
def test_counts_of_nan_are_no_nan(line):
    assert not log(f"step 1, loss: 2.1, lr: 1e-5\n{line}").series["loss"].values[1:]


@pytest.mark.parametrize("line", ["loss: nan lr: 1e-5", "step 2 loss nan lr 1e-5", "loss=nan grad_norm=1.2"])
def test_nan_before_another_pair_is_a_nan(line):
    values = log(f"step 1, loss: 2.1, lr: 1e-5\n{line}").series["loss"].values
    assert len(values) == 2 and math.isnan(values[1])


def test_trainable_share_alone_is_no_count():
    assert not log("Trainable parameters: 0.048%").events_of(EVENT_TRAINABLE)


def test_trainable_parameters():
    run = log("trainable params: 4,194,304 || all params: 6,742,609,920 || trainable%: 0.0622\ntrainable params: 0")
    assert [dict(event.data) for event in run.events_of(EVENT_TRAINABLE)] == [
        {"trainable": 4194304, "total": 6742609920},
        {"trainable": 0},
    ]
    assert not run.series


def test_weights_and_resumption():
    run = log(
        "Some weights of Net were not initialized from the model checkpoint and are newly initialized: ['score.weight']\n"
        "Resuming training from checkpoint-500\n"
    )
    assert [event.kind for event in run.events] == [EVENT_LOAD, EVENT_RESUME]


def test_a_step_that_goes_back_is_a_resumption():
    run = log("Step 1: loss=3.0\nStep 2: loss=2.0\nStep 1: loss=3.5\nStep 2: loss=2.5")
    assert points(run, "loss") == [3.0, 2.0, 3.5, 2.5]
    (event,) = run.events_of(EVENT_RESUME)
    assert (event.step, event.source.line) == (1, 3)


def test_banners_become_settings():
    run = log(
        "***** Running training *****\n"
        "  Num examples = 2,565\n"
        "  Num Epochs = 3\n"
        "  Instantaneous batch size per device = 4\n"
        "  Total train batch size (w. parallel, distributed & accumulation) = 32\n"
        "  Gradient Accumulation steps = 2\n"
        "  Total optimization steps = 700\n"
        "  Number of trainable parameters = 1,000\n"
        "- transformers version: 4.57.1\n"
        "world_size: 4\n"
    )
    expected = {
        "train_samples": 2565,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 700,
        "world_size": 4,
        "versions.transformers": "4.57.1",
    }
    assert {name: run.get(name) for name in expected} == expected
    assert run.events_of(EVENT_TRAINABLE)[0].data["trainable"] == 1000
    assert all(value.authority is Authority.RECORDED for values in run.config.values() for value in values)


def test_an_argument_dump_is_settings_and_no_metric():
    run = log("TrainingArguments(\nadafactor=False,\nlearning_rate=5e-05,\nfp16=True,\n)\nlearning_rate: 0.0002")
    assert [value.value for value in run.config["learning_rate"]] == [5e-05, 0.0002]
    assert run.get("fp16") is True
    assert not run.series


@pytest.mark.parametrize(
    "text",
    (
        "The loss was 0.5 on my machine and I expected that it would become much lower than this in the end.",
        "loading loss function from module 3",
        "Downloading 5 files",
        "In PyTorch 1.1.0 and later, you should call them in the opposite order.",
    ),
)
def test_prose_is_no_metric(text):
    run = log(text)
    assert not run.series
    assert not run.config


def test_thousands_of_different_lines_keep_the_first_and_the_last(tmp_path):
    words = [
        f"message {'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}{'uvwxyzabcd'[n // 100 % 10]}" for n in range(1000)
    ]
    path = tmp_path / "train.log"
    path.write_text("\n".join(words))
    run = read([path])
    texts = [event.text for event in run.events]
    assert words[0] in texts and words[-1] in texts and words[-5] in texts
    assert len(texts) < 500


def test_a_block_of_dicts_reads_as_its_lines_do(tmp_path):
    rows = [
        f"{{'loss': {n / 8}, 'grad_norm': {'nan' if n % 50 == 0 else n / 4}, 'epoch': {n / 100}}}"
        for n in range(1, 400)
    ]
    rows.insert(200, "UserWarning: something")
    path = tmp_path / "train.log"
    path.write_text("\n".join(rows) + "\n")
    whole, one_by_one = read([path]), log("\n".join(rows))
    for name in ("loss", "grad_norm"):
        assert same(points(whole, name), points(one_by_one, name))
        assert whole.series[name].lines == one_by_one.series[name].lines
    assert len(whole.series["loss"]) == 399


@pytest.mark.parametrize("name", ("train.log.1", "output.2031", "job", "slurm-17.out", "x.weird"))
def test_a_log_by_any_name(tmp_path, name):
    path = tmp_path / name
    path.write_text("Step 1: loss=2.5\nStep 2: loss=1.5\n")
    assert list(read([path]).series["loss"].values) == [2.5, 1.5]


def test_progress_of_epochs_is_no_setting():
    run = log("Epochs:[1]/[25]\nloss: 0.7\nEpochs:[2]/[25]\nloss: 0.6\n")
    assert list(run.series["loss"]) == [0.7, 0.6]
    assert "num_train_epochs" not in run.config or run.get("num_train_epochs") == 25


def test_a_number_at_the_end_of_a_sentence_is_read():
    run = log("Iteration: 0. Loss: 1.25. Accuracy: 40.5%\nIteration: 9. Loss: 0.75. Accuracy: 61.0%\n")
    assert list(run.series["loss"]) == [1.25, 0.75] and run.series["loss"].step(1) == 9


@pytest.mark.parametrize(
    "line",
    [
        "2023-03-01 10:00:00 | INFO | valid | epoch 003 | valid on 'valid' subset | loss 5.2 | nll_loss 3.6 | ppl 12.4 | num_updates 600",
        "====> Epoch 3 validation: loss 5.2, accuracy 0.31",
        "[Val] Epoch 3 loss: 5.2 acc: 0.31",
        "Test: [  97/97]  Time: 0.061 (0.152)  Loss:  5.2 ( 5.2)",
    ],
)
def test_a_line_that_says_it_is_of_held_out_rows(line):
    run = log(f"Epoch [3/9], Step [600/1800], Loss: 4.1\n{line}\n")
    assert points(run, "loss") == [4.1]
    assert points(run, "eval_loss") == [5.2]


@pytest.mark.parametrize("line", ["Epoch 3 loss 4.1 test: 0.31", "Epoch 3 | loss 4.1 | val: 0.31"])
def test_a_word_for_held_out_rows_after_the_loss(line):
    assert points(log(f"{line}\n"), "loss") == [4.1]


def test_a_detector_s_table_with_a_bar_in_each_row():
    head = "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size"
    row = "      {}/9      4.21G      {}      2.1        nan         20        640: 100%|###| 250/250 [00:41<00:00,  5.61it/s]"
    scores = "                   all        512       3104      0.07      0.0554      0.0583      0.035"
    run = log("\n".join([head, row.format(1, 1.8), scores, head, row.format(2, 1.7), scores]))
    assert points(run, "box_loss") == [1.8, 1.7]
    assert same(points(run, "dfl_loss"), [math.nan, math.nan])


def test_darknet_names_its_numbers_after_them():
    run = log(
        " 1: 1205.51, 1205.51 avg loss, 0.000167 rate, 3.0 seconds, 64 images\n 2: nan, nan avg, 0.000333 rate, 3.0 seconds\n"
    )
    assert same(points(run, "loss"), [1205.51, math.nan])
    assert points(run, "learning_rate") == [0.000167, 0.000333]


def test_megatron_says_that_it_goes_on_from_a_checkpoint():
    run = log("  successfully loaded checkpoint from /ckpt/gpt at iteration 12000\n")
    assert [event.kind for event in run.events] == [EVENT_RESUME]
