"""What a name that somebody gave a number stands for: ``best_eval_loss``, ``accuracy after reload``, ``loss_fp16``.

People who write down results put everything into the name: which quantity, on which rows, when, and under which
condition. Here such a name is taken apart into those four.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from holter.patterns import regex

LOSS, ERROR, SCORE, GRADIENT, RATE = "loss", "error", "score", "gradient", "rate"
NORM = "gradient norm"
TRAIN, EVAL = "train", "eval"
FIRST, LAST, BEST, BEFORE, AFTER = "first", "last", "best", "before", "after"

_KINDS = {
    LOSS: "loss losses perplexity ppl nll crossentropy xent bce ce mse trainloss valloss cost objective criterion",
    ERROR: "wer cer ter mae rmse",
    SCORE: "accuracy acc f1 mcc matthews bleu sacrebleu chrf rouge rouge1 rouge2 rougel rougelsum em exact success auc "
    "auroc pearson spearman score scores meteor recall map iou miou kappa dice jaccard top1 top3 top5 top10 pass1 "
    "pass5 pass10 hits1 hits3 hits10",
    GRADIENT: "gnorm gradnorm",
    RATE: "lr",
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_WITHOUT_MORE = frozenset({"cost", "objective", "criterion"})
"""Words for the loss where no further word says what else they are: ``cost_per_hour`` is money."""

_LOSSES = {"losses": "loss", "trainloss": "loss", "valloss": "loss"}

_SPLITS = {
    TRAIN: "train training trained trn",
    EVAL: "eval evaluation val valid vali valloss validation test dev heldout inference",
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words.split()}

_MOMENTS = {
    FIRST: "first initial start starting begin beginning",
    LAST: "final last end ending finally finish",
    BEST: "best lowest min minimum highest max peak",
    BEFORE: "before pre original",
    AFTER: "after post reloaded loaded resumed merged restored continued",
}
_TIME_WORDS = "first initial last final best lowest highest minimum maximum min max mean avg average"
TIMES = frozenset(_TIME_WORDS.split())
"""Words that most people put before the name of a quantity, and some behind it."""

_MOMENT_OF = {word: moment for moment, words in _MOMENTS.items() for word in words.split()}

_NO_RESULT_WORDS = """
scale scaler type fn func function weight weights coef coefficient factor reduction reduce mask masked relative pct
percent delta diff difference ratio std variance time seconds name names class module key keys limit threshold
tokens per sec smoothing aux router scheduler schedule no spike spikes drop drops jump jumps increase decrease
gap count counts terms curve filter finite nan nans inf usd dollars
"""
_NO_RESULT = frozenset(_NO_RESULT_WORDS.split())
"""Words that make a name a setting or a derived number and no result: ``loss_scale``, ``loss_type``, ``acc_delta``."""

_FILLER_WORDS = """
the a an of at in on for is was with to rate match value mean avg average logged reported observed seen measured
my our
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
_IN_TIME_WORDS = "from since until later soon eventually around within during next then now always every each"
IN_TIME = frozenset(_IN_TIME_WORDS.split())
"""Words of a name that say when a result was seen, and not under what."""

_PLACES = frozenset({"step", "steps", "epoch", "epochs", "iter", "iteration", "ep"})
_AMONG = re.compile(
    r"(?<![a-z])(top(?=[ _@-]?\d)|(?:pass|hits?)(?=[ _-]?(?:@|at)))[ _-]?(?:@|at)?[ _-]?(10|[135])(?!\d)"
)
"""``top-1``, ``pass@10``, ``hits_at_3``: the number belongs to the name of the score."""

