"""The loop through real trials: what it learns from, what it writes, when it stops."""

import asyncio
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from envkit.data.score import Reason  # noqa: E402 - it needs torch
from envkit.errors import RecordError, UsageError  # noqa: E402
from envkit.rollout.play import Work  # noqa: E402
from envkit.rollout.record import Episode, Timings  # noqa: E402
from envkit.train import checkpoint  # noqa: E402
from envkit.train.collect import Outcome, Result, Unplayable, batch_of  # noqa: E402
from envkit.train.ledger import HELD_OUT, HeldOut, Ledger, Plan, divide  # noqa: E402
from envkit.train.loop import Exploited, train  # noqa: E402
from envkit.train.metrics import read  # noqa: E402
from envkit.train.models import load  # noqa: E402
from envkit.train.run import TrainSettings  # noqa: E402
from envkit.train.types import Row, Trace, Turn  # noqa: E402
from envkit.train.warm import parse, ready  # noqa: E402

SMALL = {
    "spec": "starter/lookup", "steps": 2, "warm_steps": 3, "groups": 3, "group_size": 4,
    "eval_tasks": 4, "eval_samples": 1, "eval_every": 1, "checkpoint_every": 1,
}  # fmt: skip


def run(out, tell=lambda *_: None, **changes):
    salt = out.with_suffix(".salt")  # of one's own, so that a run is the same run again
    salt.write_text("0123456789abcdef" * 2)
    changes.setdefault("salt_file", str(salt))
    return asyncio.run(train(TrainSettings(**{**SMALL, **changes}), out, tell=tell))


def weights(folder):
    return torch.cat([weight.flatten() for weight in load(str(folder)).model.parameters()])


# ---- the whole of it -----------------------------------------------------------------------------


def test_two_steps(tmp_path):
    lines = []
    made = run(
        tmp_path / "run", lambda kind, step, values: lines.append((kind, step)), salt_file=None
    )
    out = tmp_path / "run"
    assert made["before"]["episodes"] == made["after"]["episodes"] == 4
    assert (made["after"]["step"], made["episodes"]) == (2, 24)
    assert lines == [*(("warm", n) for n in (1, 2, 3)), ("probe", 3), ("eval", 0), ("train", 1),
                     ("eval", 1), ("train", 2), ("eval", 2)]  # fmt: skip
    assert Path(made["curve"]).read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").iterdir())
    entries = read(out, "train")
    assert [entry["step"] for entry in entries] == [1, 2]
    assert all(entry["drift"]["largest"] <= 1e-4 for entry in entries)
    assert {"success", "calls", "groups", "endings", "entropy"} <= set(entries[0])
    folders = checkpoint.found(out)
    assert [kept.step for kept in folders] == [1, 2]  # the older ones are gone
    assert made["model"] == str(folders[-1].model)  # a folder that `hf:` takes
    assert "sealed" not in json.dumps(made)
    assert (out / "sealed" / "salt").stat().st_mode & 0o077 == 0


def test_parameters_move_where_a_group_differs_and_only_there(tmp_path):
    path = tmp_path / "coin.py"
    path.write_text(COIN)
    spec = f"file:{path}:Coin"
    made = run(tmp_path / "a", spec=spec, warm="solve:1,other:1", warm_steps=30, lr=1e-3, steps=2,
               group_size=8, eval_tasks=8)  # fmt: skip
    entries = read(tmp_path / "a", "train")
    assert any(entry["groups"]["kept"] for entry in entries)
    one, two = (weights(kept.model) for kept in checkpoint.found(tmp_path / "a"))
    assert not torch.equal(one, two)
    assert made["guess_floor"] >= 0.25  # the coin's more frequent side, on 8 tasks
    spec = f"file:{path}:Nothing"
    run(tmp_path / "b", spec=spec, warm_steps=1)
    entries = read(tmp_path / "b", "train")
    assert all(entry["groups"]["kept"] == 0 for entry in entries)
    one, two = (weights(kept.model) for kept in checkpoint.found(tmp_path / "b"))
    assert torch.equal(one, two)


