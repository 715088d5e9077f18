"""MOD016 head-outside-adapter."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import Known, adapters_on, call_text, calls, known, plain, seen, switched_on, written
from holter.checks.noted import noted
from holter.checks.symptoms import complaint, number
from holter.finding import Change, Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Expression, Run
from holter.stages import Stage

IN_PLACE = (".append(", ".extend(", ".insert(", ".sort(", ".update(")
CONFIGS = ("LoraConfig", "IA3Config", "AdaLoraConfig", "LoHaConfig", "PromptTuningConfig")
HEADS = regex(r"classifier|score|qa_outputs|head")
WITH_HEAD = ("forsequenceclassification", "fortokenclassification", "forquestionanswering", "rewardmodel")
HEAD_TASKS = ("seq_cls", "token_cls", "question_ans")
"""PEFT's tasks for which it trains and saves the new head by itself."""
RELOADED = regex(r"reload|after_load|loaded|restored|from_disk", re.I)
TRAINED = regex(r"after_train|trained|before_save|in_memory|before_reload|during_train|end_of_train", re.I)
RANDOM_AGAIN = ("reload", "after loading", "loaded model", "newly initialized", "behaves like random", "random after")
HEAD_SWITCH = regex(
    r"\b(?:head|classifier|score|regressor|pooler|crf)\b.{0,40}\b(?:requires? grad|trainable|trained)\b"
    r"|\b(?:trainable|requires grad)\b.{0,8}\b(?:head|classifier|score)\b"
)
LOST = 0.75
"""Share of a score below which a reloaded model has lost something; rounding to another dtype costs far less."""

WEIGHTS_ONLY = ("adapter", "lora", "adapter weights only")