_TOKEN = re.compile(r"[a-z]+(?:\d+[a-z]*)?|\d+(?:\.\d+)?(?:[a-z]+)?")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A result by its name.

    Attributes:
        kind: ``loss`` (lower is better, nats), ``error`` (lower is better), ``score``, ``gradient`` or ``rate``.
        base: the quantity without the rest, such as ``loss`` or ``accuracy``.
        split: ``train``, ``eval``, or empty where the name does not say.
        moment: ``first``, ``last``, ``best``, ``before``, ``after``, or empty.
        place: the step or epoch in the name, None without one.
        rest: the other words, in order: what it was measured under.
    """

    kind: str
    base: str
    split: str = ""
    moment: str = ""
    place: float | None = None
    rest: tuple[str, ...] = ()

    @property
    def condition(self) -> str:
        """The other words as text."""
        return " ".join(self.rest)


@cache
def quantity(name: str) -> Quantity | None:
    """The quantity that a name stands for, or None where it is no result."""
    words = _words(name)
    kind, base = _kind(words)
    if not kind or not _NO_RESULT.isdisjoint(words):
        return None
    split = next((_SPLIT_OF[w] for w in words if w in _SPLIT_OF), "")
    moment = next((_MOMENT_OF[w] for w in words if w in _MOMENT_OF), "")
    place, used = _place(words)
    known = {*_words_of(base), *used, *_FILLERS, *_SPLIT_OF}
    rest = tuple(w for w in words if w not in known and (w not in _MOMENT_OF or _MOMENT_OF[w] in (BEFORE, AFTER)))
    rest = tuple(w for w in rest if w not in ("before", "after", "pre", "post"))
    if base in _WITHOUT_MORE and not IN_TIME.issuperset(rest):
        return None
    base = "loss" if base in _WITHOUT_MORE else _LOSSES.get(base, base)
    return Quantity(kind=kind, base=base, split=split, moment=moment, place=place, rest=rest)


def is_bare(name: str) -> bool:
    """Whether a name is a quantity, on some rows perhaps, and nothing more."""
    found = quantity(name)
    return found is not None and not found.rest and not found.moment and found.place is None


def is_split(word: str) -> bool:
    """Whether a word says on which rows: ``train``, ``val``."""
    return word in _SPLIT_OF


def is_result(name: str) -> bool:
    """Whether a name stands for a loss, an error, a score, or the norm of the gradient."""
    found = quantity(name)
    return found is not None and (found.kind != RATE or bool(found.moment))


_ONE_WORD = regex(r"Q?LoRA|DoRA|PyTorch|DeepSpeed|[Xx]Formers|AdamW|GPUs|IDs|[mg]?IoU|mAP|(?:Ro|De)BERTa|ChrF")
_HUMP = regex(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_NUMBERED = regex(r"(?<![a-z])(loss|nll|bce|ce|mse)(\d{1,2})(?![a-z\d])")
"""``loss0``: the number says which of several."""
_HELD_OUT = regex(r"held[ _-]out")


def parted(name: str) -> str:
    """A name with ``_`` between the humps of its camel case; words with a capital inside, such as LoRA, stay whole."""
    return "_".join(_HUMP.split(_ONE_WORD.sub(lambda word: word[0].capitalize(), name)))


def _words(name: str) -> list[str]:
    text = _NUMBERED.sub(r"\1 \2", _HELD_OUT.sub("heldout", parted(name).lower()))
    return _TOKEN.findall(_AMONG.sub(lambda match: match[1] + match[2], text))


def _kind(words: list[str]) -> tuple[str, str]:
    if "norm" in words and any(word.startswith("grad") for word in words):
        return GRADIENT, NORM
    if "learning" in words and "rate" in words:
        return RATE, "learning rate"
    named = [word for word in words if word in _KIND_OF and word != "score"]
    if "loss" in named[1:2] and words.index("loss") - words.index(named[0]) == 1:
        return LOSS, "loss"  # ``dice_loss``
    found = (_KIND_OF[named[0]], named[0]) if named else ("", "")
    if found[0] == SCORE and not {"error", "err"}.isdisjoint(words):
        return ERROR, found[1]
    return found if found[0] or "score" not in words else (SCORE, "score")


def _words_of(base: str) -> tuple[str, ...]:
    return ("grad", "gradient", "gradients", "norm") if base == NORM else tuple(base.split())


def _place(words: list[str]) -> tuple[float | None, tuple[str, ...]]:
    for at, word in enumerate(words):
        match = re.fullmatch(r"([a-z]+?)(\d+)", word)
        if match is not None and match[1] in _PLACES:
            return float(match[2]), (word,)
        if word in _PLACES:
            for number in (*words[at + 1 : at + 2], *words[max(at - 1, 0) : at]):
                if (amount := re.fullmatch(r"(\d+(?:\.\d+)?)(k?)", number)) is not None:
                    return float(amount[1]) * (1e3 if amount[2] else 1.0), (word, number)
            return None, (word,)
    return None, ()
