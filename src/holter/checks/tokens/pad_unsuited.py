"""TOK003 pad-token-unsuited."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import Known, calls, known, written
from holter.checks.symptoms import nonfinite, number
from holter.finding import Clue, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Expression, Run, Value
from holter.stages import Stage

OF_ANOTHER_KIND = regex(r"vision|image|video|audio|fim_|\bmask\b|tool", re.I)
"""Tokens at which a model puts pictures, sound or gaps; it does not expect them as padding."""

OF_MODEL = ("pad_token_id", "model_pad_token_id", "config_pad_token_id", "model.config.pad_token_id")
OF_TOKENIZER = ("tokenizer.pad_token_id", "tokenizer_pad_token_id", "batch_pad_token_id")

OF_OTHERS = ("image_token_id", "video_token_id", "image_token_index", "audio_token_id", "mask_token_id")
"""Ids at which a model puts or expects something else than text."""

OF_TOKENIZER_OBJECT = regex(r"(?:tok\w*|processor|processing_class)\.pad_token$", re.I)
"""The attribute that takes text; a variable of that name may well hold an id."""

OF_FIXED_NAME = regex(
    r"\w*Tokenizer\w*\.from_pretrained\(['\"](?P<name>[^'\"]+)['\"][^)]*\)\.(?:pad|eos|bos|sep|unk)_token_id"
)
"""An id taken straight from the tokenizer of a name that is written out."""

A_MODEL = regex(r"(?:Model\w*|For[A-Z]\w*|LMHead\w*)\.from_pretrained$")

UNKNOWN = regex(r"<unk>|\[unk\]|unk_token", re.I)


class PadTokenUnsuited(Check):
    """What it looks for
        A padding token that the model gives another meaning (picture, gap, mask), one beyond the embedding table or
        below 0, different padding ids in tokenizer, model and generation settings, or an id that is taken from the
        tokenizer of a fixed name while the model is whatever is given.

    Why it hurts
        Padding positions are then read as content, or a classification head finds the last token by an id that is not
        the one the batch was padded with and reads a padding position.

    How to fix it
        One padding token, the same in ``tokenizer``, ``model.config`` and ``generation_config``, which the model
        ignores.

    When to ignore it
        ``<unk>`` as padding is safe while unknown text is rare: a note.

    Threshold
        None.

    Sources
        Public reports of vision padding tokens in text fine-tunes; classification heads in transformers.
    """

    code = "TOK003"
    name = "pad-token-unsuited"
    title = "The padding token is one the model gives a meaning"
    severity = Severity.WARNING
    stage = Stage.COLLATE
    needs = Needs(any_of=(("code",), ("tokenizer.pad_token",), *((name,) for name in (*OF_MODEL, *OF_TOKENIZER))))
    bad = (
        case("picture", config={"tokenizer.pad_token": "<|vision_pad|>"}),
        case("beyond the table", config={"pad_token_id": 32000, "vocab_size": 32000}),
        case("a number for a token", files={"a.py": "tokenizer.pad_token = 0\n"}),
        case("a token that the vocabulary lacks", facts={"pad_token": "[PAD]", "pad_token_id": 3, "unk_token_id": 3}),
        script(
            "of another tokenizer",
            "model = GPT2LMHeadModel.from_pretrained(model_path)\n"
            "self.pad_id = GPT2TokenizerFast.from_pretrained('gpt2').eos_token_id\n",
        ),
        case("two ids", config={"pad_token_id": 1, "tokenizer.pad_token_id": 0}),
    )
    good = (
        case("a variable", files={"a.py": "def rows(ids, pad_token=0):\n    return ids + [pad_token] * n\n"}),
        script(
            "of the model's own tokenizer",
            "model = GPT2LMHeadModel.from_pretrained(path)\n"
            "pad_id = GPT2TokenizerFast.from_pretrained(path).eos_token_id\n",
        ),
        case("an id", files={"a.py": "tokenizer.pad_token_id = 0\n"}),
        case("the unknown token itself", facts={"pad_token_id": 0, "unk_token_id": 0}),
        case("own token", config={"tokenizer.pad_token": "<pad>", "pad_token_id": 0, "vocab_size": 32000}),
        case("same id", config={"pad_token_id": 0, "tokenizer.pad_token_id": 0}),
    )
    not_enough = (case("not said", config={"vocab_size": 32000}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Meaning of the token, then range, then agreement."""
        yield from self._meaning(run)
        yield from self._number_for_token(run)
        yield from self._range(run)
        yield from self._agreement(run)
        yield from self._unknown(run)
        yield from self._of_another(run)

    def _meaning(self, run: Run) -> Iterator[Finding]:
        for found in _tokens(run):
            text = written(found.plain)
            if OF_ANOTHER_KIND.search(text):
                yield self._found(f"the padding token is {text}", [found], 6.0, Severity.WARNING)
            elif UNKNOWN.search(text):
                broken_too = nonfinite(run) is not None
                severity = Severity.WARNING if broken_too else Severity.NOTE
                yield self._found(f"the padding token is {text}", [found], 3.5 if broken_too else 2.0, severity)

    def _number_for_token(self, run: Run) -> Iterator[Finding]:
        """``tokenizer.pad_token = 0`` asks for the text of the token, and gets the token of the digit."""
        for code in run.code:
            for assignment in code.assignments:
                value = assignment.value
                if (
                    OF_TOKENIZER_OBJECT.search(assignment.target)
                    and isinstance(value, int)
                    and not isinstance(value, bool)
                ):
                    given = Known(name=assignment.target, value=Value(value=value, source=assignment.source))
                    message = f"pad_token is set to the number {value}, which is read as text and not as an id"
                    yield self._found(message, [given], 6.0, Severity.WARNING)
                    return

    def _range(self, run: Run) -> Iterator[Finding]:
        pad, size = known(run, "pad_token_id", "tokenizer.pad_token_id"), known(run, "vocab_size")
        amount = None if pad is None else number(pad.plain)
        rows = None if size is None else number(size.plain)
        if pad is not None and amount is not None and (amount < 0 or (rows is not None and amount >= rows)):
            beyond = [pad, *([size] if size is not None and amount >= 0 else [])]
            extra = (Clue(cause="embeddings-not-resized", bits=4, why="the pad id has no row"),) if amount >= 0 else ()
            yield self._found(f"the padding id {amount:g} has no embedding row", beyond, 5.0, Severity.WARNING, extra)

    def _agreement(self, run: Run) -> Iterator[Finding]:
        model, tokenizer = known(run, *OF_MODEL), known(run, *OF_TOKENIZER)
        if model is None or tokenizer is None:
            return
        ids = (number(model.plain), number(tokenizer.plain))
        if None not in ids and ids[0] != ids[1]:
            text = f"the model's padding id is {ids[0]:g}, the tokenizer's {ids[1]:g}"
            yield self._found(text, [model, tokenizer], 4.0, Severity.WARNING)

    def _of_another(self, run: Run) -> Iterator[Finding]:
        """A padding id from the tokenizer of a fixed name, beside a model of any name that is given."""
        models = [c for c in calls(run, "from_pretrained") if A_MODEL.search(c.name) and c.args]
        given = next((c for c in models if isinstance(c.args[0], Expression)), None)
        for code in run.code if given is not None else ():
            for assignment in code.assignments:
                match = OF_FIXED_NAME.search(written(assignment.value)) if "pad" in assignment.target.lower() else None
                if match is not None and given is not None:
                    fixed = Known(name=assignment.target, value=Value(value=match[0], source=assignment.source))
                    of = Known(name=given.name, value=Value(value=written(given.args[0]), source=given.source))
                    message = f"the padding id is that of {match['name']}, whatever model is loaded"
                    yield self._found(message, [fixed, of], 6.5, Severity.WARNING)
                    return

    def _unknown(self, run: Run) -> Iterator[Finding]:
        """A padding token with a text of its own and the id of the unknown token: the vocabulary lacks it."""
        token, pad = known(run, "tokenizer.pad_token", "pad_token"), known(run, *OF_TOKENIZER, *OF_MODEL)
        unknown = known(run, "unk_token_id", "tokenizer.unk_token_id")
        other = next((k for n in OF_OTHERS if (k := known(run, n)) is not None), None)
        if pad is not None and other is not None and number(pad.plain) is not None and pad.plain == other.plain:
            yield self._found(f"{other.name} is the padding id as well", [pad, other], 6.0, Severity.WARNING)
        if token is None or pad is None or unknown is None or UNKNOWN.search(written(token.plain)):
            return
        if number(pad.plain) is not None and number(pad.plain) == number(unknown.plain):
            message = (
                f"the padding token {written(token.plain)} has the id of the unknown token: the vocabulary lacks it"
            )
            yield self._found(message, [token, pad, unknown], 6.5, Severity.WARNING)

    def _found(
        self, message: str, found: list[Known], bits: float, severity: Severity, extra: tuple[Clue, ...] = ()
    ) -> Finding:
        return self.finding(
            message,
            evidence=[k.evidence for k in found],
            clues=[*clues(message, pad_token_wrong=bits), *extra],
            severity=severity,
            fix=Fix(summary="Use one padding token that the model ignores, the same in tokenizer and model."),
        )


def _tokens(run: Run) -> Iterator[Known]:
    for name in ("tokenizer.pad_token", "pad_token", "tokenizer_pad_token"):
        found = known(run, name)
        if found is not None and isinstance(found.plain, (str, Expression)):
            yield found
            return
    for code in run.code:
        for assignment in code.assignments:
            if assignment.target.endswith("pad_token") and isinstance(assignment.value, Expression):
                yield Known(name=assignment.target, value=Value(value=assignment.value.text, source=assignment.source))
