"""What the numbers of a run have to be read against: precision, family, kind of loss, optimizer, size of the run."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass

from holter.checks.look import (
    adapters_on,
    brain_weights,
    dtype_word,
    half_weights,
    is_off,
    known,
    mixed_half,
    plain,
    switched_on,
    weights_dtype,
    written,
)
from holter.checks.symptoms import number
from holter.finding import Evidence
from holter.knowledge.families import Family, family_of
from holter.knowledge.loss_kwargs import head_class
from holter.patterns import regex
from holter.run import EVENT_OVERFLOW, Run


class Compute(enum.Enum):
    """In what the products of the forward pass are computed."""

    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Compute precision with what says so; ``says`` is None when nothing does."""

    compute: Compute
    says: Evidence | None = None
    half_weights: bool = False
    quantised: int | None = None


def precision(run: Run) -> Precision:
    """The precision of training, as far as a source says; a loss-scale overflow line counts as fp16."""
    bits = quantised_bits(run)
    pure = half_weights(run)
    found = mixed_half(run) or pure
    if found is not None:
        return Precision(compute=Compute.FP16, says=found.evidence, half_weights=pure is not None, quantised=bits)
    bf16 = switched_on(run, "bf16", "use_bf16") or brain_weights(run)
    if bf16 is not None:
        return Precision(compute=Compute.BF16, says=bf16.evidence, quantised=bits)
    words = known(run, "precision") or known(run, "mixed_precision") or weights_dtype(run)
    text = "" if words is None else written(words.plain).lower()
    if words is not None and re.search(r"\bfp16\b|\b16-mixed\b|\bfloat16\b|\bhalf\b", text):
        return Precision(compute=Compute.FP16, says=words.evidence, quantised=bits)
    if words is not None and "bf16" in text:
        return Precision(compute=Compute.BF16, says=words.evidence, quantised=bits)
    if words is not None and dtype_word(text.split(",")[0]) == "float32":
        return Precision(compute=Compute.FP32, says=words.evidence, quantised=bits)
    overflow = next(iter(run.events_of(EVENT_OVERFLOW)), None)
    if overflow is not None:
        says = Evidence(text=f"a loss scaler is at work: {overflow.text[:120]}", source=overflow.source)
        return Precision(compute=Compute.FP16, says=says, quantised=bits)
    off = known(run, "fp16")
    if off is not None and not off.value.is_default and is_off(off.plain) and bits is None:
        return Precision(compute=Compute.FP32, says=off.evidence)
    return Precision(compute=Compute.UNKNOWN, quantised=bits)


QUANTISED_AS = ("quantization", "quant_method", "quantization_config.quant_method")
"""Names of the method by which weights were quantised."""


def quantised_bits(run: Run) -> int | None:
    """8 or 4 when the base weights are quantised, None otherwise."""
    if switched_on(run, "load_in_8bit") is not None:
        return 8
    if switched_on(run, "load_in_4bit") is not None:
        return 4
    bits = number(plain(run, "quantization_bit"))
    if bits in (4.0, 8.0):
        return int(bits)
    said = (plain(run, name) for name in ("precision", "adapters", *QUANTISED_AS, "weights"))
    text = " ".join((*map(written, said), *model_names(run))).lower()
    if re.search(r"\b8-?bit\b|\bint8\b", text):
        return 8
    return 4 if re.search(r"\b4-?bit\b|\bint4\b|qlora|(?<![a-z])(?:nf4|gptq|awq)(?![a-z])", text) else None


def model_names(run: Run) -> list[str]:
    """Every spelling of the model: checkpoint, type, class of the head."""
    found = []
    for name in ("model_name_or_path", "model", "architectures", "model_type"):
        value = plain(run, name)
        items = value if isinstance(value, list) else [value]
        found += [str(item) for item in items if isinstance(item, str)]
    return found


def family(run: Run) -> Family | None:
    """The family of the model, where the table knows it."""
    return family_of(*model_names(run))


