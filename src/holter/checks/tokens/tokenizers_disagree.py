"""TOK010 tokenizer-forms-differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text
from holter.checks.messages import holds, quote, said, statements
from holter.checks.noted import Noted, noted
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

LIST_OF_IDS = regex(r"\[\s*\d+(?:\s*,\s*\d+)*\s*\]")
LISTED_IDS = regex(r"(?:(?:fast|slow|rust|python)\w*\s*[:=>-]+\s*)?(\[\s*\d+(?:\s*,\s*\d+)*\s*\])", re.I)
"""Ids in a comment, with the form that gave them or without."""

IDS_ALONE = regex(r"\(?\d+(?:\s*,\s*\d+){1,}\)?")
"""Ids behind a line that prints several of them."""

PRINTED_IDS = regex(r"['\"]?(?:input_)?ids['\"]?\s*[:=]\s*(\[\s*\d+(?:\s*,\s*\d+)*\s*\])")
FAST_CLASS = regex(r"\b\w+tokenizerfast\b|\bpretrainedtokenizerfast\b")
SLOW_CLASS = regex(r"\b(?!auto)\w+tokenizer(?:\(|\.from_pretrained\()")
"""The two classes of one tokenizer, by their names in lower case."""

NO_TOKENS = regex(r"error|exception|time|speed|seconds|loss|acc")
"""Names of what happened with a tokenizer, and not of what it gave."""

FORMS = regex(
    r"\b(?:use )?(?:fast|slow|legacy|default|auto|old|new|python|rust|original|hf|reference)\b(?: (?:true|false))?"
    r"|\b\w+ tokeni[sz]er(?: fast)?\b|\bfrom pretrained\b|\btokeni[sz]er(?: \w)?\b"
)
"""Words that tell forms of one tokenizer apart, in names whose words are parted by blanks."""

INPUT = frozenset({"text", "string", "sentence", "input text", "prompt", "word", "input"})
"""Names of the one text that all of them were given."""

ENCODES = ("encode", "tokenize", "tokenizer", "fast_tokenizer", "slow_tokenizer", "fast", "slow")
OF_TOKENS = ("id", "tok", "encod", "vocab")

OF_FORM = regex(r"^\W*(?:\w+[ _])?(fast|slow)\b[^\[]{0,24}(\[[^\]]{3,}\])\s*$")
"""A printed list of what one form made."""

TWO_LISTS = regex(r"^\(?(\[\d+(?:, ?\d+)*\]), ?(\[\d+(?:, ?\d+)*\])\)?$")
"""What two forms made of one text, printed side by side."""


class TokenizerFormsDiffer(Check):
    """What it looks for
        Ids or tokens that two forms of a tokenizer gave for the same text (fast and slow, old and new version) and
        that differ.

    Why it hurts
        What is trained with one form and used with the other is read as other text. Masking code that counts tokens
        of parts and of the whole goes wrong too.

    How to fix it
        One form throughout; set ``use_fast`` and ``legacy`` where the tokenizer is loaded.

    When to ignore it
        When only spelling of tokens differs, not ids.

    Threshold
        Any difference.

    Sources
        transformers' notes on legacy and fast forms of SentencePiece tokenizers.
    """

    code = "TOK010"
    name = "tokenizer-forms-differ"
    title = "Two forms of the tokenizer give different ids"
    severity = Severity.ERROR
    stage = Stage.TOKENIZE
    needs = Needs(any_of=(("facts",), ("variants",), ("code",), ("events",)))
    bad = (
        case("ids", facts={"fast_ids": [1, 5, 9], "slow_ids": [1, 5, 29, 9]}),
        case(
            "printed",
            files={
                "a.py": "slow = AutoTokenizer.from_pretrained('m', use_fast=False)\n"
                "fast = AutoTokenizer.from_pretrained('m')\nprint(slow.encode(text))\nprint(fast.encode(text))\n"
            },
            events=[said("[1, 9]", "message"), said("[1, 4, 5]", "message")],
        ),
        case(
            "ids in what was printed",
            files={
                "a.py": "slow = LlamaTokenizer.from_pretrained('m')\nfast = LlamaTokenizerFast.from_pretrained('m')\n"
                "print(slow(text))\nprint(fast(text))\n"
            },
            events=[said("{'input_ids': [1, 9]}", "message"), said("{'input_ids': [1, 4, 5]}", "message")],
        ),
        script(
            "special ids in comments",
            "f = LlamaTokenizerFast('t.model')\ns = LlamaTokenizer('t.model')\n"
            "print(f.bos_token_id, f.eos_token_id)  # 1, 2\nprint(s.bos_token_id, s.eos_token_id)  # 0, 1\n",
        ),
        case(
            "two classes",
            facts={"text": "Hi there", "AutoTokenizer": ["Hi", "_there"], "LlamaTokenizer": ["_Hi", "_there"]},
        ),
        script(
            "named in comments",
            "fast = AutoTokenizer.from_pretrained('x')\n"
            "slow = AutoTokenizer.from_pretrained('x', use_fast=False)\n# fast: [1, 9, 7]\n# slow: [1, 9]\n",
        ),
        case(
            "printed",
            events=[said("slow tokens: ['a', 'b']", "message"), said("fast tokens: ['a', '_b']", "message")],
        ),
        script(
            "side by side",
            "a = LlamaTokenizer.from_pretrained('m')\nb = LlamaTokenizerFast.from_pretrained('m')\n"
            ">>> a.encode(x), b.encode(x)\n([1, 9, 7], [1, 9])\n",
        ),
        case("rows", variants=[{"use_fast": True, "input_ids": [4, 8]}, {"use_fast": False, "input_ids": [4, 7, 8]}]),
    )
    good = (
        case("same ids", facts={"fast_ids": [1, 5, 9], "slow_ids": [1, 5, 9]}),
        script(
            "special ids in comments, alike",
            "f = LlamaTokenizerFast('t.model')\ns = LlamaTokenizer('t.model')\n"
            "print(f.bos_token_id, f.eos_token_id)  # 1, 2\nprint(s.bos_token_id, s.eos_token_id)  # 1, 2\n",
        ),
        case(
            "printed, alike",
            events=[said("slow tokens: ['a', 'b']", "message"), said("fast tokens: ['a', 'b']", "message")],
        ),
        case("errors", facts={"error_fast_tokenizer": "OverflowError", "error_slow_tokenizer": "TypeError"}),
        case(
            "two classes, alike",
            facts={"text": "Hi there", "AutoTokenizer": ["Hi", "_there"], "LlamaTokenizer": ["Hi", "_there"]},
        ),
        case("two lists of one form", facts={"text": "Hi", "tokens": ["Hi"], "labels": ["O"]}),
        case("another pair", facts={"fast_steps": 3, "slow_steps": 4}),
    )
    not_enough = (case("nothing was measured"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Pairs among facts, then rows of a table."""
        found = [*_pairs(run), *_rows(run)] or list(_of_one_text(run)) or list(_forms_printed(run))
        if found:
            yield self.finding(
                "two forms of the tokenizer give different results for the same text",
                evidence=found,
                clues=clues("two forms of one tokenizer disagree", tokenizer_fast_slow_mismatch=8, template_mismatch=1),
                fix=Fix(summary="Load the tokenizer with the same use_fast and legacy settings everywhere."),
            )


