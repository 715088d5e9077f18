"""MOD010 trainable-count-zero."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, script
from holter.checks.look import Known, call_text, calls, is_on, known, seen, switched_on
from holter.checks.messages import quote, said, statements
from holter.checks.purpose import without_training
from holter.checks.script import texts
from holter.checks.symptoms import always_zero, finite, number
from holter.finding import Clue, Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import EVENT_TRAINABLE, Call, Run
from holter.stages import Stage

NONE_TRAINABLE = regex(
    r"(?:trainable param(?:eter)?s|number of trainable parameters)\s*[:=]\s*0(?![\d.,]*\d)|^0\s+trainable params$"
    r"|trainable param(?:eter)?s\s*[:=]\s*0\.0+% \(0\.0+m/"
)
NO_SHARE = regex(r"^0(?:\.0+)? ?% \(0(?:\.0+)?[kmb]?/", re.I)
FOR_INFERENCE = regex(
    r"\bif you are using model for inference\b"
    r"|\bparam\w*[ _](?:at|in|for|during)[ _](?:inference|generation|serving|evaluation)\b"
    r"|\b(?:load\w*|used?|print\w*)\b[^.]{0,60}\b(?:for|at|in|during) inference\b"
)
"""What says that nothing has to be trainable: the library, or a person beside the count."""

COUNTS = ("trainable_params", "trainable_parameters", "num_trainable_params", "trainable")
COUNTED = regex(
    r"^(?:(?:num|number_of|n|count_of)_)?(?:trainable(?!\w*_(?:at|in|for|during)_(?:inference|generation|serving|evaluation))"
    r"\w*|params?_(?:with|requiring)_grad|requires_grad_(?:params?|count|tensors?)"
    r"|optimi[sz]er_(?:num_)?(?:params?|parameters?|tensors?|param_groups)|params?_in_optimi[sz]er)$",
    re.I,
)
"""Names of counts and lists of what is trained."""

ADAPTED = regex(
    r"^(?:.+\.)?(?:(?:num|number_of|n|count_of)_)?(?:lora|adapter|peft|adapted|wrapped|matched|targeted)_"
    r"(?:\w+_)?(?:layers?|modules?|params?|parameters?|tensors?|weights?|keys?)(?:_(?:found|matched|count))?$"
    r"|^(?:.+\.)?(?:modules?|layers?)_with_(?:lora|adapters?)$",
    re.I,
)
"""Names of counts and lists of what got an adapter."""

SERVING = ("generate", "eval", "merge_and_unload", "predict", "no_grad", "inference_mode", "pipeline", "encode")
TRAINING_ARGUMENTS = regex(r"\b(?:model_args|training_args|train_args|finetuning_args)\b")
"""What the arguments of training scripts are called."""

TRAINING = ("Trainer", "Seq2SeqTrainer", "SFTTrainer", "DPOTrainer", "backward", "train")
ADAPTER_FOLDER = regex(r"peft|adapter|lora", re.I)
AUTO = regex(r"^(?!Peft|AutoPeft).*\.from_pretrained$")


class TrainableCountZero(Check):
    """What it looks for
        A count of trainable parameters that is 0, or a saved adapter that is loaded frozen and then trained: without
        ``is_trainable=True``, or through a plain auto class.

    Why it hurts
        Nothing can learn: the gradient is 0.0 or backward stops with an error.

    How to fix it
        ``PeftModel.from_pretrained(model, path, is_trainable=True)``, or merge the adapter and attach a new one.

    When to ignore it
        In inference. A frozen load alone is no finding; it takes a training call or a gradient of 0.0.

    Threshold
        Exactly 0.

    Sources
        PEFT's documentation of ``is_trainable``.
    """

    code = "MOD010"
    name = "trainable-count-zero"
    title = "No parameter is trainable"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("events",), ("code",), ("facts",), *((name,) for name in COUNTS)))
    bad = (
        case(
            "said",
            events=[said("trainable params: 0 || all params: 6,738,415,616 || trainable%: 0.0", EVENT_TRAINABLE)],
        ),
        case("nothing in the optimizer", facts={"optimizer_params": 0}),
        case("no adapter", facts={"lora_layers": 0}),
        case("no adapter in one part", facts={"projector.lora_modules": 0, "decoder.lora_modules": 96}),
        case("counted", facts={"trainable_params": 0}),
        script(
            "frozen adapter, by the arguments",
            "c = LoraConfig.from_pretrained(model_args.lora)\nm = PeftModel.from_pretrained(m, 'out', config=c)\n",
        ),
        case("frozen adapter", files={"a.py": "m = PeftModel.from_pretrained(m, 'out')\nt = Trainer(m)\nt.train()\n"}),
    )
    good = (
        case("some", events=[said("trainable params: 4,194,304 || all params: 6,742,609,920", EVENT_TRAINABLE)]),
        case(
            "a reference beside it",
            events=[
                said("reference: trainable params: 0", EVENT_TRAINABLE, trainable=0),
                said("policy: trainable params: 4,194,304", EVENT_TRAINABLE, trainable=4194304),
            ],
        ),
        case(
            "an export",
            events=[
                said("trainable params: 0 || all params: 6,738,415,616 || trainable%: 0.0", EVENT_TRAINABLE),
                said("Merging adapter into the base weights", "message"),
            ],
        ),
        case("a share in per cent", files={"log.txt": "Trainable parameters: 0.048% (4.473M/9241.706M)\n"}),
        case(
            "a person says it was for inference",
            files={
                "log.txt": "trainable params: 0 || all params: 6243584000 || trainable%: 0.0000\n",
                "observed.yaml": "observed: the adapter was loaded only for inference, and this is what it prints\n",
            },
        ),
        case(
            "a part that is frozen",
            config={"freeze_vision_tower": True},
            facts={"vision_tower.lora_modules": 0, "decoder.lora_modules": 96},
        ),
        case("some modules", facts={"trainable_modules": ["score"], "lora_layers": 32}),
        script("merged", "m = PeftModel.from_pretrained(m, model_args.lora)\nm = m.merge_and_unload()\n"),
        case("inference", files={"a.py": "m = PeftModel.from_pretrained(m, 'out')\nm.generate(x)\n"}),
    )
    not_enough = (case("nothing was said"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The count, and the load that explains it."""
        counted, frozen = list(_counted(run)), list(_frozen(run))
        symptom = always_zero(run, "grad_norm")
        if counted:
            yield self._found("no parameter is trainable", [*counted, *(e for e, _ in frozen)], 8.0, _targets(run))
        elif frozen and (symptom is not None or any(True for _ in calls(run, *TRAINING)) or _of_training(run)):
            evidence = [e for e, _ in frozen] + ([symptom] if symptom is not None else [])
            yield self._found(frozen[0][1], evidence, 6.5 if symptom is not None else 4.0)
        bare = next(_none_of(run, ADAPTED), None)
        if bare is not None and not _frozen_on_purpose(run, bare):
            yield self.finding(
                "no module got an adapter",
                evidence=[bare],
                clues=[
                    Clue(cause="adapter-targets-unmatched", bits=7.0, why="no module got an adapter"),
                    Clue(cause="no-trainable-params", bits=2.0, why="no module got an adapter"),
                ],
                fix=Fix(summary="Take target_modules from model.named_modules()."),
            )

    def _found(self, message: str, evidence: list[Evidence], bits: float, targets: Known | None = None) -> Finding:
        missed = [Clue(cause="adapter-targets-unmatched", bits=4.0, why="adapter targets are set, and nothing trains")]
        return self.finding(
            message,
            evidence=evidence,
            clues=[Clue(cause="no-trainable-params", bits=bits, why=message), *(missed if targets is not None else [])],
            fix=Fix(summary="Load the adapter with is_trainable=True, or unfreeze what is to be trained."),
        )


