"""CFG018 described-symptom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from holter.checks.base import Needs, SecondLook, case, clues
from holter.checks.configuration._excused import complaints, excused, prevented
from holter.checks.configuration._notes import notes, of_rows, remarks, spelt_out
from holter.checks.configuration._separating_facts import separating
from holter.checks.configuration._told import Told, faults, hints, symptoms
from holter.checks.configuration._words import Note
from holter.checks.context import count_of, is_reinforcement, model_names, task_words
from holter.checks.likeness.chance import chance_of_failure
from holter.checks.look import calls
from holter.checks.symptoms import TRAIN_LOSSES, nonfinite
from holter.checks.verdicts import tells_nan
from holter.finding import Clue, Evidence, Finding, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

UNHARMED = (
    r"\b(?:performance|quality|results?|scores?|accuracy|samples|outputs?|evaluation|metrics?)\b[^.;]{0,30}"
    r"\b(?:not (?:be )?(?:affected|harmed|hurt)|unaffected|unharmed|still (?:fine|good|improv\w+)|keeps? improving)"
)
SMOOTHED = (
    r"\b(?:smoothed|averaged|running|moving|mean|epoch)\b[^.;]{0,20}\b(?:loss|average|mean|curve|trend)?\b[^.;]{0,10}"
    r"\b(?:falls?|falling|decreas\w+|goes down|improv\w+)"
)
COMFORT = {
    "padding is learnt": regex(
        r"\b(?:real|actual|other|true|non-?pad\w*|unpadded)\b[^.;]{0,20}\b(?:right|correct\w*|fine|good)\b"
    ),
    "training loss rises": regex(
        rf"{UNHARMED}|{SMOOTHED}|\b(?:val\w*|eval\w*|test|dev|held[- ]?out)[ _]loss(?:es)?\b(?:[^.;]|\.\d){{0,12}}"
        r"\b(?:lower|below|smaller)\b"
    ),
    "the loss is erratic": regex(f"{UNHARMED}|{SMOOTHED}"),
    "loss stands still": regex(UNHARMED),
    "rows repeat or leak": regex(r"\bsame (?:\w+, )*(?:random )?seeds?\b"),
    "score at chance": regex(
        r"\b(?:val\w*|eval\w*|test|dev|held[- ]?out)[ _](?:acc\w*|f1|auc|score)\D{0,15}"
        r"(?:0\.[7-9]\d*|[7-9]\d(?:\.\d+)?\b|100)"
    ),
    "worse after loading": regex(r"(?<![\d.])(\d+(?:\.\d+)?)%?\b(?:[^.;]|\.\d){0,60}(?<![\d.])\1(?![\d]|\.\d)"),
    "gradients are not exchanged": regex(
        r"\bgradients?(?: \w+)? (?:are|is|get) (?:\w+ly |then )?(?:all-?reduced|averaged|synchroni\w+|exchanged)\b"
    ),
    "held-out loss rises": regex(
        r"\b(?:wer|cer|error rate)\b(?:[^.;]|\.\d){0,30}?\b(?:improv\w*|better|decreas\w*|fall\w*|drop\w*|lower)"
        r"|\b(?:bleu|rouge\w*|chrf|acc(?:uracy)?|f1|score|auc|reward|quality)\b(?:[^.;]|\.\d){0,30}?"
        r"\b(?:improv\w*|better|increas\w*|ris(?:es|ing)|goes? up|grow\w*|higher)"
    ),
}
"""A note that takes the sting out of a symptom: a loss that rises while the measure of quality still improves, a
comparison with a held-out loss that is lower, an answer at padding while those at real tokens are right, a score of the
training rows, under dropout, while held-out rows score well; data that are the same since two runs are compared."""

ADVERSARIAL = regex(r"\b(?:discriminator|generator|adversarial|adv|gan|critic|[dg])[ _]loss\b|\bw?gan\b|\badversarial")
FOOLED = regex(r"\b(?:discriminator|critic|domain classifier)[ _]acc\w*")
"""An accuracy that ends at one half where the other network has won."""

DRAWN_NOISE = regex(
    r"\bdiffusion|stable-?diffusion|\bsdxl\b|\bddpm\b|dreambooth|controlnet|\bflux\b|text[- ]to[- ]image|flow matching"
)
WITHOUT_A_COURSE = ("the loss is erratic", "loss stands still", "training loss rises")
"""What two networks that play against each other show when all is well, and what a diffusion model shows, whose loss
depends on the drawn time step more than on what was learnt."""

OF_RUNS_ON_REWARDS = ("training loss rises", "loss is exactly zero", "the loss is erratic")
"""What is normal where a policy is trained on rewards: its loss starts at 0, swings about it and grows with the
distance it went."""

ASKED = regex(
    r"\b(?:should (?:i|we|one|it|the)|do (?:i|we) (?:need|have)|can (?:i|we|one)|could (?:i|we)|would (?:it|you)|may i"
    r"|which|what|how (?:much|many|to|do|should|can|long)|is (?:it|this|that) (?:normal|ok(?:ay)?|fine|possible|right"
    r"|necessary|worth|expected)|is there|are there)\b[^.;?!]*\?"
    r"|\bis an? (?:\w+ ){1,3}of \d[^;?!]*\?"
)
"""A question about what to do, or whether something is as it should be: nobody claims what it names."""

REWARDS = regex(r"\b(?:grpo|ppo|rloo|kl|policy|rollouts?|rewards?)\b")

DIVIDED = regex(r"(?<!not )\b(?:divided|averaged) (?:by|over)\b")
DIVIDING = "the loss grows with accumulation"
"""A loss that is divided is right in a loop of one's own, where no trainer divides once more."""