def test_the_same_seed_and_salt_give_the_same_run(tmp_path):
    for name in "ab":
        run(tmp_path / name)
    rewards = [[entry["reward"] for entry in read(tmp_path / name, "train")] for name in "ab"]
    assert rewards[0] == rewards[1]
    a, b = (weights(checkpoint.found(tmp_path / name)[-1].model) for name in "ab")
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


COIN = '''
from envkit import Data, Env, Score, Task, call, say, tool

class Coin(Env):
    """Say heads or tails."""
    splits = {"train": 200}

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="heads or tails?", gold={"side": rng.choice(["heads", "tails"])})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(side=evidence.answer == gold["side"])

    @staticmethod
    def solve(task):
        yield say(task.gold["side"])

    @staticmethod
    def near_misses(task):
        return {"other": _say("heads" if task.gold["side"] == "tails" else "tails")}

def _say(side):
    yield say(side)

class Nothing(Coin):
    """Nothing is right."""
    @staticmethod
    def grade(evidence, gold):
        return Score.all(never=False)

class Broken(Coin):
    """Its grader never gives a verdict."""
    @staticmethod
    def grade(evidence, gold):
        raise RuntimeError("no verdict")

class Half(Coin):
    """Its test split can't be set up."""
    splits = {"train": 200, "test": 50}
    of = Data(str)

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="heads?", world={"of": split}, gold={"side": "heads"})

    async def setup(self):
        if self.of == "test":
            raise RuntimeError("no such world")

class Cheats(Coin):
    """Every episode is caught."""
    @property
    def alerts(self):
        from envkit import Finding
        return (Finding("peeked", "high", "here", "it peeked", "read the episode"),)
'''


ECHO = '''
from envkit import Env, Score, Task, say

WORDS = ("look", "read", "find", "name", "item", "place", "price", "total")

class Echo(Env):
    """Say the word again."""
    splits = {"train": 2000, "test": 100}

    @classmethod
    def task(cls, split, index, rng):
        word = rng.choice(WORDS)
        return Task(prompt=word, gold={"word": word})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(same=evidence.answer == gold["word"])

    @staticmethod
    def solve(task):
        yield say(task.gold["word"])

class Same(Echo):
    """Say it, whatever is asked."""
    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt=rng.choice(WORDS), gold={"word": "yes"})
'''


def test_a_warm_start_ends_where_rewards_can_teach(tmp_path, caplog):
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    wanted = {"warm_steps": 200, "steps": 0, "eval_tasks": 64}
    made = run(tmp_path / "echo", spec=f"file:{path}:Echo", **wanted)
    (warm,) = read(tmp_path / "echo", "warm")
    *before, (step, success) = warm["probes"]
    assert step == warm["steps"] < 200
    assert ready(success, made["guess_floor"])
    assert not any(ready(least, made["guess_floor"]) for _, least in before)
    assert made["before"]["success"] > made["guess_floor"]
    assert "learns to guess" not in caplog.text
    # where a guess is always right, no success is more than a guess: it goes on to its last step, and says so
    made = run(tmp_path / "same", spec=f"file:{path}:Same", **{**wanted, "warm_steps": 60})
    (warm,) = read(tmp_path / "same", "warm")
    assert [step for step, _ in warm["probes"]] == [50, 60]
    assert made["guess_floor"] == 1.0
    assert "learns to guess" in caplog.text


@pytest.mark.parametrize(
    ("success", "floor", "enough"),
    [(0.2, 0.0, True), (0.19, 0.0, False), (0.2, 0.1, True), (0.3, 0.16, False), (1.0, 0.6, False)],
)
def test_enough_is_well_above_a_guess_and_not_too_rare(success, floor, enough):
    assert ready(success, floor) is enough


