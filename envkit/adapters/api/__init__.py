"""`Api`: a FastAPI app over an episode's state. One app, one state, one request log, and several doors to it."""

from envkit.adapters.api.adapter import Api
from envkit.adapters.api.session import ApiSession

__all__ = ["Api", "ApiSession"]
