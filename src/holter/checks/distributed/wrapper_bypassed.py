"""DIS001 gradients-not-exchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.context import count_of
from holter.checks.distributed.same_samples import RANK
from holter.checks.look import call_text, calls, facts_of, seen, written
from holter.checks.messages import quote, said, statements
from holter.checks.noted import remarks
from holter.checks.script import receiver
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Run
from holter.stages import Stage

PER_RANK = regex(r"rank[_ ]?(\d+)", re.I)
OF_WEIGHTS = regex(r"param|weight|checksum|norm|hash|grad", re.I)
EXCHANGES = (
    "DistributedDataParallel",
    "DDP",
    "FullyShardedDataParallel",
    "FSDP",
    "fully_shard",
    "initialize",
    "prepare",
    "all_reduce",
    "reduce_scatter",
    "all_gather",
    "replicate",
    "DistributedOptimizer",
    "DistributedGradientTape",
    "allreduce",
    "grouped_allreduce",
    "Trainer",
    "setup",
)
"""Calls that make processes exchange gradients, or may."""

WRAPPERS = EXCHANGES[:5]
LIBRARY = regex(r"accelerat|fabric", re.I)
PARAMETERS = regex(r"(?<![\w.])([A-Za-z_][\w.]*?)\.parameters\(")
SUM_OF_WEIGHTS = regex(
    r"\b((?:param\w*|weights?|model)[ _-]?(?:norm|sum|hash|checksum|mean|digest)|checksum)"
    r"\W{1,3}([\da-f][\da-f.+-]{3,})\b"
)
AT_STEP = regex(r"\b(?:step|iter\w*|epoch)[ =:]*(\d+)")
RANK_COLUMN = regex(r"^(?:(?:local|global)_)?(?:rank|process|replica|worker)(?:_(?:id|index))?$", re.I)
HELD_ALIKE = regex(r"param|weight|checksum|hash", re.I)
_DEVICE = r"(?:ranks?|process(?:es)?|gpus?|workers?|devices?|replicas?|nodes?|cards?)"
_WEIGHTS = r"(?:weights?|param\w*|state[_ ]?dicts?|checksums?|checkpoints?|replicas|model cop\w+)"
_DIFFER = (
    r"(?:differ\w*|diverg\w*|drift\w*|unequal|not (?:equal|identical|the same|in sync)|out of sync"
    r"|allclose\W{0,3}(?:is |returns |gives )?false)"
)
_SHARES = r"(?:part|share|shard|row|batch|data|sampl|seed)"
UNLIKE = regex(
    rf"\b{_WEIGHTS}\b[^;]{{0,80}}\b{_DIFFER}\b[^;]{{0,50}}\b{_DEVICE}\b"
    rf"|\b{_WEIGHTS}\b[^;]{{0,60}}\b{_DEVICE}\b[^;]{{0,60}}\b{_DIFFER}\b(?! {_SHARES})"
    rf"|\b{_DEVICE} (?:\w+ ){{0,3}}different (?:values of )?{_WEIGHTS}\b"
)
BY_DESIGN = regex(
    rf"\bshard\w*|\bfsdp\b|\bzero-?\d|\bbefore\b|\b(?:different|other) {_SHARES}"
    r"|\b(?:no longer|never|do(?:es)? not|don't|would) (?:differ|diverge|drift)"
)
SENTENCE = regex(r"[.;!?](?:\s|$)")
"""Words of weights that are not alike where they must be; what is held in shards differs by design."""

ALWAYS_OFF = regex(r"no_sync\(\)")


class GradientsNotExchanged(Check):
    """What it looks for
        A forward pass through the module inside the DistributedDataParallel wrapper, ``no_sync`` around every backward,
        or measured weights that differ between processes.

    Why it hurts
        The wrapper prepares the exchange of gradients in its own forward. Without it each process trains a model of
        its own on its share of the data, and only that of process 0 is saved. Its log looks ordinary.

    How to fix it
        Call the wrapper, and give the loss method a place inside ``forward``; leave ``no_sync`` for the last
        micro-batch of an update.

    When to ignore it
        In evaluation, under ``no_grad``.

    Threshold
        None.

    Sources
        PyTorch's documentation of DistributedDataParallel.
    """

    code = "DIS001"
    name = "gradients-not-exchanged"
    title = "Processes do not exchange gradients"
    severity = Severity.ERROR
    stage = Stage.BACKWARD
    needs = Needs(any_of=(("code",), ("facts",), ("variants",), ("events",)))
    bad = (
        case("bypassed", facts={"training_step.ddp_wrapper_bypassed": True}),
        case("measured", facts={"param_norm_rank0": 31.2, "param_norm_rank1": 30.7}),
        case("in a table", variants=[{"rank": 0, "weight_sum": 1293.5}, {"rank": 1, "weight_sum": 1287.9}]),
        case(
            "printed",
            events=[
                said("[rank0] step 9 param_norm 83.11", "message"),
                said("[rank1] step 9 param_norm 82.77", "message"),
            ],
        ),
        script("Horovod", "hvd.init()\ngrads = tape.gradient(loss, ws)\nopt.apply_gradients(zip(grads, ws))\n"),
        case("told", facts={"check": "after one epoch the parameters differ between rank 0 and rank 2"}),
        script(
            "all but the model",
            "model.to(accelerator.device)\nopt, dl = accelerator.prepare(opt, dl)\nfor b in dl:\n"
            "    loss = model(**b).loss\n    accelerator.backward(loss)\n    opt.step()\n",
        ),
    )
    good = (
        case(
            "printed",
            events=[
                said("[rank0] step 9 param_norm 83.11", "message"),
                said("[rank1] step 9 param_norm 83.11", "message"),
            ],
        ),
        case(
            "printed at two steps",
            events=[
                said("[rank0] step 8 param_norm 83.11", "message"),
                said("[rank1] step 9 param_norm 83.42", "message"),
            ],
        ),
        script(
            "Horovod",
            "hvd.init()\ntape = hvd.DistributedGradientTape(tape)\ngrads = tape.gradient(loss, ws)\n"
            "opt.apply_gradients(zip(grads, ws))\n",
        ),
        case("told", facts={"check": "the parameters are equal on all ranks, each rank reads different rows"}),
        case("in a table", variants=[{"rank": 0, "weight_sum": 1293.5}, {"rank": 1, "weight_sum": 1293.5}]),
        script(
            "all and the model",
            "model.to(accelerator.device)\nmodel, opt, dl = accelerator.prepare(model, opt, dl)\n"
            "for b in dl:\n    loss = model(**b).loss\n    accelerator.backward(loss)\n    opt.step()\n",
        ),
        case("same", facts={"param_norm_rank0": 31.2, "param_norm_rank1": 31.2}),
        case("wrapper", files={"a.py": "model = DDP(model)\nloss = model(batch)\nloss.backward()\n"}),
    )
    not_enough = (case("nothing"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Code first, then measured weights."""
        for value in facts_of(run, "training_step.ddp_wrapper_bypassed"):
            if value.value:
                text = f"forward goes round the DDP wrapper: {value.raw}"
                yield self._found(text, [Evidence(text=text, source=value.source)], 7.0)
                return
        backward = list(calls(run, "backward"))
        alone = all(any(ALWAYS_OFF.search(g) for g in c.guards) for c in backward)
        sometimes = any(" if " in g or g.startswith("if") for c in backward for g in c.guards)
        if backward and alone and not sometimes:
            yield self._found("every backward runs under no_sync", [seen(backward[0])], 6.0)
        horovod = (c for c in calls(run, "init") if receiver(c) in ("hvd", "horovod"))
        started = next(iter(calls(run, "init_process_group")), None) or next(horovod, None)
        backward = backward or list(calls(run, "apply_gradients", "fit"))
        if started is not None and backward and not any(True for _ in calls(run, *EXCHANGES)):
            message = "processes are started, and nothing wraps the model or reduces its gradients"
            yield self._found(message, [seen(started), seen(backward[0])], 5.0)
        if count_of(run, "world_size") != 1:
            for loop, prepared in _not_prepared(run):
                message = "the library prepares other objects, and not the model that is trained"
                yield self._found(message, [loop, prepared], 5.0)
                return
        apart = [*_apart(run), *_rows_apart(run), *_printed_apart(run), *_told(run)]
        if apart:
            yield self._found("weights or gradients differ between processes", apart, 8.0)

    def _found(self, message: str, evidence: list[Evidence], bits: float) -> Finding:
        return self.finding(
            message,
            evidence=evidence,
            clues=clues("gradients are not exchanged", ddp_no_gradient_sync=bits),
            fix=Fix(summary="Call the wrapped model itself in training, so that its hooks exchange gradients."),
        )


