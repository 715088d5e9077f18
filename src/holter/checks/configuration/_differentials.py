"""The causes that a described symptom makes likely, most likely first, before any setting is looked at.

The bits are base rates: how often each cause ended up behind such words in public reports, as far as these were read.
They are kept low enough that a list is a list, and that one fact that separates the causes settles the order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEAR = r"(?:[^.;]|\.\d){0,40}?"
"""Within one clause."""

HELD_OUT = r"\b(?:val|valid|validation|eval|evaluation|test|dev)[ _-]"
STILL = (
    r"(?:does ?n[o']t|did ?n[o']t|do not|won't|not|never|hardly|barely|no longer)\s+(?:\w+ ){0,2}?"
    r"(?:decreas\w*|fall\w*|drop\w*|chang\w*|improv\w*|converg\w*|go(?:es|ing)? down|come down|move\w*|declin\w*"
    r"|reduc\w*)"
)
FLAT = rf"(?:{STILL}|\b(?:constant|stuck|flat|stagnat\w*|plateau\w*|unchanged|stays? (?:the same|at|around|near))\b)"
UP = (
    r"\b(?:ris\w+|rose|increas\w+|goes up|going up|went up|grows?|growing|climb\w*|jump\w*|spik\w+|shoots?|shot"
    r"|skyrocket\w*)"
)
SCORE = r"\b(?:accuracy|acc|f1|mcc|score|auc|precision|recall)\b"
GENERATED = (
    r"\b(?:outputs?|generat\w*|completions?|responses?|replies|answers?|text|model|inference|predictions?"
    r"|translations?|summar\w+)\b"
)
RELOADED = (
    r"\b(?:re-?load\w*|load(?:ed|ing)|saved?|saving|merg\w+|restor\w+|export\w*|from (?:the )?(?:checkpoint|disk))\b"
)


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """A kind of complaint.

    Attributes:
        name: what it is, as a reader would say it; the settings that separate its causes are looked up by it.
        words: what people write, in lower case.
        bits: cause -> bits.
        unless: words that make it something else.
    """

    name: str
    words: re.Pattern[str]
    bits: dict[str, float]
    unless: re.Pattern[str] | None = None


def _symptom(name: str, words: str, unless: str = "", **bits: float) -> Symptom:
    return Symptom(name=name, words=re.compile(words), bits=bits, unless=re.compile(unless) if unless else None)


HARMLESS = (
    r"epoch boundar|trend (?:is )?down|downward|isolated|recover|back to|then normal|settles|each epoch"
    r"|every epoch|\bbegins"
)
"""Words by which a rise or a step of the loss is no complaint."""

SYMPTOMS: tuple[Symptom, ...] = (
    _symptom(
        "generation does not stop",
        r"\b(?:never|not|n't|without|fails? to|unable to|cannot)\b(?: \w+){0,2} (?:stop\w*|end(?:s"
        r"|ing)?\b(?! token)|terminat\w*"
        r"|(?:emit|produc|generat|predict|output)\w* (?:an? |the )?(?:eos|end|stop|</s>))"
        rf"|\b(?:keeps?|goes|continues?) (?:on )?(?:\w+ )?(?:generat|talk|writ|output|until|to generate)"
        rf"|{GENERATED}{NEAR}\b(?:until|up to|reach\w*|always) (?:the )?(?:max\w*|(?:length|token) limit|limit)"
        r"|\b(?:endless|infinite|never-ending)\w* (?:generation|output|text|loop)|\bno (?:eos|end)\b|\bruns on\b"
        r"|\brambl",
        unless=r"\btraining (?:does not|never) (?:stop|end)",
        pad_equals_eos=4.0,
        template_mismatch=2.0,
        new_tokens_frozen=1.5,
        double_special_tokens=1.0,
        labels_all_masked=-0.5,
        head_not_trained_or_saved=0.5,
    ),
    _symptom(
        "output repeats itself",
        rf"{GENERATED}{NEAR}\b(?:repeat\w*|repetit\w*|same (?:word|token|phrase)|loops?)\b"
        rf"|\brepeat\w*{NEAR}{GENERATED}",
        pad_equals_eos=2.0,
        lr_too_high=1.5,
        overfitting=1.5,
        template_mismatch=1.5,
        label_shift_error=1.5,
        attention_mask_missing=1.0,
        labels_not_masked=1.0,
    ),
    _symptom(
        "output is garbage",
        r"\b(?:garbage|gibberish|garbled|nonsens\w*|meaningless|random (?:token|word|text|character)s?|incoherent"
        r"|broken text)\b",
        lr_too_high=1.0,
        weights_loaded_wrong=2.5,
        template_mismatch=2.0,
        tokenizer_fast_slow_mismatch=1.0,
        label_shift_error=1.5,
        head_not_trained_or_saved=1.5,
        padding_side=1.0,
    ),
    _symptom(
        "same answer for every input",
        rf"\b(?:same|identical|constant|one|single)\b (?:\w+ )?(?:output|prediction|logit|answer|class|label"
        rf"|embedding|result"
        rf"|response|value|token|sentence)s?\b(?:{NEAR}\b(?:for|regardless|on|across|whatever|always|every|all)\b|$)"
        r"|\b(?:predict\w*|output\w*|answer\w*|return\w*|generat\w*)\b(?: \w+){0,2} "
        r"(?:only |always |just )?(?:the same|only one|one class|a single|the majority|one label|identical)"
        r"|\b(?:always|only) (?:predict|output|answer|return|generat)\w*|\bmajority class\b"
        r"|\b(?:logits?|predictions?|outputs?|embeddings?) (?:are|is) (?:all |always )?(?:the )?(?:same|identical"
        r"|constant)\b",
        lr_too_high=2.5,
        seed_instability=2.5,
        warmup_missing=1.5,
        attention_mask_missing=0.5,
        head_not_trained_or_saved=0.5,
        no_trainable_params=0.5,
    ),
    _symptom(
        "score at chance",
        rf"{SCORE}{NEAR}(?:\bchance\b|\bguess\w*|\brandom\b|{FLAT}|\b50 ?%|\b0\.50*\b|never (?:above|better))"
        r"|\b(?:at|near|around|to|like|than) (?:chance|random)\b|\bchance level\b|\brandom guess\w*"
        r"|\bmodel collaps\w*"
        r"|\bcollapses? to (?:one|the)|\bdoes ?n[o']t learn|\b(?:not|never) learn\w*|\blearns? nothing"
        r"|\bnot learning\b",
        unless=rf"{RELOADED}|new token|added token|special token|\beos\b",
        lr_too_high=2.5,
        seed_instability=2.0,
        warmup_missing=1.5,
        no_trainable_params=0.5,
        weights_loaded_wrong=0.5,
        head_not_trained_or_saved=0.5,
    ),
    _symptom(
        "loss stands still",
        rf"\bloss\b{NEAR}(?:{FLAT}|\b0\.69\d*\b)|\bno (?:loss )?(?:decrease|improvement|progress|convergence)\b"
        r"|\b(?:does|did|do)(?: not|n't) converge|\bnot converging\b|\bweights (?:do not|don't|never"
        r"|are not) (?:chang|updat)\w*",
        unless=rf"{HELD_OUT}loss|\bstuck at (?:0|nan)\b",
        lr_too_high=1.0,
        lr_zero=2.0,
        no_trainable_params=2.0,
        checkpointing_no_input_grad=0.5,
        low_precision_weight_update=0.5,
        warmup_too_long=0.5,
        seed_instability=0.5,
    ),
    _symptom(
        "training loss rises",
        rf"\bloss\b{NEAR}(?:{UP}|\b(?:diverg\w*|explod\w*|blows? up|unstable|instab\w*)\b)|\b(?:training|run"
        rf"|model) diverg\w*"
        r"|\b(?:loss|training) (?:spike|explosion|instability|divergence)\b",
        unless=rf"{HARMLESS}|{HELD_OUT}loss|\bresum|\brestart|\baccumul|\breload",
        lr_too_high=3.0,
        grad_clip_disabled=2.0,
        warmup_missing=2.0,
        low_precision_weights=0.5,
    ),
    _symptom(
        "held-out loss rises",
        rf"{HELD_OUT}loss\b{NEAR}{UP}|\boverfit\w*"
        r"|\btrain\w* (?:accuracy|acc|score) (?:is |of |reaches )?(?:100|9\d|1\.0|0\.9)",
        unless=r"\bnot overfit|\bno overfit",
        overfitting=4.0,
        lr_too_high=1.5,
        seed_instability=-1.0,
    ),
    _symptom(
        "loss is exactly zero",
        r"\bloss(?:es)?\b(?: \w+){0,3}? (?:is|are|becomes?|goes to|drops? to|falls? to|stays?(?: at)?|always|="
        r"|shows?|turns?|of) "
        r"(?:always |exactly |constantly |to |all |suddenly )?(?:0(?:\.0+)?|zero)(?![\d.]*[1-9])\b|\bzero loss\b"
        r"|^loss zero",
        labels_all_masked=3.0,
        template_mismatch=2.0,
        fp16_overflow=1.5,
        quantized_precision_mismatch=0.5,
        no_trainable_params=-0.5,
    ),
    _symptom(
        "gradient is zero",
        r"\b(?:grad\w*|grad_norm)\b(?: \w+){0,3}? (?:is|are|=|stays?|remains?|always) (?:always |all |exactly "
        r"|constantly )?"
        r"(?:0(?:\.0+)?\b(?![\d.]*[1-9])|zeros?|none)\b|\b(?:no|zero|none) grad(?:ient)?s?\b(?! sync| acc| clip"
        r"| commun| check)",
        no_trainable_params=3.0,
        checkpointing_no_input_grad=2.5,
        labels_all_masked=2.0,
        template_mismatch=0.5,
    ),
    _symptom(
        "batch changes the result",
        rf"\bbatch\w*{NEAR}\b(?:differ\w*|worse|wrong|chang\w*|mismatch\w*|not (?:match"
        rf"|equal)\w*){NEAR}\b(?:single|one|unbatched|individual|alone)"
        rf"|\b(?:differ\w*|worse|wrong|chang\w*){NEAR}\bbatch(?:ed|es| size|ing)?\b|\bbatch(?:ed)? (?:generation"
        rf"|inference|prediction)s?"
        rf"{NEAR}\b(?:differ\w*|worse|wrong|bad|garbage|empty)",
        padding_side=3.5,
        attention_mask_missing=3.5,
        pad_token_wrong=1.0,
        fully_masked_attention_nan=0.5,
    ),
    _symptom(
        "loss scale falls",
        rf"\b(?:loss|grad(?:ient)?) ?_?scal(?:e|er|ing)\b{NEAR}\b(?:decreas\w*|fall\w*|halv\w*|drop\w*|shrink\w*"
        rf"|reduc\w*|minimum|collaps\w*"
        rf"|(?:is |to |at |= ?)?(?:1|1\.0|0|0\.0)$)|\boverflow\b{NEAR}\b(?:every|each|all) (?:step|batch|iteration)",
        unless=r"settles|then (?:stays|stable)",
        loss_scale_exhausted=4.0,
        fp16_overflow=3.5,
        lr_too_high=0.5,
    ),
    _symptom(
        "worse after loading",
        rf"\b(?:after|when|once|on|upon|from)\b{NEAR}{RELOADED}{NEAR}\b(?:worse|random|chance|differ\w*|garbage"
        rf"|untrained|lost|drop\w*|low\w*"
        r"|bad|poor|as if|like the base|not (?:the same|work)\w*|forgot\w*|gone|fall\w*)"
        rf"|\b(?:worse|random|chance|differ\w*|garbage|untrained|lost|drop\w*|lower|bad|poor"
        rf"|gone)\b{NEAR}\b(?:after|when|once|on|upon|from)\b{NEAR}{RELOADED}"
        rf"|\bnewly initialized\b{NEAR}\b(?:score|classifier|head|lm_head)",
        unless=rf"\bloss (?:jump|ris|increas|spik|goes up)\w*{NEAR}\bresum|\bresum\w*{NEAR}\bloss",
        head_not_trained_or_saved=3.5,
        weights_loaded_wrong=3.0,
        adapter_targets_unmatched=0.5,
        embeddings_not_resized=0.5,
    ),
    _symptom(
        "training has no effect",
        r"\b(?:no|without|little) (?:effect|difference|change)\b|\b(?:same|identical|like|equal)\w* (?:as"
        r"|to)? ?(?:the )?"
        r"(?:base|original|pre-?trained|untuned|un-?fine-?tuned)\b|\bas if (?:it (?:was|were|had) )?(?:never|not"
        r"|un)\w* ?(?:been )?(?:train|tun|fine)",
        weights_loaded_wrong=2.5,
        adapter_targets_unmatched=2.0,
        no_trainable_params=2.0,
        lr_zero=1.5,
        low_precision_weight_update=1.0,
        head_not_trained_or_saved=1.0,
    ),
    _symptom(
        "metric is zero",
        r"\b(?:bleu|rouge\w*|meteor|exact[ _]match|em|f1|chrf)\b(?: \w+){0,2} (?:is|are|=|stays?|always|of"
        r"|at)? ?(?:always |exactly |near |close to )?"
        r"(?:0(?:\.0+)?\b(?![\d.]*[1-9])|zero)",
        metric_decoding=3.5,
        label_shift_error=0.5,
        template_mismatch=0.5,
        lr_too_high=0.5,
        pad_token_wrong=0.5,
    ),
    _symptom(
        "too good to be true",
        rf"\b(?:suspicious\w*|unrealistic\w*|too) (?:low|good|small|high accuracy|perfect)\b|\b(?:suspicious\w*"
        rf"|unrealistic\w*) high\b|\bperfect (?:score"
        rf"|accuracy|validation|test)"
        rf"|\b(?:near|almost|close to) (?:zero|0)\b{NEAR}\b(?:first|start|begin|few|early)"
        rf"|\bloss\b{NEAR}\b(?:very|extremely|unusually) (?:low|small)",
        eval_leak=3.0,
        labels_not_masked=3.0,
        label_shift_error=2.5,
    ),
    _symptom(
        "loss too large by a factor",
        rf"\bloss\b{NEAR}(?:\b(?:\d+|two|four|eight|several|many) ?(?:times|x|fold)\b|\bdoubl\w*|\bmultipl\w*"
        rf"|\btoo (?:high|large|big)\b"
        rf"|\bmuch (?:higher|larger|bigger)\b)|\b(?:inflated|summed) loss\b",
        grad_accum_loss_scale=3.0,
        labels_not_masked=1.5,
        template_mismatch=1.0,
        weights_loaded_wrong=1.5,
        lr_too_high=0.5,
    ),
    _symptom(
        "epoch is as long on more devices",
        rf"\beach (?:gpu|rank|process|device|worker)\b{NEAR}\b(?:full|whole|entire|all)\b{NEAR}\b(?:data\w*|epoch"
        rf"|set|samples|batches)"
        rf"|\b(?:steps|iterations|length)\b{NEAR}\b(?:same|equal|not (?:divided|reduced|split))\b{NEAR}\b(?:gpus?"
        rf"|ranks?|devices?|processes)"
        rf"|\bno speed-?up\b",
        ddp_duplicate_data=4.5,
        scheduler_step_mismatch=1.0,
    ),
    _symptom(
        "first loss is that of guessing",
        r"\bloss (?:starts?|begins?|is|was) (?:at |near |around |about |already )*1[0-2](?:\.\d+)?\b",
        weights_loaded_wrong=4.0,
        label_shift_error=1.5,
        tokenizer_fast_slow_mismatch=1.0,
        template_mismatch=0.5,
    ),
    _symptom(
        "reward collapses",
        rf"\brewards?\b{NEAR}(?:\b(?:collaps\w*|drop\w*|fall\w*|crash\w*|decreas\w*|declin\w*|goes? down|zero)\b"
        rf"|{FLAT})",
        lr_too_high=2.5,
        zero_advantage=2.0,
        loss_formula_instability=0.5,
        template_mismatch=0.5,
    ),
    _symptom(
        "evaluation loss is nan",
        rf"{HELD_OUT}loss{NEAR}\bnan\b|\bnan\b{NEAR}\b(?:during|in|at|on) (?:eval|valid|test)",
        eval_only_nan=3.0,
        labels_all_masked=3.0,
        fp16_overflow=0.5,
    ),
    _symptom(
        "loss is nan now and then",
        r"\bnan\b(?: \w+){0,4} (?:some|few|certain|random|occasional\w*|sometimes|single) ?(?:batch\w*|steps?"
        r"|rows|samples|examples)?"
        r"|\b(?:some|certain|occasional\w*|sometimes|single|few)\b(?: \w+){0,4} nan\b",
        labels_all_masked=3.5,
        bad_batch=1.5,
        fp16_overflow=0.5,
        fully_masked_attention_nan=1.0,
    ),
    _symptom(
        "nan after an update",
        r"\bnan\b(?: \w+){0,3} (?:after|from|at|in|on|since) (?:the |a |an |one |its )?(?:first |one |single "
        r"|second )?"
        r"(?:update|optimi[sz]er step|step|iteration|batch)\b|\b(?:weights?|parameters?)\b(?: \w+){0,3} nan\b",
        low_precision_weights=2.0,
        optimizer_eps_underflow=1.5,
        fp16_overflow=1.0,
        lr_too_high=1.0,
        labels_all_masked=0.5,
    ),
    _symptom(
        "nothing logged",
        r"\bno log\b|\bnothing (?:is |was )?(?:logged|printed|shown)\b|\b(?:loss|log) (?:is |are )?(?:not"
        r"|never) (?:logged|printed|shown|displayed)",
        logging_interval=5.0,
    ),
)
"""In no order of precedence: a note can describe several."""
