"""Causes in tokens, padding, attention and embedding tables."""

from __future__ import annotations

from holter.diagnosis.cause import Cause, Measurement
from holter.stages import Stage

CAUSES = (
    Cause(
        label="pad-token-missing",
        title="No pad token is set",
        stage=Stage.FORWARD,
        definition="Batches are padded but the model's configuration has no pad_token_id.",
        explanation=(
            "A decoder head for classification reads the last token that is not padding; without a pad id it cannot "
            "find it and raises an error for batches above one ('Cannot handle batch sizes > 1 if no padding token is "
            "defined'). Setting it on the tokenizer alone is not enough. It stops the run, it does not inflate a loss. "
            "Source: transformers GenericForSequenceClassification.forward."
        ),
        fix="Set pad_token on the tokenizer and pad_token_id on model.config, both to the same id.",
        expect="The first step with a batch above one passes.",
        confirm=Measurement(
            measure="Compare tokenizer.pad_token_id with model.config.pad_token_id.",
            command="holter check RECIPE",
            cost=10,
        ),
    ),
    Cause(
        label="pad-equals-eos",
        title="Pad and end token are the same",
        stage=Stage.COLLATE,
        definition="The pad token is the end token, so the collator masks the end out of the labels.",
        explanation=(
            "A collator that sets labels to -100 wherever the id is the pad id also hides the real end token. It "
            "never learns to stop and generates until the limit; the training loss looks fine. "
            "Source: transformers DataCollatorForLanguageModeling."
        ),
        fix="Use a pad token of its own, or mask by attention_mask rather than by id.",
        expect="The last label of each row is the end token, and generation stops.",
        confirm=Measurement(
            measure="Look whether any label of a collated batch equals eos_token_id.",
            command="holter check RECIPE",
            cost=10,
        ),
        prior=-0.5,
    ),
    Cause(
        label="pad-token-wrong",
        title="The pad token is one the model must not see",
        stage=Stage.COLLATE,
        definition="The pad id differs between tokenizer and model, or is a special or untrained row.",
        explanation=(
            "If tokenizer and model disagree, a classification head takes a padding position for the last token, and a "
            "loss may count padding. Pad ids that mean something else (image pad, unk) disturb where masks are not "
            "applied. It shows with batches above one only. Source: transformers issue 23530."
        ),
        fix="Use the pad id the model was trained with, the same on tokenizer, config and generation config.",
        expect="The loss of a batch equals the mean of its rows computed one by one.",
        confirm=Measurement(
            measure="Compare the loss of a padded batch with that of its rows one by one.",
            command="holter check RECIPE",
            cost=20,
        ),
        prior=-0.5,
    ),
    Cause(
        label="padding-side",
        title="Padding on the wrong side",
        stage=Stage.COLLATE,
        definition="Padding is on a side that the model or its code does not support.",
        explanation=(
            "Left padding shifts positions and, in half precision with a fully masked first row, gives nan in some "
            "attention code; right padding breaks batched generation of decoder models. "
            "Source: transformers padding and truncation guide; issues on Llama with left padding in fp16."
        ),
        fix="Pad right for training, left for batched generation of decoder models.",
        expect="The loss of a padded batch is finite and equals that of its rows one by one.",
        confirm=Measurement(
            measure="Compute the loss of one batch with padding on each side.",
            command='holter try RUN --set padding_side=right --expect "isfinite(loss)"',
            cost=30,
        ),
        overlaps=("fully-masked-attention-nan",),
        prior=-0.5,
    ),
    Cause(
        label="attention-mask-missing",
        title="Padding is attended to",
        stage=Stage.FORWARD,
        definition="No attention mask (or one of all ones) reaches the model although rows are padded.",
        explanation=(
            "Padding then takes part in attention, so a row's output depends on how long its neighbours are. Quality "
            "suffers without any error. With causal attention and right padding it does no harm, since real tokens "
            "never look at what follows. Source: transformers warning_once on input ids with padding and no mask."
        ),
        fix="Pass attention_mask with 0 on padding to the model.",
        expect="The output of a row is the same alone and inside a padded batch.",
        confirm=Measurement(
            measure="Compare the logits of one row alone and inside a padded batch.",
            command="holter check RECIPE",
            cost=20,
        ),
        prior=-0.5,
    ),
    Cause(
        label="fully-masked-attention-nan",
        title="A query sees no key",
        stage=Stage.FORWARD,
        definition="An attention row is masked entirely, and a softmax over nothing is nan.",
        explanation=(
            "If all scores of a row are -inf, softmax gives 0/0 = nan, which spreads through the residual stream. It "
            "occurs with left padding, an all-padding row, or a decoder mask that hides the start token when that is "
            "the pad token. It shows in every precision. Source: pytorch issue 41508."
        ),
        fix="Mask with a large finite number, keep the start token visible, drop empty rows.",
        expect="The forward pass of that batch is finite.",
        confirm=Measurement(
            measure="Look for rows of the mask with no visible key in the failing batch.",
            command="holter check RECIPE",
            cost=20,
        ),
        overlaps=("padding-side",),
        prior=-0.5,
    ),
    Cause(
        label="attention-kernel-bug",
        title="The fused attention kernel gives wrong numbers here",
        stage=Stage.FORWARD,
        definition="SDPA, flash or a custom attention kernel is wrong or unsupported on this card or version.",
        explanation=(
            "Fused kernels are compiled per card and head size. Where one is missing or broken, the output is garbage: "
            "a first loss near ln(vocabulary), which a pre-trained model never has, gradients in the thousands, then "
            "nan. Another implementation of the same formula is fine. "
            "Source: torch.nn.functional.scaled_dot_product_attention notes."
        ),
        fix="Set attn_implementation='eager' (or 'sdpa' instead of flash) and update torch or flash-attn.",
        expect="The first loss is that of the pre-trained model, far below ln(vocabulary).",
        confirm=Measurement(
            measure="Compute the first loss with attn_implementation='eager' and compare.",
            command='holter try RUN --set attn_implementation=eager --expect "loss@1 < 6"',
            cost=60,
        ),
        prior=-0.5,
    ),
    Cause(
        label="embeddings-not-resized",
        title="Token ids beyond the embedding table",
        stage=Stage.FORWARD,
        definition="The tokenizer has more tokens than the model has embedding rows, or tables differ in length.",
        explanation=(
            "Adding tokens to a tokenizer does not add rows to the model. The new ids read beyond the table: an index "
            "error on the CPU, a CUDA assert on the GPU, or a size mismatch when a resized checkpoint is loaded into a "
            "model that was not. Source: PreTrainedModel.resize_token_embeddings."
        ),
        fix="Call model.resize_token_embeddings(len(tokenizer)) after adding tokens and before loading adapters.",
        expect="The largest id is below the number of rows and the first step passes.",
        confirm=Measurement(
            measure="Compare len(tokenizer) and the largest id of a batch with the embedding rows.",
            command="holter check RECIPE",
            cost=10,
        ),
    ),
    Cause(
        label="new-tokens-frozen",
        title="Added tokens are never trained",
        stage=Stage.UPDATE,
        definition="New embedding rows exist but stay at their initial value because the table is frozen.",
        explanation=(
            "With adapters the base embeddings are frozen. Rows for new tokens stay random, and the model can neither "
            "read nor write them well. Source: PEFT guide on new tokens (modules_to_save, trainable_token_indices)."
        ),
        fix="Put embed_tokens and lm_head into modules_to_save, or use trainable_token_indices.",
        expect="The new rows change in the first update.",
        confirm=Measurement(
            measure="Compare the new rows before and after one update.",
            command="holter check RECIPE",
            cost=30,
        ),
        prior=-0.5,
    ),
    Cause(
        label="tokenizer-fast-slow-mismatch",
        title="Fast and slow tokenizer differ",
        stage=Stage.TOKENIZE,
        definition="The fast and the slow tokenizer give different ids or special tokens for the same text.",
        explanation=(
            "Conversions from SentencePiece treat spaces, special and added tokens differently in some versions. "
            "Data prepared with one and masked or decoded with the other is off by a token or has foreign ids. "
            "Source: transformers tokenizer documentation, use_fast and legacy."
        ),
        fix="Use the same tokenizer class and version for preparing, training and decoding.",
        expect="Both give the same ids for a sample of the data.",
        confirm=Measurement(
            measure="Encode 1000 rows with both and count differing rows.",
            command="holter check RECIPE",
            cost=20,
        ),
        overlaps=("template-mismatch",),
        prior=-0.5,
    ),
    Cause(
        label="padding-multiple",
        title="Batches are padded to a multiple",
        stage=Stage.COLLATE,
        definition="pad_to_multiple_of makes batches a few tokens longer; often suspected, hardly ever to blame.",
        explanation=(
            "The extra positions are padding like any other: masked in attention and in the loss. On the same rows the "
            "loss was the same to six digits for multiples of 1, 8 and 64. Only speed and memory differ."
        ),
        fix="None needed; choose the multiple for speed.",
        confirm=Measurement(
            measure="Compute the loss of one batch padded to multiples of 1 and of 8.",
            command='holter try RUN --set pad_to_multiple_of=1 --expect "loss@1 ~= base.loss@1"',
            cost=30,
        ),
        prior=-6.0,
    ),
)
