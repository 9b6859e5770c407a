"""The runner: outcomes, limits, records that resume, and no barrier between episodes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envkit.data.message import Action, ToolCall
from envkit.data.score import Reason
from envkit.errors import RecordError, SpecError, TaskError
from envkit.rollout.policy import Local, PolicyFailed, PolicyStopped, policy_source
from envkit.rollout.record import Episode, read_episodes
from envkit.rollout.runner import Runner, RunSettings

WORLDS = Path(__file__).parent.parent / "worlds"
COUNTER = f"file:{WORLDS / 'counter.py'}:Counter"
SECRET = f"file:{WORLDS / 'secret.py'}:Secret"


class Acting:
    """A source whose policies are a plain function of the turn and the observation."""

    name = "acting"

    def __init__(self, act):
        self._act = act

    def describe(self):
        return {"name": self.name}

    async def variants(self, judge, split, index):
        return (None,)

    async def aclose(self):
        pass

    async def open(self, casting):
        turn = -1

        def act(observation):
            nonlocal turn
            turn += 1
            return self._act(turn, observation, casting)

        return Local(act)


async def play(source, spec=COUNTER, **settings) -> list[Episode]:
    episodes: list[Episode] = []
    async with Runner(RunSettings(spec=spec, **settings), source) as runner:
        await runner.run(episodes.append)
    return episodes


async def one(act, spec=COUNTER) -> Episode:
    (episode,) = await play(Acting(act), spec, tasks=1)
    return episode


@pytest.mark.parametrize(
    ("policy", "reward"), [("oracle", 1.0), ("noop", 0.0), ("near-misses", 0.0)]
)
async def test_scripts_earn_what_they_should(policy, reward):
    episodes = await play(policy_source(policy), tasks=6)
    assert {episode.reward for episode in episodes} == {reward}
    assert len(episodes) == (12 if policy == "near-misses" else 6)
    assert {episode.blame for episode in episodes} == {None}


async def test_random_calls_never_break_anything():
    episodes = await play(policy_source("random"), tasks=40, concurrency=16)
    assert all(episode.reward is not None for episode in episodes)


async def test_bad_calls_come_back_as_observations_that_name_the_field():
    seen = []

    def act(turn, observation, casting):
        seen.append(observation.text())
        calls = [
            ToolCall("add", {"m": 1}), ToolCall("add", "not json"), ToolCall("no_such", {}),
            ToolCall("add", {"n": "many"}), ToolCall("crash", {}), ToolCall("add", {"n": 99}),
        ]  # fmt: skip
        return Action(calls=(calls[turn],)) if turn < len(calls) else Action("done")

    episode = await one(act)
    assert "n: Field required" in seen[1]
    assert "m: Extra inputs" in seen[1]
    assert "not a JSON object" in seen[2]
    assert "no tool 'no_such'" in seen[3]
    assert "n: Input should be a valid integer" in seen[4]
    assert seen[5] == "The tool failed."  # what the author got wrong tells the agent nothing
    assert seen[6] == "at most 5"
    assert (episode.reward, episode.ending) == (0.0, "answer")


@pytest.mark.parametrize(
    ("act", "ending"),
    [
        (lambda turn, seen, casting: Action(calls=(ToolCall("add", {"n": 0}),)), "turns"),
        (lambda turn, seen, casting: Action(calls=(ToolCall("add", {"n": 0}),) * 21), "tool_calls"),
        (
            lambda turn, seen, casting: Action(calls=(ToolCall("submit", {"answer": "x"}),)),
            "answer",
        ),
    ],
)
async def test_limits_end_an_episode_with_their_reason_and_it_is_graded(act, ending):
    episode = await one(act)
    assert episode.ending == ending
    assert episode.truncated == (ending != "answer")
    assert episode.reward == 0.0


async def test_seconds_count_world_time_and_cut_a_slow_tool_off(tmp_path):
    slow = (
        (WORLDS / "secret.py").read_text().replace("gold={", "limits=Limits(seconds=0.3), gold={")
    )
    path = tmp_path / "slow.py"
    path.write_text(slow.replace("import Data", "import Limits, Data"))
    started = time.monotonic()
    episode = await one(
        lambda turn, seen, casting: Action(calls=(ToolCall("wait", {"seconds": 60}),)),
        f"file:{path}:Secret",
    )
    assert (episode.ending, episode.reward) == ("seconds", 0.0)
    assert time.monotonic() - started < 20


async def test_thinking_time_is_not_world_time(tmp_path):
    path = tmp_path / "quick.py"
    path.write_text((WORLDS / "counter.py").read_text().replace("seconds=5", "seconds=0.2"))

    def act(turn, observation, casting):
        time.sleep(0.15)
        return Action(calls=(ToolCall("add", {"n": 1}),)) if turn < 4 else Action("done")

    episode = await one(act, f"file:{path}:Counter")
    assert episode.ending == "answer"
    assert episode.timings.policy > 0.5


async def test_a_policy_that_fails_is_infrastructure_and_is_retried(monkeypatch):
    monkeypatch.setattr("envkit.rollout.runner.BACKOFF", 0.0)
    tries = []

    def act(turn, observation, casting):
        tries.append(turn)
        if len(tries) < 3:
            raise PolicyFailed("endpoint down")
        return Action("x")

    episode = await one(act)
    assert (episode.reward, episode.attempts) == (0.0, 3)

    def never(turn, observation, casting):
        raise PolicyFailed("endpoint down")

    failed = await one(never)
    assert (failed.reward, failed.invalid, failed.blame) == (None, Reason.POLICY_FAILED, "infra")


async def test_a_policy_that_stops_is_graded():
    def act(turn, observation, casting):
        raise PolicyStopped("context is full")

    episode = await one(act)
    assert (episode.ending, episode.truncated, episode.reward) == ("stopped", True, 0.0)


async def test_a_setup_that_raises_is_the_authors_and_not_retried(tmp_path):
    path = tmp_path / "broken.py"
    source = (WORLDS / "secret.py").read_text()
    path.write_text(
        source.replace("    @tool\n", "    async def setup(self):\n        1 / 0\n\n    @tool\n", 1)
    )
    episode = await one(lambda *_: Action("x"), f"file:{path}:Secret")
    assert (episode.reward, episode.invalid, episode.blame) == (None, Reason.SETUP_FAILED, "env")
    assert episode.attempts == 1


async def test_a_run_refuses_wrong_specs_and_wrong_first_tasks(tmp_path):
    for spec, error in [
        ("nope/nope", SpecError),
        ("desk", SpecError),
        (COUNTER + "?most=many", SpecError),
        (COUNTER + "?least=1", SpecError),
        (COUNTER.replace("counter.py", "missing.py"), SpecError),
        (COUNTER.replace("Counter", "Nobody"), SpecError),
        (COUNTER + "@2", SpecError),
    ]:
        with pytest.raises(error):
            await play(policy_source("noop"), spec)
    with pytest.raises(TaskError):
        await play(policy_source("noop"), split="dev")


async def test_later_tasks_that_do_not_validate_fell_nothing_else():
    episodes = await play(policy_source("noop"), split="test", tasks=8)
    assert [episode.reward for episode in sorted(episodes, key=lambda e: e.index)] == [0.0] * 5 + [
        None
    ] * 3
    assert {e.blame for e in episodes if e.reward is None} == {"env"}


async def test_a_setting_makes_a_variant():
    episodes = await play(policy_source("near-misses"), COUNTER + "?most=100", tasks=1)
    refused = next(episode for episode in episodes if episode.variant == "refused")
    assert (
        refused.invalid == Reason.SETUP_FAILED
    )  # its own assertion: with this setting nothing is refused
    assert "most=100" in refused.spec


# ---- the record ----


async def test_a_finished_run_resumes_to_itself_and_another_is_refused(tmp_path):
    out = tmp_path / "run"
    await play(policy_source("oracle"), tasks=5, out=out)
    again = await play(policy_source("oracle"), tasks=5, out=out, resume=True)
    assert sorted(e.index for e in again) == [0, 1, 2, 3, 4]
    assert len(read_episodes(out)) == 5
    with pytest.raises(RecordError, match="holds a run already"):
        await play(policy_source("oracle"), tasks=5, out=out)
    with pytest.raises(RecordError, match="policy was"):
        await play(policy_source("noop"), tasks=5, out=out, resume=True)
    with pytest.raises(RecordError, match="spec was"):
        await play(policy_source("oracle"), COUNTER + "?most=6", tasks=5, out=out, resume=True)


async def test_a_task_without_near_misses_to_play_is_recorded_once_however_often_it_resumes(
    tmp_path,
):
    out = tmp_path / "run"
    settings = {"split": "test", "tasks": 6, "out": out}  # the last one does not validate
    first = await play(policy_source("near-misses"), **settings)
    for _ in range(2):
        again = await play(policy_source("near-misses"), **settings, resume=True)
        assert sorted(e.id for e in again) == sorted(e.id for e in first)
    assert len(read_episodes(out)) == len(first)


async def test_a_torn_last_line_is_cut_off_and_played_again(tmp_path):
    out = tmp_path / "run"
    await play(policy_source("oracle"), tasks=5, out=out)
    path = out / "episodes.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    episodes = await play(policy_source("oracle"), tasks=5, out=out, resume=True)
    assert sorted(e.index for e in episodes) == [0, 1, 2, 3, 4]
    assert len({e.index for e in read_episodes(out)}) == len(path.read_text().splitlines()) == 5


async def test_a_broken_line_in_the_middle_is_said_not_skipped(tmp_path):
    out = tmp_path / "run"
    await play(policy_source("oracle"), tasks=2, out=out)
    path = out / "episodes.jsonl"
    path.write_bytes(b'{"schema_version": 2}\n' + path.read_bytes())
    with pytest.raises(RecordError, match="no episode"):
        await play(policy_source("oracle"), tasks=2, out=out, resume=True)


async def test_two_runs_never_write_one_record(tmp_path):
    out = tmp_path / "run"
    async with Runner(RunSettings(spec=COUNTER, tasks=1, out=out), policy_source("noop")):
        with pytest.raises(RecordError, match="another run"):
            async with Runner(
                RunSettings(spec=COUNTER, tasks=1, out=out, resume=True), policy_source("noop")
            ):
                pass


async def test_lone_surrogates_from_a_policy_are_written_down(tmp_path):
    def act(turn, observation, casting):
        return (
            Action("\ud800", calls=(ToolCall("add", {"n": 1, "\udc00": "\ud800"}),))
            if turn < 1
            else Action("\udfff")
        )

    out = tmp_path / "run"
    async with Runner(RunSettings(spec=COUNTER, tasks=1, out=out), Acting(act)) as runner:
        await runner.run()
    (episode,) = read_episodes(out)
    assert episode.reward == 0.0


KILLED = """
import asyncio, sys
from pathlib import Path
from envkit.rollout.runner import Runner, RunSettings
from envkit.rollout.policy import policy_source
async def main():
    settings = RunSettings(spec=sys.argv[1], tasks=64, concurrency=4, out=Path(sys.argv[2]), resume=True)
    async with Runner(settings, policy_source("oracle")) as runner:
        await runner.run(lambda episode: print(episode.index, flush=True))
