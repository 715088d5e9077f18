"""Causes in what is trainable, and in what is loaded and saved."""

from __future__ import annotations

from holter.diagnosis.cause import Cause, Measurement
from holter.stages import Stage

CAUSES = (
    Cause(
        label="no-trainable-params",
        title="Nothing is trainable",
        stage=Stage.BACKWARD,
        definition="All parameters are frozen, so there is no gradient.",
        explanation=(
            "An adapter loaded without is_trainable=True is frozen, and an adapter folder opened with a plain Auto "
            "class is too. The count of trainable parameters is 0 and grad_norm is 0, or backward raises an error. "
            "Source: PeftModel.from_pretrained, argument is_trainable."
        ),
        fix="Load the adapter with is_trainable=True, or merge it and attach a new one.",
        expect="print_trainable_parameters() reports more than 0 and grad_norm is above 0.",
        confirm=Measurement(
            measure="Count parameters with requires_grad.",
            command="holter check RECIPE",
            cost=15,
        ),
    ),
    Cause(
        label="checkpointing-no-input-grad",
        title="Gradient checkpointing cuts the gradient",
        stage=Stage.BACKWARD,
        definition="Reentrant checkpointing over frozen embeddings gives blocks whose inputs need no gradient.",
        explanation=(
            "The reentrant variant only records a block if one of its inputs requires grad. With frozen embeddings "
            "none does, so adapters inside get no gradient: an error at the first backward, or, if another part is "
            "trainable, silence. The warning 'None of the inputs have requires_grad=True' is the sign. "
            "Source: torch.utils.checkpoint; transformers enable_input_require_grads."
        ),
        fix="Call model.enable_input_require_grads(), or set gradient_checkpointing_kwargs={'use_reentrant': False}.",
        expect="The warning is gone and each adapter has a gradient.",
        confirm=Measurement(
            measure="Look for adapter parameters without a gradient after one backward.",
            command='holter try RUN --set gradient_checkpointing=false --expect "grad_norm > 0"',
            cost=30,
        ),
    ),
    Cause(
        label="adapter-targets-unmatched",
        title="Adapter targets match no module",
        stage=Stage.FORWARD,
        definition="target_modules names modules that the model does not have, or not all that were meant.",
        explanation=(
            "Names differ between families (query_key_value, q_proj, c_attn). PEFT raises an error only if nothing "
            "matches; a part that does not match is passed over in silence. layers_to_transform takes layer numbers "
            "from 0: negative ones match nothing. Source: PEFT inject_adapter, check_target_module_exists."
        ),
        fix="Take the names from model.named_modules(), or use target_modules='all-linear'.",
        expect="print_trainable_parameters() reports the expected number.",
        confirm=Measurement(
            measure="List target names that match no module.",
            command="holter check RECIPE",
            cost=15,
        ),
    ),
    Cause(
        label="head-not-trained-or-saved",
        title="A new head is left out of training or of the checkpoint",
        stage=Stage.SAVE,
        definition="A newly initialised head or embedding is frozen under adapters, or is not stored with them.",
        explanation=(
            "PEFT trains and saves only adapters and modules_to_save. A classification head outside both stays "
            "random, or is trained and then lost: the reloaded model answers like chance. "
            "Source: PEFT troubleshooting guide, randomly initialized layers."
        ),
        fix="Set modules_to_save=['score'] (or the head's name), or task_type to the fitting one.",
        expect="The reloaded model gives the same metric as the trained one.",
        confirm=Measurement(
            measure="List the tensors of the saved adapter and look for the head.",
            command="holter check RECIPE",
            cost=15,
        ),
    ),
    Cause(
        label="weights-loaded-wrong",
        title="Checkpoint weights did not arrive",
        stage=Stage.FORWARD,
        definition="Weights of the checkpoint are dropped, renamed or mapped to another layout.",
        explanation=(
            "Prefixes, fused projections or converted formats that do not fit leave layers newly initialised. A "
            "pre-trained model then starts at ln(vocabulary). The loading report names missing and unexpected keys; a "
            "new task head in that list is normal. Source: transformers from_pretrained loading report."
        ),
        fix="Compare key names of checkpoint and model, and load with the class the checkpoint was saved from.",
        expect="The first loss is that of a pre-trained model and only the new head is newly initialised.",
        confirm=Measurement(
            measure="List missing and unexpected keys when loading.",
            command="holter check RECIPE",
            cost=20,
        ),
    ),
    Cause(
        label="adapter-layers",
        title="Which layers carry adapters",
        stage=Stage.UPDATE,
        through_updates=True,
        definition="The choice of layers with adapters; often suspected when the first loss is wrong.",
        explanation=(
            "LoRA starts with B = 0, so an adapter adds exactly nothing to the first forward pass, in whatever layers "
            "it sits. The choice can only matter through updates. Source: Hu et al. 2022, LoRA, section 4.1."
        ),
        fix="Adapt all linear layers if quality is short.",
        expect="The metric improves; the first loss is as before.",
        confirm=Measurement(
            measure="Compute the first loss with adapters on and off: it is the same.",
            command='holter try RUN --set layers_to_transform=null --expect "loss@1 ~= base.loss@1"',
            cost=60,
        ),
        prior=-4.0,
    ),
)
