"""DIS002 same-samples-on-ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.configuration._excused import complaints
from holter.checks.context import count_of, given_count
from holter.checks.distributed._loaders import undivided
from holter.checks.look import comments, written
from holter.checks.messages import Statement, quote, said, statements
from holter.checks.noted import approximate, noted, remarks
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import EVENT_ERROR, EVENT_WARNING, Run
from holter.stages import Stage

RANK = regex(
    r"\bcuda:(\d+)|\brank[ =:_]*(\d+)|\[rank(\d+)\]|\bgpu[ =:_]*(\d+)|\blocal_rank[ =:]*(\d+)|\bdevice[ =:]*(\d+)"
    r"|\bproc(?:ess)?[ =:_#]*(\d+)|\bworker[ =:_#]*(\d+)"
)
ITEMS = regex(
    r"\b(?:batch|ids?|indices|index|sample\w*|input_ids|text|filenames?|files|paths?)\b[ =:]*(?:tensor\(|array\()?"
    r"(\[.*\]|\(.*\)|\{.*\}|\d+(?:[, ]+\d+){2,}\b)"
)
PER_RANK = regex(r"rank[_ ]?(\d+)", re.I)
OF_DATA = regex(r"batch|ids|sample|indices|data", re.I)
OF_ROWS = regex(r"\b(?:samples?|rows?|data|examples?|batch(?:es)?|stream)\b")
SHARED = regex(r"\b(?:overlap\w*|shared|duplicat\w+|common|repeated|identical|same)\b")
BETWEEN = regex(r"\b(?:ranks?|process(?:es)?|gpus?|workers?|devices?|replicas?)\b")
ONCE_EACH = regex(
    r"\b(?:once|one time) (?:per|for each|by each|in each|on each|in every|by every) "
    r"(?:worker|process|rank|gpu|device)\b"
    r"|\b(?:each|every|all) (?:workers?|process(?:es)?|ranks?|gpus?) (?:sees?|gets?|reads?|iterates?) "
    r"(?:all|every|the whole|the same)\b"
)
"""A note that each process goes through all rows."""

SAME = regex(
    r"\b(?:each|every|all) (?:\w+ )?(?:process(?:es)?|ranks?|workers?|gpus?|devices?) (?:will |would )?"
    r"(?:sees?|gets?|reads?|iterates? over|goe?s? through|process(?:es)?) (?:all|every|the whole|(?:the )?same)\b"
    r"[^.;]{0,20}\b(?:data\w*|samples?|batch(?:es)?|rows?|examples?|shards?|stream)\b"
)
"""What libraries say of a loader that nobody divides."""

_ONE = r"(?:\w+ )?(?:process(?:es)?|ranks?|workers?|gpus?|devices?|nodes?)"
_EACH = rf"(?:each|every|all|both|the|different|several|two|multiple) {_ONE}"
_ROWS = (
    r"(?:data\w*|samples?|batch(?:es)?|rows?|examples?|shards?|stream|sequences?|ids?|indices|index\w*|files?|images?"
    r"|subset|order|items?|minibatch\w*|permutation|texts?|lines?|utterances?|pictures?"
    r"|names?)"
)
_TAKES = (
    r"(?:logs?|sees?|gets?|got|reads?|draws?|loads?|receives?|yields?|prints?|process(?:es)?|iterates? over|trains? on"
    r"|samples?|starts? with|uses?|shows?|has|have|go(?:es)? through|consumes?)"
)
ALIKE = regex(
    rf"\b(?:{_EACH}|processes|ranks|gpus|workers|nodes) (?:\w+ ){{0,2}}?{_TAKES} "
    r"(?:exactly |always |on |over |the very )?(?:the |all the )?(?:same|identical|whole|entire|full) "
    r"(?!seed|number|amount|size|weights?|model|loss|length)"
    rf"[^.;]{{0,30}}\b{_ROWS}\b"
    rf"|\b{_ONE}\b.{{0,60}}\b(?:all(?: of them| two| three| four| eight| \d+)?|they|both|each) {_TAKES} "
    rf"(?:exactly |always )?(?:the )?(?:same|identical) (?:\w+ )?{_ROWS}\b"
    rf"|\b(?:same|identical|duplicated?) (?:\w+ )?{_ROWS}\b(?! (?:size|count|aug))[^.;]{{0,20}}"
    rf"\b(?:on|in|across|for|by|between) (?:{_EACH}|(?:cuda|rank|gpu)[: ]?\d)\b"
)
BEFORE_TRAINING = regex(
    r"\b(?:map\w*|preprocess\w*|prepare\w*|tokeni\w+|eval\w*|valid\w*|test\w*|generat(?!ors?\b)\w+)\b"
)
"""What a person notes of it; the same rows in a map or in an evaluation are no fault."""

LIST = regex(r"(?:\w+ ?[:=] ?)?\[\d+(?:, ?\d+)+\]|(?:\w+ ?[:=] ?)?tensor\(\[\d+(?:, ?\d+)+\].*\)")
BY_PROCESS = regex(r"\b\d{1,3}: ?\[(\d+(?:, ?\d+)+)\]")
NUMBERS = regex(r"\d+")
"""Lists of ids, alone in a line or behind the number of a process."""

IN_AN_EPOCH = regex(r"\b(?:samples?|rows?|examples?)\b.{0,12}\b(?:per|in an|in one|each) epoch\b")
WHOLE_SET = regex(
    r"(?:dataset|train(?:ing)?(?: set| data)?) (?:size|len|length|samples|rows|examples)"
    r"|num(?:ber of)? (?:train )?(?:samples|rows|examples)"
)
"""Rows that all processes saw in an epoch, and rows of the set."""

FEWEST = 2
"""Pairs of processes with the same batch before it counts: one may be chance in a tiny set."""


class SameSamplesOnRanks(Check):
    """What it looks for
        Processes that print or measure the same samples in the same step, or a distributed script whose loader has no
        sampler that divides the data.

    Why it hurts
        Every process computes the same gradient: N cards do the work of one, and an epoch does not use up the data.

    How to fix it
        ``DistributedSampler``, or let Accelerate or the Trainer prepare the loader; give each process its shard of a
        streamed set.

    When to ignore it
        When processes share one sample on purpose (tensor or sequence parallelism).

    Threshold
        Two equal batches, or one when there is only one to compare.

    Sources
        PyTorch's documentation of DistributedSampler.
    """

    code = "DIS002"
    name = "same-samples-on-ranks"
    title = "Processes train on the same samples"
    severity = Severity.ERROR
    stage = Stage.DATA
    needs = Needs(any_of=(("events",), ("code",), ("facts",)))
    bad = (
        case(
            "printed",
            events=[said("rank 0 ids [4, 9]", "message"), said("rank 1 ids [4, 9]", "message")],
        ),
        case("a seed of each process", files={"a.py": "s = DistributedSampler(ds, seed=cfg.seed + rank)\n"}),
        case("told", facts={"samples": "every sample is seen once per worker"}),
        case(
            "an epoch of four sets",
            config={"world_size": 4},
            facts={"samples_seen_per_epoch": 3600, "dataset_size": 900},
        ),
        case(
            "a warning",
            events=[
                said("UserWarning: no distributed sampler, all ranks will iterate over the same data", EVENT_WARNING)
            ],
        ),
        case(
            "averaged by hand",
            files={
                "a.py": "loader = DataLoader(ds, shuffle=True)\nfor b in loader:\n    net(b).backward()\n"
                "    for p in net.parameters():\n        dist.all_reduce(p.grad.data)\n    opt.step()\n"
            },
        ),
        case("measured", facts={"sample_ids_rank0": [1, 2], "sample_ids_rank1": [1, 2]}),
        case("all four", facts={"note": "I printed the first row on every rank and all four print the same text"}),
        case("noted", facts={"audit": "both ranks draw identical index sequences"}),
        case(
            "each list as often as there are processes",
            config={"world_size": 2},
            files={"log.txt": "[0, 1, 2, 3]\n[0, 1, 2, 3]\n[4, 5, 6, 7]\n[4, 5, 6, 7]\n"},
        ),
        script("lists by process", "show(split)\n# {0: [1, 2, 3, 4, 5], 1: [1, 2, 3, 4, 5]}\n"),
        script(
            "an iterator is prepared",
            "self.dl = cycle(DataLoader(ds, batch_size=8, shuffle=True))\n"
            "self.model, self.dl = accelerator.prepare(self.model, self.dl)\n",
        ),
        script(
            "the loader is not prepared",
            "loader = DataLoader(ds, batch_size=8, shuffle=True)\n"
            "model, opt = accelerator.prepare(model, opt)\nfor b in loader:\n    accelerator.backward(model(b))\n",
        ),
        script(
            "a sampler of one's own",
            "s = SpeakerSampler(data, per_speaker, batch_size)\n"
            "loader = DataLoader(data, batch_size=8, sampler=s)\nnet = DistributedDataParallel(net)\n",
        ),
        script(
            "always the first part",
            "s = DistributedSampler(ds, num_replicas=4, rank=0)\nloader = DataLoader(ds, sampler=s)\n",
        ),
        script("made and not used", "s = DistributedSampler(ds)\nloader = DataLoader(ds, shuffle=True)\nm = DDP(m)\n"),
        script("off in Lightning", "t = Trainer(devices=4, use_distributed_sampler=False)\nt.fit(m, dl)\n"),
    )
    good = (
        case("apart", events=[said("rank 0 ids [4, 9]", "message"), said("rank 1 ids [5, 8]", "message")]),
        case("told", facts={"samples": "every sample is seen once"}),
        case("sizes", facts={"setup": "the same batch size on every gpu, the same model on every rank"}),
        case(
            "averaged by hand, rows divided",
            files={
                "a.py": "rows = Parts(ds).use(dist.get_rank())\nloader = DataLoader(rows, shuffle=True)\n"
                "for b in loader:\n    net(b).backward()\n    for p in net.parameters():\n"
                "        dist.all_reduce(p.grad.data)\n    opt.step()\n"
            },
        ),
        case("denied", facts={"samples": "no two workers read the same sample"}),
        case(
            "an epoch of the set",
            config={"world_size": 4},
            facts={"samples_seen_per_epoch": 900, "dataset_size": 900},
        ),
        case("the same seed", events=[said("UserWarning: all ranks get the same seed", EVENT_WARNING)]),
        case("measured", facts={"sample_ids_rank0": [1, 2], "sample_ids_rank1": [3, 4]}),
        case("noted", facts={"audit": "all ranks get the same seed and different rows"}),
        case(
            "each list once",
            config={"world_size": 2},
            files={"log.txt": "[0, 1, 2, 3]\n[4, 5, 6, 7]\n[8, 9, 10, 11]\n[12, 13, 14, 15]\n"},
        ),
        script(
            "a loader is prepared, then an iterator made",
            "dl = DataLoader(ds, batch_size=8, shuffle=True)\n"
            "model, dl = accelerator.prepare(model, dl)\nit = cycle(dl)\naccelerator.backward(model(next(it)))\n",
        ),
        script("one seed", "s = DistributedSampler(ds, rank=rank, seed=cfg.seed)\nd = DataLoader(ds, sampler=s)\n"),
        script(
            "a sampler that divides",
            "s = SpeakerSampler(data, rank=rank, world_size=world)\n"
            "loader = DataLoader(data, batch_size=8, sampler=s)\nnet = DistributedDataParallel(net)\n",
        ),
        script(
            "used",
            "s = DistributedSampler(ds, num_replicas=n, rank=rank)\nloader = DataLoader(ds, sampler=s)\nm = DDP(m)\n",
        ),
        case(
            "one process",
            config={"world_size": 1},
            files={"a.py": "m = DDP(m)\nloader = DataLoader(ds, shuffle=True)\n"},
        ),
    )
    not_enough = (case("nothing"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """What was seen, else what the script lacks."""
        same = [*_printed(run), *_measured(run), *_listed(run), *_in_words(run)]
        if same:
            yield self._found("processes work on the same samples", same[:4], 8.0, Severity.ERROR)
            return
        warned = next(
            (s for s in statements(run) if s.kind in (EVENT_WARNING, EVENT_ERROR) and SAME.search(s.folded)), None
        )
        if warned is not None:
            message = "a library warns that the processes go through the same samples"
            yield self._found(message, [quote(warned)], 5.0, Severity.WARNING)
            return
        if given_count(run, "world_size") == 1:
            return
        for message, evidence, bits in undivided(run):
            yield self._found(message, evidence, bits, Severity.WARNING)
            return

    def _found(self, message: str, evidence: Sequence[Evidence], bits: float, severity: Severity) -> Finding:
        return self.finding(
            message,
            evidence=evidence,
            clues=clues("samples are not divided among processes", ddp_duplicate_data=bits),
            severity=severity,
            fix=Fix(summary="Use a DistributedSampler, or let Accelerate or the Trainer prepare the loader."),
        )


def _printed(run: Run) -> list[Evidence]:
    """Equal batches printed by two processes next to each other."""
    seen_by: list[tuple[str, str, Statement]] = []
    for statement in statements(run):
        rank, items = RANK.search(statement.folded), ITEMS.search(statement.folded)
        if rank is not None and items is not None:
            who = next(group for group in rank.groups() if group is not None)
            seen_by.append((who, RANK.sub("", items.group(1)), statement))
    pairs = [(a, b) for a, b in pairwise(seen_by) if a[0] != b[0]]
    equal = [(a, b) for a, b in pairs if a[1] == b[1] and any(ch.isdigit() for ch in a[1])]
    if not equal or (len(equal) < FEWEST and len(pairs) > 1) or len(equal) * 2 < len(pairs):
        return []
    return [quote(s) for pair in equal for _, _, s in pair]


def _measured(run: Run) -> Iterator[Evidence]:
    groups: dict[str, list[tuple[object, Evidence]]] = {}
    for name, values in run.facts.items():
        if PER_RANK.search(name) and OF_DATA.search(name):
            evidence = Evidence(text=f"{name} is {written(values[0].value)}", source=values[0].source)
            groups.setdefault(PER_RANK.sub("rank", name), []).append((values[0].value, evidence))
    for members in groups.values():
        if len(members) > 1 and all(value == members[0][0] for value, _ in members):
            yield from (evidence for _, evidence in members)
    for fact in noted(run):
        if OF_ROWS.search(fact.words) and any(ONCE_EACH.search(text.lower()) for text in fact.texts):
            yield fact.evidence
        shared = SHARED.search(fact.words) and BETWEEN.search(fact.words) and OF_DATA.search(fact.words)
        if shared and (fact.flag or (approximate(fact.value) or 0.0) > 0.0):
            yield fact.evidence
    yield from _whole_set_each(run)


def _in_words(run: Run) -> Iterator[Evidence]:
    """A note, a setting's too, that processes see the same rows."""
    for fact in remarks(run):
        before = BEFORE_TRAINING.search(fact.words)
        if before is None and any(_tells(text.lower()) for text in fact.texts):
            yield fact.evidence
            return


