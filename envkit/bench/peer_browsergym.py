"""BrowserGym plays the episode of `envkit bench browser`, in a Python of its own: its pins conflict with ours.

`PYTHON peer_browsergym.py CHROMIUM PROXY EPISODES` prints a line when it has warmed up, and one behind each episode.
"""

import os
import sys
from typing import Any

import browsergym.core  # noqa: F401 - registers its environments
import gymnasium
from playwright.sync_api import BrowserType


def main(chromium: str, proxy: str, episodes: int) -> None:
    """Play one episode to warm up, then as many as are asked for."""
    _launch_by(chromium)
    env = gymnasium.make(
        "browsergym/openended",
        disable_env_checker=True,
        task_kwargs={"start_url": "http://shop.test/"},
        pw_chromium_kwargs={"proxy": {"server": proxy, "bypass": "<-loopback>"}},
    )
    for number in range(1 + episodes):
        _episode(env)
        print(number, flush=True)  # noqa: T201 - what the bench waits for
    env.close()


def _episode(env: Any) -> None:
    env.reset()
    seen, *_ = env.step('goto("http://shop.test/form")')
    seen, *_ = env.step(f'click("{_named(seen, "button")}")')
    seen, *_ = env.step(f'fill("{_named(seen, "textbox")}", "Ada")')
    seen, *_ = env.step(f'press("{_named(seen, "textbox")}", "Enter")')
    if "Thank you." not in str(seen["axtree_object"]):
        raise RuntimeError(f"the form was not sent: {seen['last_action_error']}")


def _named(seen: Any, role: str) -> str:
    nodes = seen["axtree_object"]["nodes"]
    found = (n for n in nodes if n["role"]["value"] == role and "browsergym_id" in n)
    return str(next(found)["browsergym_id"])


def _launch_by(chromium: str) -> None:
    """Its chat starts a browser of its own, and takes no path: all launches take this one."""
    launch: Any = BrowserType.launch
    ours = {"executable_path": chromium, "chromium_sandbox": os.geteuid() != 0}
    BrowserType.launch = lambda self, **told: launch(self, **ours, **told)  # type: ignore[method-assign]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
