"""Reports: one view, several forms. ``write`` is all that callers need."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, TextIO

from holter.diagnosis.result import Diagnosis
from holter.errors import ConfigError
from holter.run import Run

if TYPE_CHECKING:
    from holter.reports.blocks import Section, View

PAGES = {"text": "terminal", "markdown": "markdown", "html": "html"}
"""Form -> the module that writes a page of it."""
DATA = {"json": "json_report", "sarif": "sarif"}
"""Form -> the module that writes the diagnosis as data."""
FORMS = ("text", "json", "markdown", "html", "sarif")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def write(diagnosis: Diagnosis, run: Run, form: str, stream: TextIO, *, sections: Sequence[Section] = ()) -> None:
    """Write a report.

    Args:
        diagnosis: what was concluded.
        run: the record it was concluded from, for the plots.
        form: one of `FORMS`.
        stream: open for text; where it cannot hold a character, an escape is written instead.
        sections: further sections for the forms that are pages.

    Raises:
        ConfigError: no such form.
    """
    if form not in FORMS:
        raise ConfigError(f"there is no report form {form!r}", do=f"use one of {', '.join(FORMS)}")
    if form == "text" and getattr(stream, "isatty", lambda: False)():
        _render(diagnosis, run, form, stream, sections)
        return
    target = StringIO()
    _render(diagnosis, run, form, target, sections)
    _put(target.getvalue(), form, stream)


def write_view(view: View, form: str, stream: TextIO) -> None:
    """Write any page, such as one of the manual, in a form of `PAGES`."""
    module = import_module(f"holter.reports.{PAGES[form]}")
    if form == "text" and getattr(stream, "isatty", lambda: False)():
        module.write(view, stream)
        return
    target = StringIO()
    module.write(view, target)
    _put(target.getvalue(), form, stream)


def _put(text: str, form: str, stream: TextIO) -> None:
    stream.write(_encodable(text, form, getattr(stream, "encoding", None) or "utf-8"))


def _render(diagnosis: Diagnosis, run: Run, form: str, stream: TextIO, sections: Sequence[Section]) -> None:
    if form in DATA:
        import_module(f"holter.reports.{DATA[form]}").write(diagnosis, stream)
        return
    from holter.reports.view import build

    view = build(diagnosis, run, form, sections)
    import_module(f"holter.reports.{PAGES[form]}").write(view, stream)


def _encodable(text: str, form: str, encoding: str) -> str:
    """The text with what ``encoding`` lacks written in the escapes of the form."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        if form in DATA:
            return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text)
        if form == "html":
            return text.encode("ascii", "xmlcharrefreplace").decode()
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
