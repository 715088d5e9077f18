"""TOK008 added-tokens-without-rows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import (
    adapters_on,
    call_text,
    calls,
    is_off,
    known,
    seen,
    switched_on,
    written,
)
from holter.checks.messages import ERRORS, find, phrase, quote, said, statements
from holter.checks.symptoms import complaint, number
from holter.checks.tokens._new_rows import (
    MISFIT,
    MODEL_CLASS,
    SAID_FROZEN,
    frozen_part,
    loaded_smaller,
    tables_trained,
    told_added,
    unmoved_rows,
)
from holter.finding import Change, Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Run
from holter.stages import Stage

EXISTING = regex(r"(eos|unk|bos|sep|cls|mask)_token\b")
"""A token the tokenizer already has: giving it a second role adds no row."""

GIVEN_AT_LOADING = ("additional_special_tokens", "extra_special_tokens")
"""Arguments by which a tokenizer gets tokens while it is loaded."""

DEVICE_ERROR = phrase("cuda * error", *ERRORS)
INDEX_ERROR = phrase("index * out of", *ERRORS)
UNMOVED = regex(r"(?:embed|new_token|added_token)\w*[._](?:delta|diff|change|grad|moved|update)", re.I)
INNER = regex(
    r"^(?:\w+\.)*\w*model\.(?:model|transformer|bert|roberta|encoder|decoder|distilbert|electra|albert|gpt_neox"
    r"|deberta)\.resize_token_embeddings$"
)
"""A call on a part of a model with a head; ``language_model`` and PEFT's ``base_model`` are wholes of their own."""

ADDED = (
    "new_special_tokens",
    "additional_special_tokens",
    "special_tokens.additional_special_tokens",
    "add_tokens",
    "added_tokens",
    "tokens_added",
    "num_added_tokens",
    "new_tokens",
    "num_new_tokens",
)


