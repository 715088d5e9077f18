"""What somebody tells of a run in an issue, a note or a mail: pairs are values, sentences are observations.

``- grad norm: nan``, ``**grad_norm** = nan`` and ``The grad norm is nan.`` are ``grad_norm: nan`` of an
``observed.yaml``; any other sentence is an entry of ``observed``. Advice, conditions, wishes, guesses and what somebody
else wrote are nothing that was seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from holter.names import config_name, series_name
from holter.patterns import regex
from holter.readers.documents import add_entry, add_version, entries
from holter.readers.markdown_blocks import Block
from holter.readers.pasted import BULLET, PLACED, PLACED_VALUE
from holter.readers.prose import state
from holter.readers.roles import Role
from holter.readers.tree import Entry
from holter.readers.written import add_observed
from holter.readers.yaml_tree import read_yaml
from holter.run import Authority, Run, Source, Value
from holter.values import number

SAID = "observed"
"""The fact that holds the sentences, as people call the entry of a file of facts."""

MOST_TOLD = 1_000
"""Values and sentences of one document; a longer one is a thread of many runs."""

LONGEST = 2_000
"""Characters of a line: a paragraph has fewer."""

MOST_WORDS = 9
"""Words of a name in front of a colon; more are a sentence that leads in what follows."""

FEWEST_WORDS = 3
"""Words of a sentence; fewer are a greeting or a label."""

WRAPPED = 50
"""Characters from which a line without an end was wrapped, and the next goes on."""

_WORD = r"[A-Za-z_][\w./@%+\-]*(?:\([^()]{1,20}\))?\??"
_KEY = rf"{_WORD}(?:[ ,]+(?:\([^()]{{1,20}}\)|[\w./@%+\-]+))*?"
_PAIR = regex(
    rf"^(?P<key>{_KEY})\s*(?P<sep>:(?=\s)|=(?!=)|->|=>|\u2192|(?<=\s)[-\u2013\u2014](?=\s))\s*(?P<value>\S.*)$"
)
_SHORT_PAIR = regex(rf"^(?P<key>{_WORD}(?: [\w./\-]+){{0,3}}):\s+(?P<value>\S.*)$")
_OPEN = regex(rf"^(?P<key>{_KEY})\s*:\s*$")
_NUMBER = r"[-+<>~\u2248]?(?:\d[\d,_]*\.?\d*(?:e[-+]?\d+)?\s?%?|\.\d+)|-?inf(?:inity)?|nan|zero|true|false|yes|no"
_IS = regex(
    rf"^(?:(?:the|my|our|its|all|and|then|also|so) )*(?P<key>[a-z_][\w/\-]*(?: [\w./\-]+){{0,7}}?)"
    r" (?:is|was|are|were|equals|has been|comes out as|reads)"
    rf" (?P<value>(?:(?:always|still|only|just|about|around|at) )*(?:{_NUMBER}))$",
    re.I,
)
"""A sentence that is a quantity and its value."""

_OF_QUANTITY = regex(
    r"^(?:(?:the|my|our) )?(?P<key>[a-z_][\w/\-]*(?: [\w/\-]+){0,2}?) (?:is|was|are|were) (?P<value>\S.*)$", re.I
)
"""A sentence about something that is logged, whatever it says of it."""

_PLACED = regex(PLACED_VALUE, re.I)
_NO_NAME = regex(
    r"\b(?:it|this|that|there|which|what|i|we|you|they|he|she|when|if|because|who|where|why|how|not)\b", re.I
)
_MARKS = regex(r"\*\*|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)|`")
_LINK = regex(r"!?\[([^\]]*)\]\([^)]*\)")
_NO_TEXT = regex(
    r"^\s*(?:(?:[Ff]rom|[Tt]o|[Cc]c|[Ss]ent|[Dd]ate): .*|<[^>]*>\s*|[-=*_~]{3,}|>.*"
    r"|!\[.*|https?://\S+|\[[ xX]\].*|[-*+]\s+\[[ xX]\].*|---.*)$"
)
_COMMENT = regex(r"<!--.*?(?:-->|\Z)", re.S)
_END = regex(r"(?<=[.!?])[\"')]*\s+(?=[\"'(`]?[A-Z0-9])")
_TITLE = regex(r"\s*#\s+(?:\[\w+\]:?\s*)?(?P<title>\S.*)")
_SETUP = regex(
    r"\b(?:environment|env|system info|set-?up|versions?|config(?:uration)?s?|hyper-?param\w*|settings|arguments|args"
    r"|hardware|parameters)\b",
    re.I,
)
_VERSION_KEY = regex(r"^(?P<package>[A-Za-z][\w\-]*)(?: version)?(?: \([^)]*\))?$", re.I)
_VERSION = regex(r"^v?(?P<version>\d+\.\d+(?:\.\d+)?[\w.+\-]*)(?:\s*\([^)]*\))?$")
_SIMPLE = regex(r"[-+]?[\d.][\w.\-+]*%?|true|false|none|null|no|yes|[\w./\-]+", re.I)

_ADVICE = regex(
    r"^(?:(?:note|tip|hint|warning|important|caution|remember|info)\b[:,!]?\s+(?:that\s+)?)?"
    r"(?:if|in case|unless|whenever you|should you|to (?:avoid|fix|prevent|reproduce|run|train|use|install|get|do)"
    r"|make sure|please|try|use|set|run|see|check|consider|install|clone|download|refer|add|remove|replace|reduce"
    r"|increase|lower|raise|disable|enable|ensure|avoid|for (?:more|details)"
    r"|you (?:can|may|should|need|must|will|might|could)|one (?:can|should|may)"
    r"|it is (?:recommended|advised|possible)|we (?:recommend|suggest|advise)|a clear and concise"
    r"|this (?:script|model|repository|repo|project|package|page|library|folder))\b",
    re.I,
)
"""How advice, a condition or the description of a page begins."""

_GUESS = regex(
    r"\b(?:may|might|perhaps|maybe|probably|possibly|could it be|could be"
    r"|i (?:think|guess|suspect|assume|believe|wonder|would (?:like|love|expect)|(?:had |was )?expect(?:ed|ing)?)"
    r"|my (?:guess|theory|hypothesis|suspicion)|should(?: have)? (?:be|been|go|fall|rise|learn|converge)"
    r"|(?:is|was|were|are) supposed to|expected (?:behaviou?r|results?|output)|hopefully|todo)\b",
    re.I,
)
"""What was not seen but guessed, feared, hoped or expected."""

_LABEL = regex(
    r"(?:expect(?:ed|ation)(?: (?:behaviou?r|results?|output))?|(?:possible |suggested |proposed )?(?:fix|solution"
    r"|cause)|work-?around|suggestions?|to-?do|next(?: steps?)?|plans?|goals?|hypothesis|guess|ideas?"
    r"|tips?|hints?|important)",
    re.I,
)
"""A name under which nothing stands that was seen."""

_CONDITION = regex(
    r"(?:if|in case|unless|to (?:avoid|fix|prevent|reproduce)|make sure|please|try|consider"
    r"|you (?:can|should|need|must)|we recommend)\b",
    re.I,
)

_CHECKED = regex(
    r"\b(?:checked|verified|made sure|confirmed|ensured) that\b"
    r".*\b(?:not|no|fine|correct\w*|right|okay|ok|as expected)\b",
    re.I,
)
"""What is said to be in order."""

_BUT = regex(r"[,;]?\s*\b(?:but|however|instead|yet)\b,?\s+", re.I)
_POLITE = regex(r"^\W*(?:hi|hello|hey|dear|thanks?|thank you|cheers|regards|best|kind regards|sincerely|ps)\b", re.I)
_LEAD = regex(
    r"^(?:(?:here|this|these|that|below|above|the following) (?:is|are)\b.{0,40}"
    r"|.*\b(?:as follows|the following|see below)"
    r"|.*\b(?:i|we) (?:get|got|see|have|use|ran?|run)(?: this| that| it)?"
    r"|what (?:i|we|it) \w+|my (?:code|log|output|config\w*|script|environment)(?: is)?)\W*$",
    re.I,
)
"""A sentence that only leads in what follows."""


@dataclass
class Told:
    """Collects what a document tells; `finish` adds it.

    Args:
        place: the document.
        titled: it starts with a title, which is no heading of a passage.
    """

    place: Source
    titled: bool = False
    run: Run = field(default_factory=Run)
    _values: dict[str, Entry] = field(default_factory=dict)
    _said: list[tuple[str, int]] = field(default_factory=list)
    _seen: list[tuple[str, int]] = field(default_factory=list)
    _open: list[tuple[int, str]] = field(default_factory=list)
    _last: Block | None = None
    _setup_line: int = -1

    def take_title(self, text: str) -> None:
        """Take the heading that a document starts with, which of an issue says what is wrong."""
        match = _TITLE.match(text)
        if match is not None and len(match["title"].split()) > FEWEST_WORDS:
            self._say(_MARKS.sub("", match["title"]), text.count("\n", 0, match.start("title")) + 1)

    def take(self, block: Block) -> None:
        """Take one line of text of the run in question."""
        line = block.lines[0]
        if _NO_TEXT.match(line) or len(line) > LONGEST or len(self._said) + len(self._values) >= MOST_TOLD:
            return
        bullet, indent = BULLET.match(line), len(line) - len(line.lstrip())
        text = _LINK.sub(r"\1", line[bullet.end() :] if bullet else line.strip()).strip()
        parents = self._parents(indent, bullet is not None)
        if (opened := _OPEN.match(_MARKS.sub("", text))) is not None and _is_name(opened["key"]):
            self._open = [*parents, (indent, _key(opened["key"]))]
            self._last = None
            return
        pair = self._pair(block, text, bullet is not None or text.startswith("**"), [key for _, key in parents])
        if not pair and not self._of_setup(block):
            self._sentence(block, _MARKS.sub("", text), new=bullet is not None)
        self._last = None if pair else block

    def finish(self) -> Run:
        """What was told."""
        for text, line in self._said:
            for sentence in _END.split(text):
                self._take_sentence(sentence.strip(), line)
        add_observed(self.run, self._values, self.place)
        for sentence, line in self._seen:
            source = replace(self.place, line=line, key=SAID)
            self.run.add_fact(SAID, Value(value=sentence, source=source, raw=sentence, authority=Authority.FACT))
        return self.run

    def _parents(self, indent: int, is_bullet: bool) -> list[tuple[int, str]]:
        """The names under which a deeper entry of a list stands."""
        return [(at, key) for at, key in self._open if is_bullet and at < indent]

    def _pair(self, block: Block, text: str, marked: bool, parents: Sequence[str]) -> bool:
        match = _PAIR.match(_MARKS.sub("", text))
        if (
            match is None
            or not _is_name(match["key"])
            or (match["sep"] in "-\u2013\u2014" and not _dashed(match, marked))
        ):
            return False
        key, value = _key(match["key"]), match["value"].strip().rstrip(",;").strip()
        if not _is_seen(match["key"], value):
            return True
        if self._is_set(block, match["key"], key, value):
            return True
        for entry in _entries(".".join((*parents, key)), value, block.first):
            self._values.setdefault(entry.key, entry)
        return True

    def _is_set(self, block: Block, written: str, key: str, value: str) -> bool:
        """Whether a pair says what was set or installed; one below a heading such as "Environment" always does."""
        package, version = _VERSION_KEY.match(written), _VERSION.match(value)
        of_setup = self._of_setup(block)
        sure = of_setup or "version" in written.lower() or value.count(".") > 1
        if package is not None and version is not None and sure:
            name = package["package"].lower().replace("pytorch", "torch")
            add_version(self.run, name, version["version"], self._value(value, block.first))
            return True
        if of_setup and (config_name(key) is not None or series_name(key) is None):
            at = replace(self.place, line=block.first)
            for entry in _entries(key, value, 0):
                add_entry(self.run, entry, at, authority=Authority.PROSE)
            return True
        if BULLET.match(block.lines[0]) is None and _SIMPLE.fullmatch(value) and number(value) != 0:
            state(self.run, key, value, replace(self.place, line=block.first), Role.RAN)
        return False

    def _of_setup(self, block: Block) -> bool:
        """Whether a line stands below a short heading or lead-in such as "System info" or "Hyperparameters"."""
        above = (block.lead, *block.headings[self.titled :])
        here = any(_SETUP.search(text) is not None and len(text.split()) <= FEWEST_WORDS for text in above)
        if here or self._setup_line in (block.first, block.first - 1):
            self._setup_line = block.first
            return True
        return False

    def _value(self, raw: str, line: int) -> Value:
        return Value(value=raw, source=replace(self.place, line=line), raw=raw, authority=Authority.PROSE)

    def _sentence(self, block: Block, text: str, *, new: bool) -> None:
        before = self._last
        goes_on = (
            not new
            and before is not None
            and before.first + 1 == block.first
            and (len(before.lines[0].rstrip()) >= WRAPPED or text[:1].islower())
            and not before.lines[0].rstrip().endswith((".", "!", "?", ":"))
        )
        if goes_on and self._said:
            self._said[-1] = (f"{self._said[-1][0]} {text}", self._said[-1][1])
        else:
            self._say(text, block.first)

    def _say(self, text: str, line: int) -> None:
        self._said.append((text, line))

    def _take_sentence(self, text: str, line: int) -> None:
        pair = _IS.match(text.rstrip(".! "))
        if pair is None and (pair := _OF_QUANTITY.match(text)) is not None and series_name(pair["key"]) is None:
            pair = None
        pair = pair or _SHORT_PAIR.match(text)
        if pair is not None and not _NO_NAME.search(pair["key"]) and self._add_pair(pair["key"], pair["value"], line):
            return
        self._seen.extend((sentence, line) for sentence in _seen(text))

    def _add_pair(self, written: str, value: str, line: int) -> bool:
        """Add a pair that stands in a paragraph as a sentence of its own."""
        if not _is_seen(written, value):
            return True
        for entry in _entries(_key(written), value, line):
            self._values.setdefault(entry.key, entry)
        return True


def titled(text: str) -> bool:
    """Whether a document starts with a title, which tells what is wrong and not what a passage is about."""
    return _TITLE.match(text) is not None


def without_comments(text: str) -> str:
    """A text whose HTML comments, the hints of a form, are blank lines."""
    return _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)


def _seen(text: str) -> Iterator[str]:
    """What of a sentence tells something that was seen: all, the part behind "but", or nothing."""
    if len(text.split()) < FEWEST_WORDS or any(words.match(text) for words in (_POLITE, _LEAD, _ADVICE)):
        return
    if _CHECKED.search(text) is not None:
        return
    if _GUESS.search(text) is None:
        yield text
        return
    parts = _BUT.split(text)
    told = [part for part in parts[1:] if _GUESS.search(part) is None and not _ADVICE.match(part)]
    yield from (part for part in told if len(part.split()) >= FEWEST_WORDS)


def _is_seen(key: str, value: str) -> bool:
    """Whether a pair tells what was seen, and is no wish and no advice."""
    return _LABEL.fullmatch(key) is None and _CONDITION.match(key) is None and _CONDITION.match(value) is None


def _is_name(text: str) -> bool:
    words = text.replace("_", " ").split()
    return not any(word.endswith((".", "!", "?")) for word in words[:-1]) and (len(words) <= MOST_WORDS or "_" in text)


def _dashed(match: re.Match[str], marked: bool) -> bool:
    """Whether a dash stands for a colon: behind a short name at the start of an entry, before something short."""
    short = len(match["key"].split()) <= FEWEST_WORDS or _SIMPLE.fullmatch(match["value"]) is not None
    return marked and short and len(match["value"].split()) <= MOST_WORDS


def _key(text: str) -> str:
    name = re.sub(r"[^\w./@\-]+", "_", text.strip()).strip("_.")
    first = name.partition("_")[0]
    return name[:1].lower() + name[1:] if first.istitle() else name


def _entries(key: str, value: str, line: int) -> Iterator[Entry]:
    """The values of one pair, read as a line of YAML would be; one with its place carries that in its name."""
    if PLACED.fullmatch(value) is not None:
        for match in _PLACED.finditer(value):
            name = f"{key}_{match['unit'].lower()}_{match['at']}"
            yield Entry(key=name, value=number(match["value"]), line=line, raw=match["value"])
        return
    value = value[:-1] if value.endswith(".") and not value.endswith("..") and ". " not in value else value
    tree = read_yaml(f"v: {value}")
    if not tree.faults and len(tree.documents) == 1 and (pairs := tree.documents[0].pairs) and len(pairs) == 1:
        for entry in entries(tree.documents[0]):
            name = f"{key}{entry.key[1:]}"
            yield Entry(key=name, value=entry.value, line=line, raw=entry.raw)
        return
    yield Entry(key=key, value=value, line=line, raw=value)
