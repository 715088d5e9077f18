"""Finds secrets in text and masks them. Every form of report passes its text through `mask`."""

from __future__ import annotations

import re

MASK = "***"

_KEY = r"[\w.\-]*(?:passw(?:or)?d|passwd|secret|api[_\-]?key|access[_\-]?key|private[_\-]?key|auth[_\-]?token|" + (
    r"(?<![a-z])(?:hf|hub|wandb|github|gh|access|auth|bearer|session|refresh|login|api|bot)[_\-]?token|credentials?)[\w\-]*"
)
_ASSIGNED = re.compile(rf"(?i)({_KEY}[\"']?\s*[:=]\s*[\"']?)([^\s\"',;)}}\]]+)")
_FLAG = re.compile(rf"(?i)(--{_KEY}\s+)([^\s\"'-][^\s\"']*)")
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*://)([^\s/:@]*):([^\s/@]+)@")
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)([A-Za-z0-9+/_\-.=]{12,})")
_TOKENS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"  # GitHub
    r"|glpat-[A-Za-z0-9_\-]{16,}"  # GitLab
    r"|sk-[A-Za-z0-9_\-]{20,}"  # OpenAI and others
    r"|xox[abposr]-[A-Za-z0-9\-]{10,}"  # Slack
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS key ids
    r"|AIza[A-Za-z0-9_\-]{30,}"  # Google
    r"|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{5,})"  # JSON web tokens
)
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HARMLESS = frozenset({"none", "null", "true", "false", "0", "1", MASK})


def mask(text: str) -> str:
    """The text with tokens, keys, passwords in URLs and values of secret-sounding names replaced by ``***``."""
    text = _KEY_BLOCK.sub(MASK, text)
    text = _URL.sub(rf"\1\2:{MASK}@", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _ASSIGNED.sub(_hidden, text)
    text = _FLAG.sub(_hidden, text)
    return _TOKENS.sub(MASK, text)


def _hidden(match: re.Match[str]) -> str:
    return match[0] if match[2].lower() in _HARMLESS else f"{match[1]}{MASK}"
