"""What a user may set about an endpoint and its sampling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from envkit.errors import UsageError

NO_KEY = "none"  # for servers that ask for no key; the client insists on having one

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ChatSettings(BaseModel):
    """An endpoint and how to sample from it. What is None is left to the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str | None = None  # else OPENAI_BASE_URL, else OpenAI itself
    api_key: SecretStr | None = None  # else OPENAI_API_KEY; not needed where base_url is given
    temperature: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_tokens: int | None = Field(None, gt=0)  # of one answer
    seed: int | None = None  # each episode samples with a seed drawn from it, so repeats differ
    prices: tuple[Price, Price] = (0.0, 0.0)  # per million tokens: of prompts, of completions
    retries: int = Field(5, ge=0, le=100)  # of one request, with backoff: about 15 seconds in all
    timeout: float = Field(
        600.0, gt=0, allow_inf_nan=False
    )  # seconds of silence; a whole answer: twice

    @field_validator("base_url")
    @classmethod
    def _an_http_url(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://host")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http(s) URL such as http://localhost:8000/v1")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a key in the URL would be recorded; give it as OPENAI_API_KEY")
        return value

    @field_validator("api_key")
    @classmethod
    def _fit_for_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value() if value else ""
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError("a key is one word of printable ASCII characters")
        return value

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> Self:
        """Settings from options and, where they are silent, the environment. Raises UsageError."""
        given = {key: value for key, value in options.items() if value is not None}
        environment = {"base_url": "OPENAI_BASE_URL", "api_key": "OPENAI_API_KEY"}
        for option, variable in environment.items():
            if option not in given and (value := os.environ.get(variable, "").strip()):
                given[option] = value
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            raise UsageError(f"{name}: {_explain(error)}") from None  # its own text shows the key
        if settings.base_url is None and settings.api_key is None:
            raise UsageError(
                f"{name}: no key; set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint"
            )
        return settings

    @property
    def key(self) -> str:
        """The key to send."""
        return self.api_key.get_secret_value() if self.api_key else NO_KEY

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return urlsplit(self.base_url).hostname or "" if self.base_url else "api.openai.com"

    @property
    def place(self) -> str:
        """The endpoint as it is recorded and named in errors: no query, which may hold a key."""
        if not self.base_url:
            return self.host
        return urlsplit(self.base_url)._replace(query="", fragment="").geturl()

    @property
    def limit_name(self) -> str:
        """What the endpoint calls `max_tokens`: OpenAI's own refuses the name that others know."""
        return "max_completion_tokens" if self.host == "api.openai.com" else "max_tokens"


def _explain(error: ValidationError) -> str:
    problems = (
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return "; ".join(problems)
