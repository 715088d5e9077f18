"""Which calls hold settings, and under what names: one row a kind of constructor."""

from __future__ import annotations

from dataclasses import dataclass, field
from re import Pattern

from holter.patterns import regex


@dataclass(frozen=True, kw_only=True)
class Constructor:
    """Calls whose keyword arguments are settings of the run.

    Attributes:
        calls: what the last part of the called name matches in full.
        tool: see `holter.names.config_name`.
        positional: names of positional arguments; an empty name is not a setting.
        keywords: keyword -> our name, where it differs from the table of names for this call.
        only: keep these keywords alone; otherwise all that the table of names knows.
        keep_unknown: keep keywords that the table does not know under their own name.
        own: setting -> value that the call itself means; ``<call>`` stands for the called name.
    """

    calls: Pattern[str]
    tool: str | None = None
    positional: tuple[str, ...] = ()
    keywords: dict[str, str] = field(default_factory=dict)
    only: frozenset[str] = frozenset()
    keep_unknown: bool = False
    own: dict[str, object] = field(default_factory=dict)


CALLED = "<call>"

_OPTIMIZERS = (
    r"(Fused|CPU|Paged|DeepSpeedCPU)?(Adam|AdamW|SGD|Adafactor|RMSprop|Adagrad|LAMB|Lamb|NAdam|RAdam|Lion|Muon|Sophia|"
    r"AdamW8bit|Adam8bit|PagedAdamW8bit|PagedAdamW32bit|BertAdam|FusedLAMB|GaLoreAdamW|ScheduleFree\w+)"
)
_SCHEDULES = (
    r"(StepLR|MultiStepLR|CosineAnnealingLR|CosineAnnealingWarmRestarts|OneCycleLR|LambdaLR|LinearLR|ExponentialLR|"
    r"PolynomialLR|ReduceLROnPlateau|WarmupLR|WarmupDecayLR|WarmupCosineLR|AdafactorSchedule|ConstantLR|CyclicLR)"
)

CONSTRUCTORS: tuple[Constructor, ...] = (
    Constructor(
        calls=regex(r"(LoraConfig|LoHaConfig|LoKrConfig|AdaLoraConfig|VeraConfig)"),
        tool="peft",
        keep_unknown=True,
        own={"adapters": "lora"},
    ),
    Constructor(
        calls=regex(r"(IA3Config|PromptTuningConfig|PrefixTuningConfig|PromptEncoderConfig)"),
        own={"adapters": CALLED},
    ),
    Constructor(calls=regex(r"BitsAndBytesConfig"), keep_unknown=True),
    Constructor(calls=regex(r"(\w*Arguments|\w*TrainingArgs|\w*Args)"), positional=("output_dir",), keep_unknown=True),
    Constructor(
        calls=regex(r"(SFT|DPO|GRPO|PPO|ORPO|KTO|CPO|RLOO|Reward|PRM|BCO|OnlineDPO|GKD|XPO|Nash\w*)Config"),
        keep_unknown=True,
    ),
    Constructor(
        calls=regex(r"\w*GenerationConfig"),
        tool="generation_config",
        only=frozenset({"pad_token_id", "eos_token_id"}),
    ),
    Constructor(
        calls=regex(r"(MultiLabelClassification|Classification|NER|Regression|Seq2Seq|QuestionAnswering)Model"),
        positional=("model_type", "model_name_or_path"),
    ),
    Constructor(
        calls=regex(r"\w+For(Sequence|Token)Classification|\w+For(CausalLM|ConditionalGeneration|MaskedLM)"),
        own={"architectures": CALLED},
    ),
    Constructor(calls=regex(r"\w*Config")),
    Constructor(
        calls=regex(_OPTIMIZERS),
        positional=("", "learning_rate"),
        own={"optim": CALLED},
        keywords={"betas": "betas", "momentum": "momentum"},
    ),
    Constructor(
        calls=regex(_SCHEDULES),
        keywords={"T_max": "lr_decay_steps", "total_steps": "lr_decay_steps", "initial_lr": "schedule_initial_lr"},
        own={"lr_scheduler_type": CALLED},
    ),
    Constructor(
        calls=regex(r"get_(linear|cosine|constant|polynomial|inverse|wsd)\w*"),
        positional=("", "warmup_steps", "lr_decay_steps"),
        keywords={"num_training_steps": "lr_decay_steps"},
        own={"lr_scheduler_type": CALLED},
    ),
    Constructor(
        calls=regex(r"get_scheduler"),
        positional=("lr_scheduler_type", "", "warmup_steps", "lr_decay_steps"),
        keywords={"name": "lr_scheduler_type", "num_training_steps": "lr_decay_steps"},
    ),
    Constructor(calls=regex(r"\w*Trainer|LightningModule|Fabric"), keywords={"optim": "optim"}),
    Constructor(calls=regex(r"Accelerator"), tool="accelerate"),
    Constructor(
        calls=regex(r"DataCollator\w*"),
        keywords={"padding": "collator.padding", "max_length": "collator.max_length"},
        own={"data_collator": CALLED},
    ),
    Constructor(calls=regex(r"clip_grad_norm_?"), positional=("", "max_grad_norm"), only=frozenset({"max_norm"})),
    Constructor(calls=regex(r"GradScaler"), only=frozenset({"init_scale", "growth_interval"}), own={"fp16": True}),
    Constructor(calls=regex(r"autocast"), keywords={"dtype": "autocast_dtype"}, only=frozenset({"dtype"})),
    Constructor(
        calls=regex(r"CTCLoss"),
        keywords={"zero_infinity": "ctc_zero_infinity"},
        only=frozenset({"zero_infinity", "blank"}),
    ),
    Constructor(
        calls=regex(r"\w*CrossEntropyLoss|cross_entropy"),
        only=frozenset({"ignore_index", "label_smoothing", "reduction"}),
        keywords={"reduction": "loss_reduction"},
    ),
    Constructor(
        calls=regex(r"gradient_checkpointing_enable|enable_gradient_checkpointing|set_grad_checkpointing"),
        own={"gradient_checkpointing": True},
    ),
    Constructor(calls=regex(r"enable_input_require_grads"), own={"enable_input_require_grads": True}),
    Constructor(calls=regex(r"prepare_model_for_(kbit|int8)_training"), own={"enable_input_require_grads": True}),
    Constructor(calls=regex(r"resize_token_embeddings"), own={"resize_token_embeddings": True}),
    Constructor(calls=regex(r"add_tokens|add_special_tokens"), own={"tokens_added": True}),
    Constructor(calls=regex(r"set_defaults"), keep_unknown=True),
    Constructor(
        calls=regex(r"(init_process_group|DistributedDataParallel|DDP|FullyShardedDataParallel|FSDP)"),
        only=frozenset({"find_unused_parameters", "world_size"}),
    ),
    Constructor(calls=regex(r"set_seed|manual_seed|seed_everything"), positional=("seed",), only=frozenset({"seed"})),
)


def constructor_of(name: str) -> Constructor | None:
    """The row for a called name such as ``peft.LoraConfig``, or None."""
    last = name.rsplit(".", 1)[-1]
    return next((row for row in CONSTRUCTORS if row.calls.fullmatch(last)), None)
