"""What a tool brought reaches the record even where the world breaks before the seat is told anything more."""

from types import SimpleNamespace

from envkit.data.bait import Bait
from envkit.data.message import Message, Observation, call
from envkit.data.score import Score
from envkit.errors import WorldError
from envkit.rollout.trial import Trial


class Floor:
    """Two seats act at once; the world is gone as the second is to be shown something."""

    bait, answer, listens = Bait(), None, True
    seats = acting = ("a", "b")

    async def step(self, action, seat):
        return Observation((Message("tool", f"result of {seat}"),))

    async def observe(self, seat):
        if seat == "b":
            raise WorldError("gone")
        return Observation((Message("user", "told"),))


async def test_what_was_not_seen_yet_is_in_the_last_step():
    stage = SimpleNamespace(
        resolved=SimpleNamespace(env=Floor),
        watchdog=SimpleNamespace(guard=lambda seconds: Quiet()),
    )
    limits = SimpleNamespace(tool_calls=9, turns=9, seconds=60.0)
    ticket = SimpleNamespace(public=SimpleNamespace(limits=limits))
    trial = Trial(stage, ticket, episode="e", group="g")
    trial.verdict = Score(0.0)
    steps = await trial.step_seats({seat: call("look") for seat in Floor.seats})
    assert trial.ending == "world_lost"
    assert [m.content for m in steps["a"].observation.messages] == ["result of a", "told"]
    assert [m.content for m in steps["b"].observation.messages] == ["result of b"]


class Quiet:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False
