"""Between messages and tokens, by the model's own chat template; token in, token out.

What the model said is kept exactly as it was sampled, and is never tokenised again. Of a conversation that grows only
what the world added is rendered: the template is run on a stand-in for the model's turn, and everything behind
the token that ends that turn is the suffix. `Renderer.check` proves at start-up that this gives what the template
gives for the whole conversation; where a template rewrites history (most drop old thoughts), each rewritten context
becomes a row of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Literal

from envkit.data.message import Action
from envkit.data.strict import scrub
from envkit.data.tool import Tool
from envkit.errors import UsageError
from envkit.rollout.openai.answer import CallIds
from envkit.train.chat import MARK, Chat, Guard, as_chat, stand_in
from envkit.train.parse import CLOSE, OPEN, Parsed, read_turn
from envkit.train.types import Thinking

log = logging.getLogger("envkit.train")

History = Literal["auto", "append", "split"]

_PROBE: Chat = {"role": "user", "content": "hello"}


class Renderer:
    """The chat template of a tokenizer, as a policy needs it.

    Args:
        tokenizer: a fast tokenizer with a chat template
        thinking: `off`, `on`, or a budget of tokens for each turn's thoughts
        history: `append` keeps what was sampled whatever the template makes of it later, `split` renders
            each context anew, `auto` lets `check` choose

    Raises UsageError for a template that can't be used.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        thinking: Literal["off", "on"] | int = "off",
        history: History = "auto",
    ) -> None:
        self._tokenizer = tokenizer
        self.thinks = thinking != "off"
        self._guard = Guard(tokenizer)
        self._history = history
        self.thinking = thinking
        self.split = history == "split"
        self.end = self._ending()  # the id that ends a turn
        eos = tokenizer.eos_token_id
        self.stop: tuple[int, ...] = (self.end,) if eos in (None, self.end) else (self.end, eos)

    # ---- to tokens ----

    def prompt(self, messages: Sequence[Chat], tools: Sequence[Tool] = ()) -> list[int]:
        """A whole context, up to where the model's turn begins."""
        return self._encode(*self.written(messages, tools, begin=True))

    def suffix(
        self, action: Action, messages: Sequence[Chat], tools: Sequence[Tool] = ()
    ) -> list[int]:
        """What stands between the end of the model's turn and the beginning of its next."""
        turn = [_PROBE, stand_in(action)]
        before, _ = self.written(turn, tools)
        text, held = self.written([*turn, *messages], tools, begin=True)
        return self._encode(_behind(text, self._end_text, before.count(self._end_text)), held)

    def spoken(self, action: Action, tools: Sequence[Tool] = ()) -> list[int]:
        """The tokens of a turn that says this, its end included: what a warm start teaches."""
        before, _ = self.written([_PROBE], tools, begin=True)
        text, held = self.written([_PROBE, as_chat(action)], tools)
        if not text.startswith(before):
            raise UsageError(
                "the chat template breaks `generation prompt`: a turn does not begin with what asks for it"
            )
        said, end, _ = text[len(before) :].partition(self._end_text)
        return self._encode(said + end, held)

    # ---- from tokens ----

    def read(self, ids: Sequence[int], call_ids: CallIds, *, inside: bool = False) -> Parsed:
        """What sampled tokens say."""
        said = ids[:-1] if ids and ids[-1] in self.stop else ids
        return read_turn(self.text(said), call_ids, inside=inside)

    def text(self, ids: Sequence[int]) -> str:
        """Tokens as text, control tokens included."""
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def length(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self._plain(text)) if text else 0

    def inside(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt ends inside a thought that the template opened."""
        return self.text(prompt[-8:]).rstrip().endswith(OPEN)

    def budget(self, prompt: Sequence[int]) -> Thinking | None:
        """The thinking budget of a turn after this prompt."""
        if not isinstance(self.thinking, int):
            return None
        opens, closes = (self._single(mark) for mark in (OPEN, CLOSE))
        return Thinking(self.thinking, opens, closes, tuple(self._closing()), self.inside(prompt))

    # ---- the template ----

    def written(
        self, messages: Sequence[Chat], tools: Sequence[Tool], *, begin: bool = False
    ) -> tuple[str, list[str]]:
        """What the template makes of messages, and the control texts that its marks stand for."""
        held: list[str] = []
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(
                [self._guard.hide(message, held) for message in messages],
                tools=[scrub(tool.schema()) for tool in tools] or None,
                tokenize=False,
                add_generation_prompt=begin,
                enable_thinking=self.thinks,
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise UsageError(f"the chat template failed on {_roles(messages)}: {error}") from None
        return text, held

    def _encode(self, text: str, held: Sequence[str]) -> list[int]:
        ids: list[int] = []
        for at, piece in enumerate(re.split(f"{MARK}(\\d+){MARK}", text)):
            ids += self._guard.plainly(held[int(piece)]) if at % 2 else self._plain(piece)
        return ids

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _single(self, mark: str) -> int:
        ids = self._plain(mark)
        if len(ids) != 1:
            raise UsageError(
                f"a thinking budget needs {mark} to be one token, which it is not here; use thinking on or off"
            )
        return ids[0]

    def _closing(self) -> list[int]:
        """What the template writes between a thought and what follows it."""
        said = self.text(self.spoken(Action("after", (), "thought")))
        found = re.search(f"thought(.*{CLOSE}.*?)after", said, re.DOTALL)
        return self._plain(found[1] if found else f"\n{CLOSE}\n\n")

    def _ending(self) -> int:
        """The token that ends a turn: the first control token behind what the model says."""
        text, _ = self.written([_PROBE, as_chat(Action("probe"))], ())
        added = self._tokenizer.added_tokens_decoder
        for token in self._plain(text.rpartition("probe")[2]):
            if token in added:
                self._end_text = str(added[token].content)
                return token
        raise UsageError(
            "the chat template can't be used: no control token ends what the assistant says"
        )

    # ---- the proof ----

    def check(self) -> None:
        """Prove that what is appended is what the template would write; see `proof`.

        Where it is not, contexts are rendered anew each time (said once), unless `history` says otherwise.
        Raises UsageError, naming the property that does not hold.
        """
        from envkit.train.proof import prove

        lost = prove(self)
        if lost and self._history == "auto" and not self.split:
            log.warning("%s; contexts are rendered anew, and each is a row of its own", lost)
            self.split = True


def _behind(text: str, end: str, count: int) -> str:
    """What follows the `count`-th end of a turn."""
    return text.split(end, count)[-1]


def _roles(messages: Sequence[Chat]) -> str:
    return ", ".join(message["role"] for message in messages)
