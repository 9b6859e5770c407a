"""The battery: scripted attacks, each a named way in which agents have been rewarded for not doing a task.

Third parties add their own by the entry point group `envkit.attacks`, whose entries are `Attack`s.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from envkit.audit.battery import answer, api, browser, memory, repository, terminal, tools
from envkit.audit.battery import tests as test_runners
from envkit.audit.battery.base import Attack, Target

__all__ = ["Attack", "Target", "attacks"]

_OWN = (answer, tools, terminal, repository, test_runners, api, browser, memory)


def attacks() -> tuple[Attack, ...]:
    """All attacks, our own first; names are unique."""
    own = [attack for module in _OWN for attack in module.ATTACKS]
    others = [point.load() for point in entry_points(group="envkit.attacks")]
    found: dict[str, Attack] = {}
    for attack in (*own, *others):
        found.setdefault(attack.name, attack)
    return tuple(found.values())
