"""envkit: environments for language-model agents whose reward cannot be had without doing the task.

    from envkit import Env, Task, Terminal, Evidence, Score, call

Importing this loads the standard library and pydantic, nothing else; an adapter imports what it
needs when a world opens.
"""

import typing

from envkit.adapter import Adapter, Artefact, Clock, Context, Floor, Session
from envkit.adapters.api import Api
from envkit.adapters.browser import Browser
from envkit.adapters.chain import SessionChain
from envkit.adapters.data import Data
from envkit.adapters.memory import Memory
from envkit.adapters.store import Store
from envkit.adapters.team import Team
from envkit.adapters.terminal import Terminal
from envkit.data.evidence import Evidence
from envkit.data.message import Action, Image, Message, Observation, Script, ToolCall, call, say
from envkit.data.probe import Ask, Grading, Probe, Reply, SubjectCall, SubjectRun, Tests
from envkit.data.score import Check, Finding, Invalid, Reason, Score, failed, passed
from envkit.data.spec import EnvSpec
from envkit.data.strict import Malformed, Oversize, strict_json
from envkit.data.task import Blob, Limits, PublicTask, Task
from envkit.data.tool import Tool, ToolResult, tool
from envkit.env import Config, Env
from envkit.errors import EnvkitError
from envkit.toolbox import ToolRefusal

if typing.TYPE_CHECKING:
    from envkit.adapters.api.world import World

__all__ = [
    "Action",
    "Adapter",
    "Api",
    "Artefact",
    "Ask",
    "Blob",
    "Browser",
    "Check",
    "Clock",
    "Config",
    "Context",
    "Data",
    "Env",
    "EnvSpec",
    "EnvkitError",
    "Evidence",
    "Finding",
    "Floor",
    "Grading",
    "Image",
    "Invalid",
    "Limits",
    "Malformed",
    "Memory",
    "Message",
    "Observation",
    "Oversize",
    "Probe",
    "PublicTask",
    "Reason",
    "Reply",
    "Score",
    "Script",
    "Session",
    "SessionChain",
    "Store",
    "SubjectCall",
    "SubjectRun",
    "Task",
    "Team",
    "Terminal",
    "Tests",
    "Tool",
    "ToolCall",
    "ToolRefusal",
    "ToolResult",
    "World",
    "call",
    "failed",
    "passed",
    "say",
    "strict_json",
    "tool",
]


def __getattr__(name: str) -> typing.Any:
    """`World` is a FastAPI dependency: whoever asks for it has FastAPI loaded anyway."""
    if name == "World":
        from envkit.adapters.api.world import World

        return World
    raise AttributeError(f"module 'envkit' has no attribute {name!r}")
