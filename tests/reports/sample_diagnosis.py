"""Hand-made runs and diagnoses that exercise everything a report can show."""

import math

from holter.diagnosis.result import Diagnosis, Excluded, Next, RankedCause, Skipped, Verdict
from holter.finding import Basis, Change, Clue, Evidence, Finding, Fix, Severity
from holter.run import Gap, Input, Run, Series, Source, Value
from holter.stages import Stage

HOSTILE = '<script>alert("x")</script> & `code` | *bold* \x1b[31mred\x1b[0m'
SECRET = "hf_abcdefghijklmnopqrstuvwx"


def src(file, line=None, **more):
    return Source(file=file, line=line, **more)


def make_run():
    """120 logged steps: a spike at step 30, nan from step 600 on, 0.0 from step 800 on, eval_loss inf."""
    run = Run()
    names = ("loss", "grad_norm", "learning_rate", "eval_loss")
    run.series = {name: Series(name=name, source=src("train.log")) for name in names}
    for i in range(1, 121):
        place = {"step": 10 * i, "line": i + 5}
        falling = 7129515.3 if i == 3 else 9.2 * math.exp(-i / 15) + 2.2
        run.series["loss"].append(falling if i < 60 else math.nan if i < 80 else 0.0, **place)
        run.series["grad_norm"].append(196.0 if i == 3 else 3.0 if i < 60 else math.nan, **place)
        run.series["learning_rate"].append(3e-4 * min(i / 12, 1) if i < 60 else 0.0, **place)
        if i % 20 == 0:
            run.series["eval_loss"].append(2.5 + 20 / i if i < 60 else math.inf, **place)
    for name, value in (("num_labels", 280), ("max_grad_norm", 1.0), ("learning_rate", 3e-4)):
        run.add_setting(name, Value(value=value, source=src("config.yaml", 3)))
    return run


def make_fault():
    lost = Evidence(text="loss is nan from step 600 on", source=src("train.log", 65), step=600, value=math.nan)
    half = Evidence(text="fp16 is True", source=src("train.ipynb", 12, cell=4, key="fp16"), value=True)
    said = Evidence(text=f"the log says: {HOSTILE} with {SECRET}", source=src("train.log", 70), value=HOSTILE)
    findings = (
        Finding(
            code="NUM901",
            name="sample-nan-loss",
            message="loss is nan at step 600 and stays so",
            severity=Severity.ERROR,
            stage=Stage.FORWARD,
            step=599,
            evidence=(lost, said),
            clues=(Clue(cause="fp16-overflow", bits=3, why="fp16 ends at 65504"),),
        ),
        Finding(
            code="CFG901",
            name="sample-disagreement",
            message="fp16 is False in train.py:14 and True in train.ipynb cell 4",
            severity=Severity.WARNING,
            stage=Stage.FORWARD,
            evidence=(half,),
            fix=Fix(summary="Keep one of the two"),
        ),
        Finding(
            code="OPT901",
            name="sample-clipping",
            message="max_grad_norm acts at every step",
            severity=Severity.NOTE,
            stage=Stage.CLIP,
            evidence=(Evidence(text="grad_norm is at least 3", value=math.inf),),
        ),
    )
    changes = (
        Change(key="fp16", old=True, new=False, file="train.ipynb"),
        Change(key="bf16", new=True, file="train.ipynb"),
        Change(key="hub_token", old=SECRET, new=None, file="config.yaml"),
    )
    first = RankedCause(
        cause="fp16-overflow",
        title="Numbers leave the fp16 range",
        confidence=0.94,
        basis=Basis.INFERRED,
        explanation="fp16 ends at 65504. One inf turns into nan in the next normalisation.",
        evidence=(lost, half, said),
        against=(Evidence(text="the first 59 logged losses are finite", source=src("train.log", 6)),),
        codes=("NUM901", "CFG901"),
        fix=Fix(summary="Train in bf16 where the card has it, else in fp32", changes=changes),
        expect="loss and grad_norm are finite from the first logged step.",
    )
    second = RankedCause(
        cause="lr-too-high",
        title="The learning rate is too high",
        confidence=0.04,
        basis=Basis.INFERRED,
        explanation="Steps overshoot.",
        evidence=(Evidence(text="learning_rate 3e-4 is reached at step 120", source=src("train.log", 17)),),
        codes=("OPT901",),
    )
    return Diagnosis(
        verdict=Verdict.FAULT,
        causes=(first, second),
        excluded=(Excluded(cause="warmup-missing", reason="it acts through an update; the loss was wrong before one"),),
        next=(
            Next(
                measure="Replay the first batches in fp32: a finite loss there blames fp16",
                command='holter try RUN --set fp16=false --expect "loss is finite"',
                separates=("fp16-overflow", "lr-too-high"),
            ),
        ),
        findings=findings,
        passed=("TOK901", "LAB901"),
        skipped=(
            Skipped(code="DAT901", name="sample-rows", reason="needs the setting num_labels"),
            Skipped(code="DAT902", name="sample-labels", reason="needs the setting num_labels"),
            Skipped(code="EVL901", name="sample-crash", reason="ValueError: boom", crashed=True),
        ),
        gaps=(Gap(source=src("optimizer.pt"), what="not read", why="a pickle can run code", do="Nothing to do."),),
        inputs=(
            Input(file="train.log", reader="console_log", why="lines of the Trainer", sha256="ab" * 32),
            Input(file="train.ipynb", reader="script", why="a notebook"),
        ),
        notes=("Two settings come from the library's defaults",),
    )


def make_healthy():
    whole = make_fault()
    return Diagnosis(
        verdict=Verdict.HEALTHY,
        findings=whole.findings[2:],
        passed=whole.passed,
        skipped=whole.skipped[:2],
        inputs=whole.inputs,
    )


def make_undetermined():
    whole = make_fault()
    return Diagnosis(
        verdict=Verdict.UNDETERMINED,
        causes=whole.causes[1:],
        next=whole.next,
        findings=whole.findings[:1],
        passed=whole.passed,
        inputs=whole.inputs,
    )
