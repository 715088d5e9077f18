"""Tests every claim of the five reports on the small recipes and writes docs/reports-revisited/*.md from what came.

Usage: python scripts/reports_revisited.py [SYSTEM]... [--jobs N]

Every number on the pages is measured here. Trials are kept in build/reports-revisited, so that a run that was stopped
goes on where it was; remove that folder to measure everything anew. Takes about a quarter of an hour on two cores.
Needs the training extra, and bitsandbytes for the one claim about 8-bit weights.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from holter.experiments.attempt import Progress, attempt  # noqa: E402
from holter.experiments.ledger import Entry, Hypothesis, Ledger, Verdict, VerdictWord  # noqa: E402
from holter.experiments.pool import LocalPool  # noqa: E402
from holter.experiments.targets import Target  # noqa: E402
from holter.experiments.trial import CRASHED, TrialCache  # noqa: E402
from holter.reports import write_view  # noqa: E402
from holter.reports.blocks import Block, Code, Item, Items, Paragraph, Section, Table, View  # noqa: E402
from holter.reports.experiments import spell  # noqa: E402
from scripts.revisited.account_tax import ACCOUNT_TAX  # noqa: E402
from scripts.revisited.akkadian import AKKADIAN  # noqa: E402
from scripts.revisited.claim import Claim, System  # noqa: E402
from scripts.revisited.runyoro import RUNYORO  # noqa: E402

BUILD = ROOT / "build" / "reports-revisited"
PAGES = ROOT / "docs" / "reports-revisited"
MADE = "<!-- Made by scripts/reports_revisited.py from real trials; change that, not this page. -->"
PACKAGES = ("transformers", "torch", "accelerate", "peft")
OWN = "Holter"
ENDED = "it crashed: "
SYSTEMS = (AKKADIAN, ACCOUNT_TAX, RUNYORO)


def run_claims(system: System, pool: LocalPool) -> Iterator[tuple[Claim, Entry]]:
    """Each claim with its entry in a new ledger."""
    folder = BUILD / system.page
    Ledger(folder).path.unlink(missing_ok=True)
    for number, claim in enumerate(system.claims, start=1):
        started = time.monotonic()
        entry = test(system, claim, folder, pool)
        place, seconds = f"{system.page} {number}/{len(system.claims)}", time.monotonic() - started
        print(f"{place}: {word(entry)} ({seconds:.0f} s) {claim.says}", flush=True)
        yield claim, entry


def test(system: System, claim: Claim, folder: Path, pool: LocalPool) -> Entry:
    """The prediction into the ledger, the trials, the verdict."""
    settings = {**system.settings, **claim.base}
    shown = f"{system.page} (small)"
    reason = why_not(claim)
    if reason:
        hypothesis = Hypothesis(target=shown, change=claim.change, expect=claim.expect, why=claim.says)
        verdict = Verdict(word=VerdictWord.INCONCLUSIVE, reason=reason)
        number = Ledger(folder).predict(hypothesis)
        Ledger(folder).decide(number, verdict)
        return Entry(number=number, hypothesis=hypothesis, verdict=verdict)
    target = Target(name=f"scripts.revisited.targets:{system.target}", settings=settings, shown=shown, folder=folder)
    made = attempt(
        target,
        claim.change,
        claim.expect,
        engine=pool,
        steps=claim.steps,
        why=claim.says,
        cause=claim.cause,
        cache=TrialCache(BUILD / "trials"),
        told=tell,
    )
    return made.entry


def why_not(claim: Claim) -> str:
    """Why a claim cannot be tested here, empty when it can."""
    if not claim.change:
        return claim.means
    if claim.change.get("load_in_8bit") and importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed where this page was made"
    return ""


def tell(progress: Progress) -> None:
    """One line a trial, on stderr."""
    loss = progress.result.series.get("loss", [])
    shown = f"loss {loss[0][1]:.4g} at step 1" if loss else progress.result.error
    print(f"    trial {progress.done} of {progress.total}: {shown}", file=sys.stderr)


def page(system: System, tested: Sequence[tuple[Claim, Entry]]) -> str:
    """The page as Markdown."""
    view = View(
        title=system.title,
        headline=tally(tested),
        summary=(system.symptom,),
        sections=(
            Section(key="claims", title="Claims and verdicts", blocks=(table(tested),)),
            Section(key="reasons", title="What follows", blocks=tuple(reasons(tested))),
            Section(key="limits", title="What this can and cannot show", blocks=(Paragraph(text=system.caveat),)),
            Section(key="trials", title="How the trials were made", blocks=tuple(method(system, tested))),
        ),
    )
    stream = io.StringIO()
    write_view(view, "markdown", stream)
    return f"{MADE}\n{stream.getvalue()}"


def tally(tested: Sequence[tuple[Claim, Entry]]) -> str:
    """How many of the reports' claims hold."""
    words = Counter(e.verdict.word.value for claim, e in tested if e.verdict and claim.of != OWN)
    own = Counter(e.verdict.word.value for claim, e in tested if e.verdict and claim.of == OWN)
    counts = ", ".join(f"{words[word.value]} {word.value}" for word in VerdictWord)
    ours = ", ".join(f"{own[word.value]} {word.value}" for word in VerdictWord if own[word.value])
    return f"Claims of the reports: {counts}. Hypotheses that they do not have: {ours}."


