"""CFG066 resume-loads-less."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen, written
from holter.checks.noted import words_of
from holter.checks.script import first_in_each, last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Assignment, Call, Code, Run
from holter.stages import Stage

COUNTER = regex(
    r"^(?:self\.|args\.|config\.|state\.)?(?:start(?:ing)?_?(?:epoch|iter\w*|step)|begin_epoch|first_epoch|resume_(?:epoch|step)|last_epoch|"
    r"global_step|cur(?:rent)?_(?:epoch|iter|step)|epoch|iter(?:ation)?|initial_epoch|epoch_start|step|iteration_start)$",
    re.I,
)
"""Names of the number of steps or epochs made."""

FROM_FILE = regex(
    r"(?:ckpt|checkpoint|chkpt|snapshot|state\w*|saved\w*|resume\w*|loaded\w*|restore\w*|pkg|package)\b\)?(?:\[|\.get\(|\.pop\()|(?:resume|ckpt|checkpoint)\w*\.(?:split|name|stem)\b",
    re.I,
)
OPTIMIZER = regex(r"optim|(?:^|[._])opt(?:$|[._])", re.I)
SCHEDULER = regex(r"sched", re.I)
STEPS = regex(r"^(?:.*\.)?\w*(?:optim\w*|opt)$", re.I)
WHOLE = regex(
    r"load_state$|restore\w*$|load_checkpoint$|resume\w*$|load_all|load_training|CheckpointManager|Checkpoint$|Checkpointer"
)
"""Calls that load everything at once, in a library or in another function."""

LAST = regex(r"last_?(?:ckpt|checkpoint)|resume|latest_?(?:ckpt|checkpoint)|checkpoint-\d+", re.I)
IN_NAME = regex(r"resum|continu|restart", re.I)
RESUMES = regex(r"resum|last_?(?:ckpt|checkpoint)|continu|restart|latest", re.I)


TAKEN = regex(r"\b(?:restore[ds]?|loaded|loads|reloaded|resume[ds]?|read back|read on|taken|picked)\b")
HELD = regex(r"\b(?:checkpoints?|ckpts?|snapshots?|saved|saves|stored)\b|\bstate dict")
OTHER_USE = regex(
    r"\b(?:not|missing|unexpected|eval\w*|infer\w*|predict\w*|test\w*|serv\w*|fine ?tun\w*|pretrain\w*|from)\b"
)
WEIGHTS = regex(r"model|weights?|\bnet\w*|state_?dict|param|generator", re.I)
TENSOR = regex(r"\.(?:weight|bias|\d+\.)|_proj\b|\.running_")
PARTS = (("the optimizer", OPTIMIZER), ("the schedule", SCHEDULER))
SAVED_PARTS = ["step", "model", "optimizer", "scheduler"]
"""Names of lists of what was restored and of what was saved, and words in such lists."""


class ResumeLoadsLess(Check):
    """What it looks for
        Source code that goes on from a checkpoint, because it takes the epoch or the step from it, and loads the
        weights without the optimizer, or the optimizer without the schedule that it steps; or that hands a Trainer
        the weights of a last checkpoint and not the checkpoint. Lists of what was saved and what was restored count,
        too, where the second lacks the optimizer or the schedule of the first.

    Why it hurts
        Adam's averages start at zero while the rate is that of a late step, so the loss jumps; a schedule that starts
        anew goes through its warmup and its high rates again.

    How to fix it
        Save and load ``state_dict()`` of optimizer, scheduler and scaler beside the weights;
        ``trainer.train(resume_from_checkpoint=...)``, ``trainer.fit(model, ckpt_path=...)``.

    When to ignore it
        When a new stage is meant to start from the weights; it then needs no epoch of the old one.

    Threshold
        None.

    Sources
        PyTorch's tutorial on saving a general checkpoint; Lightning's guide on resuming; Keras' ``initial_epoch``.
    """

    code = "CFG066"
    name = "resume-loads-less"
    title = "Resuming loads less than training needs"
    severity = Severity.WARNING
    stage = Stage.RESUME
    needs = Needs(any_of=(("code",), ("facts",), ("config",)))
    bad = (
        script(
            "weights and epoch",
            "ckpt = torch.load(args.resume)\nmodel.load_state_dict(ckpt['model'])\n"
            "start_epoch = ckpt['epoch'] + 1\nfor epoch in range(start_epoch, 90):\n    loss.backward()\n"
            "    optimizer.step()\n",
        ),
        script(
            "two functions",
            "def save(path):\n    torch.save(model.state_dict(), path)\ndef resume(path):\n"
            "    model.load_state_dict(torch.load(path))\n",
        ),
        script(
            "the epoch of a name",
            "net.load_state_dict(torch.load(os.path.join(args.resume_from_checkpoint, 'model.bin')))\n"
            "starting_epoch = int(args.resume_from_checkpoint.split('_')[-1]) + 1\n",
        ),
        script(
            "an excerpt",
            "ckpt = torch.load(args.resume, map_location='cpu')\nargs.start_epoch = ckpt['epoch'] + 1\n"
            "model.load_state_dict(ckpt['state_dict'])\n",
        ),
        script(
            "no schedule",
            "ckpt = torch.load(path)\nnet.load_state_dict(ckpt['net'])\nopt.load_state_dict(ckpt['opt'])\n"
            "start_epoch = ckpt['epoch']\nsched = CosineAnnealingLR(opt, 90)\n"
            "for e in range(start_epoch, 90):\n    loss.backward()\n    opt.step()\n    sched.step()\n",
        ),
        script(
            "Lightning",
            "model = Net.load_from_checkpoint(args.resume_path)\ntrainer = pl.Trainer(max_epochs=9)\n"
            "trainer.fit(model, loader)\n",
        ),
        script(
            "a Trainer", "m = AutoModel.from_pretrained(last_checkpoint)\ntrainer = Trainer(m, args)\ntrainer.train()\n"
        ),
        case("less than was saved", facts={"checkpoint_keys": SAVED_PARTS, "restored": ["model", "step"]}),
        case("in words", facts={"saved": "net, opt, lr_scheduler", "loaded_on_resume": "net, opt"}),
        script("Keras", "model.load_weights(last_checkpoint)\nmodel.fit(x, y, initial_epoch=12, epochs=40)\n"),
    )
    good = (
        case("all that was saved", facts={"checkpoint_keys": [*SAVED_PARTS, "best"], "restored": SAVED_PARTS}),
        case("one list alone", facts={"checkpoint_keys": SAVED_PARTS}),
        case("names of tensors", facts={"saved": SAVED_PARTS, "loaded_keys": ["model.embed.weight"]}),
        case("for an evaluation", facts={"checkpoint_keys": SAVED_PARTS, "loaded_for_eval": ["model"]}),
        script(
            "all",
            "ckpt = torch.load(args.resume)\nmodel.load_state_dict(ckpt['model'])\n"
            "optimizer.load_state_dict(ckpt['optimizer'])\nscheduler.load_state_dict(ckpt['scheduler'])\n"
            "start_epoch = ckpt['epoch'] + 1\nloss.backward()\noptimizer.step()\nscheduler.step()\n",
        ),
        script(
            "a function that loads for prediction",
            "def save(path):\n    torch.save(model.state_dict(), path)\ndef load(path):\n"
            "    model.load_state_dict(torch.load(path))\n",
        ),
        script(
            "a new stage from the weights",
            "ckpt = torch.load('pretrained.pt')\nmodel.load_state_dict(ckpt['model'])\nloss.backward()\n"
            "optimizer.step()\n",
        ),
        script(
            "at its epoch",
            "ckpt = torch.load(path)\nnet.load_state_dict(ckpt['net'])\nopt.load_state_dict(ckpt['opt'])\n"
            "start_epoch = ckpt['epoch']\nsched = StepLR(opt, 30, last_epoch=start_epoch - 1)\n"
            "loss.backward()\nopt.step()\nsched.step()\n",
        ),
        script(
            "an evaluation",
            "ckpt = torch.load(path)\nmodel.load_state_dict(ckpt['model'])\nepoch = ckpt['epoch']\n"
            "model.eval()\nprint(score(model), epoch)\n",
        ),
        script(
            "a Trainer, the checkpoint",
            "m = AutoModel.from_pretrained(last_checkpoint)\ntrainer = Trainer(m, args)\n"
            "trainer.train(resume_from_checkpoint=last_checkpoint)\n",
        ),
        script(
            "Lightning, the checkpoint",
            "model = Net.load_from_checkpoint(args.resume_path)\ntrainer = pl.Trainer(max_epochs=9)\n"
            "trainer.fit(model, loader, ckpt_path=args.resume_path)\n",
        ),
    )
    not_enough = (case("nothing"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of each file; silent where another file loads an optimizer."""
        for message, evidence in _listed(run):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, resume_state_lost=7.0),
                fix=Fix(summary="Load the state of optimizer, scheduler and scaler with the weights."),
            )
            return
        loaded = [c for code in run.code for c in code.named("load_state_dict") if OPTIMIZER.search(receiver(c))]
        for message, evidence, bits in first_in_each(run, _less):
            if "weights" in message and loaded:
                continue
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, resume_state_lost=bits),
                fix=Fix(summary="Load the state of optimizer, scheduler and scaler with the weights."),
            )


