"""Notebooks and Markdown: what ran is kept apart from what is proposed, expected, or what another run did."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.errors import ReadError
from holter.readers import read
from holter.readers.markdown_text import read_markdown
from holter.readers.roles import Role, role_under
from holter.run import Authority

KEYS = st.sampled_from(["source", "cell_type", "outputs", "data", "text"])
TABLE = (
    "<table><thead><tr style='x'><th>Epoch</th><th>Training Loss</th><th>Validation Loss</th></tr></thead>"
    "<tbody><tr><td>1</td><td>0.000000</td><td>nan</td></tr></tbody></table>"
)
CELLS = [
    {"cell_type": "markdown", "source": ["# Training\n", "- weight_decay: 0.01\n"]},
    {"cell_type": "code", "source": ["!pip install transformers==4.40.0\n", "rate = 3e-4\n"], "outputs": []},
    {"cell_type": "code", "source": "args = TrainingArguments(\n  learning_rate=rate,\n  fp16=True)\n", "outputs": []},
    {"cell_type": "code", "source": "!accelerate launch --num_processes 2 t.py --seed 3", "outputs": []},
    {
        "cell_type": "code",
        "source": "trainer.train()",
        "outputs": [
            {"output_type": "display_data", "data": {"text/html": TABLE}},
            {
                "output_type": "stream",
                "text": ["{'loss': 9.5, 'grad_norm': 2.0, 'learning_rate': 1e-5, 'epoch': 0.5}\n"],
            },
            {
                "output_type": "error",
                "traceback": ["\x1b[31mTraceback (most recent call last)\x1b[0m", "ValueError: bad"],
            },
        ],
    },
    {"cell_type": "code", "source": "%%bash\ntorchrun --nproc_per_node 4 x.py --bf16", "outputs": None},
    {"cell_type": "code", "source": "%%writefile c.yaml\nwarmup_ratio: 0.1\n"},
]
NOTEBOOK = json.dumps({"cells": CELLS, "nbformat": 4}, indent=1)


def notebook(tmp_path, text=NOTEBOOK):
    (tmp_path / "train.ipynb").write_text(text, encoding="utf-8")
    return read([tmp_path / "train.ipynb"])


class TestNotebook:
    def test_cells_of_every_kind(self, tmp_path):
        run = notebook(tmp_path)
        expected = {
            "learning_rate": 3e-4,
            "fp16": True,
            "versions.transformers": "4.40.0",
            "seed": 3,
            "world_size": 2,
            "bf16": True,
            "warmup_ratio": 0.1,
            "weight_decay": 0.01,
        }
        assert {name: run.get(name) for name in expected} == expected
        found = run.setting("fp16")
        assert (found.source.cell, found.source.line, found.authority) == (3, 3, Authority.NOTEBOOK)
        assert run.setting("seed").authority is Authority.COMMAND and run.setting("seed").source.cell == 4

    def test_outputs_are_read_as_a_log(self, tmp_path):
        run = notebook(tmp_path)
        assert math.isnan(run.series["eval_loss"][0]) and run.series["eval_loss"].source.cell == 5
        assert list(run.series["grad_norm"].values) == [2.0]
        assert any("ValueError: bad" in event.text for event in run.events_of("error"))

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
    def test_cut_off(self, tmp_path, share):
        run = notebook(tmp_path, NOTEBOOK[: int(len(NOTEBOOK) * share)])
        assert run.get("weight_decay") == 0.01
        assert "breaks off" in run.gaps[0].why

    def test_older_format(self, tmp_path):
        old = {
            "worksheets": [{"cells": [{"cell_type": "code", "input": ["lr = 1e-3\n"], "outputs": []}]}],
            "nbformat": 3,
        }
        assert notebook(tmp_path, json.dumps(old)).get("learning_rate") == 1e-3

    def test_nothing_that_is_a_notebook(self, tmp_path):
        with pytest.raises(ReadError) as caught:
            notebook(tmp_path, "no notebook")
        assert "notebook" in str(caught.value)

    @settings(max_examples=60, deadline=None)
    @given(
        st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(KEYS, x))
    )
    def test_any_json_is_taken_or_refused(self, tmp_path_factory, data):
        path = tmp_path_factory.mktemp("nb") / "x.ipynb"
        path.write_text(json.dumps({"cells": data}), encoding="utf-8")
        try:
            read([path])
        except ReadError as error:
            assert error.what


REPORT = """# Post-mortem