GENERAL = "something is nan"

LIKELY = 0.8
"""Chance of a failure, by all words of the run and what checks found, below which what somebody tells is no alarm:
reports of healthy runs tell of spikes, warnings and slow starts, too. Where nobody else saw a symptom, a quarter of the
failures stay below, and two thirds of the healthy runs (``scripts/learn_words.py --measure``)."""


GOOD = 0.75
"""A held-out score above that of the commonest class in most data sets."""


class DescribedSymptom(SecondLook):
    """What it looks for
        A symptom that a person described in words: the loss does not fall, the output never stops, every input gets
        the same answer, the model is worse after it was loaded.

    Why it hurts
        Each such symptom has a few usual causes. They are listed with the base rates of public reports, moved by the
        settings that tell them apart (precision, adapters, padding, warmup, clipping, size of the model).

    How to fix it
        Measure what separates the first two causes of the list; the diagnosis says what that is.

    When to ignore it
        When the note describes another run.

    Threshold
        None. Words alone hardly ever settle a cause, so the list seldom names one.

    Sources
        The words and outcomes of public reports, generalised.
    """

    code = "CFG018"
    name = "described-symptom"
    title = "A symptom was described"
    severity = Severity.WARNING
    stage = Stage.LOG
    needs = Needs(
        any_of=(
            ("facts",),
            ("code",),
            ("variants",),
            ("config",),
            ("loss",),
            ("train_loss",),
            ("eval_loss",),
            ("grad_norm",),
        )
    )
    bad = (
        case("does not stop", facts={"observed": "the answers run on until the length limit and never stop"}),
        case("stands still", facts={"observed": "loss does not decrease"}, config={"gradient_checkpointing": True}),
        case("behind a number", files={"observed.yaml": "loss: nan  # only for some batches\n"}),
        case("in the place of a number", facts={"loss": "stuck at 2.3"}),
        case("after loading", facts={"result": "accuracy is random after reloading the checkpoint"}),
        case("the batch counts", facts={"symptom": "batched answers differ from those of a single prompt"}),
        case("same batches", facts={"observed": "both GPUs get the same batches in every step"}),
        case("a jump", facts={"symptom": "the loss jumps from 0.8 to 2.1 after resuming"}),
        case("a leak", facts={"note": "900 of the test rows also appear in the training file"}),
        case("an early end", facts={"observed": "learning rate reaches zero halfway through the run"}),
        case("beside parts", facts={"note": "each rank sees different rows, and weights differ between ranks"}),
        case("half of it", facts={"note": "no unexpected keys, but 140 missing keys after loading the checkpoint"}),
        case("own ways", facts={"observed": "gradients are not synchronised between ranks"}),
        case("after a restart", facts={"after_resume": "serious convergence issues"}),
        case("under a name of its own", facts={"what_happens": "the answers never stop"}),
        case("rising", facts={"note": "training loss rises in the first hundred steps"}, config={"warmup_steps": 0}),
    )
    good = (
        case("stairs", facts={"observed": "training loss drops at every epoch boundary"}),
        case("back to normal", facts={"note": "one spike in the loss, then back to normal"}),
        case("two networks", facts={"discriminator_loss": "oscillates all the time"}),
        case("diffusion", config={"model": "stable-diffusion"}, facts={"loss_curve": "noisy, does not decrease"}),
        case("under dropout", facts={"train_accuracy": "around 50 %, all the time", "val_accuracy": "around 83 %"}),
        case("compared", facts={"train_loss": "higher", "val_loss": "lower"}),
        case("not zero", facts={"grad": "non-zero"}),
        case("low", facts={"loss": "about 0.08, flat"}),
        case("a question", facts={"question": "should I use a higher learning rate with LoRA? 2e-4 works, loss 0.9"}),
        case("none found", facts={"train_test_overlap": "0 rows"}),
        case("after the warmup", facts={"loss": "flat for the first 50 steps of warmup, then falls from 10 to 6"}),
        case("falling", facts={"observed": "loss decreases slowly and accuracy improves"}),
        case("an ordinary end", facts={"observed": "learning rate is 0 at the end"}),
        case("a division", facts={"note": "test rows were held out by user"}),
        case("quoted text", facts={"sample_text": "the answers never stop"}),
        case("a plateau after a fall", facts={"note": "the loss does not decrease any further after 0.6"}),
        case("a better error rate", facts={"valid_loss": "increases after a while", "valid_wer": "still decreasing"}),
        case("stairs in other words", facts={"note": "loss is flat within an epoch and drops at each new epoch"}),
        case("a policy", facts={"note": "loss increases over time, as does kl"}),
        case("as expected", facts={"note": "the loss starts at 0.69, as expected"}),
        case("outputs kept", facts={"note": "outputs are the same before and after saving"}),
        case("once a step", facts={"note": "the scheduler is stepped once per optimizer step"}),
        case("parts", facts={"note": "each rank sees a different part of the data, all replicas hold equal weights"}),
        case("all there", facts={"note": "no missing and no unexpected keys after loading the checkpoint"}),
        case("cleared", facts={"note": "zero_grad is called after each step"}),
        case("a harmless word", facts={"observed": "loss is finite"}),
    )
    not_enough = (case("no words", events=[]),)

    def review(self, run: Run, found: Sequence[Finding]) -> Iterable[Finding]:
        """What was heard; a mere note where all else speaks of health."""
        heard = list(self.hear(run))
        chance = chance_of_failure(run, [*found, *heard]) if heard else None
        if chance is None or chance >= LIKELY or nonfinite(run, *TRAIN_LOSSES) is not None or said_nan(run):
            return heard
        return [replace(finding, severity=Severity.NOTE) for finding in heard]

    def hear(self, run: Run) -> Iterator[Finding]:
        """One finding for all notes that describe the same symptoms, so that a note counts once."""
        heard: dict[tuple[str, ...], list[tuple[str, Evidence]]] = {}
        written = [*notes(run), *of_rows(run)]
        fine = set(_innocent(run, written))
        own_loop = any(True for _ in calls(run, "backward"))
        for listen, texts in ((_described, written), (_named, [*remarks(run), *spelt_out(run)])):
            for text, shown in texts:
                innocent = fine | {DIVIDING} if own_loop and DIVIDED.search(text) else fine
                innocent = innocent | _counted_none(text, shown)
                if said := tuple(told.name for told in listen(text) if told.name not in innocent):
                    heard.setdefault(said, []).append((text, shown))
        if not heard:
            return
        known = {told.name: told for told in (*faults(), *symptoms(), *hints())}
        for said, told in heard.items():
            text = " ".join(text for text, _ in told)
            yield self.finding(
                f"somebody describes: {', '.join(said)}",
                evidence=[shown for _, shown in told],
                clues=[clue for name in said for clue in (*_usual(known[name]), *separating(name, text, run))],
            )


