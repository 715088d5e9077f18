"""LOS055 nothing-learnt-in-words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from holter.checks.base import Check, Needs, case, clues
from holter.checks.context import has_plain_loss, task_words
from holter.checks.look import is_off, known, written
from holter.checks.loss.zero_without_gradient import MAIN
from holter.checks.noted import Noted, noted
from holter.checks.shape import tabled
from holter.checks.symptoms import broken, number
from holter.checks.verdicts import kept_at
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.quantity import AFTER, BEFORE, ERROR, EVAL, FIRST, LOSS, SCORE, Quantity, is_result, quantity
from holter.run import Run
from holter.stages import Stage

STUCK = regex(
    r"^(?:is |stays? |remains? |at |about |around |near |[\d.]+,? )*(?:stuck|flat|constant|frozen)\b"
    r"|\bstuck (?:at|near|around)\b|\bno (?:progress|change|improvement)\b|\bnone since the start\b"
    r"|\b(?:does not|doesn't|did not|never|not|hardly|barely) "
    r"(?:fall|decrease|drop|move|change|improve|come down|go down|learn)\w*"
)
HUGE = regex(
    r"\b(?:very|extremely|far too|too|really) (?:high|large|big)\b|\bstays? (?:high|large|huge)\b"
    r"|^(?:is |stays? |remains? )?(?:huge|massive|enormous)\b|\b(?:explodes?|blows? up|soars?|diverge[sd]?)\b"
)
HIGH = regex(r"^(?:is |stays? |remains? )?high\b")
"""Of a loss; an error rate is high for many reasons."""

ALL_WRONG = regex(r"\b(?:near(?:ly)?|close to|about|almost|around|at|over|above) (?:100|1\.0)\b|^(?:100|1\.0+) ?%?")
NOTHING = regex(
    r"^(?:is |are |always |stays? |remains? |at |all |almost |near(?:ly)? |close to |about |exactly |only )*"
    r"(?:0|zero)(?:\.0+)? ?%?(?!\.?\d)|\bat chance\b|\brandom(?:ly)?\b|\b(?:like|as) guessing\b"
)
AT_ONCE = regex(r"\bimmediate\w*|\bat once\b|\bfrom the (?:first|start|beginning|very)\b|\bat the (?:first|start)\b")
"""A loss that is huge before anything was learnt is summed, or of wrong weights."""

HARMLESS = regex(
    r"\bslow\w*|\bnois\w+|\bconstantly\b|\balways\b.{0,20}\b(?:decreas|fall)|\binitial drop|\bnormal\w*|\bexpected\b"
    r"|\bafter (?:a|an|the|some) \w+ (?:fall|drop)\b|\bthen flat\b|\bconverge[sd]\b|\bmuch\b|\bfurther\b|\bfluctuat\w+"
    r"|\bpenalt\w+|\bloss\b \w+ loss|\bas (?:in|before)\b|\b(?:higher|lower) than\b|\bsometimes\b|\bat times\b|\bnan\b"
    r"|\bresum\w+|\bcheckpoint|\boverflow\w*|\bwarm-?up\b"
    r"|\bthen\b.{0,30}\b(?:fall|drop|decreas|comes? down|goes down|lower)"
    r"|\bafter (?:the )?(?:epoch [2-9\d]|\w+ epochs|\d{4,} steps|step \d{4,}|\d+k\b)"
)
"""Words that take it back, or that tell of another cause."""

SMALL = 0.5
"""A level told beside a flat loss below which it has learnt all there is."""

LEVEL = regex(r"(?<![\w.])(\d+(?:\.\d+)?)(?![\w.]*[a-z%])")
UNIFORM = (10.2, 12.5)
"""Nats of a uniform guess among 27,000 tokens, up to those of 260,000: the vocabularies of language models."""

ZEROS = 2
"""Evaluations of a score that are exactly zero; one may be the first of a run."""

LATE_RECOGNITION = regex(r"\bctc\b|\bspeech\b|\basr\b|\brecogni")
COURSE = frozenset({"change", "curve", "course", "trend", "behaviour", "behavior", "progress"})
"""Words beside a quantity that leave it what it is."""

RATES_TRIED = 2
RISES = regex(r"\b(?:go(?:es)? up|ris(?:es|ing)|increas\w+|climb\w*|diverg\w+|explod\w+|nan)\b")
ON_LOSS = regex(r"\bloss(?:es)?\b|\bperplexity\b|\bppl\b")
"""What rows of several rates are told of."""

OF_A_STEP = frozenset({FIRST, BEFORE, AFTER})


class NothingLearntInWords(Check):
    """What it looks for
        A training loss, a perplexity or an error rate told to be stuck, flat, very high or to explode, a score told to
        be near zero or at chance, or a score of exactly zero at each of two evaluations and more in a table.

    Why it hurts
        Nothing is learnt, or what was known is lost. In public reports the first cause is the rate, above all for a
        model that was trained before, for an optimizer with the rate of another one, and for a small batch with the
        rate of a large one; then a missing warmup.

    How to fix it
        Lower the rate ten times for a short run, and warm up; then count trainable parameters and supervised labels.

    When to ignore it
        When the loss is told of single steps, or where it has converged.

    Threshold
        None for words; a flat loss below `SMALL` counts as learnt. `ZEROS` evaluations.

    Sources
        Mosbach, Andriushchenko and Klakow 2021; Popel and Bojar 2018, sections 4.5 to 4.7 (rate, warmup and batch size
        of Transformers from scratch).
    """

    code = "LOS055"
    name = "nothing-learnt-in-words"
    title = "Nothing is learnt, as somebody tells"
    severity = Severity.WARNING
    stage = Stage.LOSS
    needs = Needs(any_of=(("facts",), ("variants",)))
    bad = (
        case("a flat loss", facts={"train_loss": "flat from the start"}),
        case("stuck at a level", facts={"loss": "stuck near 6.9"}),
        case("a perplexity", facts={"perplexity": "very high in all epochs"}),
        case("an error rate", facts={"wer": "close to 100"}),
        case("a score", facts={"eval_bleu": "almost zero"}, config={"warmup_steps": 0}),
        case("zeros", variants=[{"epoch": n, "eval_f1": 0.0} for n in (1, 2)]),
        case("told of its change", facts={"loss_change": "none since the start"}),
        case(
            "at each rate",
            variants=[{"learning_rate": lr, "result": "training loss rises after some epochs"} for lr in (1e-4, 5e-4)],
        ),
        case("both worse", facts={"loss": "increasing", "accuracy": "high at first, decreasing afterwards"}),
        case("turned", facts={"loss": "falls until epoch 2, then rises"}),
        case("of all tokens", facts={"lm_loss": "about 11.4 for a long time"}),
        case("no change", facts={"loss": "9.2, no change for three epochs"}),
    )
    good = (
        case("converged", facts={"loss": "about 0.05, flat"}),
        case("a noisy one", facts={"step_loss": "flat, noisy"}),
        case("huge at once", facts={"loss": "huge from the first step"}),
        case("slowly", facts={"loss": "does not fall much, slowly"}),
        case("behind a warmup", facts={"loss": "flat for 50 steps of warmup, then falls from 10.4 to 6.2"}),
        case("learnt before", facts={"loss": "flat after epoch 8", "val_accuracy": 0.93}),
        case("at first", facts={"lm_loss": "about 11.4 at the start"}),
        case("held-out", facts={"eval_loss": "flat"}),
        case("falling", facts={"loss": "constantly falling", "wer": "falls"}),
        case(
            "at one of the rates",
            variants=[
                {"learning_rate": 1e-3, "result": "loss rises after some epochs"},
                {"learning_rate": 1e-4, "result": "loss falls"},
            ],
        ),
        case("a bump", facts={"loss": "rises at first, then falls"}),
        case("a first zero", variants=[{"epoch": 1, "eval_f1": 0.0}, {"epoch": 2, "eval_f1": 0.3}]),
        case("a policy", facts={"loss": "stuck near 0", "reward": "rises"}, config={"task": "grpo"}),
    )
    not_enough = (case("nothing told", config={"max_steps": 10}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding for all that is told."""
        if broken(run) is not None or not has_plain_loss(run):
            return
        facts = list(noted(run))
        lost = [fact.evidence for fact in facts if _loss_bad(fact)] or _every_rate(run) or _both_worse(facts)
        zero = [fact.evidence for fact in facts if _score_bad(fact)] or list(_zeros(run))
        if (lost or zero) and not _better(facts):
            shown = [*lost, *zero]
            yield self.finding(
                ", ".join(one.text for one in shown[:2]),
                evidence=shown,
                clues=list(_clues(run, bool(lost))),
            )


