"""The story: train with a fault, diagnose, test two hypotheses, fix the script, train again, verify.

Nothing is canned: every number comes from the runs that it makes.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from holter.diagnosis import diagnose
from holter.diagnosis.result import Diagnosis
from holter.errors import TrialError
from holter.experiments.attempt import attempt, run_all
from holter.experiments.confirm import with_verdicts
from holter.experiments.ledger import Entry, Ledger, VerdictWord
from holter.experiments.pool import LocalPool
from holter.experiments.targets import Target
from holter.experiments.trial import TRIALS, Trial, TrialCache, TrialOutcome, TrialResult
from holter.experiments.verify import Verification, verify
from holter.fixes import Plan, plan
from holter.fixes.patch import BACKUP_SUFFIX
from holter.readers import read
from holter.run import Run

STEPS = 20  # of the two runs: enough to see the loss fall
REPLAY_STEPS = 2  # of each trial: the symptom is in the first
PROCESSES = 2
SCRIPT = "train.py"


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One part of the story, told when it is done."""

    title: str
    text: str
    detail: str = ""


def tell(folder: Path, told: Callable[[str], None]) -> Iterator[Chapter]:
    """Yield the chapters as they happen; the folder holds the script, both runs, the ledger and the report.

    Args:
        folder: where everything goes; what an earlier demo left there is replaced.
        told: called with a line while something takes time.

    Raises:
        TrialError: a run or a replay did not finish.
    """
    story = _Story(folder, told)
    yield story.train()
    yield story.notice()
    yield story.diagnose()
    yield story.test_the_first_guess()
    yield story.test_the_diagnosis()
    yield story.fix()
    yield story.verify()
    yield story.report()


