"""What words say of a run: not finite, badly, or always the same; the one vocabulary for facts and rows of runs."""

from __future__ import annotations

import math
import re
from typing import Any

from holter.patterns import regex

_NOT_FINITE = regex(
    r"^\W{0,3}(?:(?:it|the|a|an|to|in|into|is|are|was|all|only|just|now|then|always|already|soon|often|sometimes|mostly"
    r"|immediately|quickly|suddenly|eventually|directly|straight|right away|loss(?:es)?|values?|results?|gradients?"
    r"|contains?|has|have|had|gives?|returns?|shows?|prints?|becom\w+|became|turn(?:s|ed|ing)?|goes|go|went|gets?|got"
    r"|falls?|drops?|jumps?|reach\w*|ends?|full of|equals?|fine|ok|finite|as|at|first"
    r"|-?\d[\d.]*(?![\d.])(?:e[+-]?\d+)?)(?![a-z\d])[\s,:;]*(?:(?:->|=>|\.\.+|→)\s*)?)*"
    r"(?:[-+.]?(?:nans?|infs?|infinit\w+)|not[ -]a[ -]number|non-?finite|not finite)(?![\w-])"
    r"(?! (?:filter|check|guard)\w*)"
)
"""Words that lead up to a NaN at the beginning of what is said; a no or a never is none of them."""

_OVER = regex(
    r"\b(?:fixed|solved|resolved|cured|gone|avoided|removed|skipped|filtered|replaced|disappear\w*|went away|no longer"
    r"|not any ?more|until (?:i|we)|before (?:the|my|our|this) (?:fix|patch|change))\b"
    r"|[:=]\s*(?:0|no|none|false|never)\b"
)
"""What makes a NaN one that was."""

_BAD = regex(
    r"(?<![a-z])nans?(?![a-z])|inf\b|non-?finite|not[ -]a[ -]number|(?<!non-)infinite|diverg|incoherent|"
    r"nothing (?:is |was )?learn|black\b|hugely|massive|"
    r"(?:much|far|times|clearly) (?:higher|larger|worse|poorer|lower accuracy|above)|"
    r"differs? between (?:equal|identical|the same)|fail|collaps|chance|worse|poorer|(?:not|n.t|hardly|barely|never) "
    r"(?:\w+ )?(?:converg|learn|work|decreas|improv|fall|drop|train|go down|get down|chang)|stuck|stagnat|plateaus? at|"
    r"same (?:logits?|outputs?|predictions?|answers?|class|label)|(?:one|single) class|gibberish|\brefus|"
    r"(?:suddenly|loss|gradients?|norm) (?:increas|ris|grow|jump|spik|climb|go(?:es)? up|went up|shoot|soar|surg)|"
    r"never generat|slow(?:ly|er)\b|(?:larger|higher) (?:\w+ )?loss|breaks?\b|broke\b|"
    r"does not stop|never stops|incorrect|inaccurate|nonsens|degrad|poor|meaningless|garbled|rubbish|"
    r"^(?:does|did|do|is|was)(?: not|n.t)\b|^not?\b|"
    r"(?:rises?|grows?|falls?|jumps?|increases?|is|very|far too|much too) (?:abnormal|weird|strange)|"
    r"^(?:abnormal|weird|strange|odd|terrible|awful|horrible|suspicious|huge|unexpected)|"
    r"(?:smaller|larger|lower|higher) by (?:about |a |that |this )|(?:way|far|totally|completely) off\b|"
    r"significantly (?:different|lower|worse)|differs? for the same|"
    r"unstable|instabilit|overflow|crash|error|broken|garbage|constant|random|explo[ds]"
    r"|bl(?:ow|ew|own)(?:s|ing)?[ -]?up|wrong|bad(?:ly)?\b|zero|useless|0\.0"
)
_RISES = regex(
    r"^(?:it |steadily |slowly |quickly )?(?:increas(?:es|ing)|climbs?|rises|goes up|shoots up|skyrockets)\b"
)
NOT_BAD = regex(
    r"\b(?:no|without|never|not|nor|any)\s+(?:an? |any |more |signs? of |(?:loss|gradient) )?"
    r"(?:diverg\w*|nans?\b|inf\b|overflow\w*|collaps\w*|spik\w*|errors?\b|incidents?|crash\w*|failures?|fail\w*|instab\w*"
    r"|explo[ds]\w*|blow-?ups?|unstable|stuck|problems?|trouble|issues?)|non-?zero|error[ _]rate|"
    r"\b(?:constant(?:ly)? (?:improv|decreas|fall|going down)|better than (?:chance|random)|zero[- ]shot)\w*"
)
"""A run that did not do so, and words that hold a bad one and mean another thing."""


