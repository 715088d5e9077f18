"""Settings files: YAML, JSON, TOML, DeepSpeed, the files beside a model, pinned packages; hostile ones too."""

import json
import textwrap

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.errors import ReadError
from holter.readers import read
from holter.readers.json_tree import read_json
from holter.readers.toml_tree import read_toml
from holter.readers.tree import flatten
from holter.readers.yaml_tree import read_yaml
from holter.run import Authority


def folder(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text, indent=2), encoding="utf-8")
    return read([tmp_path])


def one(tmp_path, name, text):
    (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return read([tmp_path / name])


class TestYaml:
    def test_values_lines_and_raw_text(self, tmp_path):
        run = one(tmp_path, "c.yaml", "lr: 2e-5  # small\nfp16: true\nevaluation_strategy: no\nloraX: {r: 8}\n")
        found = run.setting("learning_rate")
        assert (found.value, found.raw, found.source.line, found.authority) == (
            2e-5,
            "2e-5  # small",
            1,
            Authority.CONFIG,
        )
        assert (run.get("fp16"), run.get("eval_strategy")) == (True, "no")
        assert run.get("loraX.r") == 8

    def test_anchors_and_merge_keys(self, tmp_path):
        text = "base: &b {weight_decay: 0.1, seed: 1}\ntraining:\n  <<: *b\n  seed: 2\n"
        run = one(tmp_path, "c.yaml", text)
        assert [value.value for value in run.config["weight_decay"]] == [0.1, 0.1]
        assert {(value.value, value.source.key) for value in run.config["seed"]} == {
            (1, "base.seed"),
            (2, "training.seed"),
        }

    def test_the_last_of_a_repeated_key_is_believed_and_told(self, tmp_path):
        run = one(tmp_path, "c.yaml", "lr: 1.0e-3\nseed: 1\nlr: 1.0e-5\n")
        assert [value.value for value in run.config["learning_rate"]] == [1e-5, 1e-3]
        assert "lines 1 and 3" in run.gaps[0].what

    def test_a_tag_constructs_nothing(self, tmp_path):
        marker = tmp_path / "ran"
        text = f"lr: 1.0e-3\nx: !!python/object/apply:os.mknod ['{marker}']\n"
        run = one(tmp_path, "c.yaml", text)
        assert not marker.exists()
        assert run.get("learning_rate") == 1e-3
        assert run.get("x").startswith("!!python/object/apply:os.mknod")
        assert "constructed" in run.gaps[0].why

    def test_billion_laughs(self, tmp_path):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
        (tmp_path / "bomb.yaml").write_text("\n".join(lines), encoding="utf-8")
        (tmp_path / "good.yaml").write_text("lr: 1.0e-3\n", encoding="utf-8")
        run = read([tmp_path])
        assert run.get("learning_rate") == 1e-3
        assert any("anchors" in gap.why for gap in run.gaps)

    def test_a_value_that_contains_itself(self, tmp_path):
        run = one(tmp_path, "c.yaml", "lr: 1.0e-3\na: &a [*a]\n")
        assert run.get("learning_rate") == 1e-3 and "itself" in run.gaps[0].what

    def test_deep_nesting_is_refused_at_once(self):
        tree = read_yaml("[" * 100_000)
        assert not tree.documents and "deep" in tree.faults[0][2]

    @pytest.mark.parametrize("end", ["b: [1,\nc: 2\n", "b: 'abc\n", "b: {x: 1\n", "\tb: 1\n", "b: @x\n"])
    def test_what_stands_before_a_break_is_read(self, end):
        tree = read_yaml("lr: 1.0e-3\nseed: 1\n" + end)
        assert [(e.key, e.value) for e in flatten(tree.documents[0])] == [("lr", 1e-3), ("seed", 1)]
        assert len(tree.faults) == 1 and tree.faults[0][0] >= 3

    def test_several_documents(self, tmp_path):
        run = one(tmp_path, "c.yaml", "---\nlr: 1.0e-3\n---\nseed: 4\n")
        assert (run.get("learning_rate"), run.get("seed")) == (1e-3, 4)

    def test_versions_are_text_as_written(self, tmp_path):
        run = one(tmp_path, "c.yaml", "versions:\n  torch: 1.10\n  Transformers: '4.57.1'\n")
        assert (run.get("versions.torch"), run.get("versions.transformers")) == ("1.10", "4.57.1")

    def test_secrets_are_not_kept(self, tmp_path):
        run = one(tmp_path, "c.yaml", "lr: 1.0e-3\nhub_token: something\ndb: {url: 'mysql://me:hidden1@h/x'}\n")
        shown = repr(run)
        assert "something" not in shown and "hidden1" not in shown and run.get("hub_token") == "***"

    def test_same_result_as_the_safe_loader(self, tmp_path):
        text = "a: 1\nb: [1, 2.5, x, null, true]\nc: {d: 0x10, e: 1_000, f: .inf, g: 2020}\nh: |\n  two\n  lines\n"
        assert read_yaml(text).documents[0].plain() == yaml.safe_load(text)


class TestKedro:
    def test_local_and_base_are_both_kept(self, tmp_path):
        run = folder(
            tmp_path,
            conf__base__parameters_dot_yml="training:\n  learning_rate: 1.0e-5\n  warmup_ratio: ${warm}\n",
            conf__local__parameters_dot_yml="training:\n  learning_rate: 1.0e-4\n",
            conf__base__globals_dot_yml="warm: 0.1\n",
        )
        assert run.get("learning_rate") == 1e-4
        assert sorted(value.value for value in run.config["learning_rate"]) == [1e-5, 1e-4]
        assert run.get("warmup_ratio") == 0.1

    def test_references_inside_a_file_and_unknown_ones(self, tmp_path):
        run = one(
            tmp_path, "c.yaml", "lr: ${base.lr}\nbase: {lr: 2.0e-4}\nname: run-${base.lr}-${missing}\nseed: ${x, 3}\n"
        )
        assert run.get("learning_rate") == 2e-4
        assert run.get("name") == "run-0.0002-${missing}"

    def test_a_reference_to_itself_ends(self, tmp_path):
        run = one(tmp_path, "c.yaml", "a: ${b}\nb: ${a}\nseed: 1\n")
        assert run.get("a").startswith("${") and run.get("seed") == 1


class TestTools:
    def test_axolotl(self, tmp_path):
        text = (
            "base_model: x/y\nsequence_len: 2048\nmicro_batch_size: 2\nadapter: qlora\nload_in_4bit: true\nlora_r: 16\n"
        )
        run = one(tmp_path, "c.yaml", text)
        assert (run.get("model_name_or_path"), run.get("max_length"), run.get("adapters")) == ("x/y", 2048, "qlora")
        assert (run.get("per_device_train_batch_size"), run.get("r")) == (2, 16)

    def test_llama_factory(self, tmp_path):
        run = one(
            tmp_path, "c.yaml", "stage: sft\nfinetuning_type: lora\nlora_target: all\ncutoff_len: 512\nlora_rank: 4\n"
        )
        assert [run.get(k) for k in ("task", "adapters", "target_modules", "max_length", "r")] == [
            "sft",
            "lora",
            "all",
            512,
            4,
        ]

    def test_torchtune(self, tmp_path):
        text = "optimizer:\n  _component_: torch.optim.AdamW\n  lr: 2e-5\ndtype: bf16\nclip_grad_norm: null\n"
        run = one(tmp_path, "c.yaml", text)
        assert [run.get(k) for k in ("optim", "learning_rate", "torch_dtype")] == ["adamw_torch", 2e-5, "bfloat16"]
        assert run.setting("max_grad_norm").value is None

    def test_accelerate(self, tmp_path):
        text = (
            "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 4\nmixed_precision: 'no'\n"
        )
        run = one(tmp_path, "default_config.yaml", text)
        assert [run.get(k) for k in ("world_size", "fp16", "strategy")] == [4, False, "MULTI_GPU"]

    def test_deepspeed_json(self, tmp_path):
        content = {
            "train_batch_size": 128,
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_clipping": 1.0,
            "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}},
            "fp16": {"enabled": True, "loss_scale": 0, "initial_scale_power": 16},
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-5, "betas": [0.9, 0.95]}},
        }
        run = folder(tmp_path, ds_z2_dot_json=content)
        expected = {
            "effective_batch_size": 128,
            "max_grad_norm": 1.0,
            "deepspeed_stage": 2,
            "fp16": True,
            "loss_scale": 0,
            "initial_scale_power": 16,
            "optim": "adamw_torch",
            "learning_rate": 1e-5,
        }
        assert {name: run.get(name) for name in expected} == expected
        assert run.setting("per_device_train_batch_size") is None
        assert run.setting("devices") is None
        assert run.setting("max_grad_norm").source.line == 4


