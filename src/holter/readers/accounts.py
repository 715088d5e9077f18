"""Which documents tell of the run they lie beside, and which are pages about a model, a project or a recipe.

An issue, a note or a mail says what somebody saw: it counts like ``observed.yaml``. A model card, a README, a list of
changes or a manual says how things are meant to be, and what may happen to others: of such a page only settings and
tables of results count. An analysis that ends in causes and fixes holds both, so it is read like a page.
"""

from __future__ import annotations

import enum
import re

from holter.patterns import regex

_NAME_OF_ACCOUNT = regex(
    r"^(?:(?:my|our|the|a|github|gh|\d+)[\W_]*)*(?:issue|bug|problems?|question|e?-?mail|letter|post|thread|discussion"
    r"|ticket|complaint|report|story|message|what_?i_?see)(?:[\W_]|\d|$)"
    r"|(?:^|[\W_])(?:notes?|observ\w+|symptoms?|journal|diary|remarks?|comments?|findings)(?:[\W_]|\d|$)"
)
_NAME_OF_PAGE = regex(
    r"(?:^|[\W_])(?:change_?log|changes|history|release_?notes|releases?|news|contributing|code_of_conduct|license"
    r"|licence|notice|copying|authors|citation|security|install(?:ation)?|model_?card|card|datasheet|dataset_?card|usage"
    r"|faq|troubleshooting|manual|guide|tutorial|roadmap|todo|requirements|docs?)(?:[\W_]|$)"
)
_NAME_OF_EITHER = regex(r"(?:^|[\W_])(?:read_?me|about|info)(?:[\W_]|$)")
"""A page as a rule, and now and then what somebody tells of the run beside it."""

_HEADING_OF_ACCOUNT = regex(
    r"^#{1,6}[^\w\n]*(?:describe the (?:bug|issue|problem)|(?:actual|current|observed) (?:behaviou?r|results?|output)"
    r"|what (?:i|we) (?:see|saw|get|got|observed?|did|tried|ran|expected)|what (?:actually )?happen(?:s|ed)"
    r"|(?:steps )?to reproduce|reproduction|bug (?:description|report)|issue description|problem description"
    r"|system info|who can help|my (?:setup|environment|code|run|problem))\b[^\n]{0,20}$",
    re.I | re.M,
)
"""Headings that only whoever reports something writes."""

_HEADING_OF_EITHER = regex(
    r"^#{1,6}[^\w\n]*(?:bugs?|issues?|problems?|symptoms?|observations?|expected (?:behaviou?r|results?|output)"
    r"|environment)[^\w\n]*$",
    re.I | re.M,
)
_TOLD = regex(
    r"(?:^|[\s\"'(>])(?:i(?:'m|'ve|'d)?|my|me)\s+[a-z]|\b(?:we|our)\s+(?:see|get|got|saw|are seeing|observe"
    r"|training run|run)\b|\bany (?:ideas?|help|hints?|suggestions?)\b|\bthanks in advance\b",
    re.I | re.M,
)
_FRONT = regex(
    r"\A\s*---\s*\n(?:.*\n){0,40}?\s*(?:license|tags|library_name|pipeline_tag|base_model|datasets|language|model-index"
    r"|about|labels|assignees)\s*:"
)
"""The head of a model card, or of a template of issues that nobody filled in."""

_MARK_OF_PAGE = regex(
    r"\bfine-tuned version of \[|!\[[^\]]*\]\(https?://[^)]*(?:badge|shields|actions/workflows)"
    r"|^#{1,6}[^\w\n]*(?:table of contents|quick[- ]?start|getting started|usage"
    r"|how (?:to (?:use|run|train|install|cite|get)\b.*|(?:it|this) works)"
    r"|install(?:ation|ing)?|licen[sc]e|citation|citing|contributing|acknowledge?ments?|(?:key )?features|requirements"
    r"|prerequisites|intended uses?.*|limitations.*|bias(?:es)?(?:, risks)?.*|model (?:description|details|card|summary"
    r"|architecture)|training (?:procedure|data|hyperparameters|details)|uses|direct use|out-of-scope use|overview"
    r"|introduction|troubleshooting|faq|frequently asked questions|known issues|common (?:problems|errors|issues"
    r"|pitfalls)|tips|supported (?:models|tasks)|examples|project structure|documentation|unreleased|change ?log"
    r"|release notes|what's (?:new|changed)|\[?v?\d+\.\d+(?:\.\d+)?\]?\s*(?:[-(].*)?)[^\w\n]*$",
    re.I | re.M,
)
_MARK_OF_ANALYSIS = regex(
    r"^#{1,6}[^\w\n]*(?:\d+[^\w\n]+)*(?:root causes?|post-?mortem|key changes|fixes (?:implemented|applied)"
    r"|hypothes[ie]s|recommend\w+|conclusions?|근본|해결|가설|결론|수정|원인)"
    r"|\broot cause identified\b",
    re.I | re.M,
)
_CAUSE = regex(r"^#{1,6}[^\w\n]*(?:likely |possible |common )?causes?\b", re.I | re.M)
_CURE = regex(r"^#{1,6}[^\w\n]*(?:fix(?:es)?|solutions?|remed(?:y|ies)|how to fix)\b", re.I | re.M)
"""A page of a handbook: what it is about has causes and cures."""


_FENCED = regex(r"^[ \t]*(`{3,}|~{3,}).*?(?:^[ \t]*\1|\Z)", re.M | re.S)
MOST_WORDS = 60
"""Words around what is fenced, up to which a document does nothing but show it."""


class Voice(enum.Enum):
    """Who speaks in a document.

    ``TOLD``: whoever ran the training, of that run. ``PLAIN``: nobody in particular, around what was printed.
    ``ANALYSIS``: somebody who knows by now why. ``PAGE``: a page about a model, a project or a recipe.
    """

    TOLD = "told"
    PLAIN = "plain"
    ANALYSIS = "analysis"
    PAGE = "page"


def voice_of(name: str, text: str) -> Voice:
    """Who speaks in a document, by its headings, its first person and its name.

    Args:
        name: of the file.
        text: of it.
    """
    if _MARK_OF_ANALYSIS.search(text) is not None:
        return Voice.ANALYSIS
    if _CAUSE.search(text) is not None and _CURE.search(text) is not None:
        return Voice.PAGE
    if _FRONT.match(text) is not None or _NAME_OF_PAGE.search(_stem(name)) is not None:
        return Voice.PAGE
    if _HEADING_OF_ACCOUNT.search(text) is not None:
        return Voice.TOLD
    if _MARK_OF_PAGE.search(text) is not None:
        return Voice.PAGE
    if any(sign.search(text) is not None for sign in (_HEADING_OF_EITHER, _TOLD)) or is_name_of_account(name):
        return Voice.TOLD
    if _NAME_OF_EITHER.search(_stem(name)) is not None:
        return Voice.PAGE
    return Voice.PLAIN if len(_FENCED.sub("", text).split()) <= MOST_WORDS else Voice.ANALYSIS


def is_name_of_account(name: str) -> bool:
    """Whether people call notes and issues so."""
    stem = _stem(name)
    return _NAME_OF_ACCOUNT.search(stem) is not None and _NAME_OF_PAGE.search(stem) is None


def is_name_of_page(name: str) -> bool:
    """Whether a project's pages are called so."""
    return any(names.search(_stem(name)) is not None for names in (_NAME_OF_PAGE, _NAME_OF_EITHER))


def _stem(name: str) -> str:
    return re.sub(r"\.(?:md|markdown|mdx|rmd|qmd|txt|text|rst)$", "", name.lower())
