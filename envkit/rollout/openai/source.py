"""`OpenAIChat`, the source behind `openai:MODEL`, and the policy that it opens for each episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from envkit.data.message import Action, Observation
from envkit.data.strict import scrub
from envkit.errors import MissingError
from envkit.judge.client import Judge
from envkit.rollout.openai.answer import CallIds, read_answer
from envkit.rollout.openai.context import Context, Entry
from envkit.rollout.openai.refusal import Circumstances, Refused, blame
from envkit.rollout.openai.settings import ChatSettings
from envkit.rollout.policy import Casting, Policy, Usage

if TYPE_CHECKING:
    from envkit.rollout.openai.client import Endpoint


class OpenAIChat:
    """Plays a model behind any OpenAI-compatible endpoint.

    Args:
        name: as it was asked for, `openai:MODEL`
        model: the model, as its server calls it
        **options: the fields of `ChatSettings`
    """

    def __init__(self, name: str, model: str, **options: Any) -> None:
        self.name = name
        self.model = scrub(model)
        self.settings = ChatSettings.of(name, options)
        self._endpoint: Endpoint | None = None

    def describe(self) -> Mapping[str, Any]:
        """Model, place and sampling; never the key."""
        kept = {"temperature", "max_tokens", "seed", "prices"}
        sampling = self.settings.model_dump(mode="json", include=kept)
        return {"name": self.name, "model": self.model, "base_url": self.settings.place, **sampling}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """One episode per task."""
        return (None,)

    async def open(self, casting: Casting) -> Policy:
        """A conversation of its own, over the connections that all share. Raises MissingError."""
        if self._endpoint is None:
            try:
                from envkit.rollout.openai.client import Endpoint  # heavy, and an extra
            except ImportError:
                raise MissingError(
                    f"{self.name} needs the OpenAI client: pip install 'envkit[openai]'"
                ) from None
            self._endpoint = Endpoint(self.settings)
        return ChatPolicy(self.model, self.settings, self._endpoint, casting)

    async def aclose(self) -> None:
        """Close the connections, in the event loop that played the episodes; it may open again."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.aclose()


class ChatPolicy:
    """One episode's conversation with a model."""

    def __init__(
        self, model: str, settings: ChatSettings, endpoint: Endpoint, casting: Casting
    ) -> None:
        self.usage = Usage()
        self._endpoint = endpoint
        self._settings = settings
        self._context = Context()
        self._ids = CallIds()
        self._request = _request(model, settings, casting)

    async def __call__(self, observation: Observation) -> Action:
        """The model's next turn. Raises PolicyFailed, PolicyStopped, UsageError."""
        messages = self._context.seen(observation)
        try:
            body = await self._endpoint.complete({**self._request, "messages": messages})
            answer = read_answer(body, self._ids)
        except Refused as refused:
            raise blame(refused, self._circumstances(observation)) from None
        self._context.take(observation, messages, answer)
        self._charge(answer.prompt_tokens, answer.completion_tokens)
        return answer.action

    def _circumstances(self, observation: Observation) -> Circumstances:
        return Circumstances(
            model=self._request["model"],
            place=self._settings.place,
            spoken=self._context.spoken,
            strange=self._context.strange and not observation.fresh,
            served=self._endpoint.served,
        )

    def _charge(self, prompt: int, completion: int) -> None:
        self.usage.prompt_tokens += prompt
        self.usage.completion_tokens += completion
        for_prompts, for_completions = self._settings.prices
        self.usage.cost += (prompt * for_prompts + completion * for_completions) / 1e6

    async def aclose(self) -> None:
        """Nothing to let go of: the connections are the source's."""


def _request(model: str, settings: ChatSettings, casting: Casting) -> Entry:
    """What all requests of an episode share."""
    request: Entry = {"model": model}
    if casting.tools:
        request["tools"] = [scrub(tool.schema()) for tool in casting.tools]
    if settings.temperature is not None:
        request["temperature"] = settings.temperature
    if settings.max_tokens is not None:
        request[settings.limit_name] = settings.max_tokens
    if settings.seed is not None:  # one number for all would make a task's repeats one episode
        request["seed"] = (settings.seed + casting.rng.getrandbits(31)) % (1 << 31)
    return request