## Symptoms

```
Epoch 1: Training Loss: 812345.5, Validation Loss: nan
Epoch 2: Training Loss: 0.0000, Validation Loss: nan
```

| Setting | `train.py` | `train.ipynb` |
|---|---|---|
| **fp16** | `False` ✅ | `True` ❌ |
| max_source_length | 256 | 512 |

| Step | Loss | Grad Norm |
|------|------|-----------|
| 10 | 77.4 | 197.2 |
| 20 | 75.8 | 186.9 |

- **Before**: hardcoded FP16 mixed precision
- Current: `warmup_ratio: 0.01` (training.yml:68)
- Backup: `warmup_ratio: 0.1` (deepspeed.yml:132)
- Transformers 4.57.1

## Fix

```python
class Config:
    model_name: str = "google/byt5-base"
    seed: int = 42
    learning_rate: float = 1e-4  # 3e-4 -> 1e-4
```

**Current**:
```yaml
gradient_clipping: 1.0
```

Change `weight_decay: 0.1` → `0.0` and then:

```bash
python train.py --save_steps 7
```

## Expected result

```
Epoch 1: Training Loss: 2.5, Validation Loss: 2.0
```
"""


class TestMarkdown:
    def test_logs_and_tables_that_ran(self):
        run = read_markdown(REPORT, "report.md")
        every = [*run.series.values(), *run.other_series]
        losses = sorted(value for one in every if one.name == "loss" for value in one.values)
        assert losses == [0.0, 75.8, 77.4, 812345.5]
        assert [list(one.values) for one in every if one.name == "grad_norm"] == [[197.2, 186.9]]

    def test_a_table_of_settings_names_the_files_that_disagree(self):
        run = read_markdown(REPORT, "report.md")
        table = [value for value in run.config["fp16"] if value.source.file.startswith("train.")]
        assert [(value.source.file, value.value, value.source.key) for value in table] == [
            ("train.ipynb", True, "report.md:12"),
            ("train.py", False, "report.md:12"),
        ]
        assert "fp16" in dict(run.conflicts())
        assert run.get("max_source_length") == 512

    def test_proposals_are_no_settings(self):
        run = read_markdown(REPORT, "report.md")
        assert run.setting("seed") is None and run.fact("proposed.seed").value == 42
        assert run.setting("save_steps") is None and run.fact("proposed.save_steps").value == 7
        assert run.get("model_name_or_path") == "google/byt5-base"

    def test_a_proposed_change_tells_what_ran(self):
        run = read_markdown(REPORT, "report.md")
        assert (run.get("learning_rate"), run.fact("proposed.learning_rate").value) == (3e-4, 1e-4)
        assert (run.get("weight_decay"), run.fact("proposed.weight_decay").value) == (0.1, 0.0)

    def test_the_lead_in_beats_the_heading(self):
        assert read_markdown(REPORT, "report.md").get("max_grad_norm") == 1.0

    def test_labels_of_list_entries(self):
        run = read_markdown(REPORT, "report.md")
        found = run.setting("warmup_ratio")
        assert (found.value, found.source.file, found.source.line) == (0.01, "training.yml", 68)
        assert run.fact("other.warmup_ratio").value == 0.1
        assert run.get("versions.transformers") == "4.57.1"
        assert run.get("precision") == "fp16"

    def test_everything_quoted_ranks_as_prose(self):
        run = read_markdown(REPORT, "report.md")
        assert {value.authority for values in run.config.values() for value in values} == {Authority.PROSE}

    def test_secrets_in_quoted_commands(self):
        run = read_markdown("```bash\npython t.py --seed 1 --hub_token abcdefgh\n```\n", "r.md")
        assert "abcdefgh" not in repr(run) and run.get("seed") == 1

    def test_an_open_fence_and_lost_characters(self):
        run = read_markdown("## 현\ufffd \ufffd\n```yaml\nlr: 1.0e-3\n\ufffd\ufffd: x\n", "r.md")
        assert run.get("learning_rate") == 1e-3

    @pytest.mark.parametrize(
        ("headings", "lead", "role"),
        [
            (["Report", "Symptoms"], "", Role.RAN),
            (["Report", "Recommended settings"], "", Role.PROPOSED),
            (["Fix"], "Before:", Role.RAN),
            (["Problem"], "After the fix:", Role.PROPOSED),
            (["해결 방안"], "", Role.PROPOSED),
            (["해결 방안"], "현재:", Role.RAN),
            (["Comparison"], "Backup (manual loop):", Role.OTHER),
            (["Updated command"], "Replace your current command with:", Role.PROPOSED),
            ([], "", Role.RAN),
        ],
    )
    def test_roles(self, headings, lead, role):
        assert role_under(headings, lead) is role


KEYS_TEXT = "a|-`#*: \n~=1>[]"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=KEYS_TEXT, max_size=200))
def test_any_markdown_is_taken(text):
    run = read_markdown("- seed: 3\n\n" + text, "x.md")
    assert run.get("seed") == 3


CARD = """This model is a fine-tuned version of [google/mt5-small](https://x.example/google/mt5-small) on some data.
- Loss: 0.4
- Precision: 0.5

### Training hyperparameters
- learning_rate: 2e-05
- train_batch_size: 8
- seed: 42
- total_train_batch_size: 16
- optimizer: Adam with betas=(0.9,0.98) and epsilon=1e-08
- num_epochs: 3
- mixed_precision_training: Native AMP

### Training results
| Training Loss | Epoch | Step | Validation Loss |
|:-------------:|:-----:|:----:|:---------------:|
| 0.5           | 1.0   | 100  | 0.6             |
| No log        | 2.0   | 200  | 0.4             |
"""


def test_model_cards():
    run = read_markdown(CARD, "README.md")
    expected = {
        "model_name_or_path": "google/mt5-small",
        "learning_rate": 2e-5,
        "per_device_train_batch_size": 8,
        "effective_batch_size": 16,
        "seed": 42,
        "optim": "adam",
        "adam_beta2": 0.98,
        "num_train_epochs": 3,
        "fp16": True,
    }
    assert {name: run.get(name) for name in expected} == expected
    assert run.setting("precision") is None
    assert [run.series["eval_loss"].step(i) for i in range(2)] == [100, 200]


@pytest.mark.real_data
class TestReports:
    def test_report_one_shows_the_disagreement(self, shared):
        run = read([next((shared / "reports").glob("1-*.md"))])
        assert [value.value for value in run.config["fp16"]][:2] == [True, False]
        assert "fp16" in dict(run.conflicts())
        assert run.series["loss"][0] == 7129515.3131
        assert run.get("model_name_or_path") == "google/byt5-base"

    def test_report_two_ran_in_half_precision(self, shared):
        run = read([next((shared / "reports").glob("2-*.md"))])
        assert run.get("fp16") is True and run.get("model_name_or_path") == "google/mt5-small"
        assert math.isnan(run.series["grad_norm"][0])
        assert run.setting("load_in_8bit") is None

    def test_report_three_and_four_say_what_was_set(self, shared):
        three = read([next((shared / "reports").glob("3-*.md"))])
        assert (three.get("max_grad_norm"), three.get("num_labels"), three.get("r")) == (1.0, 280, 256)
        four = read([next((shared / "reports").glob("4-*.md"))])
        assert (four.get("warmup_ratio"), four.get("gradient_accumulation_steps")) == (0.01, 2)
        assert four.fact("other.layers_to_transform").value == [-6, -5, -4, -3, -2, -1]

    def test_report_five_has_its_log(self, shared):
        run = read([next((shared / "reports").glob("5-*.md"))])
        assert run.series["loss"][0] == 69.53 and run.series["grad_norm"].step(10) == 20
        assert run.fact("pad_token_set_to_if_missing").value == "eos_token"
