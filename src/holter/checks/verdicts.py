"""What words say of a run, whoever wrote them: not finite, or badly; the one vocabulary for facts and rows of runs."""

from __future__ import annotations

import math
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