def said_nan(run: Run) -> bool:
    """Whether the loss of training itself is told to be NaN, which is no matter of likelihood."""
    told = (value for name in TRAIN_LOSSES for value in run.facts.get(name, ()))
    return any(tells_nan(value.value) for value in told)


def _innocent(run: Run, written: Iterable[tuple[str, Evidence]]) -> Iterator[str]:
    """What is no complaint in this run, whoever tells it."""
    texts = [text for text, _ in written]
    if is_reinforcement(run) or any(REWARDS.search(text) for text in texts):
        yield from OF_RUNS_ON_REWARDS
    yield from (name for name, better in COMFORT.items() if any(better.search(text) for text in texts))
    if any(text.startswith("train") for text in texts) and _scores_held_out(run):
        yield "score at chance"
    words = " ".join((task_words(run), *model_names(run))).lower()
    if any(FOOLED.search(text) for text in texts):
        yield "score at chance"
    if any(ADVERSARIAL.search(text) for text in texts) or DRAWN_NOISE.search(words):
        yield from WITHOUT_A_COURSE
    if count_of(run, "per_device_train_batch_size") == 1:
        yield "no attention mask is used"  # a single row has no padding


def _counted_none(text: str, shown: Evidence) -> set[str]:
    """Faults that a name tells, and a 0 or a no beside it denies: ``rows_fully_masked: 0``."""
    if shown.value is not False and (shown.value != 0 or isinstance(shown.value, str)):
        return set()
    name = Note(text.removesuffix(str(shown.value).lower()))
    return {told.name for told in faults() if told.is_in(name)}


