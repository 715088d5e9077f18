"""Causes in several devices, tools and libraries."""

from __future__ import annotations

from holter.diagnosis.cause import Cause, Measurement
from holter.stages import Stage

CAUSES = (
    Cause(
        label="ddp-no-gradient-sync",
        title="Replicas do not exchange gradients",
        stage=Stage.BACKWARD,
        definition="The wrapped model is bypassed or never synchronised, so each process trains a model of its own.",
        explanation=(
            "DistributedDataParallel averages gradients only if its own forward is called. Calling model.module, or "
            "staying in no_sync, leaves the replicas apart; only one of them is saved. Rank 0's log shows nothing. "
            "Source: torch DistributedDataParallel documentation, internal design."
        ),
        fix="Call the wrapper's forward, or all-reduce the gradients after backward.",
        expect="Weights are equal on all ranks after an update.",
        confirm=Measurement(
            measure="Compare a checksum of the weights on all ranks after one update.",
            command="holter check RECIPE",
            cost=60,
        ),
    ),
    Cause(
        label="ddp-duplicate-data",
        title="All replicas see the same samples",
        stage=Stage.DATA,
        definition="The data are not split over the processes, so each trains on the same rows.",
        explanation=(
            "Without a distributed sampler, or with an iterable data set that every process reads from the start, n "
            "processes do the same work n times: the effective batch is n times smaller than believed. "
            "Source: torch DistributedSampler documentation."
        ),
        fix="Use DistributedSampler, accelerator.prepare(dataloader) or split_dataset_by_node, with set_epoch.",
        expect="The ranks' rows do not overlap within an epoch.",
        confirm=Measurement(
            measure="Print the row ids of the first batches on each rank.",
            command="holter check RECIPE",
            cost=60,
        ),
    ),
    Cause(
        label="metric-decoding",
        title="The metric decodes ids wrongly",
        stage=Stage.EVAL,
        definition="Training is fine; the metric code decodes -100 or padding, or compares the wrong things.",
        explanation=(
            "Labels and padded generations hold -100, which no tokenizer can decode: an overflow error, or a metric of "
            "0 next to a good loss. Source: transformers translation example, postprocess of labels."
        ),
        fix="Replace -100 by pad_token_id in predictions and labels before decoding.",
        expect="Evaluation ends without an error and the metric fits the samples read by eye.",
        confirm=Measurement(
            measure="Decode ten predictions and references by hand and compute the metric.",
            command="",
            cost=30,
        ),
    ),
    Cause(
        label="logging-interval",
        title="Nothing is logged yet",
        stage=Stage.LOG,
        definition="logging_steps is larger than the steps of the run, so 'No log' is all there is.",
        explanation=(
            "The Trainer logs every logging_steps optimizer steps, 500 by default. A short run never gets there and "
            "its table shows 'No log' for the training loss. Source: TrainingArguments.logging_steps."
        ),
        fix="Set logging_steps to a tenth of the run or less.",
        expect="The training loss appears in the table.",
        confirm=Measurement(
            measure="Compare logging_steps with the optimizer steps of the run.",
            command="",
            cost=5,
        ),
    ),
    Cause(
        label="framework-bug",
        title="A library version is at fault",
        stage=Stage.DATA,
        definition="The settings are legal and it is a version of a library, kernel or collective that goes wrong.",
        explanation=(
            "Signs are: the same settings work in another version or engine; the loss changes at a rate too small to "
            "change anything; a number differs between two implementations of the same formula. "
            "A version before or after usually behaves."
        ),
        fix="Pin the version that works, or update, and report the smallest script that shows it.",
        expect="The other version gives ordinary numbers with the same settings.",
        confirm=Measurement(
            measure="Run two steps in another version of the library and compare the numbers.",
            command="holter compare THIS_VERSION OTHER_VERSION",
            cost=300,
        ),
        prior=-2.0,
    ),
    Cause(
        label="out-of-memory",
        title="The device ran out of memory",
        stage=Stage.FORWARD,
        definition="A batch, its activations or the optimizer state do not fit the device.",
        explanation=(
            "The longest batch decides. Full fine-tuning with AdamW takes about 16 bytes a parameter before any "
            "activation. Source: Rajbhandari et al. 2020, ZeRO, section 3.1."
        ),
        fix="Halve per_device_train_batch_size and double gradient_accumulation_steps; turn on checkpointing.",
        expect="The longest batch passes.",
        confirm=Measurement(
            measure="Run one step on the longest rows and read the peak memory.",
            command="holter check RECIPE",
            cost=60,
        ),
    ),
)
