"""What loaders report: names of weights that were missing, left over or made anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holter.checks.messages import Statement, statements
from holter.patterns import regex
from holter.run import Run

TELLS = (
    "newly initialized",
    "were not used when initializing",
    "not initialized from",
    "not used in",
    "not found in",
    "not loaded",
    "could not be found in the restored object",
    "unresolved object in checkpoint",
    "incompatiblekeys",
    "incompatible keys",
    "unmatched",
    "not matched",
    "not in the checkpoint",
    "uninitiali",
    "not in the pretrained",
    "no param",
    "skip loading",
    "skipped loading",
    "skipping param",
    "drop parameter",
    "not loading",
    "missing key",
    "unexpected key",
    "load report",
    "missing",
)
BODY = regex(
    r"\b(?:layers?|h|blocks?|block|decoderlayer)[._](?:\d+|\{[^}]*\})[._]|\bembed_tokens|\bword_embeddings|\bshared\.weight"
    r"|layer_with_weights-\d|\b(?:layer|stage|block)\d+\.\d+\.|\b(?:stages|resblocks|features)[._]\d+[._]"
)
"""Parts of a model's body. Heads, poolers and buffers are left out on purpose: new ones are normal."""

ADAPTER = regex(
    r"num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|lora_|adapter|\.rotary_emb|inv_freq|masked_bias|attn\.bias|position_ids|relative_attention_bias"
    r"|cross_?attention|crossattn|encoder_attn|encdecattention|prefix_encoder|vision_|image_"
)
"""Parts that are new where a checkpoint gets an adapter, or an encoder becomes a decoder that looks at another."""
STEM = regex(
    r"^(?:module\.|model\.|net\.|network\.)*(?:"
    r"(?:backbone|encoder|trunk|stem|base|unet|resnet|dla|feature_extractor|embeddings|patch_embed)\."
    r"|(?:conv|bn|norm)1\.(?:weight|bias|running_mean|running_var)$)"
)
OUTER = regex(
    r"fpn|lateral|top_block|neck|(?:^|[._])(?:heads?|fc|classifier|score|logits|projector|proj_head|pooler|output|cls|decoder)(?:$|[._\d])"
    r"|(?:^|\.)(?:lpips|ema|teacher|loss\w*|vgg|discriminator)\."
)
"""Weights that every pre-trained backbone holds, by where their names begin; and what is put on top of one."""

LACKS = regex(
    r"missing[-_ ]keys?|not (?:found )?in (?:the )?(?:checkpoint|pretrained|state_?dict|loaded)|no param\b"
    r"|skipp?\w* (?:loading )?param|skip\w* loading|drop\w* param|uninitiali[sz]ed|not loading|size mismatch ignored"
)
LEFT_OVER = regex(r"unexpected|not used|\bunused\b")
"""What the model has and the file lacks, or has in another size; and the other way round."""

WRAPPED = regex(
    r"unexpected[-_ ]keys?[^:=;]{0,30}[:=]\W{0,4}(?:[a-z_]+\W{1,4}){0,6}?(?:\w*state_?dict|model|net|optimizer)\b(?!\.)"
)
"""The outer names of a checkpoint, of which one holds the weights, given as the weights."""

NAME_ALONE = regex(r"(?:\x1b\[\d*m)?[-* ]*[a-z_0-9]+(?:\.[a-z_0-9]+)*\.(?:[a-z_0-9]+|\{[^}]*\})(?:\x1b\[\d*m)?")
NAMES = regex(r"[a-z_0-9]+(?:[./](?:[a-z_0-9\-]|\{[^}]*\})+)+")
MISSING = regex(r"missing[-_ ]?(?:keys?)?\W{1,3}(?P<n>\d{1,6})\b|(?P<m>\b\d{1,6}) missing\b")
UNEXPECTED = regex(r"unexpected[-_ ]?(?:keys?)?\W{1,3}(?P<n>\d{1,6})\b|(?P<m>\b\d{1,6}) unexpected\b")
NEW_HEAD = regex(
    r"checkpoint at \S*(?:^|[\s/._-])(?:\.{0,2}/|checkpoint|out\w*|results?|best|final|fine-?tuned|trained)\S* "
    r"and are newly initiali[sz]ed\b.{0,20}\b(?:classifier|score|qa_outputs|lm_head|head|out_proj|regressor)\b"
)
SCORE = regex(r"acc|f1|score|auc|bleu|rouge|exact|eval|test|wer\b", re.I)
"""A head that a folder of one's own does not hold, and what a model is scored by."""