def test_exploits_earn_nothing_and_stop_the_run(tmp_path):
    path = tmp_path / "coin.py"
    path.write_text(COIN)
    with pytest.raises(Exploited, match=r"step 0: 100% of the episodes are exploits \(peeked 12\)"):
        run(tmp_path / "run", spec=f"file:{path}:Cheats")
    assert read(tmp_path / "run", "eval")[0]["success"] == 0.0
    assert read(tmp_path / "run", "eval")[0]["exploits"] == {"peeked": 4}
    assert len((tmp_path / "run" / "exploits.jsonl").read_text().splitlines()) == 12
    assert read(tmp_path / "run", "train") == []  # nothing was learned from it
    run(tmp_path / "lenient", spec=f"file:{path}:Cheats", max_exploit_rate=1.0)
    entries = read(tmp_path / "lenient", "train")
    assert [entry["reward"] for entry in entries] == [0.0, 0.0]
    assert [entry["exploits"] for entry in entries] == [{"peeked": 12}] * 2


def test_infrastructure_that_fails_ends_the_run_and_is_no_zero(tmp_path):
    path = tmp_path / "coin.py"
    path.write_text(COIN)
    with pytest.raises(
        Unplayable, match=r"Broken@1: (\d+) of \1 episodes were invalid \(grader_broken"
    ):
        run(tmp_path / "run", spec=f"file:{path}:Broken")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    with pytest.raises(Unplayable, match=r"Half@1: 4 of 4 episodes were invalid \(setup_failed 4"):
        run(tmp_path / "half", spec=f"file:{path}:Half")


def test_a_folder_is_one_runs(tmp_path):
    run(tmp_path / "run", steps=0)
    with pytest.raises(RecordError, match="holds a run already"):
        run(tmp_path / "run")


def test_an_unknown_script_is_named(tmp_path):
    with pytest.raises(
        UsageError, match="no script is called 'guesss'; there are solve, skips_all"
    ):
        run(tmp_path / "run", warm="solve:1,guesss:2")


@pytest.mark.parametrize(
    "text", ["", "solve:x", "solve:0", "solve:-1", ":1", "solve:nan", "solve:inf", "a,,b"]
)
def test_weights_that_are_none(text):
    with pytest.raises(UsageError, match="--warm"):
        parse(text)


def test_weights():
    assert parse("solve:0.3, guess") == {"solve": 0.3, "guess": 1.0}


# ---- what an episode is worth --------------------------------------------------------------------


def outcome(reward, *, index=0, calls=0, ending="answer", severity=None, seats=None, invalid=None):
    findings = ({"rule": "honeytoken", "severity": severity},) if severity else ()
    asked = [{"function": {"name": "get", "arguments": "{}"}}] * calls
    episode = Episode(
        id="x", spec="s", envkit="0", digest="d", salt="p", split="train", index=index, repeat=0,
        variant=None, policy={}, timings=Timings(open=0, world=0, policy=0, judge=0, total=0),
        reward=reward, findings=findings, ending=ending, seats=seats or {}, invalid=invalid,
        messages=({"role": "assistant", "content": "", "tool_calls": asked},),
    )  # fmt: skip
    row = Row([1, 2, 3], [0, 1, 1], [0.0, -1.0, -1.0], [Turn(1, 3, "stop", 0)])
    return Outcome(episode, {seat: Trace("x", seat, [row]) for seat in seats or {"agent": 0}})


def test_what_is_caught_earns_nothing():
    assert outcome(1.0, severity="high").reward("agent") == 0.0
    assert outcome(1.0, severity="critical").reward("agent") == 0.0
    assert outcome(1.0, severity="medium").reward("agent") == 1.0
    assert not outcome(1.0, severity="high").success


@pytest.mark.parametrize("ending", ["turns", "tool_calls", "seconds", "stopped"])
def test_a_limit_is_not_praised(ending):
    assert outcome(1.0, ending=ending).reward("agent") == 0.0


