"""`--model tiny`: a Qwen3 of half a million parameters and its tokenizer, made from a seed. Nothing is downloaded.

It is as small as a model can be that learns to call tools on a CPU in minutes. Its vocabulary is learned from a short
fixed text and from what it is to read: single letters and digits are tokens of their own whether a space, a quote or a
bracket stands before them, so that copying one from a prompt into a call is copying one token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

VOCABULARY = 768
MIN_COUNT = 2

# Words take the space before them; single letters, capitals and digits do not.
# Punctuation of JSON runs together: `": "` and `"}}` are one token each.
_SPLIT = r""" ?\p{L}?[\p{Ll}_]{2,}|\p{L}|\p{N}|[\s"{}\[\]:,.]+|[^\s\p{L}\p{N}]"""

END = "<|im_end|>"
PAD = "<|pad|>"
SPECIAL = (END, "<|im_start|>", PAD, "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>",
           "</tool_response>")  # fmt: skip

TEMPLATE = """\
{%- macro header(role) -%}<|im_start|>{{ role }}
{% endmacro -%}
{%- if tools -%}
{{ header('system') }}
{%- for tool in tools -%}
{{ tool.function.name }}({{ tool.function.parameters.properties | list | join(', ') }})
{% endfor -%}
<|im_end|>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{{ header('assistant') }}
{%- if message.reasoning_content -%}<think>{{ message.reasoning_content }}</think>{%- endif -%}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] -%}
<tool_call>
{%- if call.function.arguments is string -%}{{ call.function.arguments }}
{%- else -%}{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}
{%- endif -%}
</tool_call>
{%- endfor -%}
{%- elif message.role == 'tool' -%}
{{ header('user') }}<tool_response>{{ message.content }}</tool_response>
{%- else -%}
{{ header(message.role) }}{{ message.content }}
{%- endif -%}
<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}{{ header('assistant') }}{%- endif -%}
"""


def tiny(
    seed: int = 0, texts: Iterable[str] = (), *, hidden: int = 128, layers: int = 2
) -> tuple[Any, Any]:
    """The model and its tokenizer.

    Args:
        seed: of the weights
        texts: what it will read and write; they decide what is one token
        hidden: width of its layers
        layers: how many
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = tokenizer_of(texts)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4, head_dim=hidden // 4, max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config), tokenizer


def tokenizer_of(texts: Iterable[str] = ()) -> Any:
    """A byte-level BPE with a chat template; the same texts give the same one."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=MIN_COUNT, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    tokenizer.train_from_iterator([*_corpus(), *texts], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, chat_template=TEMPLATE
    )


def _corpus() -> Iterator[str]:
    """Turns of many made-up conversations: enough for the frame of every call to be a few tokens."""
    tools = (
        "get",
        "add",
        "find",
        "read",
        "write",
        "list",
        "search",
        "lookup",
        "submit",
        "shell_run",
    )
    names = (
        "key",
        "name",
        "text",
        "path",
        "query",
        "command",
        "answer",
        "value",
        "number",
        "x",
        "y",
        "a",
        "b",
    )
    for tool in tools:
        for name in names:
            for value in ("A", 7):
                yield json.dumps({"name": tool, "arguments": {name: value}})
                yield json.dumps({"name": tool, "arguments": {name: value, names[0]: value}})
        yield f"{tool}({', '.join(names[:3])})\n"
        yield f"Tool {tool} says: not found. Refused: no such {tool}.\n"
    for role in ("system", "user", "assistant") * 40:
        yield f"{role}\n"
    yield from _PROSE.splitlines(keepends=True) * 4


_PROSE = """\
Find the value of A plus B. Say the answer, and nothing else.
The answer is 42. What is the sum of the two numbers? Use the tools that you have.
Look up each key, add what you found, then say the result.
Error: the arguments do not fit; no tool is called that; there is no key of this name.
Name the item, its price and its place. Read the file and write the total to answer.txt.
Not found. Done. True. False. None. Ok. Yes. No.
"""
