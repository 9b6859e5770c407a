"""The attack: the agent has the pack's source, its own task's id and world, everything but the salt."""

from pathlib import Path

from envkit.data.task import PublicTask
from envkit.judge.client import Judge, JudgeSettings
from envkit.judge.keys import PUBLIC_SALT, TaskKey
from envkit.judge.worker import Worker
from envkit.registry import resolve

SPEC = "desk/logdesk"
GUESSES = [PUBLIC_SALT, b"", b"0" * 16, b"envkit", b"desk/logdesk@1", b"salt", b"password12345678"]


async def played(settings: JudgeSettings) -> PublicTask:
    async with Judge(resolve(SPEC).spec, settings) as judge:
        return (await judge.draw("train", 23)).public


def recomputed(public: PublicTask, salts: list[bytes]) -> str | None:
    """The gold, if any of 60 regenerated tasks is the one in the world."""
    resolved = resolve(SPEC)
    for salt in salts:
        attacker = Worker(resolved, salt)
        for index in range(60):
            made = attacker._task("train", index)
            if made.public.id == public.id or made.public.world == public.world:
                return repr(made.task.gold)
    return None


async def test_under_the_public_salt_the_gold_can_be_computed():
    """The control: the attack works where it must. Public tasks are for examples and audits."""
    assert recomputed(await played(JudgeSettings()), [PUBLIC_SALT]) is not None


async def test_under_a_private_salt_nothing_matches(tmp_path: Path):
    public = await played(JudgeSettings(private=True, sealed=tmp_path / "sealed"))
    assert recomputed(public, GUESSES) is None


def test_what_the_agent_sees_of_a_key_tells_nothing_about_the_rest():
    key = TaskKey.of(b"s" * 16, SPEC, "train", 0)
    seen = {key.id, str(key.seed), key.digest({})}
    assert len(seen) == 3
    assert TaskKey.of(b"s" * 16, SPEC, "train", 1).id != key.id
    assert (
        TaskKey.of(b"s" * 16, SPEC, "trai", 10).secret
        != TaskKey.of(b"s" * 16, SPEC, "train", 0).secret
    )
    assert 0 <= key.seed < 1 << 64