def _of_training(run: Run) -> bool:
    """Whether a script that serves nothing reads the arguments of a training script."""
    if any(True for _ in calls(run, *SERVING)):
        return False
    return any(TRAINING_ARGUMENTS.search(text) for code in run.code for text in texts(code))


def _frozen_on_purpose(run: Run, bare: Evidence) -> bool:
    """Whether the part that got no adapter is one that a setting freezes."""
    part = set(re.split(r"[^a-z]+", bare.text.lower().rpartition(".")[0])) - {""}
    frozen = (name for name in run.config if name.lower().startswith(("freeze_", "frozen_")))
    return any(part & set(name.lower().split("_")[1:]) and switched_on(run, name) is not None for name in frozen)


def _targets(run: Run) -> Known | None:
    """The adapter targets that somebody set, unless the adapter was loaded from a file."""
    loaded = any(True for _ in calls(run, "from_pretrained") if "Peft" in _.name)
    return None if loaded else known(run, "target_modules")


def _counted(run: Run) -> Iterator[Evidence]:
    if without_training(run) or _another_model(run):
        return
    if any(s.kind == "fact" and FOR_INFERENCE.search(s.folded) for s in statements(run)):
        return
    for statement in statements(run):
        if NONE_TRAINABLE.search(statement.folded) and not FOR_INFERENCE.search(statement.folded):
            yield quote(statement)
            return
    for event in run.events_of(EVENT_TRAINABLE):
        if number(event.data.get("trainable")) == 0.0:
            yield Evidence(text=event.text, source=event.source, value=0)
            return
    for name in COUNTS:
        found = known(run, name)
        if found is not None and number(found.plain) == 0.0:
            yield found.evidence
            return
    yield from _none_of(run, COUNTED)


def _another_model(run: Run) -> bool:
    """Whether the count of 0 is that of a reference or a teacher: other weights train, and gradients reach them."""
    counts = (number(event.data.get("trainable")) for event in run.events_of(EVENT_TRAINABLE))
    return finite(run, "grad_norm") is not None or any(count is not None and count > 0.0 for count in counts)


def _none_of(run: Run, names: re.Pattern[str]) -> Iterator[Evidence]:
    """A count of 0, or an empty list, under such a name."""
    for name, values in run.facts.items():
        none = values[0].value == [] or number(values[0].value) == 0.0 or NO_SHARE.match(str(values[0].value))
        if names.search(name) and none:
            yield Evidence(text=f"{name} is {values[0].value}", source=values[0].source, value=values[0].value)
            return


def _frozen(run: Run) -> Iterator[tuple[Evidence, str]]:
    for call in calls(run, "from_pretrained"):
        if call.name.split(".")[-2:-1] in (["PeftModel"], ["AutoPeftModelForCausalLM"], ["AutoPeftModel"]):
            if not is_on(call.kwargs.get("is_trainable", call.args[3] if len(call.args) > 3 else False)):
                yield seen(call), "an adapter is loaded without is_trainable=True, which freezes it"
        elif AUTO.match(call.name) and "okenizer" not in call.name and _from_adapter(call):
            yield seen(call), "an adapter folder is loaded through a plain auto class, which freezes it"


def _from_adapter(call: Call) -> bool:
    first = call_text(call).split("(", 1)[1].split(",", 1)[0]
    return bool(call.args) and ADAPTER_FOLDER.search(first) is not None
