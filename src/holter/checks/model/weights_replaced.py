"""MOD066 loaded-weights-lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen, written
from holter.checks.messages import fold
from holter.checks.noted import remarks
from holter.checks.script import first_in_each, last_part, receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

INITIALISES = regex(
    r"^(?:_?init_weights|init_params|initiali[sz]e(?:_weights|_parameters)?|reset_parameters|reset_weights|post_init)$"
)
STARTS = regex(r"init|xavier|kaiming|normal_|reset_param", re.I)
LOADS = ("load_state_dict", "load_weights", "load_pretrained", "load_checkpoint")
MAKES = regex(r"^\(?(?:[\w.]+\.)?(?:[A-Z]\w*|build_model|create_model|get_model|make_model)\(")
READS = regex(r"(?:^|\.)(?:torch\.load|load_file|load_from_url|load_url|load_state_dict_from_url)$")

_TIME = (
    r"(?:each|every) (?:new )?(?:time|run|load|call|session|start|evaluation|reload|restart)"
    r"|after (?:each|every) (?:re)?(?:load|start)\w*|(?:between|from) (?:runs|loads|one (?:run|load)|load to load)"
)
_LOADED = (
    r"(?:load\w*|re-?load\w*|initiali[sz]\w*|built|build\w*|creat\w+|construct\w*|instantiat\w+|restart\w*|import\w*"
    r"|from_pretrained)"
)
_VARIES = r"(?:differ\w*|var(?:y|ies)|chang\w+|random|not the same|inconsistent|another)"
EACH_TIME = regex(
    rf"\b{_VARIES}\b.{{0,60}}\b(?:{_TIME})\b.{{0,40}}\b{_LOADED}\b"
    rf"|\b(?:{_TIME})\b.{{0,24}}\b{_LOADED}\b.{{0,60}}\b{_VARIES}\b"
    rf"|\b{_VARIES}\b.{{0,40}}\b(?:each|every) (?:re)?load\w*\b"
)
ANSWERS = regex(
    r"\b(?:predict\w*|results?|outputs?|answers?|scores?|accurac\w+|logits?|probabilit\w+|embeddings?|f1|loss|generat\w+)\b"
)
SAMPLED = regex(r"\b(?:sampl\w+|temperature|seeds?|train\w*|fine ?tun\w*)\b")
"""What people note of weights that come out of a random generator at each load."""


class LoadedWeightsLost(Check):
    """What it looks for
        Weights that are loaded and then initialised anew, or put into a model that is made again after it; a file of
        weights that is read and used nowhere; and a note that one input gets another answer each time the model is
        loaded.

    Why it hurts
        The model runs with random numbers in place of what was learnt. Nothing fails: shapes and names are right.

    How to fix it
        Make the model, initialise what is new, then load, and look at what loading returns. Compare the sum of a
        tensor with that in the file.

    When to ignore it
        Where only a part that is not in the file is initialised after loading.

    Threshold
        None: the order of calls is read; a note counts as written.

    Sources
        PyTorch's documentation of ``load_state_dict``; transformers' documentation of ``post_init``.
    """

    code = "MOD066"
    name = "loaded-weights-lost"
    title = "What was loaded does not reach the model"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(any_of=(("code",), ("facts",)))
    bad = (
        script("initialised after it", "net.load_state_dict(torch.load('m.pt'))\nnet.apply(weights_init)\nnet(x)\n"),
        script("made again", "net = Net()\nnet.load_state_dict(torch.load('m.pt'))\nnet = Net()\nnet.train()\n"),
        case("read and not used", files={"a.py": "net = Net()\nstate = torch.load('best.pt')\nnet.eval()\nnet(x)\n"}),
        case("told", facts={"observed": "prediction for one sentence differs each time the model is initialised"}),
        case("told of scores", facts={"accuracy": "changes every time I load the checkpoint"}),
    )
    good = (
        script("in order", "net = Net()\nnet.apply(weights_init)\nnet.load_state_dict(torch.load('m.pt'))\nnet(x)\n"),
        script(
            "one or the other",
            "if path:\n    net.load_state_dict(torch.load(path))\nelse:\n    net.apply(weights_init)\n",
        ),
        script("a new part of it", "net.load_state_dict(torch.load('m.pt'))\nnet.head.reset_parameters()\nnet(x)\n"),
        script(
            "loaded again as well", "net = Net()\nnet.load_state_dict(a)\nnet = Net()\nnet.load_state_dict(b)\nnet(x)\n"
        ),
        case("used", files={"a.py": "state = torch.load('best.pt')\nnet.load_state_dict(state['model'])\n"}),
        case("told of training", facts={"observed": "accuracy differs each time the model is trained with a new seed"}),
    )
    not_enough = (case("nothing", config={"fp16": True}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Code first, then notes."""
        for message, evidence in first_in_each(run, _lost):
            yield self._found(message, evidence, weights_loaded_wrong=6.0, head_not_trained_or_saved=0.5)
        for fact in remarks(run):
            for text in fact.texts:
                told = fold(text)
                of_answers = ANSWERS.search(f"{fact.words} {told}") is not None
                if of_answers and EACH_TIME.search(told) and not SAMPLED.search(told):
                    why = "another answer at each load: some weights come from a random generator"
                    yield self._found(why, [fact.evidence], weights_loaded_wrong=5.0, head_not_trained_or_saved=3.5)
                    return

    def _found(self, message: str, evidence: list[Evidence], **bits: float) -> Finding:
        return self.finding(
            message,
            evidence=evidence,
            clues=clues(message, **bits),
            fix=Fix(summary="Load after the model is made and initialised, and check that no key is missing."),
        )