KEYS_OF = regex(r"\b(missing|unexpected)(?:[ _]keys?(?:\(s\))?)?\b([^;]*?)(?=\b(?:missing|unexpected)\b|$)")
KEY = regex(r"[a-z_]\w*(?:\.\w+)+")
RENAMED = 2
"""Keys that differ by one and the same prefix: one may be chance."""

MANY_COUNTED = 10
"""Keys that are missing and left over at once: heads, buffers and poolers are fewer."""


def reports(run: Run) -> Iterator[Statement]:
    """Statements that tell what was not loaded as it was saved."""
    for statement in statements(run):
        if any(word in statement.folded for word in TELLS):
            yield statement


def lacking(said: Iterable[Statement]) -> dict[str, Statement]:
    """Weights of a backbone that the file lacks: in one line, a line each, or in the lines below a heading."""
    found: dict[str, Statement] = {}
    below = False
    for statement in said:
        alone = NAME_ALONE.fullmatch(statement.folded) is not None
        tells = LACKS.search(statement.folded)
        below = (below and alone) or (tells is not None and statement.folded.endswith(":"))
        if (tells is None and not (below and alone)) or LEFT_OVER.search(statement.folded):
            continue
        names = (name.replace("/", ".") for name in NAMES.findall(statement.folded.replace("...", "-")))
        kept = (
            n for n in names if (STEM.search(n) or BODY.search(n)) and not OUTER.search(n) and not ADAPTER.search(n)
        )
        found.update((name, statement) for name in kept if not name.endswith((".py", ".pth", ".pt")))
    return found


def body(statement: Statement) -> list[str]:
    """Weights of the model's body that a statement names."""
    names = re.findall(r"[a-z_0-9]+(?:\.(?:[a-z_0-9\-]|\{[^}]*\})+)+", statement.folded.replace("...", "-"))
    return [name for name in names if BODY.search(name) and not ADAPTER.search(name)]


def renamed(run: Run) -> list[Statement]:
    """Reports in which the keys that are left over are those that are missing, with one more part in front of them."""
    sides: dict[str, dict[str, Statement]] = {"missing": {}, "unexpected": {}}
    for statement in statements(run):
        for side, text in KEYS_OF.findall(statement.folded):
            sides[side].update((name, statement) for name in KEY.findall(text))
    few, many = sides.values()
    for shorter, longer in ((few, many), (many, few)):
        pairs = [(a, b) for a in shorter for b in longer if b.endswith(f".{a}")]
        prefixes = {b.removesuffix(a) for a, b in pairs}
        if len(pairs) >= RENAMED and len(prefixes) == 1:
            return list(dict.fromkeys((shorter[pairs[0][0]], longer[pairs[0][1]])))
    return []


def wrapped(run: Run) -> list[Statement]:
    """Reports that a whole checkpoint was given as weights: its outer names are left over, and weights are missing."""
    heard = [s for s in statements(run) if WRAPPED.search(s.folded)]
    told = (KEYS_OF.findall(s.folded) for s in statements(run)) if heard else ()
    return heard if any(side == "missing" and KEY.search(text) for found in told for side, text in found) else []


def new_head_scored(run: Run) -> Iterator[Statement]:
    """A report on loading from a folder of one's own that a head is new, in a run of scores without a loss or rate."""
    scored = any(SCORE.search(name) for name in run.series) and all(len(points) == 1 for points in run.series.values())
    if not scored or any("loss" in name or name in ("learning_rate", "grad_norm") for name in run.series):
        return
    for statement in statements(run):
        if NEW_HEAD.search(statement.folded) and not body(statement):
            yield statement


def counted(said: Iterable[Statement]) -> list[Statement]:
    """Lines that count missing keys and unexpected ones, both in numbers that no head has."""
    found = []
    for pattern in (MISSING, UNEXPECTED):
        matches = ((statement, pattern.search(statement.folded)) for statement in said)
        many = next(
            (s for s, match in matches if match is not None and int(match["n"] or match["m"]) >= MANY_COUNTED), None
        )
        if many is None:
            return []
        found.append(many)
    return list(dict.fromkeys(found))
