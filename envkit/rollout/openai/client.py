"""The wire: the official client, with bounds on what an endpoint may send."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import openai

from envkit.errors import EnvkitError
from envkit.rollout.openai.answer import reason
from envkit.rollout.openai.refusal import Refused, one_line
from envkit.rollout.openai.settings import NO_KEY, ChatSettings
from envkit.rollout.policy import PolicyFailed, PolicyStopped

log = logging.getLogger("envkit.openai")

MAX_BYTES = 32 << 20  # of one response; text and thinking of MAX_CHARS fit, however escaped
_CONNECTIONS = 256  # below the usual limit of open files; requests beyond it wait
_CONNECT_SECONDS = 10.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_REBUILT = ("content-encoding", "content-length", "transfer-encoding")


class _Bounded(openai.DefaultAsyncHttpxClient):
    """Reads every body to its end, but only so much and so long of it.

    It stands below the official client, so that a body that breaks off is retried like a connection
    that does.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds
        self.served = False  # the endpoint has answered
        self._warned = False

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """One request and its whole response.

        Where it exceeds its bounds: raises PolicyStopped for an answer that goes on and on at an endpoint that has
        given others (the model writes it), else PolicyFailed.
        """
        beyond: type[EnvkitError] = PolicyFailed
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, stream=True, **options)
                if self.served and response.is_success:
                    beyond = PolicyStopped
                try:
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            seconds = f"{self._seconds:g} seconds"
            raise beyond(f"the endpoint took over {seconds} to answer") from None
        except Exception as error:  # the transport's: which library that is, the client decides
            if not (self.served or self._warned):  # people wait: the retries take most of a minute
                self._warned = True
                place = f"{request.url.scheme}://{request.url.netloc.decode()}"
                log.warning("no answer from %s yet (%s); trying again", place, one_line(str(error)))
            raise
        if body is None:
            raise beyond(f"the endpoint's answer is longer than {MAX_BYTES} bytes")
        headers = [header for header in response.headers.multi_items() if header[0] not in _REBUILT]
        return type(response)(response.status_code, headers=headers, content=body, request=request)

    @staticmethod
    async def _body(response: Any) -> bytes | None:
        """The whole body, or None where it is too long."""
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                return None
        return bytes(body)


class Endpoint:
    """One endpoint for all episodes of a run: one client, one pool of connections."""

    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        timeout = openai.Timeout(settings.timeout, connect=min(_CONNECT_SECONDS, settings.timeout))
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS
        )
        self._wire = _Bounded(
            2 * settings.timeout,  # the read timeout ends (retried) silence; this one a trickle
            timeout=timeout,
            limits=limits,
            follow_redirects=False,  # a key goes to no other host than the one it was given for
            # no proxy reaches this machine's loopback
            trust_env=settings.host not in _LOOPBACK,
        )
        self._client = openai.AsyncOpenAI(
            base_url=settings.base_url,
            api_key=settings.key,
            max_retries=settings.retries,
            timeout=timeout,
            http_client=self._wire,
        )

    @property
    def served(self) -> bool:
        """It has answered."""
        return self._wire.served

    async def complete(self, request: dict[str, Any]) -> bytes:
        """The body of a chat completion. Raises Refused, PolicyFailed, PolicyStopped."""
        try:
            response = await self._client.chat.completions.with_raw_response.create(**request)
        except openai.APIStatusError as error:
            place = error.response.headers.get("location", "")
            raise Refused(error.status_code, self._masked(_said(error)), place) from None
        except openai.OpenAIError as error:
            if isinstance(error.__cause__, EnvkitError):  # the wire's own; older clients wrap it
                raise error.__cause__ from None
            cause = one_line(self._masked(str(error.__cause__ or "")))
            place = self._settings.place
            what = f"no answer from {place}: {one_line(str(error))} {cause}"
            raise PolicyFailed(what.rstrip()) from None
        self._wire.served = True
        return bytes(response.http_response.content)

    def _masked(self, text: str) -> str:
        key = self._settings.key
        return text if key == NO_KEY else text.replace(key, "***")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _said(error: openai.APIStatusError) -> str:
    return reason(error.body if error.body is not None else error.response.text)