class TestModelFiles:
    def test_config_tokenizer_and_generation_stay_apart(self, tmp_path):
        run = folder(
            tmp_path,
            config_dot_json={
                "architectures": ["Qwen3ForSequenceClassification"],
                "model_type": "qwen3",
                "id2label": {"0": "a", "1": "b", "2": "c"},
                "pad_token_id": 1,
                "eos_token_id": 2,
                "vocab_size": 99,
                "max_length": 20,
                "torch_dtype": "bfloat16",
            },
            tokenizer_config_dot_json={
                "pad_token": "<pad>",
                "eos_token": {"content": "</s>", "lstrip": False},
                "padding_side": "left",
                "model_max_length": 10**30,
                "added_tokens_decoder": {"0": {"content": "<pad>"}, "2": {"content": "</s>"}},
            },
            generation_config_dot_json={"pad_token_id": 3, "eos_token_id": [2, 5]},
        )
        expected = {
            "architectures": "Qwen3ForSequenceClassification",
            "num_labels": 3,
            "pad_token_id": 1,
            "tokenizer.pad_token": "<pad>",
            "tokenizer.pad_token_id": 0,
            "tokenizer.eos_token": "</s>",
            "generation.pad_token_id": 3,
            "padding_side": "left",
            "checkpoint_dtype": "bfloat16",
            "model_config.max_length": 20,
        }
        assert {name: run.get(name) for name in expected} == expected
        assert run.setting("max_length") is None and run.setting("torch_dtype") is None

    def test_adapter(self, tmp_path):
        content = {
            "peft_type": "LORA",
            "r": 8,
            "bias": "none",
            "modules_to_save": None,
            "base_model_name_or_path": "q/w",
        }
        run = folder(tmp_path, adapter_config_dot_json=content | {"layers_to_transform": [-6, -1], "lora_bias": False})
        assert [run.get(k) for k in ("adapters", "r", "bias", "lora_bias")] == ["lora", 8, "none", False]
        assert run.setting("modules_to_save").value is None
        assert run.get("layers_to_transform") == [-6, -1]

    def test_a_plain_config_json_is_one_of_settings(self, tmp_path):
        run = folder(tmp_path, config_dot_json={"learning_rate": 5e-5, "max_seq_length": 128})
        assert (run.get("learning_rate"), run.get("max_length")) == (5e-5, 128)
        assert run.setting("max_length").source.line == 3

    def test_vocabularies_are_left_alone(self, tmp_path):
        run = folder(tmp_path, vocab_dot_json={"lr": 1, "seed": 2, "fp16": 3}, c_dot_yaml="lr: 1.0e-3\n")
        assert run.get("learning_rate") == 1e-3 and len(run.config) == 1


