"""What is private is masked; what merely sounds like it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.secrets import MASK, is_private, mask, mask_value

# put together here so that no scanner takes them for real ones
HF, GITHUB, OPENAI = "hf_" + "aB3" * 8, "ghp_" + "x1Y2" * 9, "sk-" + "proj-" + "q7W" * 8
AWS, WANDB = "AKIA" + "ABCDEFGH12345678", "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"login with {HF} now", HF),
        (f'token = "{GITHUB}"', GITHUB),
        (f"OPENAI_API_KEY={OPENAI}", OPENAI),
        (f"aws_access_key_id: {AWS}", AWS),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRf", "wJalrXUtnFEMI/K7MDENG/bPxRf"),
        ("Authorization: Bearer abcdef123456789", "abcdef123456789"),
        ("https://user:pa55word@host.example/x", "pa55word"),
        ("https://host.example/x?access_token=abc123def&y=1", "abc123def"),
        (f"wandb: key {WANDB}", WANDB),
        (f"export WANDB_API_KEY={WANDB}", WANDB),
        ("--hub_token secretvalue1", "secretvalue1"),
        ("--password=hunter22", "hunter22"),
        ("{'hub_token': 'abcdefgh'}", "abcdefgh"),
        ("db_password: swordfish", "swordfish"),
    ],
)
def test_secrets_are_masked(text, secret):
    masked = mask(text)
    assert secret not in masked and MASK in masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "pad_token: <pad>, eos_token_id: 2, max_tokens: 4400",
        "num_tokens = 12345678",
        "token_type_ids=tensor([0, 0])",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "sk-learn 1.5, hf_model, ghp_short",
        "https://huggingface.co/google/mt5-small",
        "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 0.0}",
        "key: value, keys: 12, tokenizer: slow-one, monkey=banana",
        "hub_token: None",
        "tokens_per_second=1234.5",
        "special_tokens=[PAD]",
        "python train.py --tokenizer_name google/byt5-base --key_size 128",
        "author: somebody, authority=SCRIPT",
    ],
)
def test_near_misses_stay_to_the_letter(text):
    assert mask(text) == text


def test_names():
    assert all(map(is_private, ["HF_TOKEN", "hub_token", "WANDB_API_KEY", "db_password", "client_secret", "token"]))
    assert not any(map(is_private, ["pad_token", "eos_token_id", "max_new_tokens", "tokenizer", "monkey", "keyword"]))


def test_private_values_vanish_whatever_they_look_like():
    assert mask_value("hub_token", "plain", "plain") == (MASK, MASK)
    assert mask_value("hub_token", None, "null") == (None, "null")
    assert mask_value("extra", {"api_key": "abcd", "r": 8}, "")[0] == {"api_key": MASK, "r": 8}
    assert mask_value("pad_token", "<pad>", "<pad>") == ("<pad>", "<pad>")


@given(st.text(max_size=200))
def test_masking_twice_changes_nothing(text):
    once = mask(text)
    assert mask(once) == once
