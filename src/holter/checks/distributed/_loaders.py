"""Loaders in source code that several processes read in full, because nothing divides their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holter.checks.look import call_text, calls, is_off, seen, written
from holter.checks.script import argument, last_part, mentions, receiver, spelt_out
from holter.finding import Evidence
from holter.patterns import regex
from holter.run import Call, Code, Run

WRAPPERS = ("DistributedDataParallel", "DDP", "FullyShardedDataParallel", "FSDP")
SHARDING = (
    "DistributedSampler",
    "prepare",
    "Trainer",
    "Seq2SeqTrainer",
    "SFTTrainer",
    "split_dataset_by_node",
    "shard",
)
OF_A_PROCESS = regex(
    r"rank|world|replica|distrib|shard(?!_?shuffle)|resampled|num_tasks|process_index|hvd\.|split_by|node", re.I
)
"""Arguments and names of samplers and data sets that know of the other processes."""

OF_ONE_PROCESS = regex(r"rank\b|process_index|process_id|worker_seed")

LOADER = regex(r"(?:^|\.)(?:\w*DataLoader\d?|WebLoader)$")

GENERATORS = regex(
    r"(?:^|\.)(?:cycle|iter|infinite\w*|endless\w*|chain|islice|enumerate|tqdm|zip|repeat\w*|\w*_loop|\w*generator)$"
)
"""What makes a plain iterator of a loader, which a library then can no longer divide."""

LIBRARY = regex(r"accelerat|fabric", re.I)
Found = tuple[str, list[Evidence], float]


def undivided(run: Run) -> Iterator[Found]:
    """What is wrong, where it stands, and how many bits it is worth."""
    for code in run.code:
        yield from _by_a_library(code)
        yield from _of_a_constant(code)
        yield from _switched_off(code)
        yield from _own_loader(code)
    yield from _without_sampler(run)


def _by_a_library(code: Code) -> Iterator[Found]:
    """A loader that is hidden in a generator before ``prepare``, or is not given to it at all."""
    prepared = [c for c in code.calls if last_part(c.name) in ("prepare", "setup", "setup_dataloaders")]
    prepared = [c for c in prepared if LIBRARY.search(receiver(c))]
    given = {written(value) for call in prepared for value in (*call.args, *call.kwargs.values())}
    loaders = [c for c in code.named("DataLoader") if c.target]
    for call in code.calls:
        inside = " ".join(written(value) for value in call.args)
        hides = "DataLoader(" in inside or any(
            re.search(rf"(?<![\w.]){re.escape(c.target)}\b", inside) for c in loaders
        )
        if call.target in given and GENERATORS.search(call.name) and hides:
            text = "a loader is made a plain iterator before it is prepared, so that nobody divides it"
            yield text, [seen(call), seen(prepared[0])], 6.0
            return
    models = [c for c in prepared if last_part(c.name) != "setup_dataloaders"]
    told = mentions(
        code, "prepare_data_loader", "DistributedSampler", "process_index", "split_dataset_by_node", ".shard("
    )
    trains = code.named("backward")
    if not models or not trains or told or any("**" in text or "*" in text for text in given):
        return
    for loader in loaders:
        fed = any(loader.target in text for text in given) or any(last_part(loader.target) in text for text in given)
        if not fed and loader.kwargs.get("shuffle") is True and "sampler" not in " ".join(loader.kwargs):
            text = "the model is prepared for several processes, and the loader is not"
            yield text, [seen(models[0]), seen(loader)], 4.0
            return


def _of_a_constant(code: Code) -> Iterator[Found]:
    """A sampler that divides, but always gives the part of one process, or is never used."""
    for sampler in code.named("DistributedSampler"):
        seed = sampler.kwargs.get("seed")
        if seed is not None and OF_ONE_PROCESS.search(spelt_out(seed, sampler, code)):
            yield "the seed of the sampler differs between processes, so their parts overlap", [seen(sampler)], 6.5
            return
        rank = argument(sampler, 2, "rank")
        if isinstance(rank, int) and not isinstance(rank, bool) and argument(sampler, 1, "num_replicas") != 1:
            yield "the sampler gives every process the part of the same rank", [seen(sampler)], 6.0
            return
    samplers = [c for c in code.named("DistributedSampler") if c.target]
    loaders = code.named("DataLoader")
    used = " ".join(call_text(c) for c in code.calls if last_part(c.name) not in ("set_epoch", "DistributedSampler"))
    used += " ".join(written(a.value) for a in code.assignments if "DistributedSampler(" not in written(a.value))
    for sampler in samplers:
        if loaders and not re.search(rf"\b{re.escape(last_part(sampler.target))}\b(?! = )", used):
            yield (
                "a sampler that divides the rows is made, and no loader is given it",
                [seen(sampler), seen(loaders[0])],
                6.0,
            )
            return


def _switched_off(code: Code) -> Iterator[Found]:
    """The division of a library is off, and nothing else divides."""
    if code.named("DistributedSampler", "split_dataset_by_node", "shard") or mentions(code, "DistributedSampler"):
        return
    for call in code.calls:
        for name in ("use_distributed_sampler", "replace_sampler_ddp"):
            if name in call.kwargs and is_off(call.kwargs[name]):
                yield f"{name} is off, and no sampler of one's own divides the rows", [seen(call)], 5.0
                return
    for assignment in code.assignments:
        if "auto_shard_policy" in assignment.target and "OFF" in written(assignment.value):
            shown = Evidence(text=f"{assignment.target} = {written(assignment.value)}", source=assignment.source)
            yield "automatic division of the rows is off, and nothing else divides them", [shown], 5.0
            return


def _own_loader(code: Code) -> Iterator[Found]:
    """``get_train_dataloader`` of a Trainer written anew, with a plain loader."""
    inside = [c for c in code.calls if c.scope.endswith(".get_train_dataloader")]
    loader = next((c for c in inside if last_part(c.name) == "DataLoader"), None)
    whole = any(last_part(c.name) in ("prepare", "get_train_dataloader", "_get_train_sampler") for c in inside)
    if loader is None or whole or any("sampler" in key for key in loader.kwargs):
        return
    if not any(OF_A_PROCESS.search(call_text(c)) for c in inside):
        yield "get_train_dataloader returns a loader that is not prepared for several processes", [seen(loader)], 4.0


def _without_sampler(run: Run) -> Iterator[Found]:
    """A model wrapped for several processes beside a loader with no sampler, or with one that knows of no process."""
    wrapped = next(iter(calls(run, *WRAPPERS)), None) or _of_other_libraries(run)
    if wrapped is None or any(True for _ in calls(run, *SHARDING)):
        return
    for code in run.code:
        for call in (call for call in code.calls if LOADER.search(call.name)):
            sampler = next((call.kwargs[key] for key in call.kwargs if "sampler" in key), None)
            rows = argument(call, 0, "dataset")
            if sampler is None and not OF_A_PROCESS.search(_made(code, written(rows))):
                text = "the model is wrapped for several processes, but the loader has no sampler that divides the data"
                yield text, [seen(call)], 4.0
                return
            made = _made(code, written(sampler)) if sampler is not None else ""
            if "(" in made and not OF_A_PROCESS.search(made) and not mentions(code, "num_replicas", "world_size"):
                text = "the model is wrapped for several processes, and the sampler of the loader knows of none"
                yield text, [seen(call), Evidence(text=made[:160], source=call.source), seen(wrapped)], 4.5
                return


def _of_other_libraries(run: Run) -> Call | None:
    """DeepSpeed without the data, Horovod, or gradients that the script itself averages over processes."""
    for call in calls(run, "all_reduce", "all_reduce_coalesced"):
        if "group" not in call.kwargs and any(".grad" in written(value) for value in call.args):
            return call
    for call in calls(run, "initialize", "DistributedOptimizer"):
        if call.name == "deepspeed.initialize" and "training_data" not in call.kwargs:
            return call
        if call.name.startswith("hvd."):
            return call
    return None


def _made(code: Code, name: str) -> str:
    """The call that a name is bound to, written out; the name itself where none is seen."""
    made = next((call for call in reversed(code.calls) if call.target == name), None)
    return name if made is None else call_text(made)
