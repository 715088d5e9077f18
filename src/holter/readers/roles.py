"""Whether a passage of a report tells what ran, what somebody proposes or expects, or what another run did."""

from __future__ import annotations

import enum
import re

from holter.patterns import regex


class Role(enum.Enum):
    """``RAN``: the run in question; ``PROPOSED``: a fix or an expectation; ``OTHER``: a run it is compared with."""

    RAN = "ran"
    PROPOSED = "proposed"
    OTHER = "other"


# English and Korean, the languages of the reports seen; U+FFFD stands for characters lost in an encoding accident.
_RAN = regex(
    r"\b(before|current(?:ly)?|existing|actual|observed|original|problem|symptoms?|was|old)\b|"
    r"현[재\ufffd]|기존|증상|관측|실제",
    re.I,
)
_PROPOSED = regex(
    r"\b(fix(?:e[sd])?|recommend\w*|after|expect\w*|solution|resol\w+|propos\w+|should|suggest\w*|updated?|"
    r"correct(?:ed)?|replace\w*|instead|target|goal|plan(?:ned)?|actions?|next steps?|to-?do|"
    r"troubleshooting|checklist|workaround|try|improve\w*|changes?|"
    r"alternative|option|new settings?|add(?:ed)?|if you|experiment)\b|"
    r"수정|해결|권[장\ufffd]|예[상\ufffd]|조치|개선|대안|방안|목표|체[크\ufffd]+|리스트|실험|이후|다음|다\ufffd|제안|추천|변경|"
    r"추가|즉시|검[증\ufffd]\s*방법|확[인\ufffd]",
    re.I,
)
_OTHER = regex(
    r"\b(backup|baseline|reference (?:run|code)|good run|working (?:run|version|code)|old code)\b|백업", re.I
)


def role_of(text: str) -> Role | None:
    """What a heading or a lead-in such as ``**Before**:`` announces; None when it says neither.

    "Current" beats "fix" in ``Current (to be fixed)``: the word that comes first counts.
    """
    found = [
        (match.start(), role)
        for pattern, role in ((_OTHER, Role.OTHER), (_RAN, Role.RAN), (_PROPOSED, Role.PROPOSED))
        if (match := pattern.search(text)) is not None
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def role_under(headings: list[str], lead: str) -> Role:
    """The role of a block below some headings, outermost first, and behind a lead-in.

    The lead-in decides; then the innermost heading that says something.
    """
    for text in (lead, *reversed(headings)):
        role = role_of(text) if text else None
        if role is not None:
            return role
    return Role.RAN


_WANTED = regex(
    r"\b(?:expect(?:ed|ation)s?|desired|ideal(?:ly)?|should|suggest\w*|propos\w+|recommend\w*|solutions?|work-?arounds?"
    r"|(?:possible|proposed|potential|suggested) (?:fix|cause|reason)|fix(?:es|ed)?:?$|goals?|to-?dos?|next steps?"
    r"|plans?|ideas?|hypothes[ie]s|guess\w*|suspicion|related issues?|references?|links?|documentation|docs)\b",
    re.I,
)
_COMPARED = regex(
    r"\b(?:(?<!not )(?<!n't )(?<!never )(?:works?|worked|working)(?! (?:on|with (?:this|the) (?:run|model))\b)"
    r"|(?:good|healthy|correct|successful|earlier|previous|other|another|reference|old)"
    r" (?:run|log|output|version|result)s?"
    r"|for comparison|baseline|before (?:the )?(?:upgrad|updat|chang|switch)\w*|trains? (?:fine|well|normally)"
    r"|is (?:fine|ok(?:ay)?|healthy)|(?:the|their|official) (?:paper|docs|documentation|readme|example))\b",
    re.I,
)
_FAILS = regex(
    r"\b(?:not|n't|never|nan|inf|fail\w*|wrong|bad|broken|breaks?|error|crash\w*|diverg\w*|stuck|actual\w*|but|problem)\b",
    re.I,
)


def told_role(headings: list[str], lead: str) -> Role:
    """As `role_under`, for what somebody tells of a run, where "after", "change" and "try" announce no proposal.

    A title or a lead-in that names a failure tells of the run, whatever it is compared with.

    Args:
        headings: outermost first.
        lead: the line that announces the passage, empty when none does.
    """
    for text in (lead, *reversed(headings)):
        wanted, compared, fails = (words.search(text) for words in (_WANTED, _COMPARED, _FAILS))
        if fails is not None and (wanted is None or fails.start() < wanted.start()):
            return Role.RAN
        if wanted is not None:
            return Role.PROPOSED
        if compared is not None:
            return Role.OTHER
        if _RAN.search(text) is not None:
            return Role.RAN
    return Role.RAN