def _listed(run: Run) -> Iterator[tuple[str, list[Evidence]]]:
    """A list of what a checkpoint holds, and one of what was taken from it without the state of the updates."""
    lists: list[tuple[str, list[str], Evidence]] = []
    for name, values in (*run.facts.items(), *run.config.items()):
        given = values[0].value
        items = given.split(",") if isinstance(given, str) else given
        if isinstance(items, list) and len(items) > 0 and all(isinstance(item, str) for item in items):
            shown = Evidence(text=f"{name} is {', '.join(map(str.strip, items))}"[:160], source=values[0].source)
            lists.append((words_of(name), [item.strip() for item in items], shown))
    for words, restored, evidence in lists:
        if (
            not TAKEN.search(words)
            or OTHER_USE.search(words)
            or not any(map(WEIGHTS.search, restored))
            or any(map(TENSOR.search, restored))
        ):
            continue
        for other, saved, beside in lists:
            held = HELD.search(other) is not None and not TAKEN.search(other)
            lost = [
                name for name, part in PARTS if any(map(part.search, saved)) and not any(map(part.search, restored))
            ]
            if held and lost and len(saved) >= len(restored):
                yield f"the state of {' and '.join(lost)} is saved, and is not restored", [beside, evidence]
                return


def _less(code: Code) -> Iterator[tuple[str, list[Evidence], float]]:
    yield from _by_hand(code)
    yield from _by_a_trainer(code)


