"""DAT091 split-undone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.data._sides import side_of
from holter.checks.look import seen, written
from holter.checks.noted import words_of
from holter.checks.script import argument, last_part, receiver, spelt_out, together
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

SPLITS = ("train_test_split", "random_split")
LOADERS = ("DataLoader", "build_dataloader", "DistributedSampler", "RandomSampler", "from_tensor_slices")
TRAIN_SETS = ("train_dataset", "train_data", "train_set", "training_data")
HELD_SETS = ("eval_dataset", "valid_dataset", "val_dataset", "validation_data", "eval_set")
PLACE = regex(r"[A-Za-z_][\w.]*$")
SAMPLED = regex(r"sampler|SubsetRandom", re.I)
A_PART = regex(r"^(?:[\w.]+\.)?Subset\((?P<of>[\w.]+),")

FOR_TEST, FOR_CHOICE = regex(r"\b(?:te|tst|test\w*|holdout)\b"), regex(r"\b(?:va|vl|val\w*|dev|eval)\b")
"""Held-out rows that a score is told of, and those by which something is chosen: two parts of one study."""

SEEDS = regex(r"(?:^|\.)(?:manual_seed(?:_all)?|seed|set_seed|seed_everything|set_random_seed|fix_seed|init_seeds?)$")
OF_PROCESS = regex(r"rank\b|process_index|process_id|worker_seed|get_rank\(")
IN_WORKER = regex(r"worker_init|init_fn|seed_worker")
"""Calls that seed a generator, and what differs from process to process; a loader's workers have seeds of their own."""


