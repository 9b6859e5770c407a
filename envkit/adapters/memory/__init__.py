"""Memory: notes that outlive a context, as files under `/memories` and a search over them."""

from envkit.adapters.memory.adapter import Memory
from envkit.adapters.memory.seed import MemorySeed
from envkit.adapters.memory.session import MemorySession

__all__ = ["Memory", "MemorySeed", "MemorySession"]
