"""What columns of a table of runs are called, and in what words their cells tell how a run went."""

from __future__ import annotations

import re

from holter.patterns import regex

OTHER_NUMBER = regex(
    r"runtime|seconds|speed|memory|tokens_per|_relative|_pct|reward_std|_diff(?:_|$)|img/s|it/s|time$|surf_|vol_|error$|param(?:eter)?s$",
    re.I,
)
PROGRESS = frozenset(
    {
        "step",
        "steps",
        "epoch",
        "epochs",
        "iteration",
        "iter",
        "global_step",
        "checkpoint",
        "ckpt",
        "best_epoch",
        "best_step",
    }
)
MEASURED_SHARE = regex(r"^(?:fraction|share|percentage|percent|proportion|number|count)_", re.I)
"""Shares and counts that were measured."""

REPEATS = frozenset({"attempt", "try", "repeat", "repetition", "repetitions", "run", "trial"})
"""Columns that number runs of one set-up, whose seeds differ."""

BESIDE_PRECISION = regex(r"^(?:\w+_)?(?:recall|f1|f1_\w+|map|auc)$", re.I)
"""Scores beside which a number called precision is a score as well."""

FINE_WORDS = frozenset(
    {"fine", "ok", "okay", "good", "finite", "nan", "inf", "normal", "correct", "clean", "broken", "bad"}
)
"""Cells that tell how something went, whatever their column is called."""

WORDS = frozenset(
    {
        "result",
        "results",
        "outcome",
        "observed",
        "status",
        "symptom",
        "comment",
        "note",
        "notes",
        "output",
        "outputs",
        "behaviour",
        "behavior",
        "prediction",
        "predictions",
        "generation",
        "convergence",
        "training",
        "effect",
        "images",
        "samples",
        "answers",
        "answer",
        "text",
        "texts",
        "generated",
    }
)
FLAGS = regex(
    r"^(?:converge[sd]?|work(?:s|ed|ing)?|learn(?:s|ed|t)?|stable|success(?:ful)?|ok|okay|fine|trains)$", re.I
)
"""Columns that say whether a run went well."""

TROUBLE = regex(
    r"^(?:(?:runs|seeds|steps)_)?(?:diverge[sd]?|divergences?|fail(?:s|ed|ures?)?|crash(?:ed|es)?|explode[sd]?|nans?"
    r"|collapse[sd]?|unstable)(?:_(?:runs|seeds|steps|losses))?$",
    re.I,
)
"""Columns that say whether, or how often, a run went badly."""

LABELS = frozenset(
    {
        "run",
        "name",
        "label",
        "setup",
        "variant",
        "experiment",
        "exp",
        "condition",
        "trial",
        "id",
        "what",
        "where",
        "setting",
    }
    | {
        "configuration",
        "config",
        "mode",
        "method",
        "version",
        "environment",
        "env",
        "hardware",
        "column",
        "case",
        "model",
    }
)
"""Columns whose cells describe a run in words."""

UNTRAINED = regex(r"^(?:fine_?-?tuned|finetuned|trained|training)$", re.I)
"""Flags that tell a model before training from the runs."""

TENS = regex(r"^(\d)x\s*%?$")
"""Seventy-something, as people write it."""

CHANGES = regex(r"^(?:it )?(?:changes?|changed|differs?|different|varies|depends)\b")
STAYS = regex(r"^(?:the |it is |stays? |always )*(?:same|equal|identical|unchanged|constant)\b")
"""What is told of a result under two conditions that should not matter."""

MASKS = regex(r"mask\w*_value|fill_value", re.I)
"""What is added where attention must not look, which may be minus infinity."""

CORRECTED = regex(r"\b(?:corrected|fixed|patched|repaired|after the fix|with (?:the )?fix|as it should be)\b")
"""Words for the setting of the run that is right, in a table that shows what a correction brings."""

DATA = regex(r"^(?:train(?:ing)?_|eval_)?(?:data|datasets?(?:_name)?|corpus|task|language|lang)$", re.I)
"""Columns of what was trained or evaluated on: losses and scores of other data are no measure."""