def _what(fact: Noted) -> Quantity | None:
    what = quantity(fact.name.rpartition(".")[2]) or quantity(fact.name)
    if not isinstance(fact.value, str) or what is None or what.moment in OF_A_STEP or not COURSE.issuperset(what.rest):
        return None
    return None if HARMLESS.search(fact.value.lower()) else what


def _loss_bad(fact: Noted) -> bool:
    """A loss of training, or an error rate, that is stuck or huge."""
    if _stays(fact) >= SMALL:
        return True
    what = _what(fact)
    if what is None or what.kind not in (LOSS, ERROR) or (what.kind == LOSS and what.split == EVAL):
        return False
    text = str(fact.value).lower()
    extreme = ALL_WRONG if what.kind == ERROR else HIGH
    if (HUGE.search(text) or extreme.search(text)) and not AT_ONCE.search(text):
        return True
    level = LEVEL.search(text)
    return STUCK.search(text) is not None and (level is None or float(level[1]) >= SMALL)


def _stays(fact: Noted) -> float:
    """The level at which the training loss is said to stay; 0.0 where nobody says so."""
    what = quantity(fact.name)
    if what is None or what.kind != LOSS or what.split == EVAL or not MAIN.issuperset(what.rest):
        return 0.0
    return 0.0 if what.moment in OF_A_STEP else kept_at(fact.value) or 0.0


