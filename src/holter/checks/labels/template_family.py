"""LAB080 template-of-another-model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import model_names
from holter.checks.look import known, seen, written
from holter.checks.messages import holds
from holter.checks.noted import noted
from holter.checks.script import last_part, texts
from holter.checks.symptoms import broken, exactly_zero
from holter.checks.tokens._templated import loaded
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

MARKERS = {
    "Llama 2": regex(r"\[/?INST\]|<<SYS>>"),
    "Llama 3": regex(r"<\|(?:start|end)_header_id\|>|<\|eot_id\|>"),
    "ChatML": regex(r"<\|im_(?:start|end)\|>"),
    "Gemma": regex(r"<(?:start|end)_of_turn>"),
    "Vicuna": regex(r"\bASSISTANT:"),
    "DeepSeek": regex(r"<｜(?:User|Assistant)｜>"),
}
"""Marks that stand in rendered conversations of one form only."""

NAMES = {
    "Llama 2": regex(r"(?:llava_)?llama[-_]?2(?:_chat)?(?:_zh)?|mistral(?:_?instruct|_v\d)?|mixtral"),
    "Llama 3": regex(r"(?:llava_)?llama[-_]?3(?:[._]\d)?(?:_chat|_instruct)?"),
    "ChatML": regex(r"chatml(?:_direct)?|qwen[\w.\-]*|im_start"),
    "Gemma": regex(r"gemma[-_]?\d?"),
    "Vicuna": regex(r"vicuna(?:_v[\d.]+)?|v1(?:\.\d)?|llava_v1|llava"),
    "DeepSeek": regex(r"deepseek[-_]?(?:r1|v?3|\d)?"),
}
"""Names of these forms in LLaMA-Factory, FastChat, LLaVA, Unsloth and Axolotl, each as a whole."""

MODELS = {
    "Llama 2": regex(r"llama-?2\b.*chat|mi[sx]tral-.*instruct"),
    "Llama 3": regex(r"llama-?3[\d.]*\b.*(?:instruct|chat|llava)|llava.*llama-?3"),
    "ChatML": regex(
        r"qwen[\d.]*.*(?:instruct|chat|-vl)|\byi-.*chat|llava.*34b|hermes|smollm2?.*instruct|internlm2.*chat"
    ),
    "Gemma": regex(r"gemma.*-it\b"),
    "Vicuna": regex(r"vicuna|llava-v?1\.5"),
    "DeepSeek": regex(r"deepseek-(?:r1|v[23])"),
}
"""Models that were tuned on one of these forms; base models may be given any."""

SETTINGS = ("template", "chat_template", "conv_template", "prompt_template", "conversation_template", "version")
MASKING = regex(
    r"^(?:instruction_part|response_part|(?:response|instruction|user|assistant)_(?:template|token|tag|part)s?)$"
)
"""What masking code looks for in the rendered text."""

PROMPT = regex(r"prompt|text|template|conversation|formatted|message", re.I)
MARKER_NAMES = ("_part=", "response_template=", "instruction_template=")
FORMS = regex(r"^(?:chat_template|template|mapping)$")
RUNS_ON = ("never stop", "not stop", "endless", "keeps generating", "rambl", "gibberish", "max_new_tokens", "[inst]")


class TemplateOfAnotherModel(Check):
    """What it looks for
        Marks of two forms of conversation in one set-up: a masking code that looks for the marks of Llama 3 in text
        of ChatML, or a template by name that is not the one on which the model was tuned.

    Why it hurts
        A mark that is not in the text is never found, so all labels are masked. A model tuned on other marks knows the
        new ones only as loose characters, and does not know where its turn ends.

    How to fix it
        Use the template that comes with the model's tokenizer, and take the marks for masking from a rendered sample.

    When to ignore it
        When the model is taught a new form on purpose, with much data. Without a symptom a name is only a note.

    Threshold
        None.

    Sources
        The chat templates in the tokenizers of these models; template tables of LLaMA-Factory, FastChat and LLaVA;
        transformers' documentation of chat templates.
    """

    code = "LAB080"
    name = "template-of-another-model"
    title = "Marks of two forms of conversation"
    severity = Severity.WARNING
    stage = Stage.TOKENIZE
    needs = Needs(any_of=(("code",), ("facts",), *((name,) for name in SETTINGS)))
    bad = (
        script(
            "masked by other marks",
            "tok = get_chat_template(tok, chat_template='chatml')\n"
            "t = train_on_responses_only(t, response_part='<|start_header_id|>assistant<|end_header_id|>')\n",
        ),
        script(
            "text and mask",
            "text = f'<start_of_turn>user {q}<end_of_turn>'\nresponse_template = '<|im_start|>assistant'\n",
        ),
        case(
            "a name, and no loss",
            config={"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct", "template": "llama2"},
            series={"loss": [0.0, 0.0]},
        ),
        case(
            "a prompt of one's own",
            facts={"observed": "it never stops"},
            files={
                "a.py": "tok = AutoTokenizer.from_pretrained('google/gemma-7b-it')\n"
                "prompt = f'<|im_start|>user {q}<|im_end|>'\n"
            },
        ),
        case("a name alone", config={"model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct", "template": "vicuna"}),
    )
    good = (
        script(
            "masked by its own marks",
            "tok = get_chat_template(tok, chat_template='llama-3.1')\n"
            "t = train_on_responses_only(t, response_part='<|start_header_id|>assistant<|end_header_id|>')\n",
        ),
        case("its own", config={"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct", "template": "qwen"}),
        case("a base model", config={"model_name_or_path": "meta-llama/Meta-Llama-3-8B", "template": "chatml"}),
        case("another version", config={"model_name_or_path": "google/gemma-2-2b-it", "version": "2.1"}),
    )
    not_enough = (case("no template", config={"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct"}),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Marks in code first, then the name against the model."""
        found = next(_masked_by_others(run), None)
        if found is not None:
            (form, text), (other, mask) = found
            why = f"the text is of {form}, and masking looks for marks of {other}"
            yield self._found(why, [text, mask], Severity.WARNING, template_mismatch=6.5, labels_all_masked=3.0)
            return
        names = [name.lower() for name in (*model_names(run), *loaded(run))]
        tuned = next((form for form, of in MODELS.items() for name in names if of.search(name)), None)
        given = next(_given(run), None)
        if tuned is None or given is None or given[0] == tuned:
            return
        broke = (
            broken(run)
            or exactly_zero(run, "loss", "train_loss")
            or next(filter(lambda w: holds(run, w), RUNS_ON), None)
        )
        why = f"the template is of {given[0]}, the model was tuned on {tuned}"
        severity = Severity.WARNING if broke else Severity.NOTE
        yield self._found(why, [given[1]], severity, template_mismatch=5.5 if broke else 3.0)

    def _found(self, why: str, shown: list[Evidence], severity: Severity, **bits: float) -> Finding:
        return self.finding(
            why,
            evidence=shown,
            clues=clues(why, **bits),
            severity=severity,
            fix=Fix(summary="Use the tokenizer's own template, and take the marks for masking from a rendered sample."),
        )


