"""The conformance suite of packs, where a pack is unlike those of this repository."""

from pathlib import Path

from envkit.registry import EnvEntry
from envkit.testing.pack import PackConformance


class Few(PackConformance):
    """A pack whose splits are smaller than what is played of others."""

    __test__ = False
    pack = "starter"

    def _entries(self) -> dict[str, EnvEntry]:
        return {
            name: entry.model_copy(update={"splits": {"train": 3}})
            for name, entry in super()._entries().items()
        }


def test_a_small_split_is_played_to_its_end_and_not_beyond(tmp_path: Path) -> None:
    pack = Few()
    pack.test_makes_the_same_task_twice()
    pack.test_oracle_earns_everything(tmp_path)
    (name,) = pack._entries()
    assert [pack._many(policy, name, "train") for policy in ("oracle", "near-misses")] == [3, 3]
