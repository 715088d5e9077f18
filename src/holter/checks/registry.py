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
    "CFG003": "configuration.variants_separate:SettingSeparatesRuns",
    "CFG005": "configuration.rate_zero:RateSetToZero",
    "CFG008": "configuration.loss_not_divided:AccumulatedLossUndivided",
    "CFG009": "configuration.scheduler_steps:SchedulerRunsAhead",
    "CFG010": "configuration.clip_before_unscale:ClippedBeforeUnscaling",
    "CFG011": "configuration.zero_grad:GradientsNeverCleared",
    "CFG012": "configuration.resume_said:ResumeWithoutState",
    "CFG013": "configuration.checkpoint_keys:CheckpointLacksState",
    "CFG014": "configuration.nan_filter:FilterHidesNan",
    "CFG015": "configuration.schedule_overrun:ScheduleOverrun",
    "CFG016": "configuration.clip_after_step:ClippedAfterStep",
    "DAT001": "data.rows_repeat:RowsRepeat",
    "DAT002": "data.same_split:EvaluatesOnTrainingData",
    "DIS001": "distributed.wrapper_bypassed:GradientsNotExchanged",
    "DIS002": "distributed.same_samples:SameSamplesOnRanks",
    "DIS003": "distributed.epoch_length:EpochAsLongAsOnOneProcess",
    "EVL001": "evaluation.metric_decoding:MetricCodeFails",
    "EVL002": "evaluation.decode_without_replacing:IgnoredIdsDecoded",
    "EVL003": "evaluation.half_evaluation:EvaluationInHalf",
    "GRD001": "measured.replayed_overflow:ModuleOverflowsHalf",
    "GRD002": "measured.replayed_wide:ModuleBreaksInWideRange",
    "GRD003": "measured.replayed_input:InputNotFinite",
    "GRD004": "measured.replayed_labels:NoCountedLabel",
    "GRD005": "measured.replayed_loss:LossAloneBreaks",
    "GRD006": "measured.replayed_weights:WeightsNotFinite",
    "GRD007": "measured.unmoved_tensors:TensorsNeverMove",
    "GRD008": "measured.rate_stays_zero:RateStaysZero",
    "GRD009": "measured.scale_collapse:LossScaleCollapses",
    "GRD010": "measured.first_loss_far:FirstLossFar",
    "GRD011": "measured.headroom_running_out:HeadroomRunningOut",
    "LAB001": "labels.instances_ignored:InstancesWithoutLabels",
    "LAB002": "labels.completion_cut:CompletionCutOff",
    "LAB003": "labels.padding_counted:PaddingInLabels",
    "LAB004": "labels.label_out_of_range:LabelIdRefused",
    "LAB005": "labels.label_type:LabelTypeRefused",
    "LAB006": "labels.template_mismatch:TemplateAndTokenizerDisagree",
    "LAB007": "labels.shift:LabelsShiftedWrongly",
    "LAB008": "labels.ctc:TargetsLongerThanFrames",
    "LAB009": "labels.label_range:LabelsBeyondOutputs",
    "LAB010": "labels.supervised_tokens:NothingSupervised",
    "LOS001": "loss.scale_factor:LossScaledByAccumulation",
    "LOS002": "loss.summed_loss:LossAboveAnyVocabulary",
    "LOS003": "loss.train_eval_ratio:TrainEvalFactor",
    "LOS004": "loss.variants_accumulation:LossGrowsWithAccumulation",
    "LOS005": "loss.chance_plateau:LossStaysAtChance",
    "LOS006": "loss.divergence:LossDiverges",
    "LOS007": "loss.late_drift:LossDriftsUpLate",
    "LOS008": "loss.overfitting:EvaluationLossRises",
    "LOS009": "loss.few_rows_many_epochs:FewRowsManyEpochs",
    "LOS010": "loss.restart_jump:LossJumpsAtRestart",
    "LOS011": "loss.zero_without_gradient:NothingSupervised",
    "LOS012": "loss.gradient_zero:GradientExactlyZero",
    "LOS013": "loss.preference_constant:PreferenceLossConstant",
    "LOS014": "loss.zero_advantage:RewardsEqualWithinGroups",
    "LOS015": "loss.margins_explode:PreferenceMarginsRunAway",
    "LOS016": "loss.constant_metric:OneAnswerForEverything",
    "LOS017": "loss.high_plateau:LossNearVocabularyGuess",
    "LOS018": "loss.jump_at_negligible_rate:LossJumpsAtNegligibleRate",
    "LOS019": "loss.pretrained_at_chance:PretrainedModelStartsAtChance",
    "LOS020": "loss.recovered_spikes:LossSpikesRecover",
    "LOS021": "loss.nothing_logged:NothingLoggedYet",
    "LOS101": "measured.loss_accounting:LossAccountingOff",
    "MOD001": "model.unscale_half:UnscaleHalfGradients",
    "MOD002": "model.half_overflow_said:NumberTooLargeForHalf",
    "MOD003": "model.half_weights:WeightsInHalf",
    "MOD004": "model.purely_quantized:QuantizedWeightsRefused",
    "MOD005": "model.quantized_alone:QuantizedWithoutAdapters",
    "MOD006": "model.quantized_dtype_said:QuantizedProductsRefused",
    "MOD007": "model.attention_kernel_said:AttentionKernelRefused",
    "MOD008": "model.no_gradient_said:NoGradientPath",
    "MOD009": "model.quantized_card:QuantizedProductsWrong",
    "MOD010": "model.trainable_count:TrainableCountZero",
    "MOD013": "model.adapter_targets_said:AdapterTargetsRefused",
    "MOD014": "model.adapter_targets:AdapterTargetsMatchNothing",
    "MOD016": "model.head_outside:HeadOutsideAdapter",
    "MOD017": "model.weights_loaded:WeightsLeftBehind",
    "MOD018": "model.lora_unmoved:AdapterNeverMoved",
    "MOD019": "model.rounded_updates:UpdatesRoundedAway",
    "MOD021": "model.output_limit:OutputNearHalfLimit",
    "MOD023": "model.nonfinite_said:NonFiniteSaid",
    "MOD024": "model.loss_formula:LossFormulaUnstable",
    "MOD025": "model.coefficient_zero:LossWeightZero",
    "NUM001": "numerics.non_finite_loss:NonFiniteLoss",
    "NUM002": "numerics.hidden_nan:NanReportedAsZero",
    "NUM003": "numerics.non_finite_gradient:NonFiniteGradient",
    "NUM004": "numerics.non_finite_evaluation:NonFiniteEvaluation",
    "NUM005": "numerics.non_finite_metric:NonFiniteMetric",
    "NUM006": "numerics.family_overflows:FamilyOverflowsFp16",
    "NUM007": "numerics.loss_explosion:LossExplosion",
    "NUM008": "numerics.loss_scale_floor:LossScaleAtFloor",
    "NUM009": "numerics.loss_scale_settles:LossScaleOverflows",
    "NUM010": "numerics.huge_first_loss:ForwardWrongBeforeUpdate",
    "OPT001": "optimisation.rate_zero:LearningRateZero",
    "OPT002": "optimisation.rate_stands_still:LearningRateStandsStill",
    "OPT003": "optimisation.warmup_length:WarmupLongerThanRun",
    "OPT004": "optimisation.early_instability:UnstableWithoutWarmup",
    "OPT005": "optimisation.schedule_too_fast:ScheduleEndsEarly",
    "OPT006": "optimisation.clip_always_active:ClipAlwaysActive",
    "OPT007": "optimisation.clip_off:CollapseWithoutClipping",
    "OPT008": "optimisation.clip_too_strict:ClippingCostsQuality",
    "OPT009": "optimisation.gradient_level:GradientNormOutOfScale",
    "OPT010": "optimisation.gradient_grows:GradientNormGrowsSteadily",
    "OPT011": "optimisation.rate_above_practice:LearningRateAbovePractice",
    "SYS001": "system.loss_scale_said:LossScaleAtFloor",
    "SYS002": "system.library_fault:LibraryVersionsClash",
    "SYS003": "system.no_log:NothingLogged",
    "SYS005": "system.stopped:RunStopped",
    "TOK001": "tokens.pad_token_missing:NoPadToken",
    "TOK002": "tokens.pad_is_eos:PadIsEos",
    "TOK003": "tokens.pad_unsuited:PadTokenUnsuited",
    "TOK004": "tokens.padding_side:PaddingSideRefused",
    "TOK005": "tokens.left_padding_half:LeftPaddingGivesNan",
    "TOK006": "tokens.special_twice:SpecialTokensTwice",
    "TOK007": "tokens.embedding_index:TokenIdBeyondEmbeddings",
    "TOK008": "tokens.added_tokens:AddedTokensWithoutRows",
    "TOK009": "tokens.vocabulary_sizes:VocabulariesDiffer",
    "TOK010": "tokens.tokenizers_disagree:TokenizerFormsDiffer",
    "TOK011": "tokens.fast_slow:TokenizerKindsMixed",
    "TOK012": "tokens.attention_mask:AttentionMaskAskedFor",
    "TOK013": "tokens.mask_over_padding:MaskCoversPadding",
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
