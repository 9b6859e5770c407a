"""The documentation is run: its environments are played, its other snippets compiled, its commands parsed."""

import asyncio
import inspect
import re
import shlex
import subprocess
from pathlib import Path

import envkit_validators
import pytest
import typer

from envkit.cli import app
from envkit.registry import Manifest, resolve
from envkit.rollout.policy import policy_source
from envkit.rollout.runner import Runner, RunSettings
from envkit.scaffold import new_pack

ROOT = Path(__file__).parent.parent
HOW_TO = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/how-to/*.md"))]
PAGES = ["README.md", "docs/tutorial.md", *HOW_TO]


def snippets(page: str, language: str = "python") -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return [str(snippet) for snippet in found]


def environments() -> list[tuple[str, str, str]]:
    """Every snippet that is a whole file with an environment in it: page, class, source."""
    return [
        (page, found[1], source)
        for page in PAGES
        for source in snippets(page)
        if source.startswith('"""')
        and (found := re.search(r"^class (\w+)\(Env\[", source, re.MULTILINE))
    ]


@pytest.mark.parametrize("policy", ["oracle", "noop", "near-misses"])
@pytest.mark.parametrize(
    ("page", "name", "source"),
    environments(),
    ids=[Path(page).stem for page, _, _ in environments()],
)
def test_an_environment_plays_as_its_page_says(page, name, source, policy, tmp_path):
    path = tmp_path / "page.py"
    path.write_text(source)
    episodes = []

    async def play() -> None:
        settings = RunSettings(spec=f"file:{path}:{name}", tasks=4, concurrency=4)
        async with Runner(settings, policy_source(policy)) as runner:
            await runner.run(episodes.append)

    asyncio.run(play())
    assert {episode.reward for episode in episodes} == {1.0 if policy == "oracle" else 0.0}
    assert {episode.invalid for episode in episodes} == {None}


def test_the_tutorial_and_the_adapters_have_environments_to_play():
    played = {page for page, _, _ in environments()}
    assert played == {
        "docs/tutorial.md",
        *(f"docs/how-to/{n}.md" for n in ("agents", "combine", "memory")),
    }


def test_the_tutorials_class_fits_the_pack_that_it_is_copied_into(tmp_path):
    new_pack("stock", tmp_path)
    package = tmp_path / "stock" / "src" / "envkit_stock"
    (package / "stock.py").write_text(snippets("docs/tutorial.md")[0])
    env = resolve(f"file:{package}/stock.py:Stock").env
    listed = Manifest.model_validate_json((package / "envkit.json").read_text()).envs["stock"]
    assert (listed.version, listed.splits) == (env.version, env.splits)
    assert list(listed.adapters) == [
        type(adapter).__name__.lower() for adapter in env._adapters.values()
    ]


@pytest.mark.parametrize("page", HOW_TO)
def test_other_snippets_of_the_how_tos_run(page, tmp_path, monkeypatch):
    """Beside a repository `original` with two commits, which one of them is about."""
    git = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.test",
        "-C",
        str(tmp_path / "original"),
    ]
    (tmp_path / "original").mkdir()
    commits = [["commit", "-q", "--allow-empty", "-m", message] for message in ("base", "later")]
    for arguments in (["init", "-q"], *commits):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.chdir(tmp_path)
    played = [source for _, _, source in environments()]
    for snippet in snippets(page):
        if snippet not in played:
            exec(compile(snippet, page, "exec"), {"__name__": "page"})  # noqa: S102 - our own pages


@pytest.mark.parametrize("page", PAGES)
def test_snippets_compile(page):
    for snippet in snippets(page):
        compile(snippet, page, "exec")


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_such_as_envkit_takes(page):
    """Each is parsed as the command line would, and not carried out: a flag that is gone is found."""
    commands = typer.main.get_command(app)
    for snippet in snippets(page, "bash"):
        for line in snippet.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["envkit"] and words[1:]:
                commands.commands[words[1]].make_context(words[1], words[2:])


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_validator_is_in_the_reference_as_its_docstring_says():
    page = (ROOT / "docs/reference/validators.md").read_text("utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    summaries = {
        name: (inspect.getdoc(getattr(envkit_validators, name)) or "").partition("\n")[0]
        for name in envkit_validators.__all__
    }
    assert told == summaries
