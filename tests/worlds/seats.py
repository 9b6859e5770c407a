"""Worlds with seats: one in turn with secrets on the cards, one in which all act together."""

from __future__ import annotations

from random import Random
from uuid import UUID

from envkit import Env, Evidence, Limits, Score, Script, Task, Team, ToolRefusal, call, tool

NAMES = ("ann", "bob", "cyd")


def secret(index: int, seat: str) -> str:
    """The GUID on a seat's card, known to tests."""
    return str(UUID(int=Random(f"{index}/{seat}").getrandbits(128)))


class Whispers(Env):
    """Three seats talk; each has a secret, and tools that show it to no one else."""

    splits = {"train": 1000}
    table = Team(*NAMES, turns=12)
    evidence = [table.channel(), table.answers()]

    async def setup(self) -> None:
        """Something for all, something for one."""
        self.table.post("The table is open.")
        self.table.tell("bob", "Bob's desk is number 7.")

    @tool
    def look(self) -> str:
        """Look at your own card again; your turn goes on."""
        return self.own_card()

    @tool
    def hint(self) -> str:
        """Have your own secret told to you later; your turn is over."""
        self.table.tell(self.seat, f"Remember: {self.own_card()}")
        self.table.pass_turn(self.seat)
        return "Later."

    @tool
    def fail(self, text: str = "") -> str:
        """Be refused with your own secret in the refusal."""
        raise ToolRefusal(f"no: {text[:40]} {self.own_card()}")

    @tool
    def crash(self) -> str:
        """Do what the author got wrong."""
        raise RuntimeError(self.own_card())

    def own_card(self) -> str:
        return self.table.card(self.seat)

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        cards = {seat: f"Your secret is {secret(index, seat)}." for seat in NAMES}
        return Task(
            prompt="Talk.", gold={}, limits=Limits(turns=40), world={"table": {"cards": cards}}
        )

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        answers = evidence.json("table/answers.json")
        done = isinstance(answers, dict) and len(answers) == len(NAMES)
        return Score(float(done), seats={"ann": 0.25, "bob": 0.5})

    @staticmethod
    def solve(task: Task, seat: str = "ann") -> Script:
        yield call("submit", answer=f"{seat} is done")


class Sealed(Env):
    """Two seats bid at the same time; the one to whom it is worth more should bid more."""

    splits = {"train": 4}
    table = Team("left", "right", order="together", turns=4)
    evidence = [table.channel()]

    async def setup(self) -> None:
        """No bids."""
        self.bids: dict[str, int] = {}

    @tool
    def bid(self, amount: int) -> str:
        """Bid once, sealed; it ends when both have.

        Args:
            amount: what you bid
        """
        if self.seat in self.bids:
            raise ToolRefusal("You have bid.")
        self.bids[self.seat] = amount
        self.table.post(f"{self.seat} has bid.")
        self.table.pass_turn(self.seat)
        if len(self.bids) == 2:
            self.table.end()
        return f"You are bidder {len(self.bids)}."

    @tool
    def wait(self) -> str:
        """Keep your turn."""
        return "You wait."

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        worth = dict(zip(("left", "right"), rng.sample(range(10, 100), 2), strict=True))
        cards = {seat: f"It is worth {amount} to you." for seat, amount in worth.items()}
        return Task(
            prompt="Bid.", gold=worth, world={"table": {"cards": cards}}, limits=Limits(turns=20)
        )

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        done = [c for c in evidence.calls if c.tool == "bid" and not c.error]
        bids = {
            c.seat: int(dict(c.arguments)["amount"]) for c in done
        }  # what an int parameter took
        right = len(bids) == 2 and max(bids, key=bids.get) == max(gold, key=gold.get)
        return Score(
            float(right), seats={seat: float(right and bids[seat] <= gold[seat]) for seat in gold}
        )

    @staticmethod
    def solve(task: Task, seat: str = "left") -> Script:
        yield call("bid", amount=task.gold[seat])
