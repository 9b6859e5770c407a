"""What an agent may try on an API: whatever it sends there is an answer, which tells nothing of the machine."""

import asyncio
import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envkit.adapters.api import log as logs
from envkit.adapters.api.exchange import Request
from envkit.data.bait import Bait
from envkit.data.message import Action, call
from envkit.door import open_door
from envkit.judge.keys import PUBLIC_SALT, TaskKey
from envkit.registry import resolve
from envkit.rollout.policy import Local
from envkit.rollout.runner import Runner, RunSettings
from tests.adapters.api.conftest import opened
from tests.adapters.api.odd import Odd

GULLIBLE = Path(__file__).parents[2] / "worlds" / "gullible.py"


@pytest.fixture
async def odd():
    async with opened(env=Odd) as world:
        yield world


async def use(world, name, **arguments):
    return (await world.step(call(f"api_{name}", **arguments))).text()


async def get(world, path, *, method="GET", headers=(), body=b""):
    path, _, query = path.partition("?")
    length = (b"content-length", str(len(body)).encode())
    return await world.api.ask(Request(method, path, query, (*headers, length), body), "shell")


async def through(port, *lines, body=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join((*lines, "connection: close", "", "")).encode() + body)
    try:
        return (await asyncio.wait_for(reader.read(), 20)).decode("latin-1")
    finally:
        writer.close()


# ---- what nobody documents -----------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/mounted", "/inner"])
async def test_schema_and_docs_are_nowhere(odd, prefix):
    for path in ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"):
        for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE", "PATCH", "DEBUG"):
            for spelled in (path, f"/{path}", f"/%2e{path}", path.replace("o", "%6F")):
                answer = await get(odd, prefix + spelled, method=method)
                assert answer.status in (404, 405)


async def test_no_door_has_a_debug_page(odd):
    for path in ("/mounted/boom", "/database", "/format?template={x}", "/status/599"):
        answer = await get(odd, path)
        assert answer.status >= 500
        assert json.loads(answer.body).keys() == {"detail"}
        assert b"srv" not in answer.body
        assert b"KeyError" not in answer.body
        assert b"secret" not in answer.body


@pytest.mark.parametrize(
    "line",
    [
        "GET http://odd.test//evil.test/ HTTP/1.1",
        "GET /..%2f..%2fetc/passwd HTTP/1.1",
        "GET /%2e%2e/page HTTP/1.1",
        "GET /page/ HTTP/1.1",
        "GET /page%00 HTTP/1.1",
        "GET /page%0d%0ax:y HTTP/1.1",
        "GET /%ff%fe HTTP/1.1",
        "GET /page;x=y HTTP/1.1",
        "TRACE /page HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "get /page HTTP/1.1",
        f"{'X' * 900} /page HTTP/1.1",
    ],
)
async def test_tricks_with_paths_and_methods_lead_nowhere(odd, line):
    async with open_door([odd.api], "shell") as door:
        answer = await through(door.port, line, "host: odd.test")
    assert int(answer.split()[1]) in (307, 400, 403, 404, 405)
    assert "hello" not in answer
    assert "\r\nx:y" not in answer


async def test_what_a_client_says_about_itself_reaches_no_handler(odd):
    async with open_door([odd.api], "shell") as door:
        answer = await through(
            door.port, "GET http://ODD.test:80/echo HTTP/1.1", "host: evil.test",
            "x-forwarded-for: 10.1.1.1", "x-forwarded-host: evil.test", "envkit.actor: judge",
        )  # fmt: skip
        inner = await through(
            door.port, "GET /inner/thing HTTP/1.1", "host: odd.test", "envkit.actor: x"
        )
    seen = {"host": "odd.test", "client": "agent", "url": "http://odd.test/echo"}
    assert json.loads(answer.partition("\r\n\r\n")[2]) == seen
    assert inner.endswith('"shell"')
    assert [record.operation for record in odd.api.requests] == [None, "inner_thing"]


# ---- what handlers do with it --------------------------------------------------------------------


async def test_refusals_say_neither_what_was_sent_nor_what_is_secret(odd):
    answer = await get(
        odd,
        "/code",
        method="POST",
        headers=((b"content-type", b"application/json"),),
        body=b'{"code": "abcdef"}',
    )
    assert answer.status == 422
    assert b"wrong code" in answer.body
    assert b"abcdef" not in answer.body
    assert b"s3cret" not in answer.body
    assert (await use(odd, "code", code="s3cret")) == '"right"'


async def test_a_5xx_says_its_status_and_when_to_come_again(odd):
    answer = await get(odd, "/busy")
    assert (answer.status, answer.text) == (503, '{"detail": "Service Unavailable"}')
    assert dict(answer.headers) == {b"content-type": b"application/json", b"retry-after": b"3"}


@pytest.mark.parametrize("code", [0, 100, 101, 199, 600, 999, -1])
async def test_a_status_that_ends_nothing_is_a_500(odd, code):
    async with open_door([odd.api], "shell") as door:
        answer = await through(door.port, f"GET /status/{code} HTTP/1.1", "host: odd.test")
    assert answer.startswith("HTTP/1.1 500")
    assert [finding.rule for finding in odd.alerts] == ["handler-broke"]