def _pairs(run: Run) -> Iterator[Evidence]:
    """Facts of the fast form beside facts of the slow one with other values."""
    for name, values in run.facts.items():
        if "fast" not in name.lower() or not _of_tokens(name, values[0].value):
            continue
        for other in _partners(name):
            slow = next((v[0] for n, v in run.facts.items() if n.lower() == other), None)
            if slow is not None and slow.value != values[0].value:
                yield Evidence(text=f"{name} is {values[0].value}", source=values[0].source)
                yield Evidence(text=f"{other} is {slow.value}", source=slow.source)
                return
    yield from _commented(run)


def _of_one_text(run: Run) -> Iterator[Evidence]:
    """Tokens that forms of a tokenizer made of one text, and that differ."""
    facts = list(noted(run))
    if not any(fact.words in INPUT and isinstance(fact.value, str) for fact in facts):
        return
    lists: dict[tuple[str, type], list[Noted]] = {}
    for fact in facts:
        kinds = {type(item) for item in fact.value} if isinstance(fact.value, list) else set()
        if FORMS.search(fact.words) and len(kinds) == 1:
            lists.setdefault((" ".join(FORMS.sub(" ", fact.words).split()), kinds.pop()), []).append(fact)
    for group in lists.values():
        other = next((fact for fact in group if fact.value != group[0].value), None)
        if other is not None:
            yield from (group[0].evidence, other.evidence)
            return