class _Story:
    def __init__(self, folder: Path, told: Callable[[str], None]) -> None:
        self.folder, self.told, self.pool = folder, told, LocalPool(jobs=1)
        self.cache = TrialCache(folder / "holter" / TRIALS)
        self.run: Run
        self.diagnosis: Diagnosis
        self.plan: Plan
        self.verification: Verification
        for name in ("run", "run-after-fix", "holter"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for left in folder.glob(f"{SCRIPT}{BACKUP_SUFFIX}*"):
            left.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        source = resources.files("holter.demo").joinpath(SCRIPT).read_text(encoding="utf-8")
        (folder / SCRIPT).write_text(source, encoding="utf-8")

    def train(self) -> Chapter:
        self.told(f"training a small Qwen3 classifier, 280 classes, {PROCESSES} processes, {STEPS} steps")
        result = self._train("run")
        losses = [value for _, value in result.series["loss"]]
        norms = [value for _, value in result.series["grad_norm"]]
        return Chapter(
            title="Something is off",
            text=f"Loss {losses[0]:.2f} at step 1, {losses[-1]:.2f} at step {len(losses)}; grad_norm {norms[0]:.1f}. "
            f"A guess among 280 classes would cost ln 280 = {math.log(280):.2f}.",
        )

    def notice(self) -> Chapter:
        """What the guard in the script wrote while it trained."""
        guard = self.folder / "run" / "holter"
        rows = [json.loads(line) for line in (guard / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        warnings = [row for row in rows if row["kind"] == "warning"]
        if not warnings:
            raise TrialError("the guard noticed nothing", why="the demo's fault did not show on this version")
        capsules = sorted(path.parent for path in guard.rglob("capsule.json"))
        told = "\n".join(f"- that step is kept: holter replay {path}" for path in capsules[:1])
        first = warnings[0]
        return Chapter(title="The guard notices", text=f"At step {first['step'] + 1}: {first['message']}.", detail=told)

    def diagnose(self) -> Chapter:
        self.run = read([self.folder / "run", self.folder / SCRIPT])
        self.diagnosis = diagnose(self.run)
        if not self.diagnosis.causes:
            raise TrialError("the diagnosis found nothing", why="the demo's fault did not show on this version")
        first = self.diagnosis.causes[0]
        ruled_out = ", ".join(e.cause for e in self.diagnosis.excluded[:4])
        return Chapter(
            title="What the logs and the script say",
            text=f"{first.title} ({first.cause}, {first.confidence:.0%}, {first.basis.word}).",
            detail="\n".join([*(f"- {e.text}" for e in first.evidence[:4]), f"ruled out: {ruled_out}"]),
        )

    def test_the_first_guess(self) -> Chapter:
        self.told("testing the guess that most people make first: a longer warmup")
        change = {"warmup_steps": 50}
        entry = self._attempt(change, "loss@1 < 0.5 * base.loss@1", "the warmup is too short", "warmup-missing")
        return Chapter(title="Is it the warmup?", text=_verdict(entry))

    def test_the_diagnosis(self) -> Chapter:
        self.told("testing the diagnosis: let the Trainer divide the loss itself")
        entry = self._attempt(
            {"model_accepts_loss_kwargs": False},
            f"loss@1 / base.loss@1 ~= {1 / (2 * PROCESSES)} and grad_norm@1 < 0.5 * base.grad_norm@1",
            "the loss is not divided by accumulation and processes",
            self.diagnosis.causes[0].cause,
        )
        return Chapter(title="Is it what the diagnosis says?", text=_verdict(entry))

    def fix(self) -> Chapter:
        fix = self.diagnosis.causes[0].fix
        if fix is None:
            raise TrialError("the diagnosis came without a fix")
        self.plan = plan(fix, self.run, [self.folder / "run", self.folder / SCRIPT])
        for patch in self.plan.patches:
            patch.apply()
        changed = ", ".join(patch.name for patch in self.plan.patches)
        text = f"{fix.summary[:1].upper()}{fix.summary[1:]}. Written to {changed}." if changed else fix.summary
        return Chapter(title="The fix", text=text, detail="".join(patch.diff for patch in self.plan.patches))

    def verify(self) -> Chapter:
        self.told("training again with the fixed script")
        self._train("run-after-fix")
        after = read([self.folder / "run-after-fix", self.folder / SCRIPT])
        self.verification = verify(self.run, after)
        rows = (f"- {r.quantity}: predicted {r.predicted}, came {r.after:.4g}: {r.word.value}" for r in
                self.verification.rows if r.after is not None)  # fmt: skip
        return Chapter(title="Did it help?", text=self.verification.sentence, detail="\n".join(rows))

    def report(self) -> Chapter:
        from holter.reports import write
        from holter.reports.experiments import ledger, patch, verification

        entries = Ledger(self.folder / "holter").entries()
        sections = [ledger(entries), patch(self.plan), verification(self.verification)]
        path = self.folder / "report.html"
        with path.open("w", encoding="utf-8") as stream:
            write(with_verdicts(self.diagnosis, entries), self.run, "html", stream, sections=sections)
        return Chapter(title="The report", text=f"Everything on one page: {path}")

    def _attempt(self, change: Mapping[str, object], expect: str, why: str, cause: str) -> Entry:
        target = Target(
            name="train:build",
            settings={"world_size": PROCESSES, "output_dir": str(self.folder.resolve() / "holter" / TRIALS / "output")},
            shown=SCRIPT,
            folder=self.folder / "holter",
        )
        made = attempt(
            target,
            change,
            expect,
            engine=_In(self.folder, self.pool),
            steps=REPLAY_STEPS,
            why=why,
            cause=cause,
            cache=self.cache,
            told=lambda p: self.told(f"replay {p.done} of {p.total}: {_first_loss(p.result)}"),
        )
        return made.entry

    def _train(self, name: str) -> TrialResult:
        folder = self.folder.resolve()
        trial = Trial(
            target="train:build",
            overrides={"output_dir": str(folder / name)},
            steps=STEPS,
            world_size=PROCESSES,
            path=(str(folder),),
        )
        result = run_all([trial], self.pool)[0]
        if result.outcome is not TrialOutcome.FINISHED:
            raise TrialError(f"the run {result.outcome.value}", where=SCRIPT, why=result.error)
        _save(result, self.folder / name)
        return result


class _In:
    """The pool, with the demo's folder to import the script from."""

    def __init__(self, folder: Path, pool: LocalPool) -> None:
        self.path, self.pool = (str(folder.resolve()),), pool

    def run(self, trials: Sequence[Trial]) -> Iterator[tuple[int, TrialResult]]:
        from dataclasses import replace

        return self.pool.run([replace(trial, path=self.path) for trial in trials])


def _save(result: TrialResult, folder: Path) -> None:
    """The run as the Trainer would have left it: its state, and what started it."""
    from importlib.metadata import version

    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, dict[str, float]] = {}
    for name, points in result.series.items():
        for step, value in points:
            rows.setdefault(step, {"step": step})[name] = value
    state = {"global_step": max(rows), "max_steps": max(rows), "logging_steps": 1, "log_history": list(rows.values())}
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    facts = {"world_size": PROCESSES, "versions": {"transformers": version("transformers"), "torch": version("torch")}}
    (folder / "setting.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")


def _verdict(entry: Entry) -> str:
    verdict = entry.verdict
    if verdict is None:
        return "not tested"
    word = {VerdictWord.CONFIRMED: "Confirmed", VerdictWord.REFUTED: "Refuted"}.get(verdict.word, "Inconclusive")
    return f"Predicted: {entry.hypothesis.expect}. {word}: {verdict.reason}."


def _first_loss(result: TrialResult) -> str:
    points = result.series.get("loss", [])
    return f"loss {points[0][1]:.2f} at step 1" if points else result.error
