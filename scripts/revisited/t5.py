"""What the two T5 systems share: sizes, and what a planted overflow can show."""

from __future__ import annotations

SIZES = {
    "train_samples": 300,
    "eval_samples": 8,
    "eval_strategy": "no",
    "predict_with_generate": False,
    "group_by_length": False,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_heads": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "fp16": True,
    "use_cpu": True,
}
PLANTED = (
    "The overflow is planted: the feed-forward output weights are scaled until their product passes the largest number "
    "of fp16, as public reports measure in trained T5 checkpoints, and the forward pass runs under torch's own fp16 "
    "autocast with a gradient scaler. What is shown is which change cures such an overflow and which does not; that "
    "the checkpoint of the report overflowed at the same place is not shown here."
)
MEMORY = "A model of this size on a CPU says nothing about the memory of a GPU"
