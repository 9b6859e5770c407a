"""The necessity test is itself tested: on a world that passes, and on worlds that must not."""

from pathlib import Path

import pytest

from envkit.errors import UsageError
from envkit.testing.memory import MemoryConformance, Necessity, Trials, necessity

WORLDS = Path(__file__).with_name("worlds.py")


class TestHonest(MemoryConformance):
    spec = f"file:{WORLDS}:Honest"
    tasks = 1


@pytest.mark.parametrize(
    ("world", "found"),
    [
        ("FromGold", Necessity(1.0, 1.0, 1.0)),  # nothing in it needs a memory
        ("Unfinished", Necessity(1.0, 0.0, 0.0)),  # more than the memory is needed
    ],
)
async def test_a_world_that_only_looks_so_is_found_out(world, found, tmp_path):
    assert await necessity(Trials(f"file:{WORLDS}:{world}", tasks=1), tmp_path) == found


async def test_without_a_memory_there_is_nothing_to_test(tmp_path):
    world = Path(__file__).parents[2] / "worlds" / "secret.py"
    with pytest.raises(UsageError, match="declared: none"):
        await necessity(Trials(f"file:{world}:Secret"), tmp_path)
