"""What may be declared, and what a task may put into a memory."""

import pytest

from envkit.adapters.memory import Memory, MemorySeed
from envkit.errors import DeclarationError


@pytest.mark.parametrize(
    "bad",
    [
        {"max_bytes": 0}, {"max_bytes": 1 << 30}, {"max_records": 0}, {"max_records": 10_000},
        {"max_writes": -1}, {"answer_chars": 0},
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_kept_is_refused(bad):
    with pytest.raises(DeclarationError, match="Memory: max_"):
        Memory(**bad)
    with pytest.raises(DeclarationError, match="below /memories"):
        Memory().files("../x")


@pytest.mark.parametrize(
    "files",
    [
        {"../x": ""}, {"/etc/x": ""}, {"": ""}, {"/memories": ""}, {"a": "", "a/b": ""},
        {"a": "", "/memories/a": ""}, {"a": "\ud800"}, {"a": 1},
    ],
)  # fmt: skip
def test_a_seed_that_is_no_tree_is_refused(files):
    with pytest.raises(ValueError, match="files"):
        MemorySeed.model_validate({"files": files})


def test_a_seed_survives_its_journey():
    seed = MemorySeed.model_validate({"a/b.md": "x", "/memories/c": "y"})
    assert dict(seed.files) == {"/memories/a/b.md": "x", "/memories/c": "y"}
    assert MemorySeed.model_validate(seed.model_dump(mode="json")) == seed
