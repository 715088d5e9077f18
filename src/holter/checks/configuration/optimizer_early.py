"""CFG035 optimizer-made-too-early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holter.checks.base import Check, Needs, case, clues, script
from holter.checks.look import call_text, seen
from holter.checks.script import first_in_each, last_part
from holter.finding import Evidence, Finding, Fix, Severity
from holter.patterns import regex
from holter.run import Code, Run
from holter.stages import Stage

OPTIMIZERS = regex(r"^(?:\w*Adam\w*|SGD|Adafactor|Lion\w*|RMSprop|LAMB|Lamb|\w*Optimizer|create_optimizer)$")
PARAMETERS = regex(r"(?<![\w.])([A-Za-z_][\w.]*?)\.(?:named_)?parameters\(\)")
NEW_MODEL = regex(
    r"^(?:get_peft_model|from_pretrained|from_config|inject_adapter_in_model|[A-Z]\w*(?:Model|ForCausalLM|Net|Classifier|Head)\w*)$"
)


class OptimizerMadeTooEarly(Check):
    """What it looks for
        An optimizer that is given the parameters of a model, and a line after it that puts another model, adapters or
        a new embedding table in that place.

    Why it hurts
        The optimizer keeps the old tensors: what is trained is not what runs. The loss does not move, or new rows do
        not.

    How to fix it
        Build the whole model first (weights, adapters, embedding rows), then the optimizer.

    When to ignore it
        When the optimizer is made again after it, or given the new parameters with ``add_param_group``.

    Threshold
        None: the order of calls is read.

    Sources
        PyTorch's note in the documentation of ``torch.optim``: construct optimizers after the model is in place.
    """

    code = "CFG035"
    name = "optimizer-made-too-early"
    title = "The optimizer holds parameters that are replaced after it was made"
    severity = Severity.WARNING
    stage = Stage.UPDATE
    needs = Needs(any_of=(("code",),))
    bad = (
        script(
            "then adapters",
            "opt = torch.optim.AdamW(model.parameters(), lr=1e-4)\nmodel = get_peft_model(model, config)\n"
            "loss.backward()\nopt.step()\n",
        ),
        script(
            "then new rows", "opt = AdamW(model.parameters())\nmodel.resize_token_embeddings(len(tok))\nopt.step()\n"
        ),
    )
    good = (
        script(
            "after the model",
            "model = get_peft_model(model, config)\nopt = AdamW(model.parameters(), lr=1e-4)\nopt.step()\n",
        ),
        script(
            "made again",
            "opt = AdamW(model.parameters())\nmodel = get_peft_model(model, config)\n"
            "opt = AdamW(model.parameters())\nopt.step()\n",
        ),
        script(
            "for another run",
            "opt = AdamW(model.parameters())\nopt.step()\nmodel = AutoModel.from_pretrained('out')\nmodel.eval()\n",
        ),
    )
    not_enough = (case("no code"),)

    def detect(self, run: Run) -> Iterable[Finding]:
        """The first such order of each file."""
        for message, evidence, weights in first_in_each(run, _early):
            yield self.finding(
                message,
                evidence=evidence,
                clues=clues(message, **weights),
                fix=Fix(summary="Make the optimizer after the model, its adapters and its embedding rows."),
            )


def _early(code: Code) -> Iterator[tuple[str, list[Evidence], dict[str, float]]]:
    makes = [c for c in code.calls if OPTIMIZERS.match(last_part(c.name)) and PARAMETERS.search(call_text(c))]
    for made in makes:
        owner = PARAMETERS.search(call_text(made))
        name = owner[1] if owner is not None else ""
        after = [c for c in code.calls if c.order > made.order and c.scope == made.scope]
        again = [c.order for c in makes if c.order > made.order]
        stepped = min(
            (c.order for c in after if last_part(c.name) in ("step", "backward", "train", "fit")), default=None
        )
        for later in after:
            late = stepped is not None and later.order > stepped
            if late or again or later.guards != made.guards or "add_param_group" in str([c.name for c in after]):
                continue
            if later.target == name and NEW_MODEL.match(last_part(later.name)):
                message = "the model is replaced after the optimizer took its parameters"
                yield message, [seen(made), seen(later)], {"no_trainable_params": 5.5}
            elif later.name == f"{name}.resize_token_embeddings":
                message = "the embedding table is replaced after the optimizer took the old one"
                yield message, [seen(made), seen(later)], {"new_tokens_frozen": 5.5}
