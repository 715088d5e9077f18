"""The report as one self-contained HTML page: inline style, inline SVG, nothing loaded, all text escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TextIO

from holter.reports.blocks import Block, Plot, View

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def write(view: View, stream: TextIO) -> None:
    """Write a page."""
    stream.write(_environment().get_template("page.html.j2").render(view=view))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("holter.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["kind"] = _kind
    environment.filters["svg"] = _svg
    return environment


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _svg(plot: Plot) -> Markup:
    from markupsafe import Markup

    from holter.reports.plots import svg

    return Markup(svg(plot))
