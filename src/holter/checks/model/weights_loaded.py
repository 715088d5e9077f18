"""MOD017 weights-left-behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues
from holter.checks.look import known
from holter.checks.messages import ERRORS, Statement, find, phrase, quote, said, statements
from holter.checks.model._load_reports import body, counted, lacking, new_head_scored, renamed, reports, wrapped
from holter.checks.model._table_lengths import EMPTY_SAVED, EMPTY_SET, of_a_table
from holter.checks.symptoms import number
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import EVENT_LOAD, Run
from holter.stages import Stage

LOADED = regex(
    r"^(?:num_)?(?:(?:keys|tensors|weights|params)_(?:loaded|matched|in_common)|(?:loaded|match(?:ed|ing)|common|shared)_(?:keys|tensors|weights|params))$",
    re.I,
)
_PARTS = r"(?:keys|tensors|weights|params|parameters|layers|variables)"
_TAKEN = r"(?:loaded|matched|restored|imported|copied|transferred)"
NONE_OF_MANY = regex(
    rf"\b{_TAKEN}[^.;|%]{{0,30}}?(?<![\d.,])0 ?(?:/|of|out of) ?\d{{2,}}\b"
    rf"|\b{_TAKEN} (?:only )?0 (?:pretrained )?{_PARTS}\b"
    rf"|(?<![\d.,])0 (?:of \d+ )?{_PARTS} (?:were |are )?{_TAKEN}\b"
)
OF_WEIGHTS = regex(rf"{_PARTS}|tensor|weight|state_?dict|checkpoint|pretrained")
"""A line that counts what was taken from a file: nothing of many."""

MANY = 3
"""Body weights named: one or two may be tied or renamed ones, more are a checkpoint that does not fit."""

REFUSED = (
    phrase("error(s) in loading state_dict", *ERRORS, weights_loaded_wrong=5),
    phrase("size mismatch for", *ERRORS, weights_loaded_wrong=3.5),
    phrase("size mismatch for * copying a param with shape", weights_loaded_wrong=3.5),
    phrase(EMPTY_SET, weights_loaded_wrong=6),
    phrase("found missing adapter keys while loading", weights_loaded_wrong=5),
    phrase("found unexpected keys * adapter", weights_loaded_wrong=4),
    phrase("tensors * from the checkpoint were not loaded", weights_loaded_wrong=5),
)
OTHER_KEY = regex(
    r"modules_to_save\S*\s*\|\s*(?:missing|unexpected)|\b(?:score|classifier|lm_head)\.weight\s*\|\s*unexpected"
)
"""Lines of a load report in which a head has another key in the file than in the model."""

COUNTS = ("missing_keys", "num_missing_keys", "unexpected_keys", "unloaded_weights", "weights_not_loaded")


class WeightsLeftBehind(Check):
    """What it looks for
        A report on loading in which weights of the model's body are missing, unexpected or newly initialised, or a
        loader that stops over names and sizes.

    Why it hurts
        Those parts start from random numbers, so the model is not the pre-trained one: the first loss is near that of
        guessing and stays high.

    How to fix it
        Load with the class the checkpoint was saved from; strip or add the prefix its names carry (``module.``,
        ``base_model.model.``); merge sharded files first.

    When to ignore it
        New heads (``score``, ``classifier``, ``pooler``) are normal when fine-tuning starts: no finding.

    Threshold
        Three weights of the body.

    Sources
        Load reports of transformers and PyTorch.
    """

    code = "MOD017"
    name = "weights-left-behind"
    title = "Weights of the checkpoint were not loaded"
    severity = Severity.ERROR
    stage = Stage.FORWARD
    needs = Needs(any_of=(("events",), ("facts",)))
    bad = (
        case(
            "body is new",
            events=[
                said("newly initialized: ['encoder.layer.0.a', 'encoder.layer.1.a', 'encoder.layer.2.a']", EVENT_LOAD)
            ],
        ),
        case(
            "an older library",
            events=[
                said(
                    "Weights of BertModel not initialized from pretrained model: ['bert.encoder.layer.0.a.weight', "
                    "'bert.encoder.layer.0.b.weight', 'bert.encoder.layer.1.a.weight', ...]",
                    "message",
                )
            ],
        ),
        case(
            "of images",
            events=[
                said("_IncompatibleKeys(missing_keys=['layer1.0.c', 'layer1.1.c', 'layer2.0.c'])", "message"),
            ],
        ),
        case(
            "TensorFlow",
            events=[
                said("Value in checkpoint could not be found in the restored object: model.blocks.0.kernel", "warning"),
                said("Value in checkpoint could not be found in the restored object: model.blocks.1.kernel", "warning"),
                said("Value in checkpoint could not be found in the restored object: model.blocks.2.kernel", "warning"),
            ],
        ),
        case(
            "a head that is scored at once",
            files={
                "log.txt": "Some weights of BertForX were not initialized from the model checkpoint at ./out/best and "
                "are newly initialized: ['classifier.bias', 'classifier.weight']\n{'eval_accuracy': 0.31}\n"
            },
        ),
        case(
            "a stem and a body of its own names",
            files={
                "log.txt": "WARNING:root:Missing keys: ['encoder.conv1.weight_u', 'encoder.bn1.bias', "
                "'encoder.layer1.0.conv1.weight_u', ...]\n"
            },
        ),
        case(
            "below a heading",
            files={
                "log.txt": "Some model parameters or buffers are not found in the checkpoint:\n"
                "backbone.stem.conv1.weight\n"
                "backbone.stem.conv1.norm.{bias, weight}\nbackbone.res2.0.conv1.weight\n"
            },
        ),
        case(
            "the wrapping of a checkpoint",
            files={
                "log.txt": "unexpected key in source state_dict: state_dict, epoch, optimizer\n\n"
                "missing keys in source state_dict: conv1.weight, fc.weight\n"
            },
        ),
        case("counted", events=[said("missing keys: 148, unexpected keys: 148", "message")]),
        case(
            "a prefix",
            events=[
                said("unexpected keys: ['module.fc1.weight', 'module.fc1.bias']", "message"),
                said("missing keys: ['fc1.weight', 'fc1.bias']", "message"),
            ],
        ),
        case("counted first", events=[said("148 missing, 150 unexpected after loading", "message")]),
        case("none", facts={"keys_loaded": 0}),
        case("none of many", events=[said("loaded 0/398 tensors from checkpoint", "message")]),
        case("none of many, noted", facts={"matched_keys": "0 of 312"}),
        case("in two lines", events=[said("missing keys: 148", "message"), said("unexpected keys: 148", "message")]),
        case("another key", events=[said("score.modules_to_save.default.weight | MISSING |", "message")]),
        case(
            "empty tensors, without a traceback",
            files={
                "error.txt": "size mismatch for h.0.lora_A.weight: copying a param with shape torch.Size([0]) from "
                "checkpoint, the shape in current model is torch.Size([16, 64]).\n"
            },
        ),
        case("refused", events=[said("RuntimeError: Error(s) in loading state_dict for GPT: Missing key(s)")]),
    )
    good = (
        case("a new head in a report", events=[said("score.weight | MISSING |", "message")]),
        case(
            "counters of a normalisation",
            events=[
                said(
                    "missing keys in source state_dict: layer1.0.bn1.num_batches_tracked, "
                    "layer1.1.bn1.num_batches_tracked, layer2.0.bn1.num_batches_tracked",
                    "message",
                )
            ],
        ),
        case(
            "what is put on a backbone",
            files={
                "log.txt": "Some model parameters or buffers are not found in the checkpoint:\n"
                "roi_heads.box_predictor.cls_score.{bias, weight}\nbackbone.fpn_lateral2.{bias, weight}\n"
                "backbone.fpn_output2.{bias, weight}\nbackbone.fpn_lateral3.{bias, weight}\n"
            },
        ),
        case(
            "all there, and the optimizer besides",
            files={"log.txt": "_IncompatibleKeys(missing_keys=[], unexpected_keys=['optimizer', 'epoch'])\n"},
        ),
        case("new head", events=[said("newly initialized: ['classifier.weight', 'classifier.bias']", EVENT_LOAD)]),
        case(
            "an encoder becomes a decoder",
            events=[
                said(
                    "newly initialized: ['layer.0.crossattention.a', 'layer.1.crossattention.a', "
                    "'layer.2.crossattention.a']",
                    EVENT_LOAD,
                )
            ],
        ),
        case(
            "a new head of another size, as asked for",
            events=[
                said(
                    "newly initialized because the shapes did not match: classifier.weight: found shape [3, 64] in the "
                    "checkpoint and [2, 64] in the model instantiated",
                    EVENT_LOAD,
                )
            ],
        ),
        case("of the file", events=[said("loading checkpoint shards: 0% 0/14 weights", "message")]),
        case("all", events=[said("loaded 398/398 tensors from checkpoint", "message")]),
        case(
            "a head that is scored at each epoch",
            files={
                "log.txt": "Some weights of BertForX were not initialized from the model checkpoint at ./out/mlm and "
                "are newly initialized: ['classifier.bias', 'classifier.weight']\n{'eval_accuracy': 0.8, 'epoch': 1}\n"
                "{'eval_accuracy': 0.9, 'epoch': 2}\n"
            },
        ),
        case(
            "a head that is trained then",
            files={
                "log.txt": "Some weights of BertForX were not initialized from the model checkpoint at ./out/mlm and "
                "are newly initialized: ['classifier.bias', 'classifier.weight']\n{'loss': 0.6}\n{'loss': 0.4}\n"
                "test accuracy: 0.91\n"
            },
        ),
        case(
            "two heads",
            events=[
                said("unexpected keys: ['fc.weight', 'fc.bias']", "message"),
                said("missing keys: ['head.weight', 'head.bias']", "message"),
            ],
        ),
        case("a few", events=[said("missing keys: 2, unexpected keys: 1", "message")]),
        case("all loaded", events=[said("All keys matched successfully", EVENT_LOAD)]),
    )
    not_enough = (case("nothing was said"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """Refusals, then reports that name the body."""
        yield from self._noted(run)
        yield from self._counted(run)
        yield from self._heads(run)
        heard = [s for p in REFUSED for s in find(run, p) if not of_a_table(s)]
        if heard:
            empty = any(EMPTY_SAVED in s.folded or EMPTY_SET in s.folded for s in heard)
            why = "the checkpoint holds empty tensors" if empty else "the checkpoint does not fit the model"
            yield self._found(why, heard[:3], 6.5 if empty else 5.0)
        other = renamed(run)
        if other:
            yield self._found("the keys of the checkpoint and of the model differ by a prefix", other, 7.0)
        left = [s for s in reports(run) if body(s)]
        names = {name for s in left for name in body(s)}
        if len(names) >= MANY or any("{" in name for name in names):
            yield self._found("weights of the model's body were not taken from the checkpoint", left[:3], 6.0)
        elif len(backbone := lacking(statements(run))) >= MANY:
            quoted = list(dict.fromkeys(backbone.values()))[:3]
            yield self._found(f"{len(backbone)} weights of the backbone are not in the checkpoint", quoted, 6.0)

    def _noted(self, run: Run) -> Iterator[Finding]:
        """Numbers that somebody, or a script, wrote down of a loading."""
        for name in COUNTS:
            fact = known(run, name)
            amount = None if fact is None else len(fact.plain) if isinstance(fact.plain, list) else number(fact.plain)
            if fact is not None and amount is not None and amount >= MANY:
                yield self.finding(
                    f"{name} is {amount:g} after loading",
                    evidence=[fact.evidence],
                    clues=clues("weights are missing after loading", weights_loaded_wrong=6),
                )
        for name, values in run.facts.items():
            amount = number(values[0].value)
            if LOADED.search(name) and amount == 0.0:
                yield self.finding(
                    f"{name} is 0",
                    evidence=[Evidence(text=f"{name} is 0", source=values[0].source, value=0.0)],
                    clues=clues("nothing was taken from the checkpoint", weights_loaded_wrong=6),
                )

    def _counted(self, run: Run) -> Iterator[Finding]:
        """Numbers that a loader printed."""
        none = [s for s in statements(run) if NONE_OF_MANY.search(s.folded) and OF_WEIGHTS.search(s.folded)]
        if none:
            yield self._found("nothing was taken from the checkpoint", none[:1], 6.0)
        if whole := wrapped(run):
            yield self._found("a whole checkpoint was given as the weights that lie inside it", whole[:1], 6.0)
        many = counted(statements(run))
        if many:
            yield self._found("many weights are missing after loading, and as many are left over", many[:2], 6.0)

    def _heads(self, run: Run) -> Iterator[Finding]:
        """Trained heads that are not found again."""
        heads = [s for s in statements(run) if OTHER_KEY.search(s.folded)]
        if heads:
            message = "a trained head is in the file under another name than the model asks for"
            yield self.finding(
                message,
                evidence=[quote(s) for s in heads[:2]],
                clues=clues(message, head_not_trained_or_saved=6.0, weights_loaded_wrong=3.0),
                fix=Fix(summary="Load the adapter through PEFT with the class that it was trained with."),
            )
        untrained = next(new_head_scored(run), None)
        if untrained is not None:
            message = "a head is new at loading, and what follows is scored and not trained"
            yield self.finding(
                message,
                evidence=[quote(untrained)],
                clues=clues(message, head_not_trained_or_saved=5.0, weights_loaded_wrong=1.0),
                fix=Fix(summary="Save the head with the model, and load it with the class that it was saved from."),
            )

    def _found(self, message: str, heard: list[Statement], bits: float) -> Finding:
        return self.finding(
            message,
            evidence=[quote(s) for s in heard],
            clues=clues(message, weights_loaded_wrong=bits),
            fix=Fix(summary="Load with the class and the key names that the checkpoint was saved with."),
        )
