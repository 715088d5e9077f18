"""One pass over the data against plain loops over the same rows, from lists, tables and streams."""

from collections import Counter

import pytest

np = pytest.importorskip("numpy")
datasets = pytest.importorskip("datasets")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from holter.probes import columns  # noqa: E402
from holter.probes.data import quantile  # noqa: E402
from holter.probes.rows import distinct, gather  # noqa: E402

ROW = st.fixed_dictionaries(
    {
        "input_ids": st.lists(st.integers(0, 3), max_size=3),
        "labels": st.integers(0, 2),
        "text": st.sampled_from(["a", "b", " ", "ä\ufffd"]),
        "doc_id": st.integers(0, 5),
    }
)


def as_key(row):
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in sorted(row.items()))


@given(st.lists(ROW, min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_pass_counts_what_plain_loops_count(rows):
    split = gather(rows)
    assert split.rows == len(rows) and split.complete
    assert len(distinct(split.prints)) == len({as_key(row) for row in rows})
    assert split.lengths == Counter(len(row["input_ids"]) for row in rows)
    assert split.labels == Counter(row["labels"] for row in rows)
    assert split.empty == sum(not row["input_ids"] for row in rows) + sum(not row["text"].strip() for row in rows)
    assert len(distinct(split.ids["doc_id"])) == len({row["doc_id"] for row in rows})
    constant = {name for name in rows[0] if all(row[name] == rows[0][name] for row in rows)}
    assert set(split.constant) == constant
    ordered = sorted(len(row["input_ids"]) for row in rows)
    for share in (0.0, 0.5, 0.95, 1.0):
        assert quantile(split.lengths, share) == ordered[min(int(share * (len(ordered) - 1)), len(ordered) - 1)]


def some_rows(count):
    return [{"input_ids": [i % 7] * (i % 5), "labels": [-100, i % 3] if i % 4 else [-100]} for i in range(count)]


@pytest.mark.parametrize("kind", ["table", "stream", "iterable"])
def test_tables_streams_and_lists_give_the_same(kind, monkeypatch):
    monkeypatch.setattr(columns, "CHUNK", 16)
    rows = some_rows(100)
    table = datasets.Dataset.from_list(rows)

    class Again:
        def __iter__(self):
            return iter(rows)

    found = gather({"table": table, "stream": table.to_iterable_dataset(), "iterable": Again()}[kind])
    plain = gather(rows)
    assert list(found.prints) == list(plain.prints)
    assert found.lengths == plain.lengths and found.target_lengths == plain.target_lengths
    assert (
        found.unsupervised == plain.unsupervised == Counter(len(r["input_ids"]) for r in rows if len(r["labels"]) == 1)
    )


def test_order_within_a_row_and_its_length_matter():
    lists = [[1, 2], [2, 1], [1, 2, 0], [0, 1, 2], [], [0], [0, 0]]
    digests = columns.prints(columns._of_rows(lists))
    assert len(set(digests.tolist())) == len(lists)


def test_a_slow_dataset_is_read_for_a_while_only(monkeypatch):
    monkeypatch.setattr(columns, "MOST_SECONDS", -1.0)
    monkeypatch.setattr(columns, "CHUNK", 10)
    split = gather(some_rows(100))
    assert split.rows == 10 and not split.complete


def test_memory_is_a_few_bytes_a_row():
    class Many:
        def __iter__(self):
            return ({"input_ids": [i % 50, i % 7], "labels": i % 9} for i in range(20_000))

    split = gather(Many())
    assert split.rows == 20_000
    assert split.prints.itemsize * len(split.prints) == 8 * 20_000
    assert len(split.lengths) == 1 and len(split.labels) == 9, "nothing else grows with the rows"