def _masked_by_others(run: Run) -> Iterator[tuple[tuple[str, Evidence], tuple[str, Evidence]]]:
    """The form in which text is written, and another one that masking code looks for."""
    for code in run.code:
        masks = [(n, v, c.source) for c in code.calls for n, v in c.kwargs.items() if MASKING.match(n)]
        masks += [(c.name, c.args[0], c.source) for c in code.named("DataCollatorForCompletionOnlyLM") if c.args]
        masks += [(a.target, a.value, a.source) for a in code.assignments if MASKING.match(last_part(a.target))]
        marks = [
            (f, Evidence(text=f"{n}={written(v)}"[:120], source=s)) for n, v, s in masks for f in _forms(written(v))
        ]
        if not marks:
            continue
        own = [text for _, v, _ in masks for text in (written(v), *MARKER_NAMES)]
        named = [
            (f, seen(c)) for c in code.calls for n, v in c.kwargs.items() if FORMS.match(n) for f in _named(written(v))
        ]
        said = (*texts(code), *code.comments)
        body = [
            (f, Evidence(text=t[:120], source=code.source))
            for t in said
            if not any(m in t for m in own)
            for f in _forms(t)
        ]
        named += [
            (f, Evidence(text=f"{a.target} = {written(a.value)}"[:120], source=a.source))
            for a in code.assignments
            if a.target.endswith("chat_template")
            for f in _named(written(a.value))
        ]
        forms = {form for form, _ in (*named, *body)}
        for form, evidence in marks:
            if forms and form not in forms:
                yield (*named, *body)[0], (form, evidence)


def _given(run: Run) -> Iterator[tuple[str, Evidence]]:
    """The form that a setting names, or whose marks stand in noted text."""
    for name in SETTINGS:
        found = known(run, name)
        for form in _named(written(found.plain)) if found is not None else ():
            yield form, found.evidence if found is not None else Evidence(text=form)
    for code in run.code:
        for a in code.assignments:
            if PROMPT.search(a.target):
                text = written(a.value)
                shown = Evidence(text=f"{a.target} = {text}"[:120], source=a.source)
                yield from ((form, shown) for form in _forms(text))
    for fact in noted(run):
        if re.search(r"template|rendered|prompt|decoded|formatted", fact.words):
            for text in fact.texts:
                yield from ((form, fact.evidence) for form in _forms(text))


def _forms(text: str) -> list[str]:
    return [form for form, marks in MARKERS.items() if marks.search(text)]


def _named(text: str) -> list[str]:
    short = re.sub(r"_?(?:chat_?)?template$", "", text.strip().lower().replace(" ", "_"))
    return [form for form, names in NAMES.items() if names.fullmatch(short)] or _forms(text)
