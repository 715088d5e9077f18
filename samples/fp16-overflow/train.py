"""Fine-tune ByT5 to turn dialect spelling into standard spelling."""
from dataclasses import dataclass

from transformers import Seq2SeqTrainingArguments, T5ForConditionalGeneration


@dataclass
class Config:
    model_name: str = "google/byt5-small"
    fp16: bool = False
    learning_rate: float = 2e-4
    warmup_ratio: float = 0.05
    max_source_length: int = 384


def build(config: Config):
    model = T5ForConditionalGeneration.from_pretrained(config.model_name)
    arguments = Seq2SeqTrainingArguments(
        output_dir="out",
        fp16=config.fp16,
        learning_rate=config.learning_rate,
        warmup_ratio=config.warmup_ratio,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
    )
    return model, arguments
