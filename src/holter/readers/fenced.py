"""A block of code, settings or output inside another document, read by the language it is marked with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from holter.patterns import regex
from holter.readers.commands import Commands
from holter.readers.documents import add_documents
from holter.readers.json_tree import read_json
from holter.readers.merge import merge
from holter.readers.source.scan import Part, scan
from holter.readers.toml_tree import read_toml
from holter.readers.yaml_tree import read_yaml
from holter.run import Authority, Run, Source

_PYTHON = frozenset({"python", "py", "python3", "ipython", "pycon", "py3", "jupyter"})
_SHELL = frozenset({"bash", "sh", "shell", "zsh", "console", "shell-session", "cmd", "powershell", "slurm"})
_SETTINGS = {"yaml": read_yaml, "yml": read_yaml, "json": read_json, "jsonc": read_json, "toml": read_toml}
_OTHER_WORDS = """
html css scss js javascript ts typescript jsx tsx cpp c c++ cuda cu java go rust rs ruby rb lua sql xml svg latex tex
dockerfile docker makefile make cmake mermaid dot bibtex csv r julia swift kotlin php perl graphql ini nginx cfg conf
"""
_OTHER = frozenset(_OTHER_WORDS.split())
"""Languages of blocks that are nothing a training prints or is set by; any other word may mark a log."""

_LOOKS_LIKE_PYTHON = regex(
    r"^(?:from [\w.]+ import |import \w|@\w|(?:async )?def \w+\(|class \w+\b.*:$|for .+:$|[\w.]+ ?= ?\w+\()", re.M
)
_STATEMENT = regex(
    r"\s*(?:>>> |\.\.\. )?(?:import \w|from [\w.]+ import |@\w|(?:async )?def \w+\(|class \w+.*:|return\b(?! to)"
    r"|raise \w|assert\b .*[=(\[]|[\w.]+ = \(|[\w.]+\.\w+ = (?:True|False|None|[A-Za-z_]\w*[.(\[])"
    r"|(?:for .+ in|while|with|if|elif|except)\b.*:\s*(?:#.*)?$|(?:try|else|finally):"
    r"|(?:[\w.\[\]\"', :*]+\s*[-+*/|]?=\s*)?(?:await |not )?(?!tensor\b|array\b)[A-Za-z_][\w.]*(?:\[[^\]]*\])?"
    r"(?:\.\w+)*\(|[\w.]+\[[^\]]*\]\s*[-+*/|]?=[^=]|[\w.]+\s*=\s*[A-Za-z_][\w.]*\[|print [\w.]+$)"
)
_OF_STATEMENT = regex(
    r"\s*(?:[)\]}]|#|[\w.\[\]\"':~\-*]+(?:, ?[\w.\[\]]+)*\s*[-+*/|]?=\s*[^=].*"
    r"|\w+:\s*(?:int|float|str|bool|list|dict|None|Optional)\b"
    r"|[\"'][^\"']*[\"']:\s|[\"'].*[\"'],?$|[\w.]+,$|(?:pass|break|continue|\.\.\.)$)"
)
"""What may follow a statement or stand between two: arguments, closing brackets, comments, assignments."""

MOSTLY = 0.5
"""Share of the lines of an unmarked block that are statements or parts of one, where it is code."""

_SCRIPT = regex(
    r"^\s*(?:#!|#SBATCH|#PBS|fi$|done$|then$|(?:if|for|while|case) .*(?:; (?:do|then)|in)$|--\w|\w+=\S*$|echo |module "
    r"|source )",
    re.M,
)
_FAULT = regex(
    r"\s*(?:\[rank\d+\]:\s*)?(?:Traceback \(most recent call last\)|File \"[^\"]+\", line \d"
    r"|(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): )"
)
"""Where what a program printed as it stopped begins."""

_PRINTED = regex(
    r"\s*(?:\{\s?'|\{\s?\"[\w/ ]+\":\s*[-\d]|(?:\[rank\d+\]:\s*)?Traceback \(most recent|File \"[^\"]+\", line \d"
    r"|(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Warning|Interrupt)\b(?::\s|\(|\s*$)"
    r"|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d:\d\d[\],. ]|\[rank\d+\]:"
    r"|(?:INFO|WARNING|ERROR|DEBUG|CRITICAL)\b\s*[:|\]-]|\[(?:INFO|WARNING|ERROR|DEBUG)\b|[IWEF]\d{4} \d\d:"
    r"|.{0,40}\d+%\|.{0,60}\|\s*\d+/\d+|\S+:\d+: \w*Warning: |\d\d/\d\d/\d{4} \d\d:\d\d"
    r"|Some weights of |- This IS (?:NOT )?expected|You should probably TRAIN|trainable params: "
    r"|unexpected key in source "
    r"|\d+/\d+ \[[=>.\s]*\]"
    r"|(?i:epoch|step|iter(?:ation)?)[ :#]*\[?\d+(?: ?/ ?\d+)?\]?:?\s*$)"
)
_SENTENCE = regex(
    r"\b(?:is|was|are|were|be|been|should|would|goes|went|stays|stayed|gets|got|becomes|became|i|we|my|but|when|if)\b",
    re.I,
)
"""Words that a person needs to say something of a number, and a program does not."""

LONGEST = 400
"""Characters of a line of metrics or of code; a longer one is a paragraph."""

_COMMAND = regex(
    r"^\s*(?:[$!%#]\s|[!%]|(?:\w+=\S+\s+)*"
    r"(?:python3?|torchrun|accelerate|deepspeed|pip3?|conda|export|cd|git|sbatch|srun)\b)"
)
_LOOKS_LIKE_SHELL = regex(
    r"^\s*(?:[$!%]\s*)?(?:python3?|torchrun|accelerate|deepspeed|CUDA_VISIBLE_DEVICES=)\S*\s", re.M
)


def read_block(
    text: str,
    language: str,
    source: Source,
    *,
    first_line: int = 1,
    authority: Authority = Authority.PROSE,
    printed: bool = False,
) -> tuple[Run, str]:
    """What a block says, and what it was taken for: ``python``, ``settings``, ``shell``, ``log`` or ``other``.

    Args:
        text: the block without its fences.
        language: as marked, empty when it is not.
        source: the document.
        first_line: line of the document at which the block starts.
        authority: of what is found in it.
        printed: whether what was printed counts where it stands below commands or code.
    """
    kind = kind_of(text, language)
    if kind == "python":
        text, behind = _up_to_traceback(text)
        found, magics = scan([Part(text=text, source=source, offset=first_line - 1)], authority)
        commands = Commands(run=found, source=source, authority=authority)
        for magic in magics:
            commands.source = magic.source
            commands.read(magic.text)
        if printed and behind:
            found = merge([found, _log(enumerate(behind, start=first_line + text.count("\n") + 1), source)])
        return found, kind
    run = Run()
    if kind == "settings":
        tree = _SETTINGS[language.lower()](text)
        add_documents(run, tree, replace(source, line=first_line), authority=authority)
    elif kind == "shell":
        at = replace(source, line=first_line)
        Commands(run=run, source=at, authority=authority).read(re.sub(r"(?m)^(\s*)[$!%]\s?", r"\1", text))
        lines = list(_printed(text, first_line)) if printed else []
        if lines and (is_log([line for _, line in lines]) or _SCRIPT.search(text) is None):
            run = merge([run, _log(lines, source)])
    elif kind == "log":
        run = _log(enumerate(text.split("\n"), start=first_line), source)
    return run, kind


def _up_to_traceback(text: str) -> tuple[str, list[str]]:
    """Code, and the lines from the traceback on that somebody pasted behind it."""
    lines = text.split("\n")
    at = next((at for at, line in enumerate(lines) if _FAULT.match(line) is not None), len(lines))
    return "\n".join(lines[:at]), lines[at:]


def _log(lines: Iterable[tuple[int, str]], source: Source) -> Run:
    from holter.readers.console_log import read_lines

    return read_lines(lines, source.file, cell=source.cell)


def _printed(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """The lines of a terminal that are no command and no continuation of one."""
    inside = False
    for number, line in enumerate(text.split("\n"), start=first_line):
        if not inside and _COMMAND.match(line) is None:
            yield number, line
            continue
        inside = line.rstrip().endswith("\\")


def kind_of(text: str, language: str) -> str:
    """What a block is, by its mark or, unmarked, by its looks.

    People mark what a run printed as ``python`` or ``bash``, too: a traceback, or lines of metrics without any code.
    """
    marked = language.lower()
    if marked in _OTHER:
        return "other"
    if marked in _SETTINGS:
        return "log" if marked.startswith("json") and is_log(text.split("\n")) else "settings"
    code, _ = _up_to_traceback(text)
    if marked in _PYTHON:
        return "python" if is_code(code) or not text.strip() else "log"
    if marked in _SHELL or _LOOKS_LIKE_SHELL.search(text):
        return "shell"
    return "python" if len(_LOOKS_LIKE_PYTHON.findall(code)) > 1 or is_code(code, marked=False) else "log"


def is_code(text: str, *, marked: bool = True) -> bool:
    """Whether a text is Python, of which no line need be a whole statement.

    Args:
        text: of a block.
        marked: it is called Python, so one statement is enough; else most lines have to be.
    """
    lines = [line for line in text.split("\n") if line.strip() and len(line) <= LONGEST]
    statements = [line for line in lines if _STATEMENT.match(line)]
    if marked and statements:
        return True
    parts = sum(1 for line in lines if _STATEMENT.match(line) or _OF_STATEMENT.match(line))
    return (marked or bool(statements)) and parts > MOSTLY * len(lines) and not is_log(lines)


def is_log(lines: Sequence[str]) -> bool:
    """Whether any of some lines is one that only a program prints."""
    return any(is_log_line(line) for line in lines)


def is_log_line(line: str) -> bool:
    """Whether a line is one that only a program prints: a dict of metrics, a traceback, a time stamp, a progress bar.

    Or metrics with the step or epoch at which they were logged.
    """
    from holter.readers.console import pairs

    if _PRINTED.match(line) is not None:
        return True
    if len(line) > LONGEST or not any(sign.isdigit() for sign in line) or _SENTENCE.search(line) is not None:
        return False
    row = pairs.parse(line)
    return row is not None and not (row.step != row.step and row.epoch != row.epoch and row.within is None)
