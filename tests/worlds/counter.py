"""A world of plain tools: reach a total. Shows every shape of script and every way to end."""

from random import Random

from pydantic import BaseModel

from envkit import (
    Config,
    Data,
    Env,
    Evidence,
    Limits,
    Score,
    Script,
    Task,
    ToolRefusal,
    call,
    passed,
    tool,
)


class Gold(BaseModel):
    total: int


class Level(Config):
    most: int = 5


class Counter(Env[Gold]):
    """Add up to the number asked for."""

    splits = {"train": 1000, "test": 5}
    Config = Level
    config = Level()
    table = Data(dict[str, int])
    evidence = [table.frozen()]

    @tool
    def add(self, n: int) -> str:
        """Add a number.

        Args:
            n: what to add
        """
        if n > self.config.most:
            raise ToolRefusal(f"at most {self.config.most}")
        self.table["x"] += n
        return str(self.table["x"])

    @tool
    async def crash(self) -> str:
        """Do what the author got wrong."""
        raise RuntimeError("secret detail of the world")

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        total = rng.randint(6, 20)
        return Task(
            prompt=f"Task {index}: reach {total}.",
            world={"table": {"x": 0}},
            gold=Gold(total=total),
            limits=Limits(turns=12, tool_calls=20, seconds=5),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        table = evidence.json("table/value.json")
        right = isinstance(table, dict) and table.get("x") == gold.total
        return Score.all(total=right, spoke=passed("whatever was said"))

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        left = task.gold.total
        while left:
            step = min(5, left)
            observation = yield call("add", n=step)
            assert observation.text().isdigit()
            left -= step
        return "done"

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        def one_short() -> Script:
            for _ in range(task.gold.total - 1):
                yield call("add", n=1)

        def refused() -> Script:
            observation = yield call("add", n=task.gold.total)
            assert "at most" in observation.text()

        return {"one short": one_short(), "refused": refused()}