def _not_prepared(run: Run) -> Iterator[tuple[Evidence, Evidence]]:
    """A module that is called and trained through a library which wraps what it is given, and was not given this."""
    for code in run.code:
        prepared = [c for c in code.named("prepare", "setup", "setup_dataloaders") if LIBRARY.search(receiver(c))]
        backward = [c for c in code.named("backward") if LIBRARY.search(receiver(c))]
        given = " ".join(f"{call_text(call)} {call.target}" for call in prepared)
        if not prepared or not backward or "*" in given or code.named("prepare_model", "setup_module", *WRAPPERS):
            continue
        modules = {c.name.rpartition(".")[0] for c in code.named("to", "cuda", "parameters", "train")}
        modules |= {match[1] for c in code.calls for match in PARAMETERS.finditer(call_text(c))}
        called = [c for c in code.calls if c.order < backward[-1].order and c.loops]
        if any(re.search(rf"(?<![\w.]){re.escape(c.name)}\b", given) for c in called):
            continue
        loop = next((c for c in called if c.name in modules), None)
        if loop is not None:
            yield seen(loop), seen(prepared[0])


def _rows_apart(run: Run) -> Iterator[Evidence]:
    """A table with a row for each process, and other weights in each at the same step."""
    rows = [row for row in run.variants if any(RANK_COLUMN.match(name) for name in row)]
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if name in row]
        steps = {row["step"].value for row in rows if "step" in row}
        if (
            HELD_ALIKE.search(name)
            and len(values) > 1
            and len(steps) < len(rows)
            and len({str(v.value) for v in values}) > 1
        ):
            yield from (Evidence(text=f"{name} is {written(v.value)}", source=v.source) for v in values)


