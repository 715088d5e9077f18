"""Facts about how source code sets the padding token.

``pad_token_set_to`` is what ``tokenizer.pad_token`` is set to without a condition (``eos_token``, ``unk_token`` or the
token itself), ``pad_token_set_to_if_missing`` the same behind ``if tokenizer.pad_token is None``, and
``model_pad_token_id_set_to`` what the model's ``config.pad_token_id`` is set to.
"""

from __future__ import annotations

import re
from typing import Any

from holter.patterns import regex
from holter.run import Authority, Code, Expression, Run, Value

_OTHER_TOKEN = regex(r"(?:^|\.)((?:eos|unk|bos|sep|cls|mask|pad)_token(?:_id)?)$")
_TOKENIZER_PAD = regex(r"(^|\.)\w*tok\w*\.pad_token(_id)?$", re.I)
_MODEL_PAD = regex(r"(^|\.)\w*config\.pad_token_id$")


def add_token_facts(run: Run, code: Code, authority: Authority) -> None:
    """Add the facts of one file."""
    for assignment in code.assignments:
        token = _token(assignment.value)
        if token is None:
            continue
        if _TOKENIZER_PAD.search(assignment.target):
            checked = any("pad_token" in guard for guard in assignment.guards)
            name = "pad_token_set_to_if_missing" if checked else "pad_token_set_to"
            token = str(token).removesuffix("_id")
        elif _MODEL_PAD.search(assignment.target) and "generation" not in assignment.target:
            name = "model_pad_token_id_set_to"
        else:
            continue
        raw = f"{assignment.target} = {_text(assignment.value)}"
        run.add_fact(name, Value(value=token, source=assignment.source, raw=raw, authority=authority))
    for call in code.named("add_special_tokens"):
        given = call.args[0] if call.args else None
        if isinstance(given, dict) and "pad_token" in given:
            checked = any("pad_token" in guard for guard in call.guards)
            name = "pad_token_set_to_if_missing" if checked else "pad_token_set_to"
            token = _token(given["pad_token"])
            run.add_fact(name, Value(value=token, source=call.source, raw=f"{call.name}(...)", authority=authority))


def _token(value: Any) -> Any:
    if isinstance(value, Expression):
        match = _OTHER_TOKEN.search(value.text)
        return match.group(1) if match else None
    return value if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return value.text if isinstance(value, Expression) else repr(value)