def _tells(text: str) -> bool:
    return ALIKE.search(complaints(text)) is not None and BEFORE_TRAINING.search(text) is None


def _listed(run: Run) -> Iterator[Evidence]:
    """Lists of ids: each printed once by every process, or the lists of two processes in one line."""
    world = count_of(run, "world_size") or 1
    for event in run.events:
        lines = [event.text, *event.data.get("others", ())]
        lists = [line.strip() for line in lines if LIST.fullmatch(line.strip())]
        turns = [(text, len(list(same))) for text, same in groupby(lists)]
        whole = turns[:-1] if len(lists) < event.count else turns
        if world >= FEWEST and len(whole) >= FEWEST and all(times == world for _, times in whole):
            yield Evidence(text=f"{whole[0][0]} is printed {world} times", source=event.source)
            return
    said_so = ((s.folded, quote(s)) for s in statements(run))
    noted_so = ((text, Evidence(text=text[:160], source=code.source)) for code, text in comments(run))
    for text, evidence in (*said_so, *noted_so):
        parts = [set(NUMBERS.findall(part)) for part in BY_PROCESS.findall(text)]
        if len(parts) >= FEWEST and all(len(part) >= FEWEST for part in parts):
            common = set.intersection(*parts)
            if 2 * len(common) > max(map(len, parts)):
                yield evidence
                return


def _whole_set_each(run: Run) -> Iterator[Evidence]:
    """Rows of one epoch that are as many as the set has, times the processes."""
    seen_rows = next((f for f in noted(run) if IN_AN_EPOCH.search(f.words) and number(f.value)), None)
    whole = next((f for f in noted(run) if WHOLE_SET.fullmatch(f.words) and number(f.value)), None)
    world = count_of(run, "world_size") or 1
    if seen_rows is None or whole is None or world < FEWEST:
        return
    if (number(seen_rows.value) or 0.0) == world * (number(whole.value) or 0.0):
        yield from (seen_rows.evidence, whole.evidence)