@pytest.mark.parametrize("code", [204, 304, 404])
async def test_statuses_without_a_body_come_through(odd, code):
    async with open_door([odd.api], "shell") as door:
        answer = await through(door.port, f"GET /status/{code} HTTP/1.1", "host: odd.test")
    assert answer.startswith(f"HTTP/1.1 {code}")


@pytest.mark.parametrize("value", ["a%0d%0aset-cookie:x=y", "%00", "%0a", "x&times=60000"])
async def test_a_header_forges_no_other(odd, value):
    async with open_door([odd.api], "shell") as door:
        answer = await through(door.port, f"GET /header?value={value} HTTP/1.1", "host: odd.test")
    assert "set-cookie" not in answer
    assert answer.startswith(("HTTP/1.1 500", "HTTP/1.1 400"))


async def test_an_answer_without_end_is_cut_off(odd):
    assert (await use(odd, "big", size=3)).startswith("xxx")
    assert (await use(odd, "big", size=10_000)).startswith("HTTP 500")
    assert [finding.evidence for finding in odd.alerts] == [
        "answers over 4194304 bytes are not sent"
    ]


async def test_what_the_state_refuses_is_told_and_is_no_bug(odd):
    assert await use(odd, "refused") == 'HTTP 422: {"detail":"the change log is full"}'
    assert odd.alerts == ()


async def test_nothing_is_kept_on_the_app(odd):
    assert (await use(odd, "keep")).startswith("HTTP 500")
    assert Odd.api._app().app.state.greeting == "hello"


async def test_cookies_and_redirects_are_as_the_app_makes_them(odd):
    async with open_door([odd.api], "shell") as door:
        moved = await through(door.port, "GET /moved HTTP/1.1", "host: odd.test")
        basket = await through(
            door.port, "GET /basket HTTP/1.1", "host: odd.test", "cookie: seen=4"
        )
    assert "303 See Other" in moved
    assert "location: /page" in moved
    assert "set-cookie: seen=5" in basket


# ---- bodies --------------------------------------------------------------------------------------


async def test_a_hundred_megabytes_are_not_taken(odd):
    async with open_door([odd.api], "shell") as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"POST /raw HTTP/1.1\r\nhost: odd.test\r\ncontent-length: 100000000\r\n\r\n")
        written = 0
        try:
            while written < 100_000_000:
                writer.write(b"x" * 1_000_000)
                written += 1_000_000
                await asyncio.wait_for(writer.drain(), 5)
        except ConnectionError:
            pass
        assert written < 50_000_000
        writer.close()
        assert (await get(odd, "/page")).status == 200
    assert [record.status for record in odd.api.requests] == [413, 200]
    assert len(odd.api.requests[0].body) <= logs.MOST_TEXT


@pytest.mark.parametrize("kind", [b"application/json", b"application/x+json", b"JSON", b""])
@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"code":"a","code":"b"}', b'{"a":1e999}', b'{"a":"\\ud800"}', b"[NaN]", b"1" * 5_000, b"\xff"],
)  # fmt: skip
async def test_json_that_no_parser_should_be_given_gets_to_none(odd, kind, body):
    headers = ((b"content-type", kind),) if kind else ()
    answer = await get(odd, "/code", method="POST", headers=headers, body=body)
    # without a type, what looks like no JSON is taken for plain bytes
    assert answer.status == (400 if kind or body[:1] in b"[{" else 422)


@pytest.mark.parametrize(
    "headers",
    [
        ("content-type: application/json", "content-type: text/plain"),
        ("content-type: text/plain", "content-type: application/json"),
        ("content-type: application/json", "content-type:"),
    ],
)
async def test_a_second_type_does_not_hide_json(odd, headers):
    body = b'{"code":"a","code":"s3cret"}'
    lines = ("POST /code HTTP/1.1", "host: odd.test", f"content-length: {len(body)}", *headers)
    async with open_door([odd.api], "shell") as door:
        answer = await through(door.port, *lines, body=body)
    assert answer.startswith("HTTP/1.1 400")


@pytest.mark.parametrize("body", [b"NaN", b" -Infinity\n", b"1e999", b"-1.5E+999"])
async def test_a_number_that_json_has_not_gets_to_no_handler_without_a_type(odd, body):
    assert (await get(odd, "/number", method="POST", body=body)).status == 400
    assert (await get(odd, "/number", method="POST", body=b"1.5e3")).body == b"1500.0"
    assert (await get(odd, "/raw", method="POST", body=b"NaN, -1e999 and 7")).body == b"17"


async def test_a_path_or_query_is_in_the_log_whole_or_refused(odd):
    padded = f"/page?{'q' * (logs.MOST_LINE - 3)}&a="
    assert (await get(odd, padded)).status == 200
    assert (await get(odd, f"{padded}1")).status == 414
    assert (await get(odd, f"/{'p' * logs.MOST_LINE}")).status == 414
    kept = [(r.status, len(r.path), len(r.query)) for r in odd.api.requests]
    line = logs.MOST_LINE
    assert kept == [(200, 5, line), (414, 5, line), (414, line, 0)]