EARLY = regex(r"\b(?:epoch|step|iteration|round) [01]\b|\bfirst\b|\bstart\b|\buntrained\b|\bbefore\b|\binitial")


def _score_bad(fact: Noted) -> bool:
    what = _what(fact)
    if EARLY.search(fact.words):
        return False
    return what is not None and what.kind == SCORE and NOTHING.search(str(fact.value).lower()) is not None


def _zeros(run: Run) -> Iterator[Evidence]:
    """A score that is exactly zero at each evaluation of a table by epoch or step."""
    for name in dict.fromkeys(name for row in run.variants for name in row):
        what = quantity(name)
        series = tabled(run, name) if what is not None and what.kind == SCORE and is_result(name) else None
        if series is not None and name not in run.series and len(series) >= ZEROS and not any(series):
            text = f"{name} is 0 at each of {len(series)} evaluations"
            yield Evidence(text=text, source=series.place(0), value=0.0)


def _every_rate(run: Run) -> list[Evidence]:
    """Rows that differ in the rate, each of which tells of a loss that rises or is stuck."""
    shown, rates = [], set()
    for row in run.variants:
        told = [v for v in row.values() if isinstance(v.value, str) and ON_LOSS.search(v.value.lower())]
        bad = [v for v in told if RISES.search(v.value.lower()) or STUCK.search(v.value.lower())]
        if "learning_rate" not in row or not bad:
            return []
        rates.add(str(row["learning_rate"].value))
        text = f"at a rate of {written(row['learning_rate'].value)}: {bad[0].value}"
        shown.append(Evidence(text=text, source=bad[0].source, value=bad[0].value))
    return shown if len(rates) >= RATES_TRIED else []


DOWN = regex(r"\b(?:decreas\w+|fall\w*|fell|drop\w*|declin\w+|go(?:es|ing)? down|get(?:s|ting)? worse)\b")
THEN_UP = regex(
    r"^(?:falls?|decreas\w+|drops?|goes down|lowers?)\b.{0,40}\b(?:then|afterwards?|before|but)\b.{0,30}"
    r"\b(?:ris(?:es|ing)|increas\w+|climb\w*|goes (?:back )?up|grow\w*|shoots? up|jumps? up)\b"
)


def _both_worse(facts: Sequence[Noted]) -> list[Evidence]:
    """A training loss that is told to rise while a score falls, or to fall first and then to rise."""
    told = [(fact, what) for fact in facts if (what := _what(fact)) is not None and what.split != EVAL]
    losses = [fact for fact, what in told if what.kind == LOSS]
    turned = next((fact for fact in losses if THEN_UP.search(fact.value.lower())), None)
    if turned is not None:
        return [turned.evidence]
    up = next((f for f in losses if RISES.search(f.value.lower()) and not DOWN.search(f.value.lower())), None)
    down = next((f for f, what in told if what.kind == SCORE and DOWN.search(f.value.lower())), None)
    return [] if up is None or down is None else [up.evidence, down.evidence]


BETTER = regex(r"\b(?:improv\w+|increas\w+|ris(?:es|ing)|good|fine|learns? well)\b")


def _better(facts: Sequence[Noted]) -> bool:
    """Whether a score is told to get better all the same."""
    told = ((fact, quantity(fact.name)) for fact in facts if isinstance(fact.value, str))
    return any(what is not None and what.kind == SCORE and BETTER.search(f.value.lower()) for f, what in told)


def _clues(run: Run, lost: bool) -> Iterator[Clue]:
    if lost:
        why = "a loss that is told to be stuck or huge is that of a rate too high, more often than of anything else"
        yield from clues(why, lr_too_high=3.5, warmup_missing=2.0, scheduler_step_mismatch=1.0, lr_zero=0.5)
        yield from clues(why, no_trainable_params=0.5, grad_clip_disabled=0.5, ctc_target_too_long=0.3)
        if any(UNIFORM[0] <= _stays(fact) <= UNIFORM[1] for fact in noted(run)):
            why = "it stays at the loss of guessing among all tokens: no step moves anything"
            yield from clues(why, lr_zero=4.0, no_trainable_params=2.0, loss_scale_exhausted=1.0, lr_too_high=-1.0)
    else:
        why = "a score of nothing at every evaluation"
        yield from clues(why, lr_too_high=3.0, metric_decoding=2.0, warmup_missing=1.5, seed_instability=1.0)
    warmup = known(run, "warmup_steps", "warmup_ratio")
    if warmup is not None and not warmup.value.is_default and (is_off(warmup.plain) or number(warmup.plain) == 0.0):
        yield from clues(f"{warmup.name} is {written(warmup.plain)}", warmup_missing=2.5)
    elif warmup is None and LATE_RECOGNITION.search(task_words(run)):
        yield from clues("no warmup is given, and speech models need one", warmup_missing=1.0)
