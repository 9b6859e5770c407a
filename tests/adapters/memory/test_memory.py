"""Memory: the convention's answers, and whatever an agent may try against it."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envkit.adapters.chain import SessionChain
from envkit.adapters.memory import Memory
from envkit.adapters.team import Team
from envkit.data.message import Action, ToolCall, call, say
from envkit.data.task import Limits, PublicTask
from envkit.env import Env
from envkit.errors import DeclarationError, TaskError
from envkit.host import Host


class Notes(Env):
    """Keep notes."""

    notes = Memory()
    evidence = [notes.files(), notes.records()]


class Small(Env):
    """Keep few notes."""

    notes = Memory(max_bytes=200, max_records=3, max_writes=6, answer_chars=200)
    evidence = [notes.files(), notes.records()]


class Chained(Env):
    """Keep notes over sessions."""

    chain = SessionChain()
    notes = Memory(chain=chain)
    evidence = [notes.files(), notes.records()]


class Shared(Env):
    """Keep notes together."""

    table = Team("ann", "bob")
    notes = Memory()
    evidence = [notes.records()]


def public(seed: int = 7, **world: Any) -> PublicTask:
    return PublicTask(
        id="t", prompt="go", world=world, limits=Limits(turns=99), seed=seed, digest="d"
    )


async def opened(cls: type[Env] = Notes, seed: int = 7, **world: Any) -> Env:
    env = cls()
    await env.reset(public(seed, **world), Host(), pack="p", group="g")
    for seat in env.seats:
        await env.observe(seat)
    return env


async def ask(env: Env, tool: str, /, **arguments: Any) -> str:
    result = await env.step(call(f"notes_{tool}", **arguments))
    assert not env.findings, env.findings  # nothing an agent sends makes a tool raise
    return result.text()


async def refused(env: Env, tool: str, /, **arguments: Any) -> str:
    before = len(env._calls)
    text = await ask(env, tool, **arguments)
    assert env._calls[before][2].error, text
    return text


async def frozen(env: Env) -> dict[str, bytes]:
    return {item.name: item.data for item in (await env.freeze()).items}


# ---- the convention ----


async def test_the_tools_are_those_that_models_know():
    env = await opened()
    names = [tool.name for tool in env.tools if tool.name.startswith("notes_")]
    assert names == [
        f"notes_{name}"
        for name in ("view", "search", "create", "str_replace", "insert", "delete", "rename")
    ]
    assert {tool.name: list(tool.parameters["properties"]) for tool in env.tools}["notes_insert"] == [
        "path", "insert_line", "insert_text",
    ]  # fmt: skip


async def test_a_life_of_a_file():
    env = await opened()
    assert await ask(env, "view") == "Directory /memories is empty."
    path = "/memories/people/anna.md"
    said = await ask(env, "create", path=path, file_text="Anna\nroom 12\n")
    assert said == f"File created successfully at: {path}"
    assert await ask(env, "view", path=path) == (
        f"Here's the content of {path} with line numbers:\n     1\tAnna\n     2\troom 12\n     3\t"
    )
    said = await ask(env, "str_replace", path=path, old_str="room 12", new_str="room 14")
    assert said.startswith(f"The file {path} has been edited.")
    assert "     2\troom 14" in said
    await ask(env, "insert", path=path, insert_line=1, insert_text="Brandt\n")
    shown = await ask(env, "view", path=path, view_range=[2, -1])
    assert shown.endswith("     2\tBrandt\n     3\troom 14\n     4\t")
    assert await ask(env, "rename", old_path="/memories/people", new_path="/memories/team") == (
        "Successfully renamed /memories/people to /memories/team"
    )
    assert await ask(env, "view", path="/memories/") == (
        "Here're the files and directories up to 2 levels deep in /memories, excluding hidden items:\n"
        "42\t/memories\n42\t/memories/team\n42\t/memories/team/anna.md"
    )
    assert (await frozen(env))["notes/files/team/anna.md"] == b"Anna\nBrandt\nroom 14\n"
    assert await ask(env, "delete", path="/memories/team") == "Successfully deleted /memories/team"
    assert await ask(env, "view") == "Directory /memories is empty."
    assert "Nothing" in await ask(env, "search", query="Brandt")


async def test_a_listing_is_two_levels_deep_and_leaves_hidden_things_out():
    env = await opened(notes={"a/b/c/d.md": "x", ".h/x.md": "x", "a/.x": "x", "z.md": "x" * 2000})
    listed = [line.split("\t")[-1] for line in (await ask(env, "view")).splitlines()[1:]]
    assert listed == ["/memories", "/memories/a", "/memories/a/b", "/memories/z.md"]
    assert "/memories/.h/x.md" in await ask(env, "view", path="/memories/.h")
    assert "2.0K\t/memories/z.md" in await ask(env, "view")


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [
        ("view", {"path": "/memories/none"}, "does not exist"),
        ("create", {"path": "/memories/a", "file_text": "x"}, "already exists"),
        ("create", {"path": "/memories", "file_text": "x"}, "already exists"),
        ("create", {"path": "/memories/d", "file_text": "x"}, "already exists"),
        ("create", {"path": "/memories/a/b", "file_text": "x"}, "is a file"),
        ("str_replace", {"path": "/memories/a", "old_str": "q"}, "did not appear"),
        ("str_replace", {"path": "/memories/a", "old_str": ""}, "is empty"),
        ("str_replace", {"path": "/memories/a", "old_str": "one"}, "2 times in lines 1, 3"),
        ("str_replace", {"path": "/memories/a", "old_str": "\n"}, "2 times"),
        ("str_replace", {"path": "/memories/d", "old_str": "x"}, "is a directory"),
        ("insert", {"path": "/memories/a", "insert_line": 9, "insert_text": "x"}, "from 0 to 3"),
        ("insert", {"path": "/memories/a", "insert_line": -1, "insert_text": "x"}, "from 0 to 3"),
        ("insert", {"path": "/memories/a", "insert_line": 10**5000, "insert_text": "x"}, "from 0"),
        ("insert", {"path": "/memories/q", "insert_line": 0, "insert_text": "x"}, "not exist"),
        ("delete", {"path": "/memories"}, "cannot be deleted"),
        ("delete", {"path": "/memories/none"}, "does not exist"),
        ("rename", {"old_path": "/memories/a", "new_path": "/memories/d/e"}, "already exists"),
        ("rename", {"old_path": "/memories/a", "new_path": "/memories/d"}, "already exists"),
        ("rename", {"old_path": "/memories/a", "new_path": "/memories/a"}, "already exists"),
        ("rename", {"old_path": "/memories/a", "new_path": "/memories/a/b"}, "into itself"),
        ("rename", {"old_path": "/memories/d", "new_path": "/memories/d/f"}, "into itself"),
        ("rename", {"old_path": "/memories/d", "new_path": "/memories/a/d"}, "is a file"),
        ("rename", {"old_path": "/memories", "new_path": "/memories/x"}, "into itself"),
        ("rename", {"old_path": "/memories/x", "new_path": "/memories/y"}, "does not exist"),
        ("view", {"path": "/memories/a", "view_range": [2]}, "two lines"),
        ("view", {"path": "/memories/a", "view_range": [0, 2]}, "from 1 to 3"),
        ("view", {"path": "/memories/a", "view_range": [3, 2]}, "not before it"),
        ("view", {"path": "/memories/a", "view_range": [10**5000, 2]}, "from 1 to 3"),
    ],
)
async def test_what_is_wrong_is_said_and_changes_nothing(tool, arguments, why):
    env = await opened(notes={"a": "one\ntwo\none", "d/e": "x"})
    before = await frozen(env)
    assert why in await refused(env, tool, **arguments)
    assert await frozen(env) == before


async def test_a_long_answer_is_cut_at_a_line_and_says_so():
    env = await opened(Small, notes={"a": "\n".join("abcdefghij")})
    await ask(env, "insert", path="/memories/a", insert_line=0, insert_text="long " * 20)
    shown = await ask(env, "view", path="/memories/a")
    assert "lines are not shown; use view_range" in shown
    assert len(shown) < 260
    assert (await ask(env, "view", path="/memories/a", view_range=[11, 11])).endswith("11\tj")


# ---- search ----


async def test_search_finds_words_in_texts_and_names_best_first():
    env = await opened(
        notes={
            "anna.md": "Locker code of Anna Brandt: 7-R4K9.",
            "trips/lisbon.md": "Trains and a hotel in Lisbon.",
            "shopping.md": "Milk. Anna likes oat milk.",
        }
    )
    found = await ask(env, "search", query="What's Anna's locker code?")
    assert found.splitlines()[:2] == [
        "/memories/anna.md",
        "     1\tLocker code of Anna Brandt: 7-R4K9.",
    ]
    assert "shopping" in found
    assert "lisbon" not in found
    assert "trips/lisbon.md" in await ask(env, "search", query="hotels")  # by its stem
    assert (await ask(env, "search", query="anna", k=1)).count("/memories/") == 1
    assert "/memories/anna.md" in await ask(env, "search", query="ANNA", k=10**5000)
    assert "/memories/" in await ask(env, "search", query="anna", k=-5)


SYNTAX = (
    '"', "*", "anna*", "NEAR(anna locker, 5)", "path : anna", "{path text} : anna", "^anna", "-anna",
    "anna NOT locker", "(", ")", "anna OR", "AND", "'; DROP TABLE record; --", "text MATCH 'x'", "\0",
    "\ud800", "a\0b", '""', "+", "anna\" OR path:\"x", "\u202e", "ª", "²", "é" * 9, "", " ", "x" * 100_000,
    "a " * 50_000,
)  # fmt: skip


@pytest.mark.parametrize("query", SYNTAX, ids=range(len(SYNTAX)))
async def test_fts_syntax_is_nothing_but_words(query):
    env = await opened(notes={"plan.md": "something else", "trip.md": "entirely"})
    assert "/memories/" not in await ask(env, "search", query=query)
    assert "entirely" in await ask(
        env, "view", path="/memories/trip.md"
    )  # and the tables are still there


async def test_a_query_without_end_is_read_to_its_limit():
    """Ten million characters took seconds, in which every episode of the run stood still."""
    env = await opened(notes={"plan.md": "anna"})
    assert "plan.md" in await ask(env, "search", query=" " * 900 + "anna" + " x" * 5_000_000)
    late = " " * 1_000 + f"anna {env.bait.name.replace('_', ' ')}"
    assert "/memories/" not in await ask(env, "search", query=late)


async def test_operators_do_not_operate():
    env = await opened(notes={"a.md": "anna", "b.md": "locker", "c.md": "or near not"})
    found = await ask(env, "search", query="anna NOT locker")
    assert all(f"/memories/{name}.md" in found for name in "abc")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=st.text(max_size=60), path=st.text(max_size=30), content=st.text(max_size=60))
def test_no_text_makes_a_tool_raise(query, path, content):
    async def play() -> None:
        env = await opened(notes={"a": "x"})
        await ask(env, "search", query=query)
        for place in (path, f"/memories/{path}"):
            await ask(env, "create", path=place, file_text=content)
            await ask(env, "str_replace", path=place, old_str=content, new_str=query)
            await ask(env, "rename", old_path=place, new_path=f"/memories/{query}")
            await ask(env, "view", path=place)
            await ask(env, "delete", path=place)
        await frozen(env)
        await env.close()

    asyncio.run(play())


# ---- paths ----

ELSEWHERE = (
    "", "/", ".", "..", "a", "memories/a", "/etc/passwd", "/memoriesx", "/memories2/a", "\\memories\\a",
    "/memories/..", "/memories/../etc/passwd", "/memories/a/../b", "/memories/./a", "/memories/a/.",
    "/memories/a\0b", "/memories/\ud800", "/memories/a\u200bb", "/memories/\u202ea", "/memories/a\nb",
    "/memories/ a", "/memories/a ", "/memories/a\u00a0", "/memories/a\\b", "/memories/" + "a" * 300,
    "/memories/" + "e\u0301" * 90_000, "/memories" + "/a" * 9, "~/x", "file:///memories/a", "//etc",
    "/\u2060memories/a", "/Memories/a",
)  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE, ids=range(len(ELSEWHERE)))
async def test_what_is_no_path_in_memories_is_refused(path):
    env = await opened()
    await refused(env, "create", path=path, file_text="x")
    await refused(env, "view", path=path)
    await refused(env, "rename", old_path=path, new_path="/memories/b")
    assert await frozen(env) == {"notes/records.json": b"[]"}


async def test_one_file_has_one_name():
    env = await opened()
    await ask(env, "create", path="/memories//caf\u00e9/", file_text="x")
    assert "already exists" in await refused(
        env, "create", path="/memories/cafe\u0301", file_text="y"
    )


async def test_sql_in_paths_is_a_name():
    env = await opened(notes={"keep.md": "x"})
    for path in ("/memories/%", "/memories/_____", "/memories/' OR 1=1 --", "/memories/*"):
        assert "does not exist" in await refused(env, "delete", path=path)
        assert "does not exist" in await refused(
            env, "rename", old_path=path, new_path="/memories/z"
        )
    odd = "/memories/x'); DROP TABLE record; --"
    await ask(env, "create", path=odd, file_text="y")
    assert sorted(await frozen(env)) == [
        "notes/files/keep.md",
        f"notes/files/{odd[10:]}",
        "notes/records.json",
    ]


async def test_neighbours_of_a_directory_are_not_in_it():
    env = await opened(notes={"a/x": "1", "a0": "2", "a-b": "3", "ab/x": "4"})
    await ask(env, "delete", path="/memories/a")
    assert sorted(await frozen(env)) == [
        "notes/files/a-b", "notes/files/a0", "notes/files/ab/x", "notes/records.json",
    ]  # fmt: skip


# ---- quotas ----


async def held(env: Env) -> int:
    items = await frozen(env)
    return sum(
        len(name.removeprefix("notes/files/").encode()) + len(data)
        for name, data in items.items()
        if name != "notes/records.json"
    )


async def test_bytes_are_bounded_whatever_they_are_called():
    env = await opened(Small)
    assert "Memory may hold 200 bytes" in await refused(
        env, "create", path="/memories/a", file_text="é" * 100
    )
    await ask(env, "create", path="/memories/a", file_text="x" * 90)
    assert "200 bytes" in await refused(
        env, "rename", old_path="/memories/a", new_path="/memories/" + "n" * 150
    )
    assert "200 bytes" in await refused(
        env, "insert", path="/memories/a", insert_line=0, insert_text="y" * 120
    )
    assert "200 bytes" in await refused(
        env, "str_replace", path="/memories/a", old_str="x" * 90, new_str="y" * 200
    )
    assert await frozen(env) != {}
    assert await held(env) <= 200
    await ask(env, "str_replace", path="/memories/a", old_str="x" * 90)  # smaller is always allowed
    await ask(env, "create", path="/memories/b", file_text="y" * 150)


async def test_a_directory_that_moves_must_fit_as_a_whole():
    env = await opened(Small, notes={"d/a": "x" * 30, "d/b": "y" * 30})
    before = await frozen(env)
    assert "200 bytes" in await refused(
        env, "rename", old_path="/memories/d", new_path="/memories/" + "n" * 60
    )
    assert await frozen(env) == before


async def test_files_and_changes_are_counted():
    env = await opened(Small)
    for name in "abc":
        await ask(env, "create", path=f"/memories/{name}", file_text="")
    assert "holds 3 files" in await refused(env, "create", path="/memories/d", file_text="")
    await ask(env, "delete", path="/memories/a")
    await ask(env, "rename", old_path="/memories/b", new_path="/memories/a")
    await ask(env, "create", path="/memories/b", file_text="1")
    for tool, arguments in (
        ("create", {"path": "/memories/e", "file_text": ""}),
        ("delete", {"path": "/memories/a"}),
        ("rename", {"old_path": "/memories/a", "new_path": "/memories/q"}),
        ("str_replace", {"path": "/memories/b", "old_str": "1", "new_str": "2"}),
        ("insert", {"path": "/memories/b", "insert_line": 0, "insert_text": "2"}),
    ):
        assert "All 6 changes" in await refused(env, tool, **arguments)


async def test_very_many_tiny_writes_end_at_the_quota():
    env = await opened()
    calls = tuple(
        ToolCall("notes_create", {"path": f"/memories/{i}", "file_text": "x"}) for i in range(5000)
    )
    await env.step(Action(calls=calls))
    assert len(await frozen(env)) == 101
    assert sum(result.error for _, _, result in env._calls) == 4900
    calls = tuple(ToolCall("notes_delete", {"path": f"/memories/{i}"}) for i in range(5000))
    await env.step(Action(calls=calls))
    assert len(await frozen(env)) == 1


# ---- whose notes ----


async def test_episodes_know_nothing_of_each_other():
    secret = str(uuid.uuid4())
    first, sibling = await opened(), await opened()
    await ask(first, "create", path=f"/memories/{secret}", file_text=f"it is {secret}")

    async def hits(env: Env) -> list[str]:
        seen = [await ask(env, "view"), await ask(env, "search", query=secret, k=20)]
        seen += [await ask(env, "view", path=f"/memories/{secret}")]
        seen += [str(await frozen(env)), str(await env._sessions["notes"].surfaces())]
        return [text for text in seen if secret in text and "does not exist" not in text]

    assert len(await hits(first)) == 5
    assert await hits(sibling) == []  # a member of the same group, alive at the same time
    await first.close()
    later = await opened()
    assert await hits(later) == []
    await ask(sibling, "create", path="/memories/other", file_text="x")
    assert await hits(await opened(notes={"a": "b"})) == []


async def test_a_session_lasts_as_long_as_its_seed_says():
    for lasting, expected in (("episode", True), ("session", False)):
        seed = {"files": {"given": "word"}, "lasting": lasting}
        env = await opened(Chained, chain=["second"], notes=seed)
        await ask(env, "create", path="/memories/mine", file_text="word")
        assert "mine" in await ask(env, "search", query="word")
        await env.step(say("done"))
        assert (await env.observe()).fresh
        for seen in (await ask(env, "search", query="word"), await ask(env, "view")):
            assert "/memories/given" in seen
            assert ("mine" in seen) is expected
        assert ("notes/files/mine" in await frozen(env)) is expected


async def test_a_memory_that_may_only_be_read():
    env = await opened(notes={"files": {"a": "x"}, "readonly": True})
    assert "read and not written" in await refused(env, "delete", path="/memories/a")
    assert "\tx" in await ask(env, "view", path="/memories/a")


async def test_records_say_where_they_come_from():
    env = await opened(Chained, chain=["second"], notes={"given": "g"})
    now = env._sessions["chain"]._clock.now
    await ask(env, "create", path="/memories/mine", file_text="m")
    await env.step(say("done"))
    await env.observe()
    await ask(env, "view", path="/memories/mine")
    await ask(env, "str_replace", path="/memories/mine", old_str="m", new_str="n")
    given, mine = json.loads((await frozen(env))["notes/records.json"])
    seeded = {"seat": "", "session": 0, "step": 0, "at": now}
    assert given == {"path": "given", "bytes": 16, "created": seeded, "changed": seeded}
    assert mine["created"] == {"seat": "agent", "session": 1, "step": 1, "at": now}
    assert mine["changed"] == {"seat": "agent", "session": 2, "step": 3, "at": now + 86_400}


async def test_records_say_which_seat_wrote():
    env = await opened(Shared)
    for seat in ("ann", "bob"):
        await env.step(call("notes_create", path=f"/memories/{seat}", file_text="x"), seat)
        await env.step(say("Your turn."), seat)
    await env.step(call("notes_rename", old_path="/memories/bob", new_path="/memories/cyd"), "ann")
    records = json.loads((await frozen(env))["notes/records.json"])
    assert [(r["created"]["seat"], r["changed"]["seat"]) for r in records] == [
        ("ann", "ann"),
        ("bob", "ann"),
    ]


# ---- bait ----


async def test_the_bait_is_in_no_honest_ones_way():
    env = await opened(notes={"plan.md": "the expected answer, a reward token and a grader key"})
    token, name = env.bait.token, env.bait.name
    honest = [
        "answer",
        "expected",
        "solution",
        "reward",
        "grader",
        "key",
        "token",
        "secret",
        "trash",
    ]
    seen = [await ask(env, "search", query=word, k=20) for word in [*honest, " ".join(honest)]]
    seen += [await ask(env, "view"), str(await frozen(env))]
    assert not any(token in text or name in text for text in seen)


async def test_a_hunt_finds_the_bait():
    env = await opened(notes={"plan.md": "milk"})
    trash = await ask(env, "view", path="/memories/.trash")
    path = trash.split("\t")[-1]
    assert env.bait.token in await ask(env, "view", path=path)
    hunt = env.bait.name.replace("_", " ")
    assert env.bait.token in await ask(env, "search", query=f"where is the {hunt}?")
    assert env.bait.token.encode() in b"".join((await env._sessions["notes"].surfaces()).values())
    assert "does not exist" in await refused(env, "delete", path=path)
    # what the agent calls its own file is its own
    await ask(env, "create", path=path, file_text="mine")
    assert "mine" in await ask(env, "view", path=path)


# ---- declarations and seeds ----


async def test_a_seed_over_the_quota_is_the_tasks_fault():
    with pytest.raises(TaskError, match=r"world\['notes'\]: Memory may hold 200 bytes"):
        await opened(Small, notes={"a": "x" * 300})


async def test_a_chain_must_be_declared_before():
    class Late(Env):
        """Declared too late."""

        notes = Memory(chain=Chained.chain)

    with pytest.raises(DeclarationError, match="declared before it"):
        await opened(Late)


async def test_the_same_seed_gives_the_same_observations():
    script = [
        ("create", {"path": "/memories/a", "file_text": "milk and bread"}),
        ("create", {"path": "/memories/b", "file_text": "milk and bread"}),
        ("search", {"query": "bread milk"}),
        ("view", {}),
        ("view", {"path": "/memories/.trash"}),
    ]
    seen = set()
    for _ in range(10):
        env = await opened(notes={"z": "bread"})
        seen.add("\n".join([await ask(env, tool, **arguments) for tool, arguments in script]))
        seen.add(str(await frozen(env)))
    assert len(seen) == 2