def _printed_apart(run: Run) -> Iterator[Evidence]:
    """Lines of several processes with a sum over the weights, in which it is not the same at the same step."""
    seen_at: dict[tuple[str, str], dict[str, tuple[str, Evidence]]] = {}
    for statement in statements(run):
        rank, value = RANK.search(statement.folded), SUM_OF_WEIGHTS.search(statement.folded)
        if rank is None or value is None:
            continue
        step = AT_STEP.search(statement.folded)
        who = next(group for group in rank.groups() if group is not None)
        seen_at.setdefault((value[1], step[1] if step else ""), {})[who] = (value[2], quote(statement))
    for ranks in seen_at.values():
        if len({value for value, _ in ranks.values()}) > 1:
            yield from (evidence for _, evidence in ranks.values())
            return


def _told(run: Run) -> Iterator[Evidence]:
    """A note that weights of the processes are not alike."""
    for fact in remarks(run):
        said = (sentence for text in fact.texts for sentence in SENTENCE.split(text.lower()))
        if any(UNLIKE.search(text) and not BY_DESIGN.search(text) for text in said):
            yield fact.evidence
            return


def _apart(run: Run) -> Iterator[Evidence]:
    groups: dict[str, list[tuple[str, object, Evidence]]] = {}
    for name, values in run.facts.items():
        if PER_RANK.search(name) and OF_WEIGHTS.search(name) and "batch" not in name:
            value = values[0]
            evidence = Evidence(text=f"{name} is {written(value.value)}", source=value.source)
            groups.setdefault(PER_RANK.sub("rank", name), []).append((name, value.value, evidence))
    for members in groups.values():
        if len(members) > 1 and any(value != members[0][1] for _, value, _ in members):
            yield from (evidence for _, _, evidence in members)
