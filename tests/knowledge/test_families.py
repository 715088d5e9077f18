"""A name finds its family, the most specific row first, and look-alikes are left alone."""

import pytest

from holter.knowledge.families import FAMILIES, Fp16Record, family_of


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("google/mt5-small", "mT5"),
        ("google/umt5-base", "UMT5"),
        ("google/byt5-base", "ByT5"),
        ("google/flan-t5-xl", "Flan-T5"),
        ("t5-large", "T5"),
        ("google/t5-v1_1-base", "T5"),
        ("t5-small", "T5 (small)"),
        ("T5ForConditionalGeneration", "T5"),
        ("microsoft/mdeberta-v3-base", "mDeBERTa-v3"),
        ("google/gemma-3-4b-it", "Gemma 3"),
        ("google/pegasus-large", "Pegasus"),
        ("EleutherAI/gpt-neo-1.3B", "GPT-Neo"),
        ("EleutherAI/gpt-neox-20b", "GPT-NeoX"),
    ],
)
def test_family_of_a_name(name, family):
    assert family_of(name).name == family


@pytest.mark.parametrize("name", ["bert-base-uncased", "meta-llama/Llama-2-7b", "roberta-large", "", "gpt5x"])
def test_unlisted_names_are_unknown(name):
    assert family_of(name, None) is None


def test_every_row_cites_a_source_and_overflowing_ones_say_where():
    for row in FAMILIES:
        assert "/" in row.source
        if row.fp16 is Fp16Record.OVERFLOWS:
            assert row.overflows_at