def test_infrastructure_is_left_out_and_is_no_zero():
    lost = outcome(None, invalid=Reason.ENGINE_UNAVAILABLE)
    batch = batch_of([[outcome(1.0), lost, outcome(1.0)], [outcome(1.0), outcome(0.0), lost]])
    assert (batch.advantages.all_high, batch.advantages.kept) == (1, 1)
    assert [len(group) for group in batch.groups] == [2]
    result = Result.of([outcome(1.0), lost])
    assert (result.success, result.invalid) == (1.0, 1)


def test_seats_are_compared_with_the_same_seat():
    members = [outcome(0.5, seats={"a": 1.0, "b": 0.0}), outcome(0.5, seats={"a": 0.0, "b": 0.0})]
    batch = batch_of([members])
    first, second = batch.advantages.values[0]
    assert first is not None and second is not None and first > 0 > second  # noqa: PT018
    assert batch.advantages.values[1] == (None, None)  # b earned the same in both


def test_dealt_out_rewards_are_the_same_ones_elsewhere():
    groups = [[outcome(float(g == 0), index=g) for _ in range(8)] for g in range(4)]
    assert batch_of(groups).advantages.kept == 0
    dealt = batch_of(groups, shuffle="1")
    assert dealt.advantages.kept > 0
    assert dealt.advantages.values == batch_of(groups, shuffle="1").advantages.values
    assert dealt.advantages.values != batch_of(groups, shuffle="2").advantages.values


def test_a_group_is_in_one_minibatch_whole():
    groups = [[outcome(1.0, index=g), outcome(0.0, index=g)] for g in range(5)]
    batch = batch_of(groups)
    parts = batch.parts(2, "seed")
    assert [len(part) for part in parts] == [6, 4]
    for part in parts:
        assert all(part[at].advantage == -part[at + 1].advantage for at in range(0, len(part), 2))
    assert batch_of([[outcome(1.0), outcome(1.0)]]).parts(2, "seed") == []


def test_means():
    result = Result.of(
        [outcome(1.0, index=0, calls=3), outcome(0.0, index=0, calls=1), outcome(0.5, index=1)]
    )
    assert result.success == pytest.approx(1 / 3)
    assert result.reward == 0.5
    assert result.calls == pytest.approx(4 / 3)
    assert result.pass_any == 0.5


# ---- which tasks ---------------------------------------------------------------------------------


def test_every_task_once_before_any_comes_again():
    plan = Plan("train", 10, groups=4, members=2, seed=0)
    groups = [group for step in range(5) for group in plan.groups_of(step)]
    for epoch in (groups[:10], groups[10:]):
        assert sorted(group[0].index for group in epoch) == list(range(10))
    pairs = [(work.index, work.repeat) for group in groups for work in group]
    assert len(set(pairs)) == len(pairs) == 40
    assert plan.groups_of(3) == Plan("train", 10, 4, 2, 0).groups_of(3)
    assert plan.groups_of(0) != Plan("train", 10, 4, 2, 1).groups_of(0)


def test_what_is_held_out_is_never_trained_on():
    assert divide({"train": 100, "test": 8}, 64) == ("train", 100, HeldOut("test", 0, 8))
    _, size, held = divide({"train": 100}, 30)
    assert (size, [work.index for work in held.works(1)]) == (70, list(range(70, 100)))
    assert divide({"train": None}, 30) == ("train", None, HeldOut("train", HELD_OUT, 30))
    with pytest.raises(UsageError, match="lower --eval-tasks"):
        divide({"train": 30}, 30)
    with pytest.raises(UsageError, match="no split `train`"):
        divide({"test": 30}, 30)


def test_a_ledger_forgets_what_was_undone(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    plan = Plan("train", 10, 2, 2, 0)
    for step in range(3):
        ledger.add(step, plan.groups_of(step))
    with (tmp_path / "ledger.jsonl").open("a") as stream:
        stream.write('{"step": 3, "pai')  # a kill in mid-write
    ledger.cut(2)
    assert [entry.step for entry in ledger.read()] == [0, 1]
    with pytest.raises(RecordError, match="twice"):
        ledger.add(2, [[Work("train", 1, 0), Work("train", 1, 0)]])