def _scores_held_out(run: Run) -> bool:
    """Whether held-out rows score well: what is told of the training rows is then due to dropout or augmentation."""
    names = (
        name for name in run.series if name.startswith("eval_") and name.endswith(("accuracy", "acc", "f1", "auc"))
    )
    return any(GOOD <= value <= 1.0 or 100 * GOOD <= value <= 100.0 for name in names for value in run.series[name])


def _described(text: str) -> list[Told]:
    """The faults and symptoms in a note; a general one gives way to those that say more."""
    if excused(text):
        return []
    note = Note(complaints(ASKED.sub(" ; ", text)))
    touched = [told for told in (*faults(), *symptoms()) if told.is_touched_in(note)]
    said = [told for told in touched or hints() if told.is_in(note)]
    exact = [told for told in said if told.name != GENERAL]
    return exact if any("nan" in told.name for told in exact) else said


def _named(text: str) -> list[Told]:
    """The faults that a remark names which does not say why they are none."""
    if excused(text) or prevented(text):
        return []
    note = Note(complaints(text))
    return [told for told in faults() if told.is_in(note)]


def _usual(told: Told) -> Iterator[Clue]:
    plain = any(symptom.name == told.name for symptom in symptoms()) and " " in told.name
    why = f"a usual cause when the {told.name}" if plain else f"somebody describes: {told.name}"
    yield from clues(why, **told.bits)
