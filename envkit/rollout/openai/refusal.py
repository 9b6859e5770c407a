"""When an endpoint gives no answer: whose fault is it?

An agent must not be able to get rid of an episode that it is losing, so whatever a conversation
itself can cause (too long, moderated, calls so malformed that a server chokes on them) stops the
episode, which is then graded. What no conversation can cause is infrastructure, and what fails for
every conversation is the user's to mend.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from envkit.data.strict import scrub
from envkit.errors import EnvkitError, UsageError
from envkit.rollout.policy import PolicyFailed, PolicyStopped

_SHOWN = 300  # characters of what an endpoint said

# As OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, OpenRouter and Anthropic word it.
_OWN_DOING = re.compile(
    r"context[_ ](length|size|window)|maximum context|max_model_len|string_above_max_length"
    r"|(prompt|input|request|conversation) (is )?too (long|large)|too many (input )?tokens"
    r"|(input|prompt).{0,60}longer than|reduce the length"
    r"|content_?(filter|policy)|content management policy|flagged|moderation",
    re.IGNORECASE | re.DOTALL,
)
_NO_CREDIT = re.compile(r"insufficient_quota|billing|exceeded your current quota", re.IGNORECASE)
_REFUSED_CONTENT = (400, 413, 422)  # the statuses by which servers refuse what stands in a request


class Refused(Exception):
    """An endpoint answered, but with an error."""

    def __init__(self, status: int, said: str, place: str = "") -> None:
        super().__init__(status, said)
        self.status = status
        self.said = said
        self.place = place


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known where a refusal arrives."""

    model: str
    place: str  # the endpoint
    spoken: bool  # the conversation holds a turn of the model
    strange: bool  # one of its turns holds a call that no well-behaved model makes
    served: bool  # the endpoint has answered before, in whatever episode


def blame(refused: Refused, where: Circumstances) -> EnvkitError:
    """PolicyStopped (the conversation's doing), PolicyFailed (infrastructure) or UsageError."""
    status, said = refused.status, refused.said
    why = one_line(said) or "no reason given"
    what = f"openai:{where.model}: HTTP {status} from {where.place}: {why}"
    refusal: type[EnvkitError] = UsageError
    if _OWN_DOING.search(said) or (status == 500 and where.strange):
        refusal = PolicyStopped
    elif status == 429 and _NO_CREDIT.search(said):
        refusal = UsageError
    elif status in (408, 409, 425, 429) or status >= 500:
        refusal = PolicyFailed
    elif status in _REFUSED_CONTENT and where.spoken:
        refusal = PolicyStopped
    elif status in _REFUSED_CONTENT and where.served:
        refusal = PolicyFailed  # this task's prompt alone; the others need not stop for it
    return refusal(what if refusal is not UsageError else what + _remedy(refused, where))


def _remedy(refused: Refused, where: Circumstances) -> str:
    if refused.status in (401, 403):
        return "; check OPENAI_API_KEY (api_key)"
    if refused.status == 404:
        return f"; no model {where.model!r} there, or the URL is wrong (most end in /v1)"
    if refused.status < 400:
        place = one_line(refused.place) or "elsewhere"
        return f"; it redirects to {place}: give that as OPENAI_BASE_URL (base_url)"
    return ""


def one_line(text: str) -> str:
    """Text of an endpoint, fit for one line of a terminal."""
    printable = "".join(c if c.isprintable() else " " for c in scrub(text[: 4 * _SHOWN]))
    flat = " ".join(printable.split())
    return flat if len(flat) <= _SHOWN else flat[:_SHOWN] + "..."
