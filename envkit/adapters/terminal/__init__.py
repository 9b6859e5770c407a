"""The terminal adapter: a persistent shell, files, jobs and PTY programs in a sandbox."""

from envkit.adapters.terminal.adapter import Terminal
from envkit.adapters.terminal.seed import TerminalSeed
from envkit.adapters.terminal.session import TerminalSession

__all__ = ["Terminal", "TerminalSeed", "TerminalSession"]