def _lost(code: Code) -> Iterator[tuple[str, list[Evidence]]]:
    loads = [call for call in code.named(*LOADS) if receiver(call) and not _of_state(receiver(call))]
    for load in loads:
        owner = receiver(load)
        after = [c for c in code.calls if c.order > load.order and c.scope == load.scope and _follows(c, load)]
        again = [c for c in loads if receiver(c) == owner and c.order > load.order]
        for call in after:
            anew = call.name == f"{owner}.apply" and any(STARTS.search(written(value)) for value in call.args)
            anew = anew or (receiver(call) == owner and INITIALISES.match(last_part(call.name)) is not None)
            if anew and not any(c.order > call.order for c in again):
                yield "weights are initialised after they were loaded", [seen(load), seen(call)]
                return
        yield from _made_again(code, load, again)
    yield from _unused(code)


def _made_again(code: Code, load: Call, again: list[Call]) -> Iterator[tuple[str, list[Evidence]]]:
    owner = receiver(load)
    makes = [
        a for a in code.assignments if a.target == owner and MAKES.match(written(a.value)) and a.scope == load.scope
    ]
    before = [a for a in makes if a.order < load.order]
    for made in makes:
        text = written(made.value)
        alike = any(written(a.value).partition("(")[0] == text.partition("(")[0] for a in before)
        wraps = re.search(rf"(?<![\w.]){re.escape(owner)}\b", text.partition("(")[2]) is not None
        between = [c for c in code.calls if load.order < c.order < made.order and c.scope == load.scope]
        used = any(c.name == owner or receiver(c) == owner or owner in map(written, c.args) for c in between)
        loaded = any(call.order > made.order for call in again)
        if made.order > load.order and alike and not (wraps or used or loaded) and set(made.guards) <= set(load.guards):
            yield (
                "the model is made again after its weights were loaded",
                [
                    seen(load),
                    Evidence(text=f"{made.target} = {text}"[:160], source=made.source),
                ],
            )
            return


def _unused(code: Code) -> Iterator[tuple[str, list[Evidence]]]:
    """A file of weights whose name is nowhere read again, in a file that runs a model."""
    for call in code.calls:
        if not READS.search(call.name) or not call.target.isidentifier() or code.named(*LOADS):
            continue
        name = re.compile(rf"(?<![\w.]){re.escape(call.target)}(?!\w)")
        later = [c for c in code.calls if c.order > call.order and c is not call]
        used = any(name.search(f"{c.name} {call_text(c)}") for c in later)
        used = used or any(
            name.search(written(a.value)) or a.target.startswith(f"{call.target}[") for a in code.assignments
        )
        runs = any(last_part(c.name) in ("eval", "train", "fit", "generate", "predict") and not c.args for c in later)
        if not used and runs and call.scope == "" and not call.guards:
            yield "a file of weights is read, and what was read is used nowhere", [seen(call)]
            return


def _follows(later: Call, load: Call) -> bool:
    """Whether a call runs after the load wherever the load ran."""
    return all(guard in load.guards for guard in later.guards)


def _of_state(owner: str) -> bool:
    return re.search(r"optim|sched|scaler|ema|(?:^|[._])opt$", owner, re.I) is not None
