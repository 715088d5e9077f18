"""LAB003 padding-in-labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.labels._counted_code import MASKING, copied, given, of_inputs, of_next_tokens, own_loss, tagged
from holter.checks.labels._counted_notes import noted_counts
from holter.checks.look import call_text, comments, is_off, is_on, known, plain, written
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

IGNORED = -100.0

MEASURED = (
    "pad_labels",
    "pad_in_labels",
    "padding_in_labels",
    "label_pad_fraction",
    "pad_label_fraction",
    "pad_tokens_in_loss",
)
COUNTED = regex(
    r"pad\w*[._](?:in|among)[._]label|label\w*[._]pad|pad\w*[._]label|pad\w*_in_loss|loss\w*_(?:on|over|incl\w*|counts?)_pad\w*",
    re.I,
)
UNMASKED_LOSS = ("CrossEntropyLoss", "cross_entropy")

OF_LOSS = regex(r"loss|label|\baverage|entropy|\bce\b")

NOTED = regex(r"(incl\w*|count\w*|over|with).{0,30}padding|labels?.{0,30}padded with pad|padded with pad_token_id")

LABELS = regex(r"(?:^|[._])labels?(?:$|[._\[])", re.I)
LEAST_PADDED = 2
"""Padding ids at the end of listed labels; a single one may be the end token, where both share an id."""


class PaddingInLabels(Check):
    """What it looks for
        Labels that still hold the padding id: measured in a batch, switched on
        (``ignore_pad_token_for_loss=False``), or written in code that copies padded ids into labels and never sets
        -100.

    Why it hurts
        The loss is averaged over padding, which is easy to predict: it looks low, and learning goes into padding.

    How to fix it
        ``labels[labels == tokenizer.pad_token_id] = -100``, or a collator that does it.

    When to ignore it
        When the loss in use has ``ignore_index`` set to the padding id.

    Threshold
        None.

    Sources
        The documentation of labels in transformers' sequence-to-sequence models.
    """

    code = "LAB003"
    name = "padding-in-labels"
    title = "Padding is counted in the loss"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), ("ignore_pad_token_for_loss",), ("facts",)))
    bad = (
        case("measured", facts={"pad_label_fraction": 0.4}),
        case("listed", facts={"pad_token_id": 3, "labels[0]": [17, 9, 2, 3, 3, 3, 3]}),
        case("noted", facts={"labels_at_padding": 0}),
        case("counts", facts={"tokens_in_loss": 4096, "non_pad_tokens": 512}),
        case("a flattered score", facts={"token_accuracy": 0.991, "non_pad_token_accuracy": 0.34}),
        case("a share", facts={"fraction_of_loss_tokens_that_are_padding": 0.83}),
        case("the prompt", config={"train_on_inputs": False}, facts={"prompt_tokens_in_loss": 112}),
        case("in words", facts={"observed": "pad_token_id is not replaced by -100 in the labels"}),
        case("switched on", config={"ignore_pad_token_for_loss": False}),
        case(
            "another index",
            config={"pad_token_id": 7},
            files={"a.py": "labels = pad(rows)\nce = nn.CrossEntropyLoss(ignore_index=-100)\nloss = ce(z, labels)\n"},
        ),
        script(
            "the second of two",
            "tgt = tok(sums, padding=True)\nbatch = (src, tgt.input_ids)\nout = model(input_ids=a, labels=b)\n",
        ),
        script(
            "padded by hand", "x = pad_sequence(rows)\ndef f():\n    return {'input_ids': x, 'labels': x.clone()}\n"
        ),
        script(
            "tags in Keras",
            "y = pad_sequences(tags, maxlen=200)\nm.add(Embedding(n, 64))\n"
            "m.compile(loss='sparse_categorical_crossentropy')\n",
        ),
        script(
            "targets by hand",
            "ce = nn.CrossEntropyLoss()\nx = pad_sequence(rows)\nloss = ce(out.view(-1, n), x[:, 1:])\n",
        ),
        script(
            "a loss of one's own in a Trainer",
            "def compute_loss(self, model, inputs):\n    z = model(inputs['input_ids']).logits\n"
            "    return F.cross_entropy(z[:, :-1].flatten(0, 1), inputs['input_ids'][:, 1:].flatten())\n",
        ),
        case("told", files={"a.py": "labels = input_ids.clone()\n# padded to 2048\n"}),
        script(
            "the mean of picked log-probabilities",
            "def loss_fn(logits, ids):\n    lp = logits.log_softmax(-1)[:, :-1]\n"
            "    return -lp.gather(2, ids[:, 1:, None]).mean()\n# ids are right-padded with tok.pad_token_id\n",
        ),
        script(
            "given to the model as labels",
            "x = tok(texts, padding=True)\nloss = model(x['input_ids'], labels=x['input_ids']).loss\n",
        ),
        script(
            "a loss of one's own",
            "tok = Tok(padding=True)\nself.loss_fn = nn.CrossEntropyLoss()\n"
            "z = z.transpose(1, 2)\nloss = self.loss_fn(z, tgt)\n",
        ),
        script("padding is a class", "# labels in the padded part are 0\nloss = tf.reduce_sum(per_token_loss)\n"),
        case("copied", files={"a.py": "x = tokenizer(t, padding='max_length')\nx['labels'] = x['input_ids'].copy()\n"}),
    )
    good = (
        case("none", facts={"pad_label_fraction": 0.0}),
        case("the prompt, as asked for", config={"train_on_inputs": True}, facts={"prompt_tokens_in_loss": 112}),
        case("counts that fit", facts={"tokens_in_loss": 400, "non_pad_tokens": 512}),
        case("a score that is no better", facts={"token_accuracy": 0.71, "non_pad_token_accuracy": 0.7}),
        case("no share", facts={"fraction_of_loss_tokens_that_are_padding": 0.0}),
        case("noted, and ignored", facts={"labels_at_padding": -100}),
        case("in words, and ignored", facts={"observed": "padding is not counted in the loss"}),
        case("listed and masked", facts={"pad_token_id": 3, "labels": [17, 9, 2, -100, -100]}),
        case(
            "its own index",
            config={"pad_token_id": 7},
            files={"a.py": "loss_fn = nn.CrossEntropyLoss(ignore_index=7)\nloss = loss_fn(logits, labels)\n"},
        ),
        script(
            "padding of something else",
            "# replace any tokens after the stop token with padding\n# reduce with padding in view\nf(x)\n",
        ),
        script(
            "a loss of one's own over rows",
            "x = tok(t, padding=True)\nce = nn.CrossEntropyLoss()\nloss = ce(logits.view(-1, n), y.view(-1))\n",
        ),
        script(
            "a loss of one's own, masked",
            "x = tok(t, padding=True)\nce = nn.CrossEntropyLoss()\nloss = (ce(z.transpose(1, 2), y) * mask).mean()\n",
        ),
        case(
            "the usual index, where labels are made elsewhere",
            config={"pad_token_id": 0},
            files={"a.py": "loss_fct = CrossEntropyLoss(ignore_index=-100)\nloss = loss_fct(logits, lm_labels)\n"},
        ),
        script(
            "picked log-probabilities of blocks without padding",
            "lp = logits.log_softmax(-1)[:, :-1]\nloss = -lp.gather(2, ids[:, 1:, None]).mean()\n"
            "# ids are packed blocks of 1024 tokens, no padding\n",
        ),
        script(
            "picked log-probabilities, masked",
            "lp = logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])\n"
            "loss = -(lp * keep[:, 1:]).sum() / keep.sum()\n# ids are right-padded with tok.pad_token_id\n",
        ),
        script(
            "padded by hand, and ignored",
            "x = pad_sequence(rows)\ny = pad_sequence(rows, padding_value=-100)\n"
            "def f():\n    return {'input_ids': x, 'labels': y}\n",
        ),
        script(
            "tags in Keras, masked",
            "y = pad_sequences(tags, maxlen=200)\nm.add(Embedding(n, 64, mask_zero=True))\n"
            "m.compile(loss='sparse_categorical_crossentropy')\n",
        ),
        script(
            "a loss of one's own in a Trainer, masked",
            "def compute_loss(self, model, inputs):\n    y = inputs['input_ids'].masked_fill(pads, -100)\n"
            "    return F.cross_entropy(model(inputs['input_ids']).logits.flatten(0, 1), y.flatten())\n",
        ),
        case("masked", files={"a.py": "labels = input_ids.clone()\nlabels[labels == pad] = -100\n"}),
    )
    not_enough = (case("not measured"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Measured, set, written, in this order."""
        found, bits = next(_seen(run), (None, 0.0))
        if found is None:
            return
        yield self.finding(
            "padding positions are counted in the loss",
            evidence=[found],
            clues=clues("labels hold the padding id", labels_not_masked=bits),
            fix=Fix(summary="Set labels at padding positions to -100."),
        )


