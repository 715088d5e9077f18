"""Every form says what the view says, in the bytes of the golden files; `pytest --rewrite-golden` rewrites them."""

import io
import json
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sample_diagnosis import SECRET, make_fault, make_healthy, make_run, make_undetermined

from holter import reports
from holter.diagnosis.result import Excluded, Verdict
from holter.errors import ConfigError
from holter.reports.blocks import Code, Curve, Item, Items, Plot, Section, Table

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = {"fault": make_fault, "healthy": make_healthy, "undetermined": make_undetermined}
SUFFIX = {"text": "txt", "json": "json", "markdown": "md", "html": "html", "sarif": "sarif"}


def rendered(diagnosis, form, **more):
    stream = io.StringIO()
    reports.write(diagnosis, make_run(), form, stream, **more)
    return stream.getvalue()


@pytest.mark.parametrize("form", reports.FORMS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_golden(sample, form, request):
    got = rendered(SAMPLES[sample](), form)
    path = GOLDEN / f"{sample}.{SUFFIX[form]}"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(got, encoding="utf-8")
    assert got == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", reports.FORMS)
def test_secrets_and_control_characters_are_in_no_form(form):
    got = rendered(make_fault(), form)
    assert SECRET not in got
    assert SECRET[4:] not in got
    assert "\x1b" not in got
    assert "***" in got or form == "sarif"


@pytest.mark.parametrize("sample", SAMPLES)
def test_json_keeps_to_its_schema(sample):
    schema = json.loads(files("holter.reports").joinpath("diagnosis.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    data = json.loads(rendered(SAMPLES[sample](), "json"), parse_constant=lambda token: pytest.fail(token))
    Draft202012Validator(schema).validate(data)
    assert set(data) == set(schema["required"])
    data["verdict"] = "fine"
    assert list(Draft202012Validator(schema).iter_errors(data))


def test_json_says_which_number_was_not_finite():
    data = json.loads(rendered(make_fault(), "json"))
    assert data["causes"][0]["evidence"][0]["value"] == "NaN"
    assert data["findings"][2]["evidence"][0]["value"] == "Infinity"
    assert data["causes"][0]["fix"]["changes"][0] == {"file": "train.ipynb", "key": "fp16", "from": True, "to": False}
    assert data["causes"][0]["evidence"][1]["source"] == {"file": "train.ipynb", "line": 12, "key": "fp16", "cell": 4}


def test_sarif_places_results():
    run = json.loads(rendered(make_fault(), "sarif"))["runs"][0]
    first = run["results"][0]
    assert [r["level"] for r in run["results"]] == ["error", "warning", "note"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "train.log"}
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 65}
    assert "fp16-overflow" in first["message"]["text"]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"]
    notices = run["invocations"][0]["toolExecutionNotifications"]
    assert {n["level"] for n in notices} == {"warning", "note", "error"}


def test_sarif_rules_come_from_the_docstring():
    from holter.checks.registry import CHECKS
    from holter.reports.manual import rule_text

    for code in CHECKS:
        title, description, cure = rule_text(code)
        assert title and len(description) > 20 and len(cure) > 10, code


def test_terminal_fits_eighty_columns_without_colour(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for sample in SAMPLES.values():
        lines = rendered(sample(), "text").splitlines()
        assert max(len(line) for line in lines if not line.lstrip().startswith("holter ")) <= 80
        assert not any(line != line.rstrip() for line in lines)


def test_a_command_stays_in_one_piece():
    from dataclasses import replace

    long = f"holter try RUN --set {'learning_rate=1e-5 ' * 6}--expect 'loss falls'"
    whole = make_fault()
    got = rendered(replace(whole, next=(replace(whole.next[0], command=long),)), "text")
    assert f"     {long}\n" in got


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    reports.write(make_fault(), make_run(), "text", coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    reports.write(make_fault(), make_run(), "text", plain)
    assert "\x1b[1;31" in coloured.getvalue()
    assert "\x1b[31" not in plain.getvalue() and ";31m" not in plain.getvalue()


def test_healthy_is_short():
    got = rendered(make_healthy(), "text")
    assert got.startswith(" HEALTHY ")
    assert "Fix" not in got and "Symptoms" not in got


def test_a_log_without_numbers_is_not_silently_healthy(tmp_path):
    import holter

    (tmp_path / "train.log").write_text("hello world\n", encoding="utf-8")
    run = holter.read([tmp_path])
    stream = io.StringIO()
    reports.write(holter.diagnose(run), run, "text", stream)
    assert "No logged numbers were found" in stream.getvalue()
    reports.write(holter.diagnose(run), run, "json", stream := io.StringIO())
    assert "No logged numbers were found" in json.loads(stream.getvalue())["notes"][0]


def test_undetermined_puts_the_measurement_first():
    got = rendered(make_undetermined(), "text")
    assert got.index("To settle it") < got.index("Symptoms") < got.index("What was looked at")
    assert "Closest so far" in got


def test_an_open_cause_gets_no_fix():
    from dataclasses import replace

    open_cause = replace(make_fault(), verdict=Verdict.UNDETERMINED)
    for form in reports.PAGES:
        got = rendered(open_cause, form)
        assert "Train in bf16" in rendered(make_fault(), form)
        assert "Train in bf16" not in got and "Expected after the fix" not in got


def test_a_reason_shared_by_several_causes_is_given_once():
    from dataclasses import replace

    lead = "it shows before any update"
    excluded = (
        Excluded(cause="warmup-missing", reason=f"{lead}; warmup acts later"),
        Excluded(cause="lr-too-high", reason=f"{lead}; the rate acts through updates"),
        Excluded(cause="pad-token-missing", reason="a pad id is set; so there is one"),
    )
    got = " ".join(rendered(replace(make_fault(), excluded=excluded), "text").split())
    assert got.count(lead[3:]) == 1
    assert "That rules out: - warmup-missing: Warmup acts later. - lr-too-high: The rate acts" in got
    assert "Also ruled out: - pad-token-missing: A pad id is set; so there is one." in got


def test_ascii_stream_gets_escapes():
    hostile = make_fault()
    for form in reports.FORMS:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        reports.write(hostile, make_run(), form, stream)
        stream.flush()
        assert raw.getvalue()
        if form in reports.DATA:
            json.loads(raw.getvalue())


def test_json_survives_what_utf8_cannot_hold():
    from dataclasses import replace

    broken = replace(make_healthy(), notes=("half a pair \ud83d and 世界 😀",))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    reports.write(broken, make_run(), "json", stream)
    stream.seek(0)
    assert json.load(stream)["notes"] == ["half a pair \\ud83d and 世界 😀"]


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_reported(text):
    from dataclasses import replace

    from holter.finding import Evidence
    from holter.run import Source

    evidence = Evidence(text=text, source=Source(file=text, key=text), value={text: [text, float("nan"), 10**40]})
    whole = make_fault()
    causes = (replace(whole.causes[0], explanation=text, evidence=(evidence,)),)
    strange = replace(whole, causes=causes, notes=(text,), excluded=(Excluded(cause=text, reason=text),))
    for form in reports.FORMS:
        got = rendered(strange, form)
        got.encode("utf-8")
        if form in reports.DATA:
            json.loads(got)


def test_unknown_form():
    with pytest.raises(ConfigError, match="no report form 'pdf'"):
        reports.write(make_healthy(), make_run(), "pdf", io.StringIO())


def test_further_sections_are_in_every_page():
    plot = Plot(title="effect", curves=(Curve(name="effect", xs=[1, 2], ys=[1.0, 8.0]),))
    trials = Section(
        key="trials",
        title="Trials",
        blocks=(
            Table(columns=("trial", "effect"), rows=(("fp16=false", "1.00"),), numeric=(1,)),
            Items(items=(Item(label="H1", text="it is the <warmup>"),), style="terms"),
            Code(text="- fp16: true\n+ fp16: false", language="diff"),
            plot,
        ),
    )
    for form in reports.PAGES:
        got = rendered(make_healthy(), form, sections=(trials,))
        assert "Trials" in got and "fp16=false" in got and "+ fp16: false" in got and "H1" in got
        assert got.index("Trials") < got.index("What was looked at")
    page = rendered(make_healthy(), "html", sections=(trials,))
    assert "<warmup>" not in page
    assert '<span class="removed">- fp16: true</span>\n<span class="added">+ fp16: false</span>' in page
