"""A run that is killed goes on: no task is lost, none is repeated, and it comes to the same."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from envkit.errors import RecordError  # noqa: E402 - it needs torch
from envkit.train import checkpoint  # noqa: E402
from envkit.train.ledger import Ledger  # noqa: E402
from envkit.train.loop import train  # noqa: E402
from envkit.train.metrics import read  # noqa: E402
from envkit.train.models import load  # noqa: E402
from envkit.train.run import Header, TrainSettings  # noqa: E402

FLAGS = {
    "steps": 6, "warm_steps": 2, "groups": 2, "group_size": 2, "eval_tasks": 2, "eval_samples": 1,
    "eval_every": 3, "checkpoint_every": 2,
}  # fmt: skip


def settings(tmp_path, **changes):
    salt = tmp_path / "salt"
    salt.write_text("0123456789abcdef" * 2)
    return TrainSettings(**{"spec": "starter/lookup", "salt_file": str(salt), **FLAGS, **changes})


def begin(given, out):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in FLAGS.items()]
    command = [sys.executable, "-m", "envkit", "train", given.spec, "--salt-file", given.salt_file]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *flags, "--out", str(out)], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def last_weights(out):
    model = load(str(checkpoint.found(out)[-1].model)).model
    return torch.cat([weight.flatten() for weight in model.parameters()])


def test_killed_in_the_middle(tmp_path):
    given = settings(tmp_path)
    asyncio.run(train(given, tmp_path / "straight"))
    out = tmp_path / "killed"
    process = begin(given, out)
    ledger = Ledger(out / "ledger.jsonl")
    deadline = time.monotonic() + 90
    while len(ledger.read()) < 3:  # the third step lies behind the checkpoint of the second
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    (out / "checkpoints" / "step-000099.tmp").mkdir()  # as a kill in mid-save leaves one
    made = asyncio.run(train(Header.read(out).settings, out, resume=True))

    straight = Ledger(tmp_path / "straight" / "ledger.jsonl").read()
    assert ledger.read() == straight
    pairs = [pair for entry in straight for pair in entry.pairs]
    assert len(set(pairs)) == len(pairs) == 6 * 4
    assert made["after"]["step"] == 6
    steps = [entry["step"] for entry in read(out, "train")]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [e["step"] for e in read(out, "eval")] == [0, 3, 6]
    rewards = [[e["reward"] for e in read(tmp_path / n, "train")] for n in ("straight", "killed")]
    assert rewards[0] == rewards[1]
    # all that is random follows from seed and step: the run comes to the same weights
    torch.testing.assert_close(
        last_weights(out), last_weights(tmp_path / "straight"), atol=1e-4, rtol=1e-3
    )


def test_another_run_is_refused(tmp_path):
    out = tmp_path / "run"
    asyncio.run(train(settings(tmp_path, steps=0), out))
    with pytest.raises(RecordError, match="seed was 0 and is 1; this is another run"):
        asyncio.run(train(settings(tmp_path, steps=0, seed=1), out, resume=True))
    header = Header.read(out)
    other = header.model_copy(update={"digest": "0" * 64})
    (out / "run.json").write_text(other.model_dump_json())
    with pytest.raises(RecordError, match="digest was '0000"):
        asyncio.run(train(settings(tmp_path, steps=0), out, resume=True))
    (out / "run.json").write_text(header.model_dump_json())
    made = asyncio.run(
        train(settings(tmp_path, steps=1), out, resume=True)
    )  # longer is the same run
    assert made["after"]["step"] == 1


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(RecordError, match="holds no training run"):
        Header.read(tmp_path)