def table(tested: Sequence[tuple[Claim, Entry]]) -> Table:
    """Claim, prediction, effect, verdict."""
    columns = (
        "",
        "of",
        "claim",
        "change",
        "predicted of the changed replay",
        "unchanged",
        "changed",
        "rows",
        "verdict",
    )
    return Table(columns=columns, rows=tuple(row(claim, entry) for claim, entry in tested))


def row(claim: Claim, entry: Entry) -> tuple[str, ...]:
    """One claim with what came of it."""
    verdict = entry.verdict
    if verdict is None or not claim.change:
        return (
            str(entry.number),
            claim.of,
            claim.says,
            "none that a small model could settle",
            *[""] * 4,
            word(entry),
        )
    crashed = verdict.observed.get(CRASHED)
    rows = "none" if crashed else "the same" if verdict.fingerprints_match else "others, by design"
    asked = (str(entry.number), claim.of, claim.says, entry.hypothesis.text, claim.expect)
    return (*asked, values(verdict.base), values(verdict.observed), rows, word(entry))


def word(entry: Entry) -> str:
    """The verdict in one word."""
    return entry.verdict.word.value if entry.verdict else "not finished"


def values(found: dict[str, float]) -> str:
    """References and values, those of the other arm left out."""
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items() if not name.startswith("base."))


def reasons(tested: Sequence[tuple[Claim, Entry]]) -> Iterator[Block]:
    """The verdict's reason and what it means, claim by claim."""
    items = []
    for claim, entry in tested:
        said = " ".join(entry.verdict.reason.split()) if entry.verdict else ""
        ending = said[said.find(ENDED) :].rstrip(".") if ENDED in said else ""
        unsettled = said if word(entry) == VerdictWord.INCONCLUSIVE.value and said != claim.means else ""
        text = " ".join(sentence(part) for part in (ending, unsettled, claim.means) if part)
        items.append(Item(label=f"{entry.number}, {word(entry)}", text=text))
    yield Items(items=tuple(items), style="terms")


def sentence(text: str) -> str:
    """With a capital in front and a full stop behind."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def method(system: System, tested: Sequence[tuple[Claim, Entry]]) -> Iterator[Block]:
    """What both arms were, with which versions, and how to do it again."""
    yield Paragraph(
        text="Each claim is written into a ledger with its prediction before its trials start. The unchanged set-up is "
        "replayed twice, which gives the spread of doing nothing, and once with the change, from the same weights and "
        "on the same rows, which fingerprints check."
    )
    spreads = [v for _, e in tested if e.verdict for v in e.verdict.spread.values()]
    yield Paragraph(text=f"Largest spread between two unchanged replays over all values above: {max(spreads):.2g}.")
    rows = tuple((name, spell(value)) for name, value in system.settings.items())
    yield Table(columns=("setting of both arms", "value"), rows=rows)
    different = tuple((str(e.number), spell_all(c.base)) for c, e in tested if c.base)
    if different:
        yield Table(columns=("claim", "other settings of both its arms"), rows=different)
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield Paragraph(text=f"On a CPU with {packages}. To do it again:")
    yield Code(text=f"python scripts/reports_revisited.py {system.page}", language="sh")


def spell_all(settings: dict[str, object]) -> str:
    """Several settings in a line."""
    return ", ".join(f"{name}={spell(value)}" for name, value in settings.items())


def main() -> int:
    """Test the claims of the systems that were named, or of all, and write their pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=", ".join(s.page for s in SYSTEMS))
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    given = parser.parse_args()
    unknown = set(given.systems) - {s.page for s in SYSTEMS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    pool = LocalPool(given.jobs)
    PAGES.mkdir(parents=True, exist_ok=True)
    for system in SYSTEMS:
        if not given.systems or system.page in given.systems:
            tested = list(run_claims(system, pool))
            (PAGES / f"{system.page}.md").write_text(page(system, tested), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
