"""EVL073 metric-reads-no-answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen, written
from holter.checks.script import argument, mentions, receiver, texts
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Run
from holter.stages import Stage

LABELS = regex(r"label|target|reference")
METRIC_SCOPE = regex(r"^(?:compute|metric|eval)\w*|metrics?$")
CTC = ("Wav2Vec2Processor", "Wav2Vec2CTCTokenizer", "ForCTC", "HubertForCTC")
PREDICTED = regex(r"pred|generated|output|hyp")
REMOVES = regex(r"re\.sub\(|\.replace\(|partition\(")
NESTED = regex(r"^\[\s*(?:\[|\w+\s*\]$)|^list\(zip\(")
"""Code that takes special tokens out by hand, and that makes a list of each reference, or one of all."""

WHOLE_LOGITS = regex(r"^(?:\w+\.)?(?:logits|predictions|preds|outputs)$")


class MetricReadsNoAnswers(Check):
    """What it looks for
        A metric function that takes the largest logit of all rows at once, or of each class over the rows; references
        of a CTC model that are decoded without ``group_tokens=False``; predictions decoded with their special tokens
        where the references lose theirs; BLEU of a corpus that gets a flat list of references.

    Why it hurts
        The score is computed from something else than the answers of the model, and says nothing of it.

    How to fix it
        ``np.argmax(logits, axis=-1)``; ``processor.batch_decode(label_ids, group_tokens=False)``.

    When to ignore it
        When the name holds the logits of a single row.

    Threshold
        None: the call is read.

    Sources
        NumPy's documentation of argmax; the speech recognition example of transformers, which says why references are
        not grouped; sacrebleu's and NLTK's documentation of ``corpus_bleu``, on lists of references.
    """

    code = "EVL073"
    name = "metric-reads-no-answers"
    title = "The metric code does not read the answers of the model"
    severity = Severity.WARNING
    stage = Stage.EVAL
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "letters that stand twice",
            "model = Wav2Vec2ForCTC.from_pretrained('x')\ndef compute_metrics(pred):\n"
            "    pred.label_ids[pred.label_ids == -100] = processor.tokenizer.pad_token_id\n"
            "    return processor.batch_decode(pred.label_ids)\n",
        ),
        script(
            "special tokens on one side",
            "preds = tok.batch_decode(pred_ids)\nrefs = tok.batch_decode(label_ids, skip_special_tokens=True)\n",
        ),
        script(
            "a letter for a sentence",
            "refs = tok.batch_decode(ids, skip_special_tokens=True)\nprint(sacrebleu.corpus_bleu(preds, refs))\n",
        ),
        script(
            "one class for all",
            "def compute_metrics(p):\n    logits, labels = p\n    return metric.compute(np.argmax(logits), labels)\n",
        ),
        script(
            "the place before",
            "m = AutoModelForCausalLM.from_pretrained('gpt2')\ndef compute_metrics(p):\n    z, y = p\n"
            "    return (z.argmax(-1)[y != -100] == y[y != -100]).mean()\n",
        ),
        script(
            "over batches",
            "for x, y in dl:\n    right += (net(x).argmax(1) == y).sum().item()\nacc = right / len(dl)\n",
        ),
    )
    good = (
        script(
            "one place on",
            "m = AutoModelForCausalLM.from_pretrained('gpt2')\ndef compute_metrics(p):\n    z, y = p\n"
            "    return (z[:, :-1].argmax(-1) == y[:, 1:]).mean()\n",
        ),
        script("over rows", "for x, y in dl:\n    n += (net(x).argmax(1) == y).sum()\nacc = n / len(dl.dataset)\n"),
        script(
            "special tokens on neither side",
            "preds = tok.batch_decode(pred_ids, skip_special_tokens=True)\n"
            "refs = tok.batch_decode(label_ids, skip_special_tokens=True)\n",
        ),
        script(
            "a list of lists",
            "refs = tok.batch_decode(ids, skip_special_tokens=True)\nprint(sacrebleu.corpus_bleu(preds, [refs]))\n",
        ),
        script(
            "letters kept",
            "model = Wav2Vec2ForCTC.from_pretrained('x')\ndef compute_metrics(pred):\n"
            "    pred.label_ids[pred.label_ids == -100] = processor.tokenizer.pad_token_id\n"
            "    return processor.batch_decode(pred.label_ids, group_tokens=False)\n",
        ),
        script(
            "a class for each",
            "def compute_metrics(p):\n    logits, labels = p\n"
            "    return metric.compute(np.argmax(logits, 1), labels)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such call."""
        for text, evidence in (
            *_grouped(run),
            *_flat_argmax(run),
            *_one_sided(run),
            *_flat_references(run),
            *_in_place(run),
        ):
            yield self.finding(
                text,
                evidence=[evidence],
                clues=clues(text, metric_decoding=6.5),
                fix=Fix(summary="Take the largest logit of each row; decode references with group_tokens=False."),
            )
            return


