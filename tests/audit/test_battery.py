"""Every attack breaks a weak environment made for it: an attack that can't score proves nothing."""

from pathlib import Path

import pytest

from envkit.audit.attack import attack
from envkit.audit.battery import attacks
from envkit.cli import main
from envkit.data.score import Reason
from envkit.errors import UsageError
from envkit.rollout.record import Episode
from envkit.rollout.runner import Runner, RunSettings

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
    "sites.py": [
        "hidden_routes", "hidden_pages", "page_source", "file_urls", "script_urls", "memory_search",
        "memory_paths", "left_by_siblings",
    ],
}  # fmt: skip
NEEDS = {"hidden_routes": "docker", "hidden_pages": "browser", "page_source": "browser"}
CASES = [(file, name) for file, names in BREAKS.items() for name in names]


async def play(file, name, backend="auto", cls=None):
    cls = cls or "".join(word.capitalize() for word in name.split("_")).replace(
        "Anumber", "ANumber"
    )
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


@pytest.mark.parametrize("name", [name for name in BREAKS["sites.py"] if name not in NEEDS])
async def test_sites_and_memories_break_what_is_weak_for_them(name):
    assert (await play("sites.py", name))[name].scored


@pytest.mark.browser
@pytest.mark.parametrize("name", ["hidden_pages", "page_source"])
async def test_a_browser_breaks_what_is_weak_for_it(name):
    assert (await play("sites.py", name))[name].scored


@pytest.mark.docker
@pytest.mark.slow
async def test_a_terminal_finds_a_route_that_nobody_documents():
    assert (await play("sites.py", "hidden_routes", "docker"))["hidden_routes"].scored


def test_every_attack_has_an_environment_that_it_breaks():
    assert sorted(name for names in BREAKS.values() for name in names) == sorted(
        one.name for one in attacks()
    )


async def test_an_episode_without_a_verdict_is_counted_and_hides_no_score(monkeypatch):
    """An attack that makes an episode invalid after it has scored is told both."""
    scored = Episode.model_construct(
        variant="nothing", reward=1.0, seats={}, findings=(), invalid=None
    )
    lost = Episode.model_construct(
        variant="nothing", reward=None, seats={}, findings=(), invalid=Reason.JUDGE_LOST
    )

    async def run(self, tell):
        for episode in (scored, lost):
            tell(episode)

    monkeypatch.setattr(Runner, "run", run)
    (one,) = (await play("words.py", "nothing")).values()
    assert (one.scored, one.invalid, one.as_json()["invalid"]) == (True, 1, 1)


def test_an_attack_that_never_has_a_verdict_is_not_called_stopped(monkeypatch, capsys):
    lost = Episode.model_construct(
        variant="nothing", reward=None, seats={}, findings=(), invalid=Reason.JUDGE_LOST
    )

    async def run(self, tell):
        tell(lost)

    monkeypatch.setattr(Runner, "run", run)
    spec = f"file:{WEAK / 'words.py'}:Nothing"
    assert main(["attack", spec, "--only", "nothing"]) == 1
    shown = "".join(capsys.readouterr())
    assert "NO VERDICT" in shown
    assert "NOTHING STOPPED IT" not in shown
    assert "do not apply" not in shown


async def test_only_what_was_asked_for_comes_back():
    assert list(await play("words.py", "nothing")) == ["nothing"]
    with pytest.raises(UsageError, match="no attack is called nohting"):
        await play("words.py", "nohting", cls="Nothing")
