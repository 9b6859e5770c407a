"""It learns: held-out success rises by reward alone, tools are used more, and without true rewards neither does.

Minutes of CPU, so a step of its own: `make learn`. The salt is fixed, so that a run is the same run again.
"""

import asyncio

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from envkit.train.loop import train
from envkit.train.metrics import read
from envkit.train.run import TrainSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(840)]

LEARNED, NOTHING = 0.25, 0.05  # rises of held-out success


def run(folder, seed, **changes):
    salt = folder / "salt"
    salt.write_text("the same salt in every run of this test")
    told = {"steps": 40, "eval_every": 40, "checkpoint_every": 40, **changes}
    settings = TrainSettings(spec="starter/lookup", seed=seed, salt_file=str(salt), **told)
    return asyncio.run(train(settings, folder / "run"))


@pytest.mark.parametrize("seed", [0, 1])
def test_true_rewards_teach(seed, tmp_path):
    made = run(tmp_path, seed)
    before, after = made["before"], made["after"]
    assert after["success"] - before["success"] >= LEARNED
    assert after["calls"] >= before["calls"]
    assert all(step["drift"]["largest"] <= 1e-4 for step in read(tmp_path / "run", "train"))


def test_shuffled_rewards_teach_nothing(tmp_path):
    made = run(tmp_path, 0, shuffle_rewards=True)
    assert made["after"]["success"] - made["before"]["success"] <= NOTHING