def _by_hand(code: Code) -> Iterator[tuple[str, list[Evidence], float]]:
    loads = code.named("load_state_dict")
    weights = next((c for c in loads if not OPTIMIZER.search(receiver(c)) and not SCHEDULER.search(receiver(c))), None)
    counter = next(
        (a for a in code.assignments if COUNTER.match(a.target) and FROM_FILE.search(written(a.value))), None
    )
    trains = code.named("backward") or [c for c in code.named("step") if STEPS.match(receiver(c))]
    trains = trains or code.named("save") or [c for c in code.named("load") if RESUMES.search(call_text(c))]
    if weights is not None and counter is None and not _elsewhere(code):
        yield from _by_a_function(code, weights)
    if weights is None or counter is None or not trains or _elsewhere(code):
        return
    optimizers = [c for c in loads if OPTIMIZER.search(receiver(c))]
    schedules = [c for c in loads if SCHEDULER.search(receiver(c))]
    shown = [seen(weights), Evidence(text=f"{counter.target} = {written(counter.value)}", source=counter.source)]
    if not optimizers and not _mentioned(code, OPTIMIZER):
        yield "the run goes on from a checkpoint with its weights alone: the optimizer starts anew", shown, 5.5
    steps = next((c for c in code.named("step") if SCHEDULER.search(receiver(c))), None)
    placed = any("last_epoch" in call.kwargs or "last_epoch" in call_text(call) for call in code.calls)
    given = steps is not None and bool(steps.args or steps.kwargs)  # told the epoch or the metric at each step
    if optimizers and steps is not None and not (schedules or placed or given or _mentioned(code, SCHEDULER)):
        yield "the run goes on from a checkpoint without its schedule", [*shown, seen(steps)], 4.5


def _by_a_function(code: Code, weights: Call) -> Iterator[tuple[str, list[Evidence], float]]:
    """A function named after resuming that loads weights alone, in a script that saves no more than these."""
    named = IN_NAME.search(last_part(weights.scope)) is not None
    saved = [c for c in code.named("save") if "state_dict()" in call_text(c)]
    parts = any(OPTIMIZER.search(call_text(c)) or SCHEDULER.search(call_text(c)) for c in (*saved, *code.named("load")))
    whole = saved and all(str(written(c.args[0])).endswith(".state_dict()") for c in saved if c.args)
    if named and whole and not parts and not _mentioned(code, OPTIMIZER):
        yield "what is saved and taken up again is the weights alone", [seen(saved[0]), seen(weights)], 5.0


def _elsewhere(code: Code) -> bool:
    """Whether a function that is not shown may load the rest."""
    return any(WHOLE.search(last_part(call.name)) for call in code.calls)


def _mentioned(code: Code, part: re.Pattern[str]) -> bool:
    """Whether a state of that kind is read from the checkpoint in any way."""
    items: list[Call | Assignment] = [*code.calls, *code.assignments]
    for item in items:
        text = call_text(item) if isinstance(item, Call) else written(item.value)
        where = item.target if isinstance(item, Assignment) else item.name
        if FROM_FILE.search(text) and (part.search(where) or re.search(rf"\['\w*(?:{part.pattern})", text, re.I)):
            return True
    return False


def _by_a_trainer(code: Code) -> Iterator[tuple[str, list[Evidence], float]]:
    for load in code.named("from_pretrained"):
        given = call_text(load).partition("(")[2].partition(",")[0]
        trains = [c for c in code.named("train") if "rainer" in receiver(c) and c.order > load.order]
        bare = trains and not any(c.args or c.kwargs for c in trains)
        if "okenizer" not in load.name and LAST.search(given) and bare:
            yield "a run is taken up again with the weights of a checkpoint alone", [seen(load), seen(trains[0])], 5.0
            return
    for load in code.named("load_from_checkpoint", "load_weights"):
        given = call_text(load).partition("(")[2]
        for fit in code.named("fit"):
            late = fit.order > load.order and fit.scope == load.scope
            whole = "ckpt_path" in fit.kwargs or any(
                "resume" in key for call in code.named("Trainer") for key in call.kwargs
            )
            again = "initial_epoch" in fit.kwargs if last_part(load.name) == "load_weights" else RESUMES.search(given)
            if late and not whole and again and not code.named("BackupAndRestore"):
                yield "a run is taken up again with the weights of a checkpoint alone", [seen(load), seen(fit)], 5.0
                return