class TestJson:
    def test_comments_and_trailing_commas(self):
        tree = read_json('{"lr": 1e-3, // why\n "url": "http://x", "b": [1, 2,],}')
        assert tree.documents[0].plain() == {"lr": 1e-3, "url": "http://x", "b": [1, 2]}
        assert tree.faults

    @pytest.mark.parametrize("cut", range(20, 60, 3))
    def test_cut_off_anywhere(self, cut):
        text = '{"learning_rate": 1e-3, "a": {"b": [1, 2, 3], "c": "text"}, "seed": 4}'
        tree = read_json(text[:cut])
        assert tree.documents[0].plain().get("learning_rate", 1e-3) == 1e-3
        assert tree.faults

    def test_repeated_keys_and_numbers_that_are_none(self, tmp_path):
        (tmp_path / "args.json").write_text(
            '{"learning_rate": NaN, "seed": 1,\n"seed": 2, "fp16": true}', encoding="utf-8"
        )
        run = read([tmp_path])
        assert [value.value for value in run.config["seed"]] == [2, 1]
        assert run.get("learning_rate") != run.get("learning_rate")
        assert "lines 1 and 2" in run.gaps[0].what


class TestToml:
    def test_tables_and_lines(self, tmp_path):
        run = one(
            tmp_path, "train.toml", '[optimizer]\nname = "AdamW"\nlr = 3e-4\n\n[training]\nmax_norm = 1.0\nsteps = 10\n'
        )
        assert [run.get(k) for k in ("optim", "learning_rate", "max_grad_norm", "max_steps")] == [
            "adamw_torch",
            3e-4,
            1.0,
            10,
        ]
        assert run.setting("learning_rate").source.line == 3

    def test_broken_end(self):
        tree = read_toml("lr = 1e-3\nseed = 1\nx = [1,\n")
        assert tree.documents[0].plain() == {"lr": 1e-3, "seed": 1} and tree.faults[0][0] == 3


