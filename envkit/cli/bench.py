"""`envkit bench`."""
from __future__ import annotations
def bench(what: str) -> None:
    """X."""