class HeadOutsideAdapter(Check):
    """What it looks for
        A new head or new embedding rows beside adapters that are neither trained nor saved with them:
        ``modules_to_save`` given by a call that returns None, a classification model under another ``task_type``, or
        embeddings that are trained while the checkpoint holds adapter weights alone.

    Why it hurts
        A frozen random head caps what can be learnt; a trained head that is not saved is random again after loading.

    How to fix it
        ``modules_to_save=["score"]`` (or ``classifier``, ``embed_tokens``, ``lm_head``) as a plain list, and
        ``task_type="SEQ_CLS"`` for classification.

    When to ignore it
        When the head was trained before and is in the base checkpoint.

    Threshold
        None.

    Sources
        PEFT's model classes for tasks; public reports of heads that came back random.
    """

    code = "MOD016"
    name = "head-outside-adapter"
    title = "A new head is left out of training or of the checkpoint"
    severity = Severity.ERROR
    stage = Stage.SAVE
    needs = Needs(any_of=(("code",), ("adapters",), ("task_type",), ("facts",)))
    bad = (
        script(
            "no task",
            "m = AutoModelForSequenceClassification.from_pretrained('b', num_labels=3)\n"
            "m = get_peft_model(m, LoraConfig(r=4, target_modules=['query', 'value']))\n",
        ),
        case("two scores", config={"adapters": "lora"}, facts={"f1_after_training": 0.89, "f1_after_reload": 0.15}),
        script("append returns None", "c = LoraConfig(r=4, modules_to_save=names.append('classifier'))\n"),
        case("frozen", facts={"classifier.weight.requires_grad": False}),
        case(
            "another task",
            config={"adapters": "lora", "architectures": "LlamaForSequenceClassification", "task_type": "CAUSAL_LM"},
        ),
    )
    good = (
        script(
            "the task in a file",
            "m = AutoModelForSequenceClassification.from_pretrained('b', num_labels=3)\n"
            "m = get_peft_model(m, LoraConfig(r=4, task_type=TaskType.SEQ_CLS, target_modules=['query']))\n",
        ),
        case("a list", files={"a.py": "c = LoraConfig(r=4, task_type='SEQ_CLS', modules_to_save=['score'])\n"}),
        case("trained", facts={"classifier.weight.requires_grad": True}),
        case("classification task", config={"adapters": "lora", "architectures": "X", "task_type": "SEQ_CLS"}),
    )
    not_enough = (case("nothing"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Three ways to lose a head."""
        for call in calls(run, *CONFIGS):
            given = call.kwargs.get("modules_to_save")
            if isinstance(given, Expression) and any(way in given.text for way in IN_PLACE):
                message = f"modules_to_save={given.text} is None: a method that changes its list returns nothing"
                yield self._found(message, [seen(call)], 9.0, "modules_to_save is None by mistake")
        for call in calls(run, "Dense"):
            if call.kwargs.get("trainable") is False and call.kwargs.get("activation") in ("softmax", "sigmoid"):
                yield self._found(
                    "the layer that gives the answer is set not to train", [seen(call)], 6.0, "it is frozen"
                )
        yield from self._other_task(run)
        yield from self._came_back_random(run)
        yield from self._not_saved(run)

    def _other_task(self, run: Run) -> Iterable[Finding]:
        task, head, adapters = known(run, "task_type"), known(run, "architectures", "auto_class"), adapters_on(run)
        if head is None or adapters is None or plain(run, "modules_to_save") is not None:
            return
        if task is None:
            yield from self._no_task(run, head)
            return
        word, name = written(task.plain).lower().split(".")[-1], written(head.plain).lower()
        if any(kind in name for kind in WITH_HEAD) and word not in HEAD_TASKS:
            message = f"task_type {written(task.plain)} with {written(head.plain)}: the new head stays frozen"
            yield self._found(message, [task.evidence, head.evidence], 5.0, "the head is not in modules_to_save")

    def _no_task(self, run: Run, head: Known) -> Iterable[Finding]:
        """A configuration of adapters that names no task: PEFT then knows of no head, and freezes it with the rest."""
        for call in calls(run, *CONFIGS):
            open_ended = any(key.startswith("*") for key in call.kwargs) or call.args
            covered = {"task_type", "modules_to_save"} & set(call.kwargs) or HEADS.search(call_text(call))
            if any(kind in written(head.plain).lower() for kind in WITH_HEAD) and not (open_ended or covered):
                message = f"no task_type beside {written(head.plain)}: the new head stays frozen"
                yield self._found(message, [seen(call), head.evidence], 5.0, "the head is not in modules_to_save")
                return

    def _came_back_random(self, run: Run) -> Iterable[Finding]:
        """A score that was good after training and is not after loading the adapter again."""
        single = [(name, number(v[0].value), v[0].source) for name, v in run.facts.items()]
        single += [(name, s[0], s.place(0)) for name, s in run.series.items() if len(s) == 1]
        again = [item for item in single if RELOADED.search(item[0])]
        before = [item for item in single if TRAINED.search(item[0]) and not RELOADED.search(item[0])]
        for name, low, value in again:
            for other, high, good in before:
                if (
                    low is not None
                    and high is not None
                    and high > 0
                    and low < LOST * high
                    and _metric(name) == _metric(other)
                ):
                    yield self._found(
                        f"{other} is {high:g}, {name} is {low:g}: something trained was not saved",
                        [
                            Evidence(text=f"{n} is {v:g}", source=source)
                            for n, v, source in ((name, low, value), (other, high, good))
                        ],
                        5.0 if adapters_on(run) is not None else 3.0,
                        "the score is lost on reloading",
                    )
                    return
        if complaint(run, *RANDOM_AGAIN) is not None and adapters_on(run) is not None:
            told = complaint(run, *RANDOM_AGAIN)
            evidence = [told] if told is not None else []
            yield self._found(
                "the reloaded model behaves as if untrained", evidence, 4.0, "the score is lost on reloading"
            )

    def _not_saved(self, run: Run) -> Iterable[Finding]:
        trained = switched_on(run, "embeddings_requires_grad", "embeddings_trainable", "head_requires_grad")
        kept = written(plain(run, "checkpoint_contains") or "").lower()
        if trained is not None and any(word in kept for word in WEIGHTS_ONLY):
            held = known(run, "checkpoint_contains")
            evidence = [trained.evidence, *([held.evidence] if held is not None else [])]
            resized = next(iter(calls(run, "resize_token_embeddings")), None)
            evidence += [Evidence(text=call_text(resized), source=resized.source)] if resized is not None else []
            message = "weights outside the adapter are trained, but the checkpoint holds the adapter alone"
            yield self._found(message, evidence, 6.0, message)
        frozen = next((f for f in noted(run) if HEAD_SWITCH.search(f.words) and f.flag is False), None)
        if frozen is not None:
            yield self._found("the new head is frozen", [frozen.evidence], 6.0, "the head asks for no gradient")

    def _found(self, message: str, evidence: list[Evidence], bits: float, why: str) -> Finding:
        change = Change(key="modules_to_save", new=["score"])
        return self.finding(
            message,
            evidence=evidence,
            clues=clues(why, head_not_trained_or_saved=bits),
            fix=Fix(summary="Give modules_to_save as a plain list that names the new head.", changes=(change,)),
        )


def _metric(name: str) -> str:
    """``accuracy`` for ``accuracy_after_reload`` and ``reloaded_accuracy``."""
    words = re.split(r"[._]", re.sub(RELOADED.pattern + "|" + TRAINED.pattern, "", name.lower()))
    return next(
        (word for word in words if len(word) > 1 and word not in ("after", "before", "ing", "ed", "model", "eval")), ""
    )
