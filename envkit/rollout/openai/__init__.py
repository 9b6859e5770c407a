"""`openai:MODEL`: any OpenAI-compatible endpoint as a policy, through the official client.

`settings` is what a user may set, `context` what the model sees, `answer` what it said, `client`
the wire and `refusal` whose fault it is when there is no answer. Only `client` imports the `openai`
distribution, and late.
"""

from envkit.rollout.openai.settings import ChatSettings
from envkit.rollout.openai.source import ChatPolicy, OpenAIChat

__all__ = ["ChatPolicy", "ChatSettings", "OpenAIChat"]
