"""envkit: environments for language-model agents whose reward cannot be had without doing the task.

    from envkit import Env, Task, Terminal, Evidence, Score, call

Importing this loads the standard library and pydantic, nothing else; an adapter imports what it needs when a world
opens.
"""

from envkit.adapter import Adapter, Artefact, Clock, Context, Floor, Session
from envkit.adapters.data import Data
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

__all__ = [
    "Action",
    "Adapter",
    "Artefact",
    "Ask",
    "Blob",
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
    "SubjectCall",
    "SubjectRun",
    "Task",
    "Terminal",
    "Tests",
    "Tool",
    "ToolCall",
    "ToolRefusal",
    "ToolResult",
    "call",
    "failed",
    "passed",
    "say",
    "strict_json",
    "tool",
]