asyncio.run(main())
"""


def test_a_killed_run_resumes_without_losing_or_repeating(tmp_path):
    out = tmp_path / "run"
    slow = tmp_path / "slow.py"
    slow.write_text((WORLDS / "secret.py").read_text().replace("seconds=0.0", "seconds=0.05"))
    spec = f"file:{slow}:Secret"
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, spec, str(out)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(10):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, spec, str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = [int(line) for line in done.stdout.split()]
    assert sorted(told) == list(range(64))
    written = [
        json.loads(line)["index"] for line in (out / "episodes.jsonl").read_text().splitlines()
    ]
    assert sorted(written) == list(range(64)), "lost or repeated"


async def test_one_slow_tool_holds_up_nobody_else():
    """63 fast episodes finish as fast beside a slow one as without it: the shape, not the clock, is asserted."""
    finished: list[int] = []

    class Mixed(Acting):
        async def open(self, casting):
            slow = casting.ticket.index == 0

            def act(turn, observation, _):
                if turn == 0:
                    return Action(calls=(ToolCall("wait", {"seconds": 3.0 if slow else 0.0}),))
                return Action("done")

            return await Acting(act).open(casting)

    async with Runner(RunSettings(spec=SECRET, tasks=64, concurrency=4), Mixed(None)) as runner:
        await runner.run(lambda episode: finished.append(episode.index))
    assert finished[-1] == 0
    assert sorted(finished) == list(range(64))
