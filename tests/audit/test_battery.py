"""Every attack breaks a weak environment made for it: an attack that can't score proves nothing."""

from pathlib import Path

import pytest

from envkit.audit.attack import attack
from envkit.audit.battery import attacks
from envkit.rollout.runner import RunSettings

WEAK = Path(__file__).parent / "weak"

BREAKS = {
    "words.py": [
        "nothing", "empty_object", "echo_prompt", "refusal", "claim_done", "master_key", "judge_injection",
        "not_a_number", "infinity", "broken_json", "common_guess", "null_words", "every_tool",
        "repeat_calls", "everything_seen", "ask_the_grader", "answers_by_name", "injection",
        "write_everything",
    ],
    "shell.py": [
        "answer_files", "answer_lines", "environment", "decoded_files", "reward_file", "stub_files", "flood",
        "later_commits", "loose_objects", "history_undo", "early_exit", "spoofed_log", "always_equal",
        "patched_runner", "shadow_modules", "rewritten_tests", "test_hooks",
    ],
}  # fmt: skip
CASES = [(file, name) for file, names in BREAKS.items() for name in names]


async def play(file, name, backend="auto"):
    cls = "".join(word.capitalize() for word in name.split("_")).replace("Anumber", "ANumber")
    cls = {"NotANumber": "NotANumber", "BrokenJson": "BrokenJson"}.get(cls, cls)
    settings = RunSettings(f"file:{WEAK / file}:{cls}", tasks=1, concurrency=2, backend=backend)
    return {one.attack.name: one for one in await attack(settings, only=(name,))}


@pytest.mark.parametrize(("file", "name"), [case for case in CASES if case[0] == "words.py"])
async def test_words_break_what_is_weak_for_them(file, name):
    assert (await play(file, name))[name].scored


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), [case for case in CASES if case[0] == "shell.py"])
async def test_a_terminal_breaks_what_is_weak_for_it(file, name):
    assert (await play(file, name, "docker"))[name].scored
