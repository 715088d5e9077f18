"""DAT070 held-out-rows-seen-in-training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.data._sides import HELD_OUT, measured_on_training, side_of
from holter.checks.look import call_text, seen, written
from holter.checks.noted import words_of
from holter.checks.script import argument, first_in_each, last_part, receiver, texts, together
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Call, Code, Run
from holter.stages import Stage

SPLITS = ("train_test_split", "random_split")
LOADERS = ("DataLoader", "build_dataloader", "create_dataloader", "get_dataloader", "build_loader")
JOINS = ("concat", "concatenate", "vstack", "hstack", "cat", "append", "ConcatDataset", "concatenate_datasets", "chain")
SETS = ("load_dataset", "ImageFolder", "CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "SVHN", "STL10", "EMNIST")
TAKES_PART = regex(
    r"split|sampler|subset|fold|\bskip\b|\.take\b|shard|indices|\bidx\b|select|filter|shuffle\(|drop\(", re.I
)
"""Words of code that parts rows somewhere else than by the name of a set."""

CHOOSES = regex(
    r"\b(?:chosen|chooses?|choosing|selected|selects?|selecting|tuned?|tuning|weights?|early stop\w*|best)\b"
    r"[^.\n]{0,60}"
    r"\b(?:on|by|with|using) (?:the )?(?:val\w*|dev\w*|test\w*|held)"
)
"""A remark that something is chosen on the held-out rows."""

PREPARES = regex(
    r"scaler|encoder|vectori[sz]er|tokeni[sz]er|pca|imputer|binari[sz]er|normali[sz]er|transform|label|prep|tfidf", re.I
)
"""Objects that are fitted to features, not to answers."""

FITS = ("fit", "train", "fit_generator", "train_on_batch")
VALIDATED = ("val_dataloaders", "val_dataloader", "valid_dataloader", "valid_loader")
USES = ("predict", "score", "evaluate", "predict_proba", "decision_function", "accuracy_score", "f1_score")


class HeldOutRowsSeenInTraining(Check):
    """What it looks for
        A script that splits the whole data a second time; that makes the loader or the set of the held-out side out of
        training rows; that hands ``fit`` the same rows for training and for validation, or all rows after it has split
        them; that joins held-out rows to the training rows and then measures on them.

    Why it hurts
        The score measures memory: overfitting cannot be seen, and the best checkpoint is the last.

    How to fix it
        Split once and take further parts from the training part; hand each side its own rows.

    When to ignore it
        When the score on training rows is wanted, or when a last training on all rows follows all decisions and the
        score is taken from elsewhere.

    Threshold
        None: names and the order of calls are read.

    Sources
        scikit-learn's guide, "Common pitfalls": keep test data apart; Kaufman et al. 2012, "Leakage in data mining".
    """

    code = "DAT070"
    name = "held-out-rows-seen-in-training"
    title = "The script trains on rows that it evaluates on"
    severity = Severity.WARNING
    stage = Stage.DATA
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "split twice",
            "X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
            "X_train, X_dsel, y_train, y_dsel = train_test_split(X, y, test_size=0.5)\n",
        ),
        script(
            "the loader of the other side",
            "train_loader = DataLoader(train_set, batch_size=32, shuffle=True)\n"
            "val_loader = DataLoader(train_set, batch_size=32)\n",
        ),
        script(
            "the set of the other side",
            "train_ds = load_dataset('glue', 'sst2', split='train')\n"
            "eval_ds = load_dataset('glue', 'sst2', split='train')\n",
        ),
        script("a flag", "train_set = MNIST(root, train=True)\ntest_set = MNIST(root, train=True)\n"),
        script("validated on the same rows", "m.fit(x_train, y_train, validation_data=(x_train, y_train))\n"),
        case("one loader, twice", files={"a.py": "trainer.fit(model, train_dl, val_dataloaders=train_dl)\n"}),
        script(
            "fitted to all",
            "X_train, X_test, y_train, y_test = train_test_split(X, y)\nclf.fit(X, y)\n"
            "print(clf.score(X_test, y_test))\n",
        ),
        script("the loader of training, measured on", "acc = evaluate(model, train_loader)\nprint('val acc', acc)\n"),
        script("joined", "train_set = ConcatDataset([train_set, test_set])\ntest_loader = DataLoader(test_set)\n"),
        script(
            "joined parts of one set",
            "train_ds = concatenate_datasets([d['train'], d['test']])\n"
            "t = SFTTrainer(train_dataset=train_ds, eval_dataset=d['test'].map(tok))\n",
        ),
        script(
            "joined, and chosen on it",
            "dtrain_val = xgb.DMatrix(np.concatenate([train_X, val_X]))\n"
            "# the weights are then chosen on the validation set\n",
        ),
    )
    good = (
        script(
            "both sides measured",
            "a = evaluate(model, train_loader)\nb = evaluate(model, val_loader)\nprint('val acc', b)\n",
        ),
        case("called what it is", files={"a.py": "acc = evaluate(model, train_loader)\nprint('train acc', acc)\n"}),
        script(
            "split in three",
            "X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
            "X_train, X_val, y_train, y_val = train_test_split(X_train, y_train)\n",
        ),
        script(
            "what is left is split again", "train, rest = train_test_split(df)\nval, test = train_test_split(rest)\n"
        ),
        script(
            "either",
            "if small:\n    train, test = train_test_split(df, test_size=0.5)\n"
            "else:\n    train, test = train_test_split(df, test_size=0.1)\n",
        ),
        script("two experiments", "a_train, a_test = train_test_split(df)\nb_train, b_test = train_test_split(df)\n"),
        script(
            "labels of the same rows",
            "tr_x, va_x, tr_y, va_y = train_test_split(ids, tags, random_state=1)\n"
            "tr_m, va_m, _, _ = train_test_split(masks, ids, random_state=1)\n",
        ),
        script(
            "the same rows again",
            "tr_x, va_x = train_test_split(ids, random_state=1)\ntrain, val = train_test_split(ids, random_state=1)\n",
        ),
        script(
            "samplers",
            "train_loader = DataLoader(train_data, sampler=train_sampler)\n"
            "valid_loader = DataLoader(train_data, sampler=valid_sampler)\n",
        ),
        script(
            "parts",
            "train_ds = load_dataset('x', split='train[:90%]')\neval_ds = load_dataset('x', split='train[90%:]')\n",
        ),
        script(
            "a score on training rows",
            "train_loader = DataLoader(train_set)\ntrain_eval_loader = DataLoader(train_set, shuffle=False)\n",
        ),
        case("two loaders", files={"a.py": "trainer.fit(model, train_dl, val_dl)\nclf.fit(x, y)\n"}),
        script(
            "a scaler",
            "X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
            "scaler.fit(X)\nclf.fit(X_train, y_train)\n"
            "clf.score(X_test, y_test)\n",
        ),
        script("a vocabulary of both", "words = pd.concat([train_df, test_df])\ntokenizer.fit_on_texts(words)\n"),
        script(
            "all but the test", "train_set = ConcatDataset([train_set, val_set])\ntest_loader = DataLoader(test_set)\n"
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first of each file; one finding."""
        found = next(first_in_each(run, _all), None)
        if found is not None:
            text, evidence = found
            yield self.finding(
                text,
                evidence=evidence,
                clues=clues(text, eval_leak=6.5),
                fix=Fix(
                    summary="Split once, take further parts from the training part, and hand each side its own rows."
                ),
            )