def _partners(name: str) -> list[str]:
    """``slow_ids`` and ``ids`` for ``fast_ids``; ``llamatokenizer`` for ``LlamaTokenizerFast``."""
    lower = name.lower()
    bare = re.sub(r"[._]?fast[._]?", ".", lower).strip(".")
    return [lower.replace("fast", "slow"), bare, bare.replace(".", "_"), re.sub(r"fast", "", lower)]


def _of_tokens(name: str, value: object) -> bool:
    if NO_TOKENS.search(name.lower()):
        return False
    return isinstance(value, (list, dict)) or any(word in name.lower() for word in OF_TOKENS)


def _commented(run: Run) -> Iterator[Evidence]:
    """Lists of ids noted behind calls of both forms in a script."""
    for code in run.code:
        texts = [call_text(call).lower() for call in code.calls]
        both = any("fast" in text and "use_fast=false" not in text for text in texts)
        classes = any(FAST_CLASS.search(text) for text in texts) and any(SLOW_CLASS.search(text) for text in texts)
        both = both and (classes or any("slow" in text or "use_fast=false" in text for text in texts))
        lists = [m[1] for c in code.comments if (m := LISTED_IDS.match(c.strip())) is not None]
        alone = [comment for comment in code.comments if IDS_ALONE.fullmatch(comment.strip())]
        beside = next((m for c in code.comments if (m := TWO_LISTS.match(c.strip())) is not None), None)
        lists = list(beside.groups()) if beside is not None else lists if len(lists) > 1 else alone
        if both and len({re.sub(r"\s", "", text) for text in lists}) > 1:
            for text in lists[:2]:
                yield Evidence(text=text, source=code.source)
            return
        loaded = {c.target for c in code.calls if c.target and "okenizer" in c.name}
        encoded = [c for c in code.calls if c.name.rsplit(".", 1)[-1] in ENCODES or c.name in loaded]
        if both and len({call_text(call).split("(", 1)[1] for call in encoded}) < len(encoded):
            yield from _printed(run)


def _printed(run: Run) -> Iterator[Evidence]:
    """Lists of ids in the log of a script that gives one text to both forms, where they differ."""
    said_so = [s for s in statements(run) if s.kind != "fact"]
    lists = [s for s in said_so if LIST_OF_IDS.fullmatch(s.folded.strip())]
    if len({re.sub(r"\s", "", s.folded) for s in lists}) > 1:
        yield from (quote(s) for s in lists[:2])
        return
    named = [(s, re.sub(r"\s", "", m[1])) for s in said_so if (m := PRINTED_IDS.search(s.folded)) is not None]
    other = next((s for s, ids in named[1:] if ids != named[0][1]), None)
    if other is not None:
        yield from (quote(named[0][0]), quote(other))


def _forms_printed(run: Run) -> Iterator[Evidence]:
    """A line of the fast form and one of the slow form, with other tokens."""
    if holds(run, "fast") and holds(run, "slow"):
        lines = [(s, m) for s in statements(run) if s.kind != "fact" and (m := OF_FORM.match(s.folded)) is not None]
        first = {match[1]: (line, match[2]) for line, match in reversed(lines)}
        if len(first) > 1 and len({listed for _, listed in first.values()}) > 1:
            yield from (quote(line) for line, _ in first.values())


def _rows(run: Run) -> Iterator[Evidence]:
    rows = [row for row in run.variants if "use_fast" in row or "tokenizer" in row]
    for name in {key for row in rows for key in row if any(word in key.lower() for word in ("ids", "tokens"))}:
        seen = [(row, row[name]) for row in rows if name in row]
        if len(seen) > 1 and any(value.value != seen[0][1].value for _, value in seen):
            for _, value in seen:
                yield Evidence(text=f"{name} is {value.value}", source=value.source)
            return