_TASK_NAMES = (
    *("task", "task_type", "problem_type", "loss_type", "architectures", "framework", "trainer", "algorithm"),
    *("adv_estimator", "algorithm.adv_estimator", "advantage_estimator", "algorithm.advantage_estimator"),
)
"""Settings that say what is trained for; how advantages are estimated says that it is rewards."""


def task_words(run: Run) -> str:
    """All that is said about the task, lower case."""
    return " ".join(written(plain(run, name)) for name in _TASK_NAMES if plain(run, name) is not None).lower()


def head(run: Run) -> str:
    """Class name of the head, from ``architectures`` or from model and task; empty where it cannot be told."""
    value = plain(run, "architectures")
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, str) and first and not first.startswith("Auto"):
        return first
    words = task_words(run)
    if number(plain(run, "num_labels")) is not None and "classif" not in words:
        words += " sequence classification"
    return next((found for name in model_names(run) if (found := head_class(name, words))), "")


_RL_WORDS = regex(r"\b(grpo|ppo|rloo|reinforce\w*|dapo|gspo|gae|rlhf|rl|policy)(?:trainer|config)?\b")
_RL_PARTS = regex(r"(?:^|/)(?:actor|critic|rollout)/|advantage", re.I)
_RL_SERIES = ("reward", "reward_std", "frac_reward_zero_std", "kl", "completion_length")
_PREFERENCE_WORDS = regex(r"\b(dpo|ipo|kto|orpo|simpo|cpo|preference|reward model\w*|tpo)(?:trainer|config)?\b")
_PREFERENCE_SERIES = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")


def is_reinforcement(run: Run) -> bool:
    """Whether a policy is trained on rewards: its loss starts near 0.0 and has no level that means anything."""
    if any(name in run.series for name in _RL_SERIES) or any(_RL_PARTS.search(name) for name in run.series):
        return True
    return bool(_RL_WORDS.search(task_words(run)))


def is_preference(run: Run) -> bool:
    """Whether pairs are compared: the loss starts at ln 2 by construction."""
    return any(name in run.series for name in _PREFERENCE_SERIES) or bool(_PREFERENCE_WORDS.search(task_words(run)))


def has_plain_loss(run: Run) -> bool:
    """Whether the loss can be read as nats per token or sample."""
    return not is_reinforcement(run) and not is_preference(run)


_SCALE_INVARIANT = regex(r"adam|adafactor|lion|lamb|sign|novograd|sophia|muon|rmsprop|ademamix|shampoo|soap")


def optimiser_is_scale_invariant(run: Run) -> bool | None:
    """True for Adam-like optimizers, False for plain SGD, None where nobody says (the Trainer uses AdamW)."""
    value = plain(run, "optim")
    if not isinstance(value, str):
        return None
    word = value.lower()
    if _SCALE_INVARIANT.search(word):
        return True
    return False if "sgd" in word or "momentum" in word else None


def uses_adapters(run: Run) -> bool:
    """Whether adapters are trained rather than all weights."""
    return adapters_on(run) is not None


def count_of(run: Run, name: str) -> int | None:
    """A positive whole number among settings and facts, or None."""
    value = number(plain(run, name))
    return int(value) if value is not None and math.isfinite(value) and value >= 1 else None


def given_count(run: Run, name: str) -> int | None:
    """The same where somebody gave it; None for a default."""
    found = known(run, name)
    return None if found is None or found.value.is_default else count_of(run, name)


_OF_TOKENS = regex(r"CausalLM|LMHeadModel|ConditionalGeneration|MaskedLM|Seq2SeqLM|ForPreTraining")
"""Heads over the vocabulary; the ``num_labels`` of their configuration is a default that nothing uses."""


def uniform_loss(run: Run) -> tuple[float, str] | None:
    """Nats per item of a guess without knowledge, and what it is the logarithm of; None where neither is known.

    Source: the cross-entropy of the uniform distribution over C classes is ln C.
    """
    labels = count_of(run, "num_labels")
    if labels is not None and labels >= 2 and not _OF_TOKENS.search(head(run)):
        return math.log(labels), f"ln({labels} classes)"
    rows = count_of(run, "vocab_size")
    if rows is not None and rows >= 2:
        return math.log(rows), f"ln({rows} tokens)"
    return None