Found = tuple[str, list[Evidence]]


def _all(code: Code) -> Iterator[Found]:
    yield from _split_twice(code)
    yield from _one_loader(code)
    yield from _one_set(code)
    yield from _fitted(code)
    yield from _joined(code)
    yield from measured_on_training(code)


def _split_twice(code: Code) -> Iterator[Found]:
    """Two random splits of the same whole rows, with parts of both in use under different names."""
    splits = [c for c in code.calls if last_part(c.name) in SPLITS and c.args and "," in c.target]
    for index, first in enumerate(splits):
        for second in splits[index + 1 :]:
            whole = written(first.args[0])
            same_scope = first.scope == second.scope and together(first.guards, second.guards)
            if not same_scope or written(second.args[0]) != whole or first.loop_depth != second.loop_depth:
                continue
            between = (a for a in code.assignments if first.order < a.order <= second.order)
            if any(whole in _names(a.target) for a in between) or whole in _names(first.target):
                continue
            held = [n for n in _names(first.target)[1::2] if n not in _names(second.target) and n != "_"]
            seeds = [c.kwargs.get("random_state", c.kwargs.get("generator")) for c in (first, second)]
            again = {n for n in _names(first.target) if n in _names(second.target) and n != "_"}
            alike = seeds[0] is not None and seeds[0] == seeds[1] and _size(first) == _size(second)
            if held and again and not alike:
                yield (
                    f"{whole} is split at random twice, so that {held[0]} is in the second training part",
                    [
                        seen(first),
                        seen(second),
                    ],
                )


def _size(split: Call) -> str:
    return written(split.kwargs.get("test_size", split.kwargs.get("train_size", "")))


def _names(target: str) -> list[str]:
    return [part.strip() for part in target.strip("()[]").split(",")]


def _one_loader(code: Code) -> Iterator[Found]:
    """A loader of the held-out side over the set of the training side."""
    loaders = [c for c in code.calls if last_part(c.name) in LOADERS and c.target]
    for call in loaders:
        rows = argument(call, 0, "dataset")
        text = written(rows)
        if side_of(last_part(call.target)) != "held" or side_of(text) != "train" or "sampler" in call_text(call):
            continue
        other = next((c for c in loaders if c is not call and written(argument(c, 0, "dataset")) == text), None)
        if other is not None and side_of(last_part(other.target)) == "train" and "sampler" not in call_text(other):
            yield f"{call.target} goes through {text}, like {other.target}", [seen(other), seen(call)]