async def test_a_finding_names_the_line_of_the_pack_though_it_was_raised_elsewhere(odd):
    await use(odd, "format", template="{world.nothing}")
    (finding,) = odd.alerts
    assert finding.evidence.startswith("AttributeError at odd.py:")
    lines = (Path(__file__).with_name("odd.py")).read_text().splitlines()
    assert "template.format" in lines[int(finding.evidence.rpartition(":")[2]) - 1]


async def test_a_chunked_body_arrives_whole(odd):
    async with open_door([odd.api], "shell") as door:
        chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n"
        lines = ("POST /raw HTTP/1.1", "host: odd.test", "transfer-encoding: chunked")
        assert (await through(door.port, *lines, body=chunks)).endswith("5")


@given(
    data=st.binary(max_size=200),
    path=st.text(max_size=40),
    method=st.text(string.ascii_letters, max_size=8),
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_is_asked_there_is_an_answer(data, path, method):
    async with opened(env=Odd) as world:
        answer = await get(world, f"/{path}", method=method, body=data)
        assert 200 <= answer.status < 500
        await use(world, "format", template=path)
        (item,) = await world.api.freeze(["*"])
        json.loads(item.data)


# ---- log, surfaces, bait -------------------------------------------------------------------------


async def test_a_flood_ends_in_429_and_leaves_an_honest_log(odd, monkeypatch):
    monkeypatch.setattr(logs, "MOST_REQUESTS", 20)
    odd.api._log._room = 10_000
    for number in range(25):
        answer = await get(odd, f"/page?{'q' * 3_000}", headers=((b"x", str(number).encode()),))
    assert answer.status == 429
    (item,) = await odd.api.freeze(["requests.json"])
    kept = json.loads(item.data)
    assert len(kept) == 20
    assert [len(record["query"]) for record in kept[:4]] == [3_000, 3_000, 3_000, 0]
    assert len(item.data) < 20_000


async def test_surfaces_are_tools_and_answers(odd):
    await use(odd, "inner_thing")
    surfaces = await odd.api.surfaces()
    assert b"A thing of a router." in surfaces["tools.json"]
    assert surfaces["answers/0"].endswith(b'"tool"')
    assert not any(b"openapi" in value for value in surfaces.values())


async def test_only_who_looks_finds_the_bait(odd):
    assert odd.bait.name.encode() in (await get(odd, "/robots.txt")).body
    assert (await get(odd, f"/.well-known/{odd.bait.name}")).body == json.dumps(
        {"token": odd.bait.token}
    ).encode()
    assert (await get(odd, f"/.well-known/{odd.bait.name}", method="POST")).status == 404
    assert (await get(odd, "/.well-known/other")).status == 404
    assert odd.bait.token.encode() not in (await get(odd, "/robots.txt")).body


async def test_without_bait_there_is_no_robots_file(odd):
    odd.api._bait = Bait()
    assert (await get(odd, "/robots.txt")).status == 404
    assert (await get(odd, "/.well-known/")).status == 404


# ---- no gold is there to be found ----------------------------------------------------------------


class Prying:
    """A policy that asks a handler's template for all that its process holds."""

    name = "prying"
    templates = (
        "{order.__init__.__globals__}",
        "{order.__init__.__globals__[MODULES]}",
        "{order.__init__.__globals__[MODULES][os].environ}",
        "{order.__init__.__globals__[MODULES][__main__].__dict__}",
        "{world.__dict__} {world.clock} {world.rng}",
        "{order.__nothing__}",
    )

    def __init__(self):
        self.seen = []

    def describe(self):
        return {"name": self.name}

    async def variants(self, judge, split, index):
        return (None,)

    async def open(self, casting):
        todo = [call("api_write", template=template) for template in self.templates]

        def act(observation):
            self.seen.append(observation.text())
            return todo.pop(0) if todo else Action("no idea")

        return Local(act)

    async def aclose(self):
        pass


async def test_a_template_that_tells_everything_tells_no_gold(tmp_path):
    prying = Prying()
    spec = f"file:{GULLIBLE}:Gullible"
    async with Runner(RunSettings(spec, tasks=1, out=tmp_path / "run"), prying) as runner:
        summary = await runner.run()
    assert (summary.episodes, summary.rewards, summary.invalid) == (1, 0, 0)
    assert len(prying.seen) == len(prying.templates) + 1
    assert "<module" in prying.seen[2]  # it did tell what there is
    assert prying.seen[-1] == 'HTTP 500: {"detail": "Internal Server Error"}'
    resolved = resolve(spec)
    key = TaskKey.of(PUBLIC_SALT, str(resolved.spec), "train", 0)
    secret = resolved.env.task("train", 0, key.rng()).gold["secret"]
    assert not any(secret in text for text in prying.seen)
