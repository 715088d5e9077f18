"""Causes that act through the range and the spacing of number formats."""

from __future__ import annotations

from holter.diagnosis.cause import Cause, Measurement
from holter.stages import Stage

CAUSES = (
    Cause(
        label="fp16-overflow",
        title="Numbers leave the fp16 range",
        stage=Stage.FORWARD,
        definition="A value of the forward or backward pass is larger than fp16 can hold (65504) and becomes inf.",
        explanation=(
            "fp16 ends at 65504. Models that were pre-trained in bf16 or fp32 (the T5, mT5, ByT5, Pegasus and "
            "DeBERTa-v3 families among them) have activations beyond that: in T5 the feed-forward output "
            "projection and the residual stream it feeds come first. One inf turns into nan in the next "
            "normalisation, so the loss is nan; with a gradient scaler every such step is skipped. "
            "Sources: transformers issues 4586, 5651, 10956; NVIDIA, Mixed Precision Training, section 3."
        ),
        fix="Train in bf16 where the card has it, else in fp32; fp16 only after an exact rescale of the weights.",
        expect="From the first logged step loss and grad_norm are finite and the learning rate moves.",
        confirm=Measurement(
            measure="Replay the first batches in fp32: fp16 is to blame if the loss is finite there and nan in fp16.",
            command='holter try RUN --set fp16=false --expect "isfinite(loss)"',
            cost=60,
        ),
        overlaps=("loss-scale-exhausted",),
        prior=1.0,
    ),
    Cause(
        label="loss-scale-exhausted",
        title="The dynamic loss scale falls to its floor",
        stage=Stage.UNSCALE,
        definition="Every batch gives non-finite scaled gradients, so the loss scale is halved until it cannot fall.",
        explanation=(
            "A dynamic loss scale halves after each overflow and normally settles after a handful of skipped steps. "
            "When the scale keeps falling to 1 or to its minimum, the gradients themselves are not finite: no scale "
            "can help. DeepSpeed then stops with 'Current loss scale already at minimum'. "
            "Sources: DeepSpeed runtime/fp16/loss_scaler.py; Micikevicius et al. 2018, section 3.2."
        ),
        fix="Look for the first non-finite activation; in most cases train in bf16 or fp32 instead of fp16.",
        expect="The scale settles within some 20 steps and skipped steps become rare.",
        confirm=Measurement(
            measure="Replay one skipped step in fp32: finite gradients blame fp16, non-finite ones data or model.",
            command='holter try RUN --set fp16=false --expect "isfinite(grad_norm)"',
            cost=60,
        ),
        overlaps=("fp16-overflow",),
    ),
    Cause(
        label="fp16-weights-with-amp",
        title="Trainable weights are fp16 under a gradient scaler",
        stage=Stage.UNSCALE,
        definition="The weights being trained were loaded in fp16 although mixed precision needs them in fp32.",
        explanation=(
            "Mixed precision keeps fp32 weights and casts inside the forward pass. If the model itself was loaded in "
            "fp16, its gradients are fp16 too and the scaler refuses to unscale them ('Attempting to unscale FP16 "
            "gradients'). With adapters it happens when the adapter weights inherit fp16 from the base model. "
            "Sources: torch/amp/grad_scaler.py; PEFT troubleshooting guide, section on dtype errors."
        ),
        fix="Load trainable weights in fp32 (torch_dtype=float32, or cast the adapter weights), or train in bf16.",
        expect="The first optimizer step passes without the error.",
        confirm=Measurement(
            measure="List the dtype of the trainable parameters: any fp16 one together with fp16=True settles it.",
            command="holter check RECIPE",
            cost=20,
        ),
    ),
    Cause(
        label="low-precision-weights",
        title="The trained weights themselves are in half precision",
        stage=Stage.UPDATE,
        through_updates=True,
        definition="Weights and optimizer state are held in half precision without fp32 copies and break on updates.",
        explanation=(
            "With pure fp16 or bf16 weights the update, the second moment and the epsilon are computed in that "
            "format as well. fp16 loses everything below about 6e-8, so Adam divides by zero; the loss becomes nan "
            "after the first or the first few updates, although the first forward pass was finite. "
            "Source: Micikevicius et al. 2018, section 3.1 (fp32 master copy)."
        ),
        fix="Keep fp32 weights and let autocast do the forward pass in half precision.",
        expect="The loss stays finite after the first update.",
        confirm=Measurement(
            measure="Replay two steps with fp32 weights: finite at step 2 there and nan with half weights settles it.",
            command='holter try RUN --set torch_dtype=float32 --expect "isfinite(loss@2)"',
            cost=60,
        ),
        overlaps=("optimizer-eps-underflow",),
    ),
    Cause(
        label="optimizer-eps-underflow",
        title="The optimizer's epsilon is zero in the dtype of the weights",
        stage=Stage.UPDATE,
        through_updates=True,
        definition="adam_epsilon is smaller than the smallest number of the weights' dtype, so updates divide by 0.",
        explanation=(
            "The smallest positive fp16 number is 5.96e-8; an epsilon of 1e-8 is rounded to zero. Wherever a gradient "
            "is zero or its square underflows, Adam then computes 0/0 or x/0 and the weight is nan or inf. "
            "Source: IEEE 754 binary16; Kingma and Ba 2015, algorithm 1."
        ),
        fix="Hold the weights in fp32, or raise adam_epsilon to 1e-4 for fp16 weights.",
        expect="No weight is non-finite after the first update.",
        confirm=Measurement(
            measure="Replay two steps with adam_epsilon=1e-4: finite weights there settle it.",
            command='holter try RUN --set adam_epsilon=1e-4 --expect "isfinite(loss@2)"',
            cost=60,
        ),
        overlaps=("low-precision-weights",),
    ),
    Cause(
        label="low-precision-weight-update",
        title="Updates are rounded away in bf16 weights",
        stage=Stage.UPDATE,
        through_updates=True,
        definition="An update is less than half the gap between bf16 neighbours, so the weight stays as it was.",
        explanation=(
            "bf16 has 8 significant bits: numbers near w lie w/256 to w/128 apart. AdamW moves a weight by about the "
            "learning rate, so with a rate of 1e-5 and below, weights above some 0.005 do not move at all. The loss "
            "falls too slowly or stands still while nothing looks broken. "
            "Sources: Zamirai et al. 2020, Revisiting BFloat16 Training; bf16 format, 7 stored fraction bits."
        ),
        fix="Keep fp32 weights with bf16 autocast, or an optimizer with fp32 master weights or stochastic rounding.",
        expect="The loss falls as it does in an fp32 run with the same settings.",
        confirm=Measurement(
            measure="Count how many weights change in one update: a small share settles it.",
            command='holter try RUN --set torch_dtype=float32 --expect "last(loss) < last(base.loss)"',
            cost=120,
        ),
    ),
    Cause(
        label="eval-only-nan",
        title="Only evaluation overflows",
        stage=Stage.EVAL,
        definition="Training is finite while evaluation runs in a lower precision and leaves its range.",
        explanation=(
            "With fp16_full_eval, bf16_full_eval or a model that is cast for evaluation, the forward pass is no longer "
            "autocast but runs entirely in half precision. Sums that are fp32 in training then overflow: eval_loss is "
            "nan while the training loss is ordinary. Source: transformers TrainingArguments, fp16_full_eval."
        ),
        fix="Evaluate in the precision of training: switch fp16_full_eval off.",
        expect="eval_loss is finite and close to the training loss.",
        confirm=Measurement(
            measure="Evaluate one batch in fp32: a finite loss there settles it.",
            command='holter try RUN --set fp16_full_eval=false --expect "isfinite(eval_loss)"',
            cost=60,
        ),
    ),
    Cause(
        label="quantized-precision-mismatch",
        title="Quantised weights with a compute dtype or card that does not fit",
        stage=Stage.FORWARD,
        definition="8-bit or 4-bit weights give wrong numbers with this compute dtype, kernel or card.",
        explanation=(
            "8-bit matrix products keep outliers in fp16, and older cards fall back to other kernels; 4-bit weights "
            "are computed in bnb_4bit_compute_dtype. A dtype that the model or card cannot carry gives huge or nan "
            "losses in the forward pass already, before any update. Source: Dettmers et al. 2022, LLM.int8()."
        ),
        fix="Set the compute dtype to bf16 (or fp32 on cards without it), or load the model unquantised.",
        expect="The first loss is that of the unquantised model to within a few per cent.",
        confirm=Measurement(
            measure="Compare the first loss with and without quantisation on the same batch.",
            command='holter try RUN --set load_in_8bit=false --expect "loss@1 < 0.5 * base.loss@1"',
            cost=120,
        ),
        prior=-0.5,
    ),
    Cause(
        label="quantized-without-adapter",
        title="Quantised weights are trained without adapters",
        stage=Stage.UPDATE,
        definition="8-bit or 4-bit weights are handed to the trainer with no adapter that could learn.",
        explanation=(
            "Integer weights have no useful gradient, so a quantised model can only be trained through adapters. "
            "Newer transformers refuse it; older ones run and log loss 0.0 or nan. An adapter that the library does "
            "not recognise (wrapped by hand) counts as none. Source: transformers Trainer, quantised model check."
        ),
        fix="Attach LoRA adapters before building the trainer, or load the model unquantised.",
        expect="Trainable parameters are above zero and the loss is finite and falls.",
        confirm=Measurement(
            measure="Count trainable parameters and look for adapters in the model.",
            command="holter check RECIPE",
            cost=20,
        ),
    ),
    Cause(
        label="nan-filter-hides-nan",
        title="The trainer keeps nan out of the logged loss",
        stage=Stage.LOG,
        definition="logging_nan_inf_filter replaces nan losses in the log, so a broken run looks ordinary.",
        explanation=(
            "With logging_nan_inf_filter (on by default) a nan or inf loss is replaced by the mean of the steps before "
            "when it is added up for the log. Backward and update still happen with the real value: the log stays "
            "finite, or shows 0.0, while the weights are lost. Source: transformers Trainer.training_step loop."
        ),
        fix="Set logging_nan_inf_filter=False and watch grad_norm; then look for what makes the loss nan.",
        expect="The log shows nan at the step at which it arises.",
        confirm=Measurement(
            measure="Run with logging_nan_inf_filter=False: nan in the log settles it.",
            command='holter try RUN --set logging_nan_inf_filter=false --expect "isfinite(loss)"',
            cost=60,
        ),
        prior=-1.5,
    ),
    Cause(
        label="loss-formula-instability",
        title="The loss expression cancels or divides by zero",
        stage=Stage.LOSS,
        definition="The loss formula is numerically unsafe for legal inputs (log of 0, 0/0, exp of large numbers).",
        explanation=(
            "log(softmax(x)), log(p) with p = 0, a mean over zero elements, a ratio of exponentials: each is correct "
            "on paper and inf or nan in floating point. It shows in fp32 as well and depends on the batch. "
            "Source: Blanchard, Higham and Higham 2021, accurate computation of log-sum-exp and softmax."
        ),
        fix="Use the fused, stable form (cross_entropy on logits, logsigmoid, log1p, clamp before log).",
        expect="The loss is finite for the batch that broke it.",
        confirm=Measurement(
            measure="Recompute the loss of the failing batch from its logits in fp64 and compare.",
            command="holter check RECIPE",
            cost=60,
        ),
        prior=-0.5,
    ),
    Cause(
        label="loss-coefficient-zero",
        title="A coefficient of the loss is zero",
        stage=Stage.LOSS,
        definition="A factor such as beta is zero, so the loss (or the part that matters) is a constant.",
        explanation=(
            "In preference losses beta multiplies the reward difference: with beta 0 the loss is exactly ln 2 = 0.6931 "
            "whatever the model does, and the gradient is zero. Likewise a zero label weight or auxiliary factor. "
            "Source: Rafailov et al. 2023, Direct Preference Optimization, equation 7."
        ),
        fix="Set the coefficient to its usual value (beta 0.1 for DPO).",
        expect="The loss leaves its constant value within a few steps.",
        confirm=Measurement(
            measure="Replay two steps with the usual coefficient: the loss must change.",
            command='holter try RUN --set beta=0.1 --expect "loss@10 < loss@1"',
            cost=60,
        ),
        prior=-0.5,
    ),
)
