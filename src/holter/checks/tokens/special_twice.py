"""TOK006 special-tokens-twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.configuration._excused import prevented
from holter.checks.look import comments, plain
from holter.checks.messages import QUOTE_LENGTH, quote, said, statements
from holter.checks.noted import noted
from holter.checks.symptoms import number
from holter.checks.tokens._begun_again import FIRST_IDS, joined_markers, pieces, start_kept
from holter.checks.tokens._templated import MARKER, begins, begun_by_hand, joined_with_markers, tokenised_again
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

TWICE = regex(
    r"(<s>|<bos>|<[|｜][^<>|｜]*(?:begin|start|bos)[^<>|｜]*[|｜]>|\[cls\])(?:\(-?\d+, ?\d+\))?\s*\1|</s>\s*</s>\s*$"
    r"|<\|endoftext\|>\s*<\|endoftext\|>\s*\S|double bos|two bos"
    r"|bos twice|duplicate (?:leading )?bos|duplicate leading|prompt also starts with a bos"
)
IDS_TWICE = regex(r"^\W*(?:\w+\W{0,4}){0,3}\[+\s*(\d+),\s*\1,\s*(?!\1\b|0\b)\d")
"""A printed list of ids that begins with one id twice, and not three times as padding does."""

LEAST_SPECIAL_ID = 30000
"""Ids from here on that begin a printed list twice are special tokens, which large vocabularies keep at their end; an
ordinary word is not said twice before anything else."""

COUNTED = regex(
    r"^(?:(?:num|number_of|n|count_of|count)_)?(?:bos|begin|cls)(?:_tokens?)?_?"
    r"(?:count|times|occurrences|at_(?:the_)?(?:start|beginning)\w*|in_\w+|per_\w+)$",
    re.I,
)
"""Names of a count of begin markers."""

PIECES = (
    "input_ids",
    "first_ids",
    "first_tokens",
    "ids",
    "token_ids",
    "tokens",
    "decoded",
    "decoded_input",
    "text",
    "prompt",
)

LISTED = regex(
    r"^(?:first_|input_)?tokens$|^(?:input_|token_)?ids\b|^(?:input_|token_)ids(?:_start|_head|_first\w*|\[)"
    r"|^(?:prompt|chosen|rejected|train\w*|sample|sequence)_(?:input_|token_)?ids\b"
    r"|(?:^|[._])(?:first|leading|initial|start(?:ing)?|head)_(?:\w+_)?(?:ids|tokens)\b",
    re.I,
)
"""Names of ids that somebody listed from their start."""


NAMED = regex(r"<?(?:bos|cls)(?:_token)?(?:_id)?>?", re.I)
"""A begin marker by its role."""

OF_IDS = regex(r"\b(?:ids|tokens|input|row|sample)\b")
"""Names of other lists, in which only the id that the settings call the begin marker counts."""


class SpecialTokensTwice(Check):
    """What it looks for
        A begin marker that stands twice: in decoded text, in a list of ids, in a list that code joins, at the start of
        a prompt and of its answer, in labels that the model starts by itself, or a chat template whose text is
        tokenised again with special tokens.

    Why it hurts
        The model never saw such a start. Quality falls a little, and differently in training and in use.

    How to fix it
        ``add_special_tokens=False`` when tokenising text that a chat template made; one begin marker per sequence.

    When to ignore it
        When several documents are packed into one sequence.

    Threshold
        Two markers in a row, or two in one joined list.

    Sources
        transformers' guide to chat templates; warnings of inference servers.
    """

    code = "TOK006"
    name = "special-tokens-twice"
    title = "A begin marker stands twice"
    severity = Severity.WARNING
    stage = Stage.TOKENIZE
    needs = Needs(any_of=(("events",), ("code",), ("facts",)))
    bad = (
        case("decoded", facts={"decoded": "<s><s> Translate this"}),
        case("with label and id", files={"log.txt": "<bos>(-100, 2) <bos>(-100, 2) <start_of_turn>(-100, 106)\n"}),
        case("ids", config={"bos_token_id": 7}, facts={"input_ids": [7, 7, 512, 9]}),
        case(
            "a marker of another spelling", facts={"decoded": "<｜sentence▁begin｜><｜sentence▁begin｜><｜Ask｜>Sum up"}
        ),
        case(
            "said by a server",
            events=[said('Detected duplicate leading "<|begin_of_text|>" in prompt, consider removing it', "warning")],
        ),
        case("the first tokens", facts={"first_tokens": ["<s>", "<s>", "Hi"]}),
        case("the first ids", config={"bos_token_id": 7}, facts={"input_ids[0][:3]": [7, 7, 512]}),
        case("printed ids", events=[said("[[151800, 151800, 77, 5, 9]]", "message")]),
        case("a row", facts={"bos_token_id": 9, "training_row_ids": [9, 9, "..."]}),
        case("counted", facts={"bos_tokens_at_start_of_input_ids": 2}),
        script(
            "a processor",
            "processor = AutoProcessor.from_pretrained('org/vision-llama3')\n"
            "text = processor.apply_chat_template(rows)\nx = processor(text=text, images=i)\n",
        ),
        case("the decoder's start", facts={"decoder_start_token_id": 7, "labels": [7, 7, 12, 9]}),
        case("by its role", facts={"first_token_ids": ["bos", "bos", "user"]}),
        case(
            "a prompt and its answer",
            files={
                "log.txt": "PROMPT: <|begin_of_text|>(128000) Say hi\nCHOSEN RESPONSE: <|begin_of_text|>(128000) Hi\n"
            },
        ),
        case("both as ids", facts={"prompt_ids": [128000, 9, 4], "chosen_ids": [128000, 11, 5]}),
        script(
            "an interactive session",
            ">>> rows[0]['input_ids'][:4]\n[1, 1, 733, 16289]\n>>> tok.encode('Hi')\n[1, 733]\n",
        ),
        script(
            "two at once",
            "tok = AutoTokenizer.from_pretrained('org/gemma-2-2b-it')\n"
            "text = tok.apply_chat_template(rows, tokenize=False)\nx = tok.encode_plus(text, truncation=True)\n",
        ),
        case(
            "begun by hand",
            config={"model_name_or_path": "mistralai/Mistral-7B-v0.1"},
            files={
                "a.py": "def f(x):\n    text = f'<s>[INST] {x} [/INST]'\n    return tokenizer(text, truncation=True)\n"
            },
        ),
        case(
            "joined with their markers",
            config={"model_name_or_path": "meta-llama/Llama-2-7b-hf"},
            files={"a.py": "p = tokenizer(prompt).input_ids\na = tokenizer(answer).input_ids\nids = p + a\n"},
        ),
        case(
            "begun by name",
            config={"model_name_or_path": "meta-llama/Llama-2-7b-hf"},
            files={"a.py": "text = tok.bos_token + prompt + answer\nids = tok.encode(text)\n"},
        ),
        script(
            "told by a comment", "# buffer was rendered by the chat template, with bos\nx = self.tokenizer(buffer)\n"
        ),
        case(
            "a start that is no begin token",
            config={"bos_token_id": 7, "decoder_start_token_id": 8},
            files={"a.py": "if (labels[:, 0] == tok.bos_token_id).all():\n    labels = labels[:, 1:]\n"},
        ),
        case("joined", files={"a.py": "ids = [bos_token, prompt, bos_token, answer]\n"}),
    )
    good = (
        case("padding", events=[said("[[151643, 151643, 151643, 9]]", "message")]),
        case("a row with one", facts={"bos_token_id": 9, "training_row_ids": [9, 4, "..."]}),
        case(
            "an answer that holds its prompt",
            files={"log.txt": "prompt: <s> Say hi to all\nchosen: <s> Say hi to all Hi all\n"},
        ),
        case("answers alone", facts={"prompt_ids": [128000, 9, 4], "chosen_ids": [11, 5]}),
        script(
            "told by a comment, and left out",
            "# buffer was rendered by the chat template, with bos\nx = tokenizer(buffer, add_special_tokens=False)\n",
        ),
        case(
            "a start that is the begin token",
            config={"bos_token_id": 7, "decoder_start_token_id": 7},
            files={"a.py": "if (labels[:, 0] == tok.bos_token_id).all():\n    labels = labels[:, 1:]\n"},
        ),
        case(
            "begun by hand, and left so",
            config={"model_name_or_path": "mistralai/Mistral-7B-v0.1"},
            files={"a.py": "text = f'<s>[INST] {x} [/INST]'\nids = tokenizer(text, add_special_tokens=False)\n"},
        ),
        case(
            "joined, the second without",
            config={"model_name_or_path": "meta-llama/Llama-2-7b-hf"},
            files={
                "a.py": "p = tokenizer(prompt).input_ids\n"
                "a = tokenizer(answer, add_special_tokens=False).input_ids\nids = p + a\n"
            },
        ),
        case("counted once", facts={"bos_count": 1}),
        case("markers of two kinds", files={"a.py": "ids = [text_bos_token, prompt, audio_bos_token, sound]\n"}),
        case("once", facts={"decoded": "<s> Translate this"}),
        case("ids", config={"bos_token_id": 7}, facts={"input_ids": [7, 512, 7, 9]}),
    )
    not_enough = (case("nothing was seen", config={"bos_token_id": 7}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """What was seen first, then what the code would do."""
        found = [
            *_decoded(run),
            *_noted(run),
            *_ids(run),
            *_counted(run),
            *joined_markers(run),
            *pieces(run),
            *joined_with_markers(run),
        ]
        if found:
            yield self._found("a begin marker stands twice", found, 7.0, Severity.WARNING)
            return
        kept = list(start_kept(run))
        if kept:
            message = "the start token stays in the labels, and the model puts it before them again"
            yield self._found(message, kept, 6.0, Severity.WARNING)
            return
        by_hand, adds = begun_by_hand(run)
        if by_hand:
            message = "text that a script begins with a marker is tokenised with special tokens"
            yield self._found(message, by_hand, 5.5 if adds else 2.5, Severity.WARNING if adds else Severity.NOTE)
            return
        again = tokenised_again(run)
        if again:
            message = "text made by a chat template is tokenised with special tokens again"
            sure = begins(run)
            yield self._found(message, again, 5.0 if sure else 3.0, Severity.WARNING if sure else Severity.NOTE)

    def _found(self, message: str, evidence: list[Evidence], bits: float, severity: Severity) -> Finding:
        return self.finding(
            message,
            evidence=evidence,
            clues=clues(message, double_special_tokens=bits),
            severity=severity,
            fix=Fix(summary="Keep one begin marker: pass add_special_tokens=False where the template adds it."),
        )


def _decoded(run: Run) -> Iterator[Evidence]:
    for statement in statements(run):
        if TWICE.search(statement.folded) or _printed_ids(statement.folded):
            yield quote(statement)
            return


def _printed_ids(text: str) -> bool:
    match = IDS_TWICE.search(text)
    return match is not None and (int(match[1]) >= LEAST_SPECIAL_ID or int(match[1]) in FIRST_IDS)


def _noted(run: Run) -> Iterator[Evidence]:
    """A comment that shows decoded text with two markers."""
    for code, comment in comments(run):
        if (TWICE.search(comment) or _printed_ids(comment)) and not prevented(comment):
            yield Evidence(text=comment[:QUOTE_LENGTH], source=code.source)
            return


def _ids(run: Run) -> Iterator[Evidence]:
    begin = number(plain(run, "bos_token_id", "tokenizer.bos_token_id"))
    start = number(plain(run, "decoder_start_token_id"))
    for name in ("labels", "labels[0]", "decoder_input_ids", "decoder_input_ids[0]") if start is not None else ():
        for value in run.facts.get(name, ()):
            if isinstance(value.value, list) and value.value[:2] == [start, start]:
                yield Evidence(text=f"{name} starts with {start:g}, {start:g}", source=value.source)
    for name in (*PIECES, *(name for name in run.facts if LISTED.search(name) and name not in PIECES)):
        for value in run.facts.get(name, ()):
            first = value.value[:2] if isinstance(value.value, list) else []
            starts = first[:1] == [begin] or (first[0:1] and (first[0] in FIRST_IDS or _is_marker(first[0])))
            if len(first) == 2 and first[0] == first[1] and starts:
                yield Evidence(text=f"{name} starts with {first[0]}, {first[1]}", source=value.source)
    for fact in noted(run):
        listed = fact.name not in PIECES and not LISTED.search(fact.name) and OF_IDS.search(fact.words)
        if listed and begin is not None and isinstance(fact.value, list) and fact.value[:2] == [begin, begin]:
            yield fact.evidence


def _is_marker(item: object) -> bool:
    return isinstance(item, str) and (MARKER.fullmatch(item) or NAMED.fullmatch(item)) is not None


def _counted(run: Run) -> Iterator[Evidence]:
    """A count of begin markers in one sequence."""
    for name, values in run.facts.items():
        amount = number(values[0].value)
        if COUNTED.search(name) and amount is not None and amount in (2.0, 3.0):
            yield Evidence(text=f"{name} is {amount:g}", source=values[0].source, value=amount)
