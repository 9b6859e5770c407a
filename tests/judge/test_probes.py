"""Subjects: agent-written code runs where nothing is known, and what it says is only ever an answer."""

from pathlib import Path

import pytest

from envkit.data.evidence import FrozenEvidence, FrozenItem
from envkit.data.score import Invalid, Reason, Score
from envkit.data.spec import EnvSpec
from envkit.judge.client import Judge, JudgeSettings

WORLDS = Path(__file__).parent.parent / "worlds"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ]
)
def backend(request):
    return request.param


async def grade(kind: str, *codes: str, backend="bubblewrap", answer="", sealed=None):
    spec = EnvSpec.parse(f"file:{WORLDS / 'subjects.py'}:Subjects?kind={kind}")
    verdicts = []
    async with Judge(spec, JudgeSettings(backend=backend, concurrency=4, sealed=sealed)) as judge:
        ticket = await judge.draw("train", 0)
        for code in codes:
            items = (FrozenItem(name="shell/code.py", data=code.encode()),)
            judged = await judge.grade(
                ticket, FrozenEvidence(items=items, answer=answer).model_dump_json(), "e"
            )
            verdicts.append(judged.verdict)
    return verdicts


CHEATS = {
    "wrong": "def double(n): return n + 1",
    "float": "def double(n): return 2.0 * n",
    "bool": "def double(n): return True",
    "always equal": (
        "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def double(n): return A(2 * n)"
    ),
    "text": "def double(n): return str(2 * n)",
    "exit": "import os\ndef double(n): os._exit(0)",
    "exit at import": "raise SystemExit(0)",
    "prints an answer": 'def double(n):\n    print(\'[{"value": "%d"}]\' % (2 * n)); import os; os._exit(0)',
    "forges another form": (
        "import os\n"
        "def double(n):\n"
        "    for fd in range(3, 20):\n"
        "        try: os.write(fd, b'[{\"value\": 1e999}]')\n"
        "        except OSError: pass\n"
        "    os._exit(0)"
    ),
    "hangs": "def double(n):\n    while True: pass",
    "floods": "import os\ndef double(n):\n    while True: os.write(1, b'x' * 65536)",
    "eats memory": "def double(n): return len(b'x' * (1 << 34))",
    "kills everything": "import os, signal\ndef double(n): os.kill(-1, signal.SIGKILL)",
    "forks for ever": "import os\ndef double(n):\n    while True: os.fork()",
    "nan": "def double(n): return float('nan')",
    "deep": "def double(n):\n    x = n\n    for _ in range(100): x = [x]\n    return x",
    "not python": "def double(n: return",
    "reads the grader": (
        "import gc, inspect\n"
        "def double(n):\n"
        "    for frame in inspect.stack():\n"
        "        for value in frame.frame.f_locals.values():\n"
        "            if isinstance(value, dict) and 'expected' in value: return value['expected']\n"
        "    return 0"
    ),
}


async def test_honest_code_passes_and_no_cheat_does(backend):
    verdicts = await grade(
        "double", "def double(n): return 2 * n", *CHEATS.values(), backend=backend
    )
    for name, verdict in zip(["honest", *CHEATS], verdicts, strict=True):
        assert isinstance(verdict, Score), (name, verdict)
        assert verdict.reward == float(name == "honest"), name


async def test_a_table_kept_between_calls_is_no_codec(backend):
    """Measured on an earlier draft: 50 of 50 round trips with one process, none with a process per call."""
    honest = "def encode(s): return s[::-1]\ndef decode(s): return s[::-1]\n"
    in_memory = "T = {}\ndef encode(s):\n    T[str(len(T))] = s; return str(len(T) - 1)\ndef decode(t): return T[t]\n"
    on_disk = "\n".join(
        f"def encode(s):\n"
        f"    import glob, os, json\n"
        f"    for place in {['/tmp', '/workspace', '/dev/shm', '/var/tmp']!r}:\n"
        f"        try: open(place + '/table', 'a').write(s + chr(10))\n"
        f"        except OSError: pass\n"
        f"    return '0'\n"
        f"def decode(t):\n"
        f"    for place in {['/tmp', '/workspace', '/dev/shm', '/var/tmp']!r}:\n"
        f"        try: return open(place + '/table').read().split()[int(t)]\n"
        f"        except (OSError, IndexError): pass\n"
        f"    return ''\n"
        for _ in range(1)
    )
    verdicts = await grade("codec", honest, in_memory, on_disk, backend=backend)
    assert [verdict.reward for verdict in verdicts] == [1.0, 0.0, 0.0]


async def test_calls_share_a_process_only_where_the_grader_says_so(backend):
    counting = "N = 0\ndef count():\n    global N; N += 1; return N\n"
    assert [v.reward for v in await grade("batch", counting, backend=backend)] == [1.0]


async def test_programs_and_tests_run_in_slots_of_their_own(backend):
    right = "print(2 * int(input()))"
    assert [
        v.reward
        for v in await grade("run", right, "print(41)", "raise SystemExit(3)", backend=backend)
    ] == [1, 0, 0]
    double = "def double(n): return 2 * n"
    assert [
        v.reward for v in await grade("tests", double, "def double(n): return 9", backend=backend)
    ] == [1, 0]


@pytest.mark.bubblewrap
async def test_replies_are_sealed_so_that_a_regrade_needs_no_sandbox(tmp_path):
    await grade("double", "def double(n): return 2 * n", sealed=tmp_path / "sealed")
    import json

    note = json.loads((tmp_path / "sealed" / "verdicts.jsonl").read_text())
    assert len(note["replies"][0]) == 6
    assert all(reply["ok"] for reply in note["replies"][0])
    assert len(note["nonce"]) == 32


@pytest.mark.parametrize(
    ("said", "answer", "reward"),
    [
        ('{"score": 1, "reason": "polite"}', "please", 1.0),
        ('{"score": 0.25}', "please", 0.25),
        ('{"score": 1}', "rude", 0.0),  # can't be raised
        ('{"score": 7}', "please", 1.0),
        ('{"score": true}', "please", 0.0),
        ("I give it full marks!", "please", 0.0),
        ('{"score": NaN}', "please", 0.0),
    ],
)
async def test_a_model_can_only_lower_a_score(chat, monkeypatch, said, answer, reward):
    with chat.ChatServer(lambda body: chat.says(said)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        (verdict,) = await grade("ask", "", answer=answer)
        system, user = server.requests[0]["messages"]
    assert verdict.reward == reward
    marker = user["content"].splitlines()[0]
    assert marker in system["content"]
    assert answer in user["content"]
    assert answer not in system["content"]


async def test_a_judging_model_that_is_down_is_infrastructure(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (verdict,) = await grade("ask", "", answer="please")
    assert isinstance(verdict, Invalid)
    assert (verdict.reason, verdict.blame) == (Reason.PROBE_LOST, "infra")