class AddedTokensWithoutRows(Check):
    """What it looks for
        Tokens that are added to the tokenizer while the embedding table is not resized, or is resized under adapters
        that neither train nor save the new rows.

    Why it hurts
        An id without a row stops the run, on a GPU with an unnamed error. A row that stays random and frozen feeds
        noise to the model at each such token.

    How to fix it
        ``model.resize_token_embeddings(len(tokenizer))``; with adapters
        ``modules_to_save=["embed_tokens", "lm_head"]`` or ``trainable_token_indices``.

    When to ignore it
        When the table has spare rows (padded to a multiple of 64) that cover the new ids.

    Threshold
        None.

    Sources
        transformers' documentation of ``add_tokens``; PEFT's guide to new tokens.
    """

    code = "TOK008"
    name = "added-tokens-without-rows"
    title = "Added tokens have no trained embedding rows"
    severity = Severity.WARNING
    stage = Stage.FORWARD
    needs = Needs(any_of=(("code",), ("facts",), ("events",), *((name,) for name in ADDED)))
    bad = (
        case("said", events=[said("Untrained tokens of [[9]] found, but embed_tokens & lm_head not trainable")]),
        case("not resized", files={"a.py": "tokenizer.add_tokens(['<x>'])\ntrainer.train()\n"}),
        script(
            "given while loading",
            "m = AutoModel.from_pretrained('org/base')\n"
            "t = AutoTokenizer.from_pretrained('org/base', additional_special_tokens=['<url>'])\nm(**t(x))\n",
        ),
        script(
            "loaded into a fresh model",
            "tok.add_tokens(['<x>'])\nmodel.resize_token_embeddings(len(tok))\n"
            "base = AutoModelForCausalLM.from_pretrained(name)\nm = PeftModel.from_pretrained(base, folder)\n",
        ),
        case("said", events=[said("ValueError: Untrained tokens of [[9]] found, but embed_tokens not trainable")]),
        case(
            "told",
            config={"adapters": "lora", "target_modules": "q, v"},
            files={"a.py": "# tags are added as tokens, new tokens are added\nf()\n"},
        ),
        case("a table without a gradient", facts={"new_tokens": 12, "embed_tokens.requires_grad": False}),
        case("rows that did not move", facts={"new_token_norm_before": 0.412, "new_token_norm_after": 0.412}),
        case("a frozen part", config={"added_tokens": ["[boi]"], "language_model": "frozen"}),
        script(
            "all frozen in a loop",
            "tok.add_tokens(['<x>'])\nmodel.resize_token_embeddings(len(tok))\n"
            "for p in model.parameters():\n    p.requires_grad = False\n",
        ),
        case("half", files={"a.py": "model.bert.resize_token_embeddings(len(tokenizer))\n"}),
        case(
            "in a tool's settings",
            config={"adapters": "lora", "target_modules": ["q_proj"]},
            facts={"special_tokens.additional_special_tokens": ["<|tool|>"]},
        ),
        case("frozen", config={"r": 8, "target_modules": ["q_proj"]}, facts={"num_added_tokens": 4}),
    )
    good = (
        script("resized", "tokenizer.add_tokens(['<x>'])\nmodel.resize_token_embeddings(len(tokenizer))\n"),
        case("whole", files={"a.py": "self.model.resize_token_embeddings(len(tokenizer))\n"}),
        script(
            "resized before loading into it",
            "tok.add_tokens(['<x>'])\nmodel.resize_token_embeddings(len(tok))\n"
            "base = AutoModelForCausalLM.from_pretrained(name)\nbase.resize_token_embeddings(len(tok))\n"
            "base.load_state_dict(torch.load(path))\n",
        ),
        script(
            "none given while loading",
            "m = AutoModel.from_pretrained('a')\n"
            "t = AutoTokenizer.from_pretrained('a', additional_special_tokens=[])\n",
        ),
        case("rows that moved", facts={"new_token_norm_before": 0.412, "new_token_norm_after": 0.566}),
        case("a part that stays", config={"added_tokens": ["[boi]"], "vision_tower": "frozen"}),
        case("saved", config={"r": 8, "modules_to_save": ["embed_tokens", "lm_head"]}, facts={"num_added_tokens": 4}),
    )
    not_enough = (case("nothing was added", config={"r": 8}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Rows first; if they are there, whether they are trained."""
        own = ("self.", "super()")
        unmoved = unmoved_rows(run)
        if unmoved:
            yield self._frozen(unmoved, 7.0)
            return
        still = next((n for n, v in run.facts.items() if UNMOVED.search(n) and number(v[0].value) == 0.0), None)
        if still is not None and (fact := known(run, still)) is not None:
            yield self._frozen([fact.evidence], 7.5)
            return
        added = [c for c in calls(run, "add_tokens", "add_special_tokens") if _adds(c) and not c.name.startswith(own)]
        if any(MODEL_CLASS.search(c.name) for c in calls(run, "from_pretrained")):
            added += [c for c in calls(run, "from_pretrained") if "okenizer" in c.name and _adds(c)]
        smaller = next(loaded_smaller(run), None)
        if smaller is not None:
            yield self._reloaded(run, smaller)
            return
        said_so = next((s for s in statements(run) if SAID_FROZEN.search(s.folded)), None)
        if said_so is not None:
            yield self._frozen([quote(said_so)], 8.0)
            return
        told = complaint(run, "embedding", "new token", "added token")
        if added and told is not None and any(True for _ in calls(run, "resize_token_embeddings")):
            yield self._frozen([*(seen(c) for c in added), told], 5.5)
            return
        inner = next((c for c in calls(run, "resize_token_embeddings") if INNER.match(c.name)), None)
        if inner is not None:
            yield self._half_resized(inner)
            return
        counted = next((k for name in ADDED if (k := known(run, name)) is not None and not is_off(k.plain)), None)
        resized = any(True for _ in calls(run, "resize_token_embeddings")) or switched_on(
            run, "resize_token_embeddings"
        )
        if added and not resized:
            yield self._missing(run, added)
        elif not tables_trained(run):
            evidence = [seen(c) for c in added] or (
                [counted.evidence] if counted is not None else list(told_added(run))
            )
            frozen = next(frozen_part(run), None)
            if evidence and (frozen is not None or adapters_on(run) is not None):
                yield self._frozen([*evidence, *([frozen] if frozen is not None else [])], 5.0)

    def _frozen(self, evidence: list[Evidence], bits: float) -> Finding:
        return self.finding(
            "embedding rows of added tokens are not trained",
            evidence=evidence,
            clues=clues("new rows stay as they were initialised", new_tokens_frozen=bits, head_not_trained_or_saved=1),
            fix=Fix(
                summary="Add the embedding table and the output layer to modules_to_save.",
                changes=(Change(key="modules_to_save", new=["embed_tokens", "lm_head"]),),
            ),
        )

    def _reloaded(self, run: Run, smaller: list[Call]) -> Finding:
        misfit = next((s for s in statements(run) if s.kind in ERRORS and MISFIT.search(s.folded)), None)
        return self.finding(
            "weights of a model with added tokens are loaded into a fresh one whose table was not resized",
            evidence=[*(seen(call) for call in smaller), *([quote(misfit)] if misfit is not None else [])],
            clues=clues("the fresh model lacks the added rows", embeddings_not_resized=8.0 if misfit else 6.0),
            severity=Severity.ERROR if misfit is not None else Severity.WARNING,
            fix=Fix(summary="Call resize_token_embeddings(len(tokenizer)) on the fresh model before loading into it."),
        )

    def _half_resized(self, inner: Call) -> Finding:
        return self.finding(
            "the table of an inner module is resized, and the output layer around it is not",
            evidence=[seen(inner)],
            clues=clues("the output layer keeps its old number of rows", embeddings_not_resized=7),
            fix=Fix(summary="Call resize_token_embeddings on the whole model."),
        )

    def _missing(self, run: Run, added: list[Call]) -> Finding:
        failed = [*find(run, DEVICE_ERROR), *find(run, INDEX_ERROR)]
        return self.finding(
            "tokens are added to the tokenizer, and the embedding table is not resized",
            evidence=[*(seen(c) for c in added), *(quote(s) for s in failed[:1])],
            clues=clues("added tokens without resize_token_embeddings", embeddings_not_resized=7 if failed else 4.5),
            severity=Severity.ERROR if failed else Severity.WARNING,
            fix=Fix(summary="Call model.resize_token_embeddings(len(tokenizer)) after adding tokens."),
        )


def _adds(call: Call) -> bool:
    if call.name.endswith("from_pretrained"):
        return any(not is_off(call.kwargs.get(name)) for name in GIVEN_AT_LOADING)
    text = call_text(call).split("(", 1)[1]
    given = call.args[0] if call.args else next(iter(call.kwargs.values()), None)
    values = given.values() if isinstance(given, dict) else [given]
    return not all(EXISTING.search(written(value)) for value in values) and "special_tokens=False" not in text