def _seen(run: Run) -> Iterator[tuple[Evidence, float]]:
    measured = [*MEASURED, *(name for name in run.facts if COUNTED.search(name))]
    for name in measured:
        found = known(run, name)
        if found is not None and (number(found.plain) or float(is_on(found.plain))) > 0:
            yield found.evidence, 8.0
    yield from noted_counts(run)
    yield from _listed(run)
    switch = known(run, "ignore_pad_token_for_loss")
    if switch is not None and is_off(switch.plain):
        yield switch.evidence, 6.0
    for code in run.code:
        yield from copied(code)
        yield from given(code)
        yield from own_loss(code)
        yield from of_inputs(code)
        yield from of_next_tokens(code)
        yield from tagged(code)
    yield from _other_index(run)
    for code, comment in comments(run):
        if NOTED.search(comment) and OF_LOSS.search(comment):
            yield Evidence(text=comment, source=code.source), 5.0


def _listed(run: Run) -> Iterator[tuple[Evidence, float]]:
    """Labels written out one by one that end in the padding id, several times over."""
    pad = number(plain(run, "pad_token_id", "tokenizer.pad_token_id"))
    for name, values in run.facts.items():
        ids = values[0].value
        if pad is None or pad == IGNORED or not isinstance(ids, list) or not LABELS.search(name):
            continue
        end = len(list(takewhile(lambda item: number(item) == pad, reversed(ids))))
        if LEAST_PADDED <= end < len(ids):
            text = f"{name} ends in {end} times {pad:g}, the padding id"
            yield Evidence(text=text, source=values[0].source), 6.5


def _other_index(run: Run) -> Iterator[tuple[Evidence, float]]:
    """A loss of one's own whose ``ignore_index`` is not the padding id, where no code writes that index into labels."""
    pad = number(plain(run, "pad_token_id", "tokenizer.pad_token_id"))
    if pad is None or any(code.named(*MASKING) for code in run.code):
        return
    for code in run.code:
        made = any(LABELS.search(a.target) for a in code.assignments)
        for call in code.named(*UNMASKED_LOSS):
            index = number(call.kwargs.get("ignore_index", IGNORED))
            told = "ignore_index" in call.kwargs and index == IGNORED
            if index is not None and index != pad and not _writes(code, index) and (made or not told):
                yield Evidence(text=f"{call_text(call)}, and the padding id is {pad:g}", source=call.source), 5.0


def _writes(code: Code, index: float) -> bool:
    """Whether the index occurs anywhere but in the loss itself."""
    texts = [written(a.value) for a in code.assignments if "ignore_index" not in written(a.value)]
    texts += [
        written(v) for c in code.calls if not c.name.endswith(UNMASKED_LOSS) for v in (*c.args, *c.kwargs.values())
    ]
    return any(f"{index:g}" in text for text in texts)