class TestVersions:
    def test_only_exact_pins_are_versions(self, tmp_path):
        text = "# comment\ntransformers==4.57.1\ntorch>=2.1\npeft[x]==0.15.0 ; python_version > '3'\n-r o.txt\nx\n"
        run = one(tmp_path, "requirements.txt", text)
        assert [run.get(f"versions.{p}") for p in ("transformers", "torch", "peft")] == ["4.57.1", None, "0.15.0"]
        assert run.fact("requires.torch").value == ">=2.1"
        assert run.setting("versions.transformers").source.line == 2

    def test_frozen_output_under_any_name(self, tmp_path):
        run = one(tmp_path, "env.txt", "numpy==1.26.4\ntorch==2.3.0+cu121\ntokenizers==0.19.1\n")
        assert run.get("versions.torch") == "2.3.0+cu121"

    def test_conda_and_pyproject(self, tmp_path):
        run = folder(
            tmp_path,
            environment_dot_yml="dependencies:\n  - pytorch=2.1.0=py3\n  - pip:\n    - trl==0.9.6\n",
            pyproject_dot_toml='[project]\nname = "x"\ndependencies = ["datasets==3.1.0", "peft>=0.1"]\n',
        )
        found = [run.get(f"versions.{p}") for p in ("pytorch", "trl", "datasets", "peft")]
        assert found == ["2.1.0", "0.9.6", "3.1.0", None]


scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False) | st.text(max_size=10)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), trees, max_size=4))
def test_json_keeps_every_value(data):
    tree = read_json(json.dumps(data))
    assert not tree.faults and tree.documents[0].plain() == data


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text("abcxyz_", min_size=1, max_size=8), trees, max_size=4))
def test_yaml_reads_what_was_dumped(data):
    text = yaml.safe_dump(data, allow_unicode=True)
    expected = yaml.safe_load(text)
    tree = read_yaml(text)
    assert [document.plain() for document in tree.documents] == [expected] and not tree.faults


@settings(max_examples=150, deadline=None)
@given(
    st.text(alphabet="ab: -[]{}&*!|>'\"#\n\t,?%@`.0", max_size=200), st.sampled_from(["yaml", "json", "toml", "txt"])
)
def test_any_text_is_read_or_refused(tmp_path_factory, text, suffix):
    path = tmp_path_factory.mktemp("any") / f"observed.{suffix}"
    path.write_text(text, encoding="utf-8")
    try:
        read([path])
    except ReadError as error:
        assert error.why or error.what


FORMS = {
    "c.yaml": "learning_rate: 1.0e-3\nname: größe\n",
    "setting.yaml": "learning_rate: 1.0e-3\nname: größe\n",
    "train.py": "learning_rate = 1e-3\nx = 'größe'\n",
    "report.md": "- learning_rate: 1e-3\n\nGröße\n",
    "run.sh": "python a.py --learning_rate 1e-3 --name größe\n",
    "args.json": '{"learning_rate": 1e-3, "fp16": true, "name": "größe"}',
    "n.ipynb": '{"cells": [{"cell_type": "code", "source": ["learning_rate = 1e-3\\n"], "outputs": []}], "x": "größe"}',
    "t.toml": 'learning_rate = 1e-3\nname = "größe"\n',
}


@pytest.mark.parametrize("name", sorted(FORMS))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings_and_line_ends(tmp_path, name, encoding):
    for at, ends in enumerate(("\n", "\r\n")):
        path = tmp_path / str(at) / name
        path.parent.mkdir()
        path.write_bytes(FORMS[name].replace("\n", ends).encode(encoding))
        assert read([path]).get("learning_rate") == 1e-3


@pytest.mark.parametrize("name", sorted(FORMS))
@pytest.mark.parametrize("content", [b"", b"\x00" * 50, bytes(range(256)) * 4, b"\xff\xfe\x00"])
def test_what_is_no_text_is_refused_or_empty(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    try:
        run = read([tmp_path / name])
    except ReadError as error:
        assert name in str(error)
    else:
        assert not run.config and not run.series


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_a_changed_byte_never_breaks_a_reader(tmp_path_factory, name, data):
    content = bytearray(FORMS[name].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / name
    path.write_bytes(bytes(content))
    try:
        run = read([path])
    except ReadError as error:
        assert error.what
    else:
        assert run.inputs