def _rows(call: Call) -> str:
    return written(call.args[0]) if call.args else ""


def _in_metric(call: Call) -> bool:
    return METRIC_SCOPE.search(call.scope) is not None


def _grouped(run: Run) -> Iterator[tuple[str, Evidence]]:
    """References of a CTC model whose doubled letters are made one, as in its output."""
    for code in run.code:
        if not mentions(code, *CTC):
            continue
        for call in code.named("batch_decode"):
            if LABELS.search(_rows(call)) and "group_tokens" not in call.kwargs and _in_metric(call):
                yield "references are decoded like frames: letters that stand twice become one", seen(call)


def _one_sided(run: Run) -> Iterator[tuple[str, Evidence]]:
    """Predictions that keep their special tokens beside references that lose theirs."""
    for code in run.code:
        decoded = list(code.named("batch_decode"))
        bare = [c for c in decoded if LABELS.search(_rows(c)) and c.kwargs.get("skip_special_tokens") is True]
        for call in decoded:
            kept = call.kwargs.get("skip_special_tokens", False) is False
            if bare and kept and PREDICTED.search(_rows(call)) and not any(REMOVES.search(t) for t in texts(code)):
                yield "predictions are decoded with their special tokens, references without", seen(call)


def _flat_references(run: Run) -> Iterator[tuple[str, Evidence]]:
    """BLEU of a corpus with a string where a list of references belongs: each letter is taken for a reference."""
    for code in run.code:
        flat = {c.target for c in code.named("batch_decode") if c.target.isidentifier()}
        for call in code.named("corpus_bleu"):
            at = 1 if receiver(call) in ("sacrebleu", "BLEU()", "bleu") else 0
            given = written(argument(call, at, "references", "list_of_references") or "")
            nested = any(a.target == given and NESTED.search(written(a.value)) for a in code.assignments)
            if given in flat and not nested:
                yield f"{given} is a flat list of texts where a list of references belongs", seen(call)


def _flat_argmax(run: Run) -> Iterator[tuple[str, Evidence]]:
    """The largest logit of the whole evaluation, or of each class, in place of that of each row."""
    for code in run.code:
        for call in code.named("argmax"):
            own = "." in call.name and receiver(call) not in ("np", "numpy", "torch", "tf", "tf.math", "jnp")
            rows = receiver(call) if own else _rows(call)
            axis = argument(call, 0 if own else 1, "axis", "dim")
            metric = METRIC_SCOPE.search(call.scope) is not None and call.scope.startswith(
                ("compute", "metric", "eval")
            )
            if metric and call.loop_depth == 0 and WHOLE_LOGITS.search(rows) and axis in (None, 0):
                where = "over all rows at once" if axis is None else "over the rows of each class"
                yield f"the largest logit is taken {where}", seen(call)


def _in_place(run: Run) -> Iterator[tuple[str, Evidence]]:
    """Logits of a causal model scored against the token they have read, and right rows counted over batches."""
    for code in run.code:
        all_texts = [*texts(code), *map(call_text, code.calls)]
        causal = mentions(code, "CausalLM", "LMHeadModel")
        shifted = any(SHIFTS.search(text) for text in all_texts) or mentions(code, "preprocess_logits", "generate")
        for call in code.named("argmax"):
            compared = any("==" in text or "accuracy" in text or "f1" in text for text in all_texts)
            if causal and not shifted and compared and call.scope.startswith("compute_metric"):
                yield "logits of a causal model are compared with the labels of the same places", seen(call)
        counted = {a.target: a for a in code.assignments if a.loops and RIGHT.search(written(a.value))}
        shown = [(written(a.value), f"{a.target} = {written(a.value)}", a.source) for a in code.assignments]
        shown += [(written(v), call_text(c), c.source) for c in code.calls for v in c.args]
        for value, text, source in shown:
            match = OVER_BATCHES.search(value)
            row = counted.get(match[1]) if match is not None else None
            if match is not None and row is not None and re.search(rf"\bin .*\b{re.escape(match[2])}\b", row.loops[-1]):
                yield "a count of right rows is divided by the number of batches", Evidence(text=text, source=source)


SHIFTS = regex(r"\[(?:(?:\.\.\.|:)\s*,\s*)*(?::\s*-1|1\s*:)\s*\]|roll\(|shift")
RIGHT = regex(r"==.*\.sum\(|\.eq\(.*\.sum\(|torch\.sum\(.*==|accuracy_score\(.*normalize=False")
OVER_BATCHES = regex(r"(\w+)(?:\.\w+\(\))* / (?:float\()?len\(([\w.]+)\)")
"""A shift by one place, a count of rows that are right, and its division by the length of what was gone through."""
