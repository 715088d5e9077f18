"""Recognising what a run said: wording, wildcards, kinds, repeated lines, quotes."""

from holter.checks.messages import QUOTE_LENGTH, Phrase, find, phrase, quote, said, statements, strongest
from holter.finding import Clue
from holter.run import EVENT_MESSAGE, EVENT_WARNING, Authority, Event, Run, Source, Value


def _run(*events):
    run = Run()
    run.events.extend(events)
    return run


def test_wording_is_found_whatever_case_and_line_breaks():
    run = _run(said("ValueError: Attempting\n   to UNSCALE fp16 gradients."))
    assert find(run, phrase("attempting to unscale FP16 gradients"))


def test_a_star_stands_for_anything_but_keeps_the_order():
    wanted = phrase("target * is out of bounds")
    assert find(_run(said("IndexError: Target 12 is out of bounds.")), wanted)
    assert not find(_run(said("is out of bounds: target 12")), wanted)


def test_pieces_must_stand_in_one_statement():
    run = _run(said("Target classes were counted", EVENT_MESSAGE), said("the index is out of bounds"))
    assert not find(run, phrase("target * is out of bounds"))


def test_a_phrase_can_be_limited_to_kinds():
    wanted = phrase("no kernel", EVENT_WARNING)
    assert find(_run(said("no kernel", EVENT_WARNING)), wanted)
    assert not find(_run(said("no kernel", EVENT_MESSAGE)), wanted)


def test_notes_among_facts_count_and_numbers_do_not():
    run = Run()
    place = Source(file="observed.yaml")
    run.add_fact("error", Value(value="CUDA error", source=place, authority=Authority.FACT))
    run.add_fact("rows", Value(value=12, source=place, authority=Authority.FACT))
    assert [s.text for s in statements(run)] == ["error: CUDA error"]


def test_further_lines_of_a_template_are_searched_too():
    place = Source(file="log.txt", line=1)
    run = _run(Event(kind=EVENT_MESSAGE, text="rank 0 ids 1", source=place, data={"others": ["rank 1 ids 2"]}, count=2))
    assert find(run, phrase("rank 1 ids 2"))


def test_statements_follow_a_run_that_grows():
    run = _run(said("one"))
    assert len(statements(run)) == 1
    run.events.append(said("two"))
    assert len(statements(run)) == 2


def test_a_long_text_is_cut_in_the_quote():
    run = _run(said("x" * (2 * QUOTE_LENGTH)))
    text = quote(statements(run)[0]).text
    assert len(text) == QUOTE_LENGTH
    assert text.endswith("...")


def test_two_wordings_of_one_fault_are_not_added_up():
    kept = strongest([Clue(cause="a", bits=3), Clue(cause="a", bits=8), Clue(cause="b", bits=-2)])
    assert {clue.cause: clue.bits for clue in kept} == {"a": 8, "b": -2}


def test_keywords_of_a_phrase_become_causes():
    found = phrase("x", lr_too_high=2.0)
    assert isinstance(found, Phrase)
    assert [(clue.cause, clue.bits) for clue in found.clues] == [("lr-too-high", 2.0)]
