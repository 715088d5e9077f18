"""From a fix to files: where a setting stands, what is refused, and what is written."""

import pytest

from holter.errors import FixError
from holter.finding import Change, Fix
from holter.fixes import plan
from holter.fixes.patch import BACKUP_SUFFIX
from holter.run import Authority, Run, Source, Value

CONFIG = "trainer:\n  precision: 16-mixed  # T4\n  lr: 1.0e-4\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "train.yaml").write_text(CONFIG)
    run = Run()
    source = Source(file="conf/train.yaml", line=2, key="trainer.precision")
    run.add_setting("fp16", Value(value=True, source=source, raw="16-mixed"))
    run.add_setting("learning_rate", Value(value=1e-4, source=Source(file="conf/train.yaml", line=3, key="trainer.lr")))
    return tmp_path, run


def precision_fix(**kwargs):
    return Fix(summary="train in bf16", changes=(Change(key="fp16", old=True, new=False, **kwargs),))


def test_one_word_for_two_switches(project):
    folder, run = project
    fix = Fix(
        summary="s", changes=(Change(key="fp16", new=False, file="conf/train.yaml"), Change(key="bf16", new=True))
    )
    planned = plan(fix, run, [folder])
    assert "+  precision: bf16-mixed  # T4" in planned.patches[0].diff
    assert planned.patches[0].diff.startswith("--- a/conf/train.yaml\n+++ b/conf/train.yaml\n@@ ")


def test_apply_writes_once_and_keeps_the_old_file(project):
    folder, run = project
    planned = plan(precision_fix(), run, [folder])
    assert (folder / "conf/train.yaml").read_text() == CONFIG, "planning must not write"
    backup = planned.patches[0].apply()
    assert backup.name == "train.yaml" + BACKUP_SUFFIX
    assert backup.read_text() == CONFIG
    assert (folder / "conf/train.yaml").read_text() == CONFIG.replace("16-mixed", "32-true")
    again = plan(precision_fix(), run, [folder]).patches[0]
    assert again.diff == ""
    assert again.apply() is None
    assert sorted(p.name for p in (folder / "conf").iterdir()) == ["train.yaml", "train.yaml" + BACKUP_SUFFIX]


def test_a_file_that_changed_is_not_written(project):
    folder, run = project
    planned = plan(precision_fix(), run, [folder])
    (folder / "conf/train.yaml").write_text(CONFIG + "# mine\n")
    with pytest.raises(FixError, match="did not write") as caught:
        planned.patches[0].apply()
    assert "changed since" in caught.value.why
    assert (folder / "conf/train.yaml").read_text() == CONFIG + "# mine\n"


def test_a_new_setting_goes_where_most_settings_are(project):
    folder, run = project
    (folder / "train.py").write_text('args = TrainingArguments(output_dir="o", seed=1)\n')
    source = Source(file="train.py", line=1, key="TrainingArguments.seed")
    run.add_setting("seed", Value(value=1, source=source, authority=Authority.SCRIPT))
    fix = Fix(summary="s", changes=(Change(key="weight_decay", new=0.1),))
    planned = plan(fix, run, [folder])
    assert planned.patches[0].after == 'args = TrainingArguments(output_dir="o", seed=1, weight_decay=0.1)\n'


def test_a_statement_goes_into_the_script_and_nothing_into_what_a_run_recorded(project):
    folder, run = project
    (folder / "train.py").write_text("trainer = Trainer(model)\n")
    (folder / "trainer_state.json").write_text("{}\n")
    for name, key, authority in (
        ("trainer_state.json", "max_steps", Authority.RECORDED),
        ("train.py", "seed", Authority.SCRIPT),
    ):
        run.add_setting(key, Value(value=1, source=Source(file=name, line=1, key=key), authority=authority))
    fix = Fix(summary="s", changes=(Change(key="model_accepts_loss_kwargs", new=False),))
    (patch,) = plan(fix, run, [folder]).patches
    assert patch.name == "train.py"
    assert patch.after == "trainer = Trainer(model)\ntrainer.model_accepts_loss_kwargs = False\n"


def test_what_no_file_can_hold_is_left_to_a_person(tmp_path):
    (tmp_path / "log.txt").write_text("x")
    planned = plan(precision_fix(file="log.txt"), Run(), [tmp_path])
    assert planned.patches == ()
    assert planned.by_hand[0].change.key == "fp16"
    (tmp_path / "bad.yaml").write_bytes(b"fp16: \xff\n")
    planned = plan(precision_fix(file="bad.yaml"), Run(), [tmp_path])
    assert "UTF-8" in planned.by_hand[0].why


def test_what_is_left_to_a_person_is_told_once(tmp_path):
    (tmp_path / "report.md").write_text("fp16: true\n\nfp16: true\n")
    run = Run()
    for line in (1, 3):
        run.add_setting("fp16", Value(value=True, source=Source(file="report.md", line=line)))
    changes = tuple(Change(key="fp16", old=True, new=False, file="report.md") for _ in range(2))
    planned = plan(Fix(summary="s", changes=changes), run, [tmp_path])
    assert [left.change.key for left in planned.by_hand] == ["fp16"]
