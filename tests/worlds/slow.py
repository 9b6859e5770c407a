"""Tools that block: none of them may cost another episode anything."""

import asyncio
import itertools
import threading
import time

from envkit import Data, Env, Limits, Score, Task, ToolRefusal, tool
from envkit.rollout.telemetry import EPISODE


class Slow(Env):
    """Say how many times you did something."""

    splits = {"train": 100}
    table = Data(dict[str, int])
    evidence = [table.frozen()]

    @tool
    def sleep(self, seconds: float) -> str:
        """Sleep, as a slow library call does."""
        time.sleep(seconds)
        return "slept"

    @tool
    def spin(self) -> str:
        """Never come back, and swallow what could end it."""
        while True:
            try:
                for n in itertools.count():
                    self.table[str(n % 1000)] = n
            except Exception:  # noqa: BLE001, S110 - as a careless tool does
                pass

    @tool
    def where(self) -> str:
        """Say which thread this is, and whose episode."""
        return f"{threading.current_thread().name} {EPISODE.get()}"

    @tool(inline=True)
    def here(self) -> str:
        """Say which thread this is."""
        return threading.current_thread().name

    @tool
    async def waits(self) -> str:
        """Say which thread this is, after a while."""
        await asyncio.sleep(0.01)
        return threading.current_thread().name

    @tool
    def later(self) -> object:
        """Give back what is to be awaited."""
        return asyncio.sleep(0.01, "awaited")

    @tool
    def refuse(self) -> str:
        """Refuse."""
        raise ToolRefusal("not today")

    @tool
    def leave(self) -> str:
        """End the process, as a careless tool does."""
        raise SystemExit(3)

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="Go.", world={"table": {}}, gold={}, limits=Limits(seconds=3))

    @staticmethod
    def grade(evidence, gold):
        return Score.all(done=evidence.answer == "done")