SAID = 200
"""Characters of a value that are read: what is said of a loss stands at its beginning."""


def tells_nan(value: Any) -> bool:
    """Whether a value is NaN or infinite, or says so: ``becomes NaN``; ``never nan`` and ``none`` do not."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if not isinstance(value, str):
        return isinstance(value, list) and any(isinstance(item, (float, str)) and tells_nan(item) for item in value)
    text = value[:SAID].lower()
    return _NOT_FINITE.match(text) is not None and not _OVER.search(text)


def tells_bad(text: str, *, of_score: bool = False) -> bool:
    """Whether words tell that a run went badly; a score that rises does not."""
    said = NOT_BAD.sub(" ", text.lower().replace("’", "'"))
    return _BAD.search(said) is not None or (not of_score and _RISES.match(said) is not None)


_STAYS = (
    r"always|all|constant(?:ly)?|flat|stuck|stay(?:s|ed|ing)?|remain(?:s|ed|ing)?|kept|keeps|permanently|invariably"
)
_HEDGES = r"about|around|approx\w*|roughly|nearly|almost|near|close|circa"
_KEPT = regex(
    rf"^[^\w~≈-]{{0,2}}(?P<lead>(?:(?:it|loss|reward|score|is|are|was|exactly|just|only|still|at|to|of|a|the|equal|{_STAYS}"
    rf"|{_HEDGES})(?![a-z\d])[^\w~≈-]{{0,2}}|[~≈]\s?)*)(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|zero)(?![\w%]|[.-]\d)(?P<rest>.*)$",
    re.S,
)
_STAYING = regex(rf"\b(?:{_STAYS})\b")
_HEDGED = regex(r"(?:\b(?:about|around|approx\w*|roughly|nearly|almost|near|close|circa)\b|[~≈])")
_LASTS = regex(
    r"\b(?:(?:in|at|for|on|over|after|during) (?:each|every|all|any)(?: of the| the)?(?: \w+){0,2}? (?:lines?|steps?|"
    r"iterations?|updates?|batch(?:es)?|logs?|points?|epochs?|time|training|run|prompts?|groups?|answers?|samples?)"
    r"|(?:each|every) (?:single )?(?:step|iteration|line|batch|update|time)|all the (?:time|way)|all along|throughout"
    r"|always|constantly|(?:the )?(?:whole|entire) (?:run|time|training)|forever|from the (?:very )?(?:start|beginning|"
    r"first (?:\w+ )?(?:step|iteration|line|batch|update|epoch))|(?:from|since) (?:step|iteration|update|epoch) \d+\w* "
    r"on(?:wards?)?|for (?:a|the) (?:very )?long (?:time|while)|for (?:ages|hours|days|weeks|(?:\d{4,}|\d+k|thousands"
    r" of) (?:steps|iterations|updates))|(?:does not|doesn't|never|not) (?:change|move|budge|fall|drop|decrease)\w*"
    r"|without (?:any )?change|constant|unchanged)\b"
)
_MOVES = regex(
    r"\b(?:then|until|till|except|but|before|at first|up to|down to|later|falls?|fell|falling|drops?|rises?|rose|grows?"
    r"|improv\w+|increas\w+|decreas\w+|sometimes|some|between|and then|warm-?up|fixed|solved)\b|->|→|=>|\.\.\d"
)
_STANDS = regex(
    r"(?:does not|doesn't|never|not) (?:change|move|budge|fall|drop|decrease)\w*|\bbut (?=stay|constant|never)"
)


def told_at(value: Any) -> float | None:
    """The one number that words tell: 6.0 for ``about 6, very bad``; None for a course, a span, or a per cent."""
    match = _KEPT.match(value[:SAID].lower().strip()) if isinstance(value, str) else None
    if match is None or _MOVES.search(match["rest"]) or any(map(str.isdigit, match["rest"])):
        return None
    return 0.0 if match["number"] == "zero" else float(match["number"])


def kept_at(value: Any) -> float | None:
    """The number that a quantity is said to keep: 0.0 for ``0.0 in each log line``, 11.4 for ``about 11.4 all along``.

    None for a plain number, for one told of a moment, for a course, and for what is only near zero.
    """
    match = _KEPT.match(value[:SAID].lower().strip()) if isinstance(value, str) else None
    if match is None or _MOVES.search(_STANDS.sub(" ", match["rest"])):
        return None
    if not _STAYING.search(match["lead"]) and not _LASTS.search(match["rest"]):
        return None
    number = 0.0 if match["number"] == "zero" else float(match["number"])
    return None if number == 0.0 and _HEDGED.search(match["lead"]) else number
