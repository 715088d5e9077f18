"""EVL002 ignored-ids-decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, known, seen, switched_on, written
from holter.checks.messages import quote, statements
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

DECODERS = ("batch_decode", "decode")
LABEL_WORDS = ("label", "target", "reference")


PREDICTIONS = regex(r"\b(?:p|e?val_?)?pred(?:s|ictions?|icted)?(?:_ids|_tokens)?\b|\bgenerated\w*|\bpredictions\b")
LABELS = regex(r"label|target|reference")
LOGITS = regex(r"pred|logit")
CHANGES = regex(
    r"\bwhere\(|-100|ignore_index|IGNORE_INDEX|masked_fill|clip|maximum|replace|\bclean|postprocess|postproc"
)
METRIC_SCOPE = regex(r"metric|eval|score|valid|postprocess")
NOT_ZERO = regex(r"\b(?:not|non|n't|other than) ?-?(?:0|zero)\b")
REFUSED = regex(r"overflowerror|cannot be interpreted as an integer|piece id is out of range")
"""What tokenizers say of -100."""

OLDER = regex(r"^(?:[0-3]\.|4\.(?:1?\d|20)(?:\.|$))")
"""Versions of transformers, those before 4.21, in which generated ids were padded with the padding id alone."""

COLLATED = regex(r"\[['\"]labels['\"]\]")
"""Labels taken out of a collated batch, where padding is already -100."""


class IgnoredIdsDecoded(Check):
    """What it looks for
        A metric function that decodes labels, in a file that never replaces -100; or that replaces it in the labels
        alone, though generated predictions are padded with it as well; or that takes the largest of padded logits,
        where the padding id is not 0.

    Why it hurts
        The tokenizer cannot decode -100: the evaluation stops, or, with some tokenizers, decodes it as something else
        and the metric is wrong. The largest of logits that are all -100 is id 0, which only a tokenizer whose padding
        has that id drops.

    How to fix it
        ``np.where(labels != -100, labels, tokenizer.pad_token_id)`` before decoding; the same for predictions.

    When to ignore it
        With ``ignore_pad_token_for_loss=False`` labels hold no -100.

    Threshold
        None. A note, as the file may be an excerpt; a warning where the labels are replaced and the generated
        predictions are not, since transformers 4.21.

    Sources
        The summarisation and translation examples of transformers.
    """

    code = "EVL002"
    name = "ignored-ids-decoded"
    title = "Labels are decoded with -100 in them"
    severity = Severity.NOTE
    stage = Stage.EVAL
    needs = Needs(any_of=(("code",),))
    bad = (
        case(
            "replaced in the labels alone",
            config={"predict_with_generate": True},
            files={
                "a.py": "def compute_metrics(p):\n    preds, labels = p\n"
                "    labels = np.where(labels != -100, labels, tok.pad_token_id)\n"
                "    return tok.batch_decode(preds), tok.batch_decode(labels)\n"
            },
        ),
        case(
            "refused",
            facts={"error_fast_tokenizer": "OverflowError"},
            files={"a.py": "def compute_metrics(p):\n    refs = tok.batch_decode(p.label_ids)\n    return refs\n"},
        ),
        case(
            "padded logits",
            config={"pad_token_id": 31},
            files={
                "a.py": "ids = np.argmax(pred.predictions, axis=-1)\n"
                "pred.label_ids[pred.label_ids == -100] = processor.tokenizer.pad_token_id\n"
                "text = processor.batch_decode(ids)\n"
            },
        ),
        script("not replaced", "def compute_metrics(p):\n    refs = tok.batch_decode(p.label_ids)\n    return refs\n"),
    )
    good = (
        case(
            "replaced in both",
            config={"predict_with_generate": True},
            files={
                "a.py": "def compute_metrics(p):\n    preds = np.where(p.predictions != -100, p.predictions, pad)\n"
                "    ids = np.where(p.label_ids != -100, p.label_ids, pad)\n"
                "    return tok.batch_decode(preds), tok.batch_decode(ids)\n"
            },
        ),
        case(
            "classes, no texts",
            config={"pad_token_id": 1},
            files={"a.py": "def compute_metrics(p):\n    return np.argmax(p.predictions, -1) == p.label_ids\n"},
        ),
        case(
            "padding is 0",
            config={"pad_token_id": 0},
            files={
                "a.py": "ids = np.argmax(pred.predictions, axis=-1)\n"
                "pred.label_ids[pred.label_ids == -100] = processor.tokenizer.pad_token_id\n"
                "text = processor.batch_decode(ids)\n"
            },
        ),
        script(
            "replaced",
            "def compute_metrics(p):\n    ids = np.where(p.label_ids != -100, p.label_ids, pad)\n"
            "    return tok.batch_decode(ids)\n",
        ),
        case("no metric", files={"a.py": "text = tok.decode(ids)\n"}),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """One finding for the first such call."""
        for code in run.code:
            collates = bool(code.named("DataCollatorForSeq2Seq"))
            found = [c for c in code.named(*DECODERS) if _of_labels(c) and (collates or "metric" in c.scope.lower())]
            if found and not _replaces(code):
                refused = next((s for s in statements(run) if REFUSED.search(s.folded)), None)
                shown = [seen(found[0]), *([quote(refused)] if refused is not None else [])]
                bits = 3.0 if refused is None else 7.0
                sure = Severity.NOTE if refused is None else Severity.WARNING
                yield self._found("labels are decoded, and -100 is never replaced", shown, bits, sure)
                return
        for text, evidence, bits in (*_labels_alone(run), *_padded_logits(run)):
            sure = Severity.WARNING if bits > SURE else Severity.NOTE
            yield self._found(text, evidence, bits, sure)
            return

    def _found(self, text: str, evidence: list[Evidence], bits: float, severity: Severity = Severity.NOTE) -> Finding:
        return self.finding(
            text,
            evidence=evidence,
            severity=severity,
            clues=clues("-100 reaches the decoder", metric_decoding=bits),
            fix=Fix(summary="Replace -100 by tokenizer.pad_token_id in labels and predictions before decoding."),
        )


SURE = 5.5
"""Bits up to which it is a note."""


def _labels_alone(run: Run) -> Iterator[tuple[str, list[Evidence], float]]:
    """Generated predictions that are decoded as they are, beside labels in which -100 is replaced."""
    generates = switched_on(run, "predict_with_generate")
    version = known(run, "versions.transformers")
    if generates is None or (version is not None and OLDER.search(written(version.plain))):
        return
    for code in run.code:
        decoded = next((c for c in code.named(*DECODERS) if PREDICTIONS.search(_rows(c)) and _in_metric(c)), None)
        if decoded is None or not _changed(code, LABELS) or _changed(code, PREDICTIONS):
            continue
        yield "-100 is replaced in the labels, and not in the predictions", [seen(decoded), generates.evidence], 6.5


def _padded_logits(run: Run) -> Iterator[tuple[str, list[Evidence], float]]:
    """The largest of logits that the Trainer padded with -100, which is id 0 at each padded place."""
    pad = known(run, "pad_token_id", "tokenizer.pad_token_id")
    if pad is None or not ((number(pad.plain) or 0.0) > 0.0 or NOT_ZERO.search(written(pad.plain).lower())):
        return
    for code in run.code:
        taken = next((c for c in code.named("argmax") if LOGITS.search(_rows(c))), None)
        if taken is not None and _changed(code, LABELS) and not _changed(code, PREDICTIONS):
            yield "logits padded with -100 become id 0, which is not padding here", [seen(taken), pad.evidence], 5.0


def _in_metric(call: Call) -> bool:
    return not call.scope or METRIC_SCOPE.search(call.scope) is not None


def _rows(call: Call) -> str:
    return written(call.args[0]) if call.args else ""


def _changed(code: Code, names: re.Pattern[str]) -> bool:
    """Whether ids under such a name have something replaced: ``np.where``, an assignment at chosen places, a clip."""
    texts = [f"{a.target} {a.place} where(" for a in code.assignments if a.place]
    texts += [written(a.value) for a in code.assignments] + [f"{c.name}({_rows(c)}" for c in code.calls]
    found = (text for text in texts if names.search(text) and CHANGES.search(text))
    return any(names is LABELS or not LABELS.search(text) for text in found)


def _of_labels(call: Call) -> bool:
    text = call_text(call).lower()
    return ("metric" in call.scope.lower() or COLLATED.search(text) is not None) and any(
        word in text for word in LABEL_WORDS
    )


def _replaces(code: Code) -> bool:
    texts = [f"{written(a.value)} {a.place}" for a in code.assignments] + [call_text(call) for call in code.calls]
    return any("-100" in text or "IGNORE_INDEX" in text or "ignore_index" in text for text in texts)
