"""From the files of a small broken run, the checks on words, settings, code and facts point to its cause."""

from pathlib import Path

import pytest
import yaml

from holter.checks.engine import run_checks
from holter.checks.registry import CHECKS, load
from holter.finding import Outcome
from holter.readers import read

FAULTS = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text(encoding="utf-8"))
FAMILIES = ("CFG", "DAT", "TOK", "LAB", "MOD", "DIS", "EVL", "SYS")
LEAST_BITS = 1.5


def _bits(folder):
    results = run_checks(read([Path(folder)]), [load(code) for code in sorted(CHECKS) if code.startswith(FAMILIES)])
    assert not results.of(Outcome.CRASHED)
    bits = {}
    for finding in results.findings:
        for clue in finding.clues:
            bits[clue.cause] = max(bits.get(clue.cause, clue.bits), clue.bits)
    return bits


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, id=f"{index}-{fault['labels'][0]}") for index, fault in enumerate(FAULTS)]
)
def test_the_cause_gets_the_most_bits(fault, tmp_path):
    labels, files = fault["labels"], fault["files"]
    for name, text in files.items():
        tmp_path.joinpath(name).write_text(text, encoding="utf-8")
    bits = _bits(tmp_path)
    mine = max((bits.get(label, 0.0) for label in labels), default=0.0)
    others = {cause: amount for cause, amount in bits.items() if cause not in labels}
    assert mine >= LEAST_BITS, bits
    assert mine > max(others.values(), default=0.0), bits


HEALTHY = {
    "train.py": (
        "tokenizer = AutoTokenizer.from_pretrained('x')\n"
        "model = AutoModelForSequenceClassification.from_pretrained('x', num_labels=3)\n"
        "args = TrainingArguments(output_dir='o', learning_rate=2e-5, bf16=True, warmup_ratio=0.1)\n"
        "trainer = Trainer(model=model, args=args, train_dataset=d['train'], eval_dataset=d['test'])\n"
        "trainer.train()\n"
    ),
    "log.txt": (
        "Some weights of BertForSequenceClassification were not initialized from the model checkpoint at x and are "
        "newly initialized: ['classifier.bias', 'classifier.weight']\n"
        "UserWarning: Detected call of `lr_scheduler.step()` before `optimizer.step()`.\n"
        "{'loss': 1.0812, 'grad_norm': 3.1, 'learning_rate': 1e-05, 'epoch': 0.5}\n"
        "{'loss': 0.7011, 'grad_norm': 2.9, 'learning_rate': 2e-05, 'epoch': 1.0}\n"
        "{'eval_loss': 0.6402, 'eval_accuracy': 0.74, 'epoch': 1.0}\n"
    ),
}


def test_a_healthy_script_and_log_give_no_warning(tmp_path):
    for name, text in HEALTHY.items():
        tmp_path.joinpath(name).write_text(text, encoding="utf-8")
    results = run_checks(read([tmp_path]), [load(code) for code in sorted(CHECKS) if code.startswith(FAMILIES)])
    assert [f for f in results.findings if f.severity.word != "note"] == []


BENIGN = """\
Setting `pad_token_id` to `eos_token_id`:50256 for open-end generation.
Special tokens have been added in the vocabulary, make sure the associated word embeddings are fine-tuned or trained.
The attention mask and the pad token id were not set. As a consequence, you may observe unexpected behavior.
Token indices sequence length is longer than the specified maximum sequence length for this model (601 > 512).
UserWarning: Was asked to gather along dimension 0, but all input tensors were scalars; will instead unsqueeze.
UserWarning: torch.utils.checkpoint: please pass in use_reentrant=True or use_reentrant=False explicitly.
UserWarning: None of the inputs have requires_grad=True. Gradients will be None
There were missing keys in the checkpoint model loaded: ['lm_head.weight'].
Some weights of LlamaForSequenceClassification were not initialized and are newly initialized: ['score.weight']
trainable params: 4,194,304 || all params: 6,742,609,920 || trainable%: 0.0622
`use_cache=True` is incompatible with gradient checkpointing. Setting `use_cache=False`.
The tokenizer has new PAD/BOS/EOS tokens that differ from the model config and generation config.
Not an error, but LlamaForCausalLM does not accept `num_items_in_batch`.
Dropped 0 samples with no trainable tokens from the dataset
UserWarning: MatMul8bitLt: inputs will be cast from torch.float32 to float16 during quantization
UserWarning: Input type into Linear4bit is torch.float16, but bnb_4bit_compute_dtype=torch.float32 (default).
The following columns in the training set don't have a corresponding argument in forward and have been ignored: text.
You are using the default legacy behaviour of the <class 'LlamaTokenizer'>.
tokenizer does not have a padding token, using the end token
NCCL version 2.20.5+cuda12.4
reset_optimizer=False, reset_lr_scheduler=False, optimizer='adam'
Target modules: q_proj, v_proj; label ids 0 to 3, num_labels 4
[INFO] Resuming training from checkpoint-500
WARNING: tokenization mismatch: 412 vs. 415. (ignored)
{'loss': 1.0812, 'grad_norm': 3.1, 'learning_rate': 1e-05, 'epoch': 0.5}
{'loss': 0.9011, 'grad_norm': 2.9, 'learning_rate': 2e-05, 'epoch': 1.0}
{'loss': 0.8511, 'grad_norm': 2.7, 'learning_rate': 1e-05, 'epoch': 1.5}
"""


def test_what_libraries_say_in_healthy_runs_gives_no_warning(tmp_path):
    tmp_path.joinpath("log.txt").write_text(BENIGN, encoding="utf-8")
    results = run_checks(read([tmp_path]), [load(code) for code in sorted(CHECKS) if code.startswith(FAMILIES)])
    assert [(f.code, f.message) for f in results.findings if f.severity.word != "note"] == []
