"""Where models come from: `tiny`, and folders."""

import json
import subprocess
import sys

import pytest
import torch

from envkit.errors import MissingError, UsageError
from envkit.train.models import load
from envkit.train.tiny import SPECIAL, tokenizer_of


def test_tiny_is_half_a_million_parameters(tiny):
    assert 400_000 < tiny.parameters < 900_000
    assert tiny.describe() == {"model": "tiny", "parameters": tiny.parameters, "dtype": "float32"}


def test_the_same_seed_gives_the_same_model_in_another_process(tiny):
    code = (
        "from envkit.train.models import load; made = load('tiny');"
        "print(sum(p.double().sum().item() for p in made.model.parameters()));"
        "print(made.tokenizer.backend_tokenizer.to_str())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    total, _, written = said.partition("\n")
    assert float(total) == sum(p.double().sum().item() for p in tiny.model.parameters())
    assert written.strip() == tiny.tokenizer.backend_tokenizer.to_str()


def test_another_seed_gives_other_weights_and_leaves_torchs_generator_alone(tiny):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    other = load("tiny", seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(other.model.lm_head.weight, tiny.model.lm_head.weight)


@pytest.mark.parametrize(
    "frame", ['{{"key": "{}"}}', "Find {} now.", "<tool_response>{}</tool_response>", "({})", "{}"]
)
def test_keys_and_digits_are_the_same_tokens_wherever_they_stand(tiny, frame):
    """Copying from a prompt into a call is copying tokens: what a small model can learn."""
    for value, size in (("A", 1), ("k7", 2), ("4096", 4)):
        ids = tiny.tokenizer(frame.format(value))["input_ids"]
        assert [tiny.tokenizer.decode([one]) for one in ids].count(value[0]) >= 1
        alone = tiny.tokenizer(value)["input_ids"]
        assert len(alone) == size
        assert any(ids[at : at + size] == alone for at in range(len(ids)))


def test_control_marks_are_one_token_and_a_call_is_short(tiny):
    assert [tiny.tokenizer(mark)["input_ids"] for mark in SPECIAL] == [
        [at] for at in range(len(SPECIAL))
    ]
    written = '<tool_call>{"name": "get", "arguments": {"key": "A"}}</tool_call>'
    assert len(tiny.tokenizer(written)["input_ids"]) <= 14


def test_what_it_will_read_becomes_tokens():
    plain, taught = tokenizer_of(), tokenizer_of(["starter_lookup of the parcel"] * 3)
    assert len(taught("starter_lookup")["input_ids"]) == 1
    assert len(plain("starter_lookup")["input_ids"]) > 3


@pytest.mark.parametrize(
    "text", ["", "naïve 日本 \x00\ufffd", " leading", "trailing \n\n", "😀 a\tb"]
)
def test_any_text_survives_the_tokenizer(tiny, text):
    assert tiny.tokenizer.decode(tiny.tokenizer(text)["input_ids"]) == text


def test_what_was_saved_is_loaded(tiny, tmp_path):
    tiny.save(tmp_path / "model")
    again = load(str(tmp_path / "model"))
    pairs = zip(tiny.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert again.tokenizer.chat_template == tiny.tokenizer.chat_template
    text = '<|im_start|>user\nFind A.<|im_end|><tool_call>{"name": "get"'
    assert again.tokenizer(text)["input_ids"] == tiny.tokenizer(text)["input_ids"]
    assert not again.model.training


def test_half_precision(tiny, tmp_path):
    tiny.save(tmp_path)
    assert load(str(tmp_path), dtype="bfloat16").model.dtype == torch.bfloat16


def without(folder, *names):
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda folder: without(folder, "config.json"), "no config.json"),
        (lambda folder: without(folder, "model.safetensors"), "not loaded"),
        (lambda folder: without(folder, "tokenizer.json", "tokenizer_config.json"), "okenizer"),
        (lambda folder: without(folder, "chat_template.jinja"), "no chat template"),
        (lambda folder: (folder / "config.json").write_text("{"), "not loaded"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "lack|not loaded",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "not loaded"),
    ],
)
def test_a_folder_that_is_no_model_is_one_clear_error(tiny, tmp_path, harm, named):
    tiny.save(tmp_path)
    harm(tmp_path)
    with pytest.raises(UsageError, match=named) as error:
        load(str(tmp_path))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_that_do_not_fit_are_refused(tiny, tmp_path):
    """Half a checkpoint would otherwise play with random weights."""
    tiny.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.update(num_hidden_layers=3, layer_types=["full_attention"] * 3)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="lack"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "/nowhere"}, "no such folder"),
        ({"name": "tiny", "dtype": "int8"}, "dtype 'int8'"),
        ({"name": "tiny", "device": "cuda:99"}, "no such device"),
        ({"name": "tiny", "device": "toaster"}, "no such device"),
    ],
)
def test_what_cannot_be_had_is_one_clear_error(options, named):
    with pytest.raises(UsageError, match=named):
        load(**options)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingError, match=r"pip install 'envkit\[train\]'"):
        load("tiny")
