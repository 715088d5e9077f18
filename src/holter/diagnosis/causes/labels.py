"""Causes that lie in the labels, the targets and the data."""

from __future__ import annotations

from holter.diagnosis.cause import Cause, Measurement
from holter.stages import Stage

CAUSES = (
    Cause(
        label="labels-all-masked",
        title="No supervised token is left",
        stage=Stage.COLLATE,
        definition="In a sample or batch every label is the ignore value (-100), so there is nothing to learn from.",
        explanation=(
            "A mean over zero tokens is nan, or 0.0 once the log filter has taken the nan out. It happens when "
            "truncation cuts the answer off, when the response template is not found in the tokens, or when the "
            "target is empty. The gradient is then exactly zero, not nan. "
            "Source: torch.nn.CrossEntropyLoss, ignore_index with 'mean'; trl DataCollatorForCompletionOnlyLM."
        ),
        fix="Raise max_length or drop samples whose prompt fills it; make the response template match the tokens.",
        expect="Each batch has supervised tokens and the loss is finite and above zero.",
        confirm=Measurement(
            measure="Count labels other than -100 per row of one collated batch: a row with none settles it.",
            command="holter check RECIPE",
            cost=20,
        ),
        overlaps=("template-mismatch",),
        prior=0.5,
    ),
    Cause(
        label="labels-not-masked",
        title="Padding is counted in the loss",
        stage=Stage.COLLATE,
        definition="Padding positions carry the pad id instead of -100, so the model is trained to predict padding.",
        explanation=(
            "Labels padded with pad_token_id are ordinary targets. The loss then falls quickly to a low value, since "
            "padding is easy, and depends on the padded length; the model learns to stop or to emit padding. "
            "Source: transformers data collators, label_pad_token_id = -100."
        ),
        fix="Set labels to -100 where the attention mask is 0, or use a collator that does.",
        expect="The loss no longer depends on the padded length.",
        confirm=Measurement(
            measure="Recompute the loss of one batch with padding masked and compare with the reported one.",
            command="holter check RECIPE",
            cost=20,
        ),
    ),
    Cause(
        label="label-shift-error",
        title="Labels are shifted twice or not at all",
        stage=Stage.COLLATE,
        definition="Decoder inputs and labels are off by one: shifted by hand and again by the model, or never.",
        explanation=(
            "Causal heads of transformers shift the labels themselves; encoder-decoder heads build the decoder inputs "
            "from the labels. Shifting once more trains on the token after next; not shifting lets the model copy its "
            "input, so the loss falls to almost zero and generation is empty or repeats. "
            "Source: transformers modeling code, shift_tokens_right and ForCausalLMLoss."
        ),
        fix="Pass labels equal to the input ids (causal) or only labels (encoder-decoder) and let the model shift.",
        expect="The first loss is ordinary for a pre-trained model and generation gives text.",
        confirm=Measurement(
            measure="Recompute the loss with labels moved by -1, 0 and +1: the right one is lowest before training.",
            command="holter check RECIPE",
            cost=20,
        ),
    ),
    Cause(
        label="label-out-of-range",
        title="A label id is outside the head's classes",
        stage=Stage.LOSS,
        definition="A label is negative (other than the ignore value) or not below the number of classes.",
        explanation=(
            "Cross-entropy reads the logit at the label's index. On the CPU a label that is too large raises 'Target N "
            "is out of bounds', on a GPU a device-side assert, often reported at a later line. Usual reasons: "
            "num_labels not given to the model, labels that start at 1, ids of another vocabulary. "
            "Source: torch.nn.functional.cross_entropy."
        ),
        fix="Give the model num_labels = number of classes and map the labels to 0 .. num_labels - 1.",
        expect="The first step passes.",
        confirm=Measurement(
            measure="Compare the smallest and largest label with num_labels.",
            command="holter check RECIPE",
            cost=10,
        ),
    ),
    Cause(
        label="label-dtype-mismatch",
        title="The label type does not fit the loss",
        stage=Stage.LOSS,
        definition="Class ids are given as floats, or scores as integers, so a wrong loss or an error follows.",
        explanation=(
            "With problem_type unset, sequence classification heads choose the loss from num_labels and the label "
            "dtype: one label means regression, integer labels classification, float labels multi-label. A float where "
            "classes are meant raises a dtype error or trains another task. "
            "Source: transformers ForSequenceClassificationLoss."
        ),
        fix="Cast class labels to int64 and scores to float32, and set problem_type.",
        expect="The first loss is near ln(num_labels) for classification.",
        confirm=Measurement(
            measure="Look at the dtype of the labels of one collated batch and at problem_type.",
            command="holter check RECIPE",
            cost=10,
        ),
    ),
    Cause(
        label="template-mismatch",
        title="Template, tokenizer and masking code disagree",
        stage=Stage.TOKENIZE,
        definition="Masking code expects other tokens than the tokenizer makes, so samples drop out of the loss.",
        explanation=(
            "Masking code that counts the tokens of each turn warns 'tokenization mismatch' and ignores a sample when "
            "the count is off, often by one or two: another tokenizer version, another template, a space or an end "
            "token more. If all samples are ignored the loss is 0.0 with grad_norm 0.0. "
            "Source: FastChat and LLaVA training code, tokenization mismatch warning."
        ),
        fix="Use the template that belongs to the base model and the tokenizer version the code was written for.",
        expect="No mismatch warning, and the loss is above zero.",
        confirm=Measurement(
            measure="Tokenize one conversation and print which tokens carry labels.",
            command="holter check RECIPE",
            cost=20,
        ),
        overlaps=("labels-all-masked", "tokenizer-fast-slow-mismatch"),
    ),
    Cause(
        label="double-special-tokens",
        title="Begin or end markers occur twice",
        stage=Stage.TOKENIZE,
        definition="A special token is in the text and added again by the tokenizer, or joined twice.",
        explanation=(
            "A chat template already writes the begin token; tokenizing its output with add_special_tokens=True puts a "
            "second one. Joining prompt and target that were tokenized separately puts one in the middle. The model "
            "has never seen that and answers worse. Source: transformers chat templating guide."
        ),
        fix="Tokenize templated text with add_special_tokens=False, and join pieces without their markers.",
        expect="One begin token a sample, at its start.",
        confirm=Measurement(
            measure="Decode one collated row and count the special tokens.",
            command="holter check RECIPE",
            cost=10,
        ),
    ),
    Cause(
        label="ctc-target-too-long",
        title="CTC targets do not fit the frames",
        stage=Stage.LOSS,
        definition="A transcript is longer than its frame sequence, or empty, and the CTC loss is infinite.",
        explanation=(
            "CTC needs at least one frame a label, and one more between equal neighbours. Where the encoder's output "
            "is shorter, no path exists and the loss is inf; its gradient is nan. "
            "Source: Graves et al. 2006; torch.nn.CTCLoss, zero_infinity."
        ),
        fix="Drop inputs too short for their transcript, or set ctc_zero_infinity (zero_infinity) to true.",
        expect="The loss is finite for each batch.",
        confirm=Measurement(
            measure="Compare frame count after the encoder with transcript length for each sample.",
            command="holter check RECIPE",
            cost=30,
        ),
    ),
    Cause(
        label="eval-leak",
        title="Evaluation rows are in the training data",
        stage=Stage.DATA,
        definition="Rows are duplicated or shared between training and evaluation, so the metric is not honest.",
        explanation=(
            "If rows are duplicated before the split, most evaluation rows were trained on. Evaluation then looks near "
            "perfect from early on and does not hold in use. "
            "Source: Lee et al. 2022, Deduplicating Training Data Makes Language Models Better."
        ),
        fix="Remove duplicates before splitting, and split by document or user.",
        expect="The evaluation metric falls to what new data give.",
        confirm=Measurement(
            measure="Count evaluation rows that also occur in the training rows.",
            command="holter check RECIPE",
            cost=30,
        ),
    ),
    Cause(
        label="bad-batch",
        title="A few outlier samples",
        stage=Stage.DATA,
        definition="A corrupt or extreme sample makes single steps jump while the rest of the run is fine.",
        explanation=(
            "An empty, very long or mislabelled sample gives one large loss and gradient. With clipping the run "
            "recovers in a few steps. The same step number in every epoch, or the same rows, is the sign. "
            "Source: Chowdhery et al. 2022, PaLM, section 5.1 (restart and skip batches)."
        ),
        fix="Print the rows of the step, correct or drop them; keep clipping on.",
        expect="The jumps at those steps are gone.",
        confirm=Measurement(
            measure="Replay the step with its own batch and with the next one from the same weights.",
            command="",
            cost=90,
        ),
        prior=-1.5,
    ),
)
