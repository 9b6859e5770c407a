"""The documentation is run: the tutorial's environment is played, its snippets and the README's are compiled."""

import asyncio
import re
from pathlib import Path

import pytest

from envkit.rollout.policy import policy_source
from envkit.rollout.runner import Runner, RunSettings

ROOT = Path(__file__).parent.parent


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    ("policy", "reward"), [("oracle", 1.0), ("noop", 0.0), ("near-misses", 0.0)]
)
def test_the_tutorials_environment_plays_as_it_says(policy, reward, tmp_path):
    path = tmp_path / "stock.py"
    path.write_text(snippets("docs/tutorial.md")[0])
    episodes = []

    async def play() -> None:
        settings = RunSettings(spec=f"file:{path}:Stock", tasks=4, concurrency=4)
        async with Runner(settings, policy_source(policy)) as runner:
            await runner.run(episodes.append)

    asyncio.run(play())
    assert {episode.reward for episode in episodes} == {reward}


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_snippets_compile(page):
    for snippet in snippets(page):
        compile(snippet, page, "exec")


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