class SplitUndone(Check):
    """What it looks for
        A loader or trainer that trains on the whole set after a part of it was held out; two random splits of one list
        that give the training rows of one and the held-out rows of the other; a random split drawn under a seed that
        differs between processes.

    Why it hurts
        Held-out rows are trained on: the score measures memory, and overfitting cannot be seen.

    How to fix it
        Train on the part that the split gives; split once; draw the split from a generator whose seed all processes
        share.

    When to ignore it
        In a last training on all rows whose score is taken from elsewhere.

    Threshold
        None: names are followed from the split to what they are given to.

    Sources
        PyTorch's documentation of ``random_split``, which draws from the default generator; scikit-learn's guide,
        "Common pitfalls": keep test data apart.
    """

    code = "DAT091"
    name = "split-undone"
    title = "What was held out is trained on after all"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "a loader of all",
            "tr, va = random_split(rows, [n, m])\ntrain_dl = DataLoader(rows, shuffle=True)\nval_dl = DataLoader(va)\n",
        ),
        script(
            "methods of a module",
            "def setup(self):\n    self.train_set, self.val_set = random_split(self.rows, [n, m])\n"
            "def train_dataloader(self):\n    return DataLoader(dataset=self.rows, shuffle=True)\n",
        ),
        script(
            "a Trainer",
            "parts = ds.train_test_split(0.1)\nt = Trainer(m, train_dataset=ds, eval_dataset=parts['test'])\n",
        ),
        script(
            "a sampler on one side alone",
            "val_dl = DataLoader(ds, sampler=SubsetRandomSampler(val_idx))\ntrain_dl = DataLoader(ds, shuffle=True)\n",
        ),
        script(
            "two splits",
            "tr_all, te = train_test_split(ids, random_state=0)\ntr, va = train_test_split(ids, random_state=1)\n",
        ),
        script(
            "two splits in two functions",
            "def train():\n    tr, _ = train_test_split(files, random_state=3)\n    return tr\n"
            "def test():\n    _, te = train_test_split(files, random_state=4)\n    return te\n",
        ),
        script("a seed of each process", "torch.manual_seed(seed + rank)\ntr, va = random_split(rows, [n, m])\n"),
        script("taken and kept", "val_ds = ds.take(99).batch(8)\ntrain_ds = ds.batch(8)\n"),
        script(
            "an order of each process",
            "np.random.seed(s + rank)\nidx = np.random.permutation(n)\ntr, va = idx[:k], idx[k:]\n",
        ),
    )
    good = (
        script("taken and skipped", "val_ds = ds.take(99).batch(8)\ntrain_ds = ds.skip(99).batch(8)\n"),
        script(
            "a loader of the part",
            "all_dl = DataLoader(rows)\ntr, va = random_split(rows, [n, m])\n"
            "train_dl = DataLoader(tr, shuffle=True)\nval_dl = DataLoader(va)\n",
        ),
        script(
            "a sampler on each side",
            "val_dl = DataLoader(ds, sampler=SubsetRandomSampler(a))\n"
            "train_dl = DataLoader(ds, sampler=SubsetRandomSampler(b))\n",
        ),
        script(
            "a generator of its own",
            "torch.manual_seed(seed + rank)\n"
            "tr, va = random_split(rows, [n, m], generator=torch.Generator().manual_seed(0))\n",
        ),
        script("two experiments", "a_train, a_test = train_test_split(df)\nb_train, b_test = train_test_split(df)\n"),
        script(
            "one split, twice",
            "tr, _ = train_test_split(f, random_state=3)\n_, te = train_test_split(f, random_state=3)\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of all files."""
        found = next((each for code in run.code for each in _all(code)), None)
        if found is not None:
            text, evidence = found
            yield self.finding(
                text,
                evidence=evidence,
                clues=clues(text, eval_leak=6.5),
                fix=Fix(summary="Train on the part that the split gives, and draw one split for all."),
            )


Found = tuple[str, list[Evidence]]


def _all(code: Code) -> Iterator[Found]:
    splits = [c for c in code.calls if last_part(c.name) in SPLITS and c.target]
    for split in splits:
        yield from _whole_loaded(code, split)
    yield from _sampled_on_one_side(code)
    for index, first in enumerate(splits):
        for second in splits[index + 1 :]:
            yield from _split_again(code, first, second)
    drawn = [c for c in code.named("permutation", "randperm") if _cut_in_two(code, c.target)]
    for split in (*splits, *drawn):
        yield from _of_each_process(code, split)
    yield from _taken_and_kept(code)


def _parts(split: Call) -> list[str]:
    """The names of training and held-out rows: ``d`` of ``d = ds.train_test_split()`` holds both."""
    names = [part.strip() for part in split.target.strip("()[]").split(",")]
    return names if len(names) > 1 else [f"{names[0]}['train']", f"{names[0]}['test']"]


def _whole(split: Call) -> str:
    """The rows that are split: the first argument, or the owner of the method."""
    owner = receiver(split)
    given = written(split.args[0]) if split.args else ""
    return owner if "," not in split.target and owner and "sklearn" not in owner else given


def _whole_loaded(code: Code, split: Call) -> Iterator[Found]:
    whole, parts = _whole(split), _parts(split)
    if not PLACE.match(whole) or whole in parts or _rebound(code, whole, split):
        return
    also = {a.target for a in code.assignments if written(a.value) == whole and a.order > split.order}
    near = (c for c in code.calls if c.order > split.order and (_in_reach(c, split, whole) or _rows(c) in also))
    used = [(c, whole if _rows(c) in also else _rows(c)) for c in near]
    if any(parts[0] in re.split(r"[(,) ]", rows) for _, rows in used if rows):
        return
    for call, rows in used:
        given = {name: written(v) for name, v in call.kwargs.items()}
        held = next((v for n, v in given.items() if n in HELD_SETS and any(p in v for p in parts[1::2])), None)
        trains = next((n for n in TRAIN_SETS if given.get(n) == whole), None)
        fits = last_part(call.name) == "fit" and bool(call.args) and written(call.args[0]) == whole
        if held is not None and (trains or fits):
            yield f"{whole} is trained on, and {held} is a part of it", [seen(split), seen(call)]
        if rows == whole and _for_training(call) and "," in split.target:
            yield f"the training loader goes through {whole}, not through {parts[0]}", [seen(split), seen(call)]


def _rows(call: Call) -> str:
    return written(argument(call, 0, "dataset")) if last_part(call.name) in LOADERS else ""


def _for_training(call: Call) -> bool:
    """Whether a loader is that of the training side, by its name, its function or its shuffling."""
    side = side_of(last_part(call.target)) or side_of(last_part(call.scope))
    named = [key for key in call.kwargs if SAMPLED.search(key)]
    return not named and (side == "train" or (side == "" and call.kwargs.get("shuffle") is True and call.target != ""))


def _in_reach(call: Call, split: Call, whole: str) -> bool:
    return "." in whole or call.scope == split.scope or not split.scope


def _rebound(code: Code, name: str, split: Call) -> bool:
    """Whether a name gets other rows after the split."""
    same = (a for a in code.assignments if a.order > split.order and (a.scope == split.scope or "." in name))
    return any(name in [part.strip() for part in a.target.split(",")] for a in same)


def _sampled_on_one_side(code: Code) -> Iterator[Found]:
    """The held-out loader takes a part of the rows that the training loader takes all of."""
    loaders = [c for c in code.named("DataLoader") if c.target]
    for held in loaders:
        sampler = written(held.kwargs.get("sampler", ""))
        part = A_PART.match(spelt_out(argument(held, 0, "dataset"), held, code).strip("()") + ",")
        drawn = "Distributed" not in spelt_out(held.kwargs.get("sampler", ""), held, code)
        whole = part["of"] if part is not None else _rows(held) if sampler and drawn else ""
        if not PLACE.match(whole) or side_of(last_part(held.target)) != "held" or side_of(whole):
            continue
        for train in loaders:
            same = train.scope == held.scope and _rows(train) == whole and side_of(last_part(train.target)) == "train"
            if same and train.kwargs.get("shuffle") is True and together(train.guards, held.guards):
                yield (
                    f"{train.target} goes through all of {whole}, {held.target} through a part",
                    [
                        seen(train),
                        seen(held),
                    ],
                )


def _split_again(code: Code, first: Call, second: Call) -> Iterator[Found]:
    """Training rows of one split beside held-out rows of another split of the same list."""
    whole = _whole(first)
    if _whole(second) != whole or not PLACE.match(whole) or first.loops != second.loops or first.name != second.name:
        return
    if "," not in first.target or "," not in second.target or not together(first.guards, second.guards):
        return
    one, other = _parts(first), _parts(second)
    if whole in (*one, *other) or any(_rebound(code, whole, s) for s in (first, second)):
        return
    alike = [{k: written(v) for k, v in s.kwargs.items() if k != "stratify"} for s in (first, second)]
    if alike[0] == alike[1] and first.args[1:] == second.args[1:] and ("random_state" in alike[0] or not alike[0]):
        return
    words = [" ".join(map(words_of, parts[1::2])) for parts in (one, other)]
    kinds = any(FOR_TEST.search(words[a]) and FOR_CHOICE.search(words[1 - a]) for a in (0, 1))
    kinds = kinds and not set(one) & set(other) - {"_"}
    thrown = (one[0] == "_" and other[0] != "_" and other[1] == "_") or (
        other[0] == "_" and one[0] != "_" and (one[1] == "_" or one[1] not in other)
    )
    if thrown or (kinds and first.scope == second.scope):
        held = other[1] if other[1] != "_" else one[1]
        yield (
            f"{whole} is split at random twice, so rows of {held} are in the other training part",
            [
                seen(first),
                seen(second),
            ],
        )


def _of_each_process(code: Code, split: Call) -> Iterator[Found]:
    """A split from a generator that every process has seeded with a number of its own."""
    given = split.kwargs.get("generator", split.kwargs.get("random_state", split.kwargs.get("seed")))
    if given is not None:
        text = spelt_out(given, split, code)
        if OF_PROCESS.search(text) and "manual_seed(" in text + "manual_seed(" * ("random_state" in split.kwargs):
            yield f"the split is drawn with a seed that differs between processes: {text}"[:160], [seen(split)]
        return
    seeds = [c for c in code.calls if SEEDS.search(c.name) and not IN_WORKER.search(c.scope) and c.args]
    seeds = [c for c in seeds if c.order < split.order and _library(c) in _drawn_by(split)]
    if not seeds:
        return
    last = next((c for c in reversed(seeds) if _differs(code, c)), None)
    plainly = [c for c in seeds if last is not None and c.order > last.order and c.scope == split.scope]
    inner = {last_part(last.scope)} if last is not None and last.scope else set()
    plainly = [c for c in plainly if last_part(c.name) not in inner]
    if last is not None and not plainly:
        yield "the split is drawn under a seed that differs between processes", [seen(last), seen(split)]


def _differs(code: Code, seed: Call) -> bool:
    """Whether a seed holds the number of the process, or the name it goes by was raised by it."""
    raised = (a for a in code.assignments if a.target == written(seed.args[0]) and a.order < seed.order)
    texts = [spelt_out(seed.args[0], seed, code), *(written(a.value) for a in raised if a.scope == seed.scope)]
    return any(OF_PROCESS.search(text) for text in texts)


def _cut_in_two(code: Code, order: str) -> bool:
    """Whether one part of a random order comes to one side, and the other part to the other."""
    texts = [written(a.value) for a in code.assignments]
    return (
        bool(order)
        and any(f"{order}[:" in t for t in texts)
        and any(re.search(rf"\b{order}\[[^\[\]:]*.*:\]", t) for t in texts)
    )


def _taken_and_kept(code: Code) -> Iterator[Found]:
    """``ds.take(n)`` for one side, and nothing skipped for the other."""
    if code.named("skip", "shard", "split_dataset"):
        return
    for take in code.named("take"):
        whole, held = (
            receiver(take).split(".")[0].removesuffix("()"),
            [a for a in code.assignments if side_of(a.target) == "held"],
        )
        held = [a for a in held if f"{whole}.take(" in written(a.value)]
        train = [a for a in code.assignments if side_of(a.target) == "train" and "take(" not in written(a.value)]
        train = [a for a in train if re.match(rf"{re.escape(whole)}\b[.]?", written(a.value)) and not side_of(whole)]
        if held and train:
            text = f"{train[0].target} = {written(train[0].value)}"[:160]
            yield (
                f"{held[0].target} takes rows of {whole}, which {train[0].target} keeps",
                [
                    seen(take),
                    Evidence(text=text, source=train[0].source),
                ],
            )


def _drawn_by(split: Call) -> tuple[str, ...]:
    """Libraries whose generator a split draws from."""
    return ("torch", "") if last_part(split.name) in ("random_split", "randperm") else ("np", "numpy", "")


def _library(call: Call) -> str:
    """``np`` of ``np.random.seed``; nothing for a helper, which seeds all of them."""
    owner = receiver(call).split(".")[0]
    return owner if owner in ("torch", "np", "numpy", "random", "tf", "cuda") else ""
