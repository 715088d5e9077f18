"""One table: code -> class. Searching for a code finds the file; listing codes imports no check."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holter.checks.base import Check

CHECKS: dict[str, str] = {
    # code: "<family>.<module>:<Class>", below holter.checks
    "CFG001": "configuration.disagreement:SourcesDisagree",
    "CFG002": "configuration.precisions:TwoPrecisionsOn",
    "CFG005": "configuration.rate_zero:RateSetToZero",
    "CFG008": "configuration.loss_not_divided:AccumulatedLossUndivided",
    "CFG009": "configuration.scheduler_steps:SchedulerRunsAhead",
    "CFG010": "configuration.clip_before_unscale:ClippedBeforeUnscaling",
    "CFG011": "configuration.zero_grad:GradientsNeverCleared",
    "CFG012": "configuration.resume_said:ResumeWithoutState",
    "CFG013": "configuration.checkpoint_keys:CheckpointLacksState",
    "CFG015": "configuration.schedule_overrun:ScheduleOverrun",
    "EVL001": "evaluation.metric_decoding:MetricCodeFails",
    "LAB001": "labels.instances_ignored:InstancesWithoutLabels",
    "LAB004": "labels.label_out_of_range:LabelIdRefused",
    "LAB005": "labels.label_type:LabelTypeRefused",
    "LAB006": "labels.template_mismatch:TemplateAndTokenizerDisagree",
    "MOD001": "model.unscale_half:UnscaleHalfGradients",
    "MOD002": "model.half_overflow_said:NumberTooLargeForHalf",
    "MOD004": "model.purely_quantized:QuantizedWeightsRefused",
    "MOD006": "model.quantized_dtype_said:QuantizedProductsRefused",
    "MOD007": "model.attention_kernel_said:AttentionKernelRefused",
    "MOD008": "model.no_gradient_said:NoGradientPath",
    "MOD013": "model.adapter_targets_said:AdapterTargetsRefused",
    "MOD023": "model.nonfinite_said:NonFiniteSaid",
    "NUM001": "numerics.non_finite_loss:NonFiniteLoss",
    "NUM002": "numerics.hidden_nan:NanReportedAsZero",
    "NUM003": "numerics.non_finite_gradient:NonFiniteGradient",
    "NUM004": "numerics.non_finite_evaluation:NonFiniteEvaluation",
    "NUM005": "numerics.non_finite_metric:NonFiniteMetric",
    "NUM006": "numerics.family_overflows:FamilyOverflowsFp16",
    "NUM007": "numerics.loss_explosion:LossExplosion",
    "NUM008": "numerics.loss_scale_floor:LossScaleAtFloor",
    "NUM009": "numerics.loss_scale_settles:LossScaleOverflows",
    "NUM010": "numerics.update_below_spacing:UpdateBelowWeightSpacing",
    "NUM011": "numerics.epsilon_underflow:EpsilonUnderflows",
    "NUM012": "numerics.activation_limit:ActivationBeyondLimit",
    "NUM013": "numerics.huge_first_loss:ForwardWrongBeforeUpdate",
    "SYS001": "system.loss_scale_said:LossScaleAtFloor",
    "SYS002": "system.library_fault:LibraryVersionsClash",
    "TOK001": "tokens.pad_token_missing:NoPadToken",
    "TOK004": "tokens.padding_side:PaddingSideRefused",
    "TOK007": "tokens.embedding_index:TokenIdBeyondEmbeddings",
    "TOK011": "tokens.fast_slow:TokenizerKindsMixed",
    "TOK012": "tokens.attention_mask:AttentionMaskAskedFor",
}

WITHDRAWN: dict[str, str] = {}
"""Codes no longer in use -> their successor. Codes are never reused."""


def load(code: str) -> type[Check]:
    """The class of a code.

    Raises:
        KeyError: no such check.
    """
    module, name = CHECKS[code].split(":")
    found: type[Check] = getattr(import_module(f"holter.checks.{module}"), name)
    return found


def all_checks() -> Iterator[type[Check]]:
    """Every check, in order of code."""
    for code in sorted(CHECKS):
        yield load(code)