def _one_set(code: Code) -> Iterator[Found]:
    """A set of the held-out side made like that of the training side, from training rows."""
    sets = [c for c in code.calls if last_part(c.name) in SETS and c.target and c.args]
    for call in sets:
        part = call.kwargs.get("split", call.kwargs.get("train"))
        text = f"{part} {call.args[0]}"
        from_training = part is True or part == "train" or (part is None and side_of(text) == "train")
        if side_of(last_part(call.target)) != "held" or not from_training or HELD_OUT.search(words_of(text)):
            continue
        for other in sets:
            same = other.name == call.name and other.args == call.args and other is not call
            same = same and other.kwargs.get("split", other.kwargs.get("train")) == part
            if same and side_of(last_part(other.target)) == "train" and not _parted(code):
                yield f"{call.target} holds the same rows as {other.target}", [seen(other), seen(call)]


def _parted(code: Code) -> bool:
    """Whether rows are taken out or divided anywhere in the file."""
    calls = (call.name for call in code.calls if last_part(call.name) not in SETS)
    return any(TAKES_PART.search(f"{name}(") for name in calls) or any("sampler" in t.lower() for t in texts(code))


def _fitted(code: Code) -> Iterator[Found]:
    """``fit`` with the same rows on both sides, or with all rows after a split."""
    splits = [c for c in code.calls if last_part(c.name) in SPLITS and c.args and "," in c.target]
    for call in code.calls:
        if last_part(call.name) not in FITS or not call.args:
            continue
        loader = written(argument(call, 1, "train_dataloaders", "train_dataloader") or "")
        if loader.replace(".", "").isidentifier() and loader == written(argument(call, 2, *VALIDATED)):
            yield f"{loader} is given for training and for validation", [seen(call)]
        rows, held = written(call.args[0]), call.kwargs.get("validation_data")
        first = held[0] if isinstance(held, (list, tuple)) and held else held
        inner = re.match(r"\(\s*([\w.\[\]]+)\s*,", written(first)) if first is not None else None
        if first is not None and rows.isidentifier() and (inner[1] if inner else written(first)) == rows:
            yield f"{rows} is given for training and for validation", [seen(call)]
        split = next((s for s in splits if s.order < call.order and written(s.args[0]) == rows), None)
        if split is None or PREPARES.search(receiver(call)) or not rows.isidentifier() or rows in _names(split.target):
            continue
        if any(a.target == rows for a in code.assignments if split.order < a.order < call.order):
            continue
        parts = _names(split.target)[1::2]
        used = next((c for c in code.calls if _uses(c, parts, call)), None)
        if used is not None:
            yield (
                f"{receiver(call)} is fitted to {rows}, of which {parts[0]} is a part",
                [seen(split), seen(call), seen(used)],
            )


def _uses(call: Call, parts: list[str], fit: Call) -> bool:
    mine = receiver(call) == receiver(fit) and last_part(call.name) in USES
    return call.order > fit.order and mine and any(written(value) in parts for value in call.args)


def _joined(code: Code) -> Iterator[Found]:
    """Held-out rows joined to the training rows, and then measured or chosen on."""
    remark = next((c for c in code.comments if CHOOSES.search(c.lower())), None)
    for call in code.calls:
        if last_part(call.name) not in JOINS or not call.args or call.guards:
            continue
        first = call.args[0]
        joined = [written(item) for item in (first if isinstance(first, (list, tuple)) else call.args)]
        train = next((text for text in joined if side_of(text) == "train"), None)
        held = next((text for text in joined if side_of(text) == "held"), None)
        if train is None or held is None:
            continue
        if remark is not None and any(word in remark.lower() for word in (_word(held), "held")):
            shown = Evidence(text=f"# {remark}", source=code.source)
            yield f"{held} is joined to the training rows, and something is chosen on it", [seen(call), shown]
        kept = next(
            (c for c in code.calls if c.order >= call.order and c.name.startswith(_chain(call)) and c.target), call
        )
        if side_of(last_part(kept.target)) != "train":
            continue
        part = re.compile(rf"(?:\(\s*)?{re.escape(held)}(?![\w(])")
        later = (
            c for c in code.calls if c.order > call.order and last_part(c.name).endswith((*LOADERS, *USES, "Trainer"))
        )
        for use in later:
            given = [
                written(v)
                for v in (*use.args[:1], *(use.kwargs[k] for k in ("dataset", "eval_dataset") if k in use.kwargs))
            ]
            if any(map(part.match, given)) and side_of(f"{last_part(use.target)}") != "train":
                yield f"{held} is joined to the training rows, and measured on afterwards", [seen(call), seen(use)]


def _chain(call: Call) -> str:
    """How the name of a call begins that is made of what ``call`` gives: ``pd.concat().drop_duplicates``."""
    return f"{call.name}()."


def _word(name: str) -> str:
    """``val`` of ``np.array(val_X)``."""
    match = HELD_OUT.search(words_of(name))
    return match[0][:3] if match is not None else name
