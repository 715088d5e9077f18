"""Names of the linear layers in the attention and feed-forward blocks of model families, as adapters target them.

Read from the modelling code of transformers and of the models' own repositories.
"""

from __future__ import annotations

import re

_LLAMA = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
_NEOX = frozenset({"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"})
_T5 = frozenset({"q", "k", "v", "o", "wi", "wo", "wi_0", "wi_1"})
_BERT = frozenset({"query", "key", "value", "dense"})
_BART = frozenset({"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"})

TARGETS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("Baichuan", r"baichuan", frozenset({"W_pack", "o_proj", "gate_proj", "up_proj", "down_proj"})),
    ("InternLM2", r"internlm[-_]?2", frozenset({"wqkv", "wo", "w1", "w2", "w3"})),
    ("ChatGLM", r"chatglm|glm-?[23]", _NEOX),
    ("BLOOM", r"bloom", _NEOX),
    ("Falcon", r"falcon(?!3|-?h|-?mamba)", _NEOX),
    ("GPT-NeoX and Pythia", r"gpt[-_]?neox|pythia|dolly-v2|stablelm-(?:base|tuned)-alpha", _NEOX),
    ("MPT", r"(?<![a-z])mpt-", frozenset({"Wqkv", "out_proj", "up_proj", "down_proj"})),
    ("Phi-3", r"phi[-_]?3", frozenset({"qkv_proj", "o_proj", "gate_up_proj", "down_proj"})),
    (
        "Qwen (first)",
        r"qwen[-/]?(?:7b|14b|72b|1_8b|1\.8b)(?!.*(?:1\.5|2))",
        frozenset({"c_attn", "c_proj", "w1", "w2"}),
    ),
    ("GPT-2", r"(?<![a-z])gpt[-_]?2(?![a-z0-9])|distilgpt2", frozenset({"c_attn", "c_proj", "c_fc"})),
    ("GPT-J", r"gpt[-_]?j", frozenset({"q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"})),
    ("OPT", r"(?<![a-z])opt-\d", _BART),
    ("BART", r"(?<![a-z])m?bart", _BART),
    ("T5", r"t5|(?<![a-z])mt0", _T5),
    ("RoBERTa and BERT", r"roberta|(?<![a-z])bert-", _BERT),
    (
        "Llama and its relatives",
        r"llama|vicuna|mistral|mixtral|qwen[-_]?(?:1\.5|2|3)|gemma|(?<![a-z])yi-|alpaca",
        _LLAMA,
    ),
)
"""(family, pattern of lower-case model names, names of its linear layers), the most specific first."""


def names_of(*models: str) -> tuple[str, frozenset[str]]:
    """Family and names of its linear layers for any of the model names; empty where the table does not know it."""
    wanted = [model.lower() for model in models]
    for family, pattern, names in TARGETS:
        if any(re.search(pattern, model) for model in wanted):
            return family, names
    return "", frozenset()
