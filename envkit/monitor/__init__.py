"""Runtime guards, on in every trial: they watch what the agent writes, and gate the reward by what they saw."""

from envkit.monitor.monitor import Monitor

__all__ = ["Monitor"]
