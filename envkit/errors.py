"""Every error envkit raises, in one tree.

    EnvkitError                     anything below; `str()` is one or two lines: what, where, what to do
    ├── UsageError                  the caller's input is wrong (a spec, a flag, a file); exit status 2
    │   ├── SpecError               a spec that does not parse, or names nothing that is installed
    │   ├── DeclarationError        an Env class that breaks the protocol (found when the class is made)
    │   └── TaskError               a task that does not validate (world, gold, limits)
    ├── MissingError                the machine lacks something; says what to install; exit status 3
    ├── WorldError                  the world of one episode failed
    │   ├── SandboxUnavailable      a sandbox could not be opened (infrastructure)
    │   └── SandboxLost             an open sandbox is gone: its host saw it die
    │       └── EngineLost          the engine under it is gone, too: infrastructure, at any moment
    ├── JudgeError                  the judge could not give a verdict
    │   └── FrameError              a frame on a host-owned pipe broke its rules
    └── RecordError                 a run's record cannot be continued (other spec, other digest)

A bad rollout is data (`Score`, `Invalid`), a bug is a crash; neither is in this tree.
"""

from __future__ import annotations


class EnvkitError(Exception):
    """Base of everything envkit raises on purpose."""


class UsageError(EnvkitError):
    """The caller's input is wrong; the message names it and says what to do."""


class SpecError(UsageError):
    """A spec that does not parse, or that names nothing installed."""


class DeclarationError(UsageError):
    """An Env class that breaks the protocol; raised where the class is made."""


class TaskError(UsageError):
    """A task that does not validate: its world, its gold or its limits."""


class MissingError(EnvkitError):
    """The machine lacks something; the message says what to install."""


class WorldError(EnvkitError):
    """The world of one episode failed."""


class SandboxUnavailable(WorldError):
    """A sandbox could not be opened: infrastructure, never the agent."""


class SandboxLost(WorldError):
    """An open sandbox is gone. After the first agent action this is the agent's doing."""


class EngineLost(SandboxLost):
    """The engine itself does not answer any more: no agent can cause that, so it is infrastructure."""


class JudgeError(EnvkitError):
    """The judge could not give a verdict."""


class FrameError(JudgeError):
    """A frame on a host-owned pipe broke its rules (too long, not JSON, out of order)."""


class RecordError(EnvkitError):
    """A run's record cannot be continued: the spec or a digest changed."""
