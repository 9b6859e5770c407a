"""Answers of every shape arrive whole: streamed, empty, without a body, from a file; through a tool and a door."""

import asyncio

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, StreamingResponse

from envkit import Api, Env, Score, Task, World, call
from envkit.door import open_door
from tests.adapters.api.conftest import opened


def make_app():
    app = FastAPI()

    @app.get("/streamed", operation_id="streamed")
    async def streamed(world: World):
        async def parts():
            for number in range(5):
                await asyncio.sleep(0.01)
                yield f"{number} "

        return StreamingResponse(parts())

    @app.get("/generated", operation_id="generated")
    def generated(world: World):
        return StreamingResponse(str(number) for number in range(10))

    @app.get("/endless", operation_id="endless")
    def endless(world: World):
        return StreamingResponse(b"x" * 65_536 for _ in iter(int, 1))

    @app.get("/file", operation_id="file")
    def file(world: World):
        return FileResponse(__file__)

    @app.get("/none/{status}", operation_id="none")
    def none(status: int, world: World):
        return Response(b"a body all the same", status_code=status)

    return app


class Answers(Env[dict]):
    """Look at answers."""

    site = Api(make_app, origin="http://site.test", seconds=5.0)
    evidence = [site.requests()]

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="Look.", gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(asked=bool(evidence.json("site/requests.json")))


@pytest.fixture
async def world():
    async with opened(env=Answers) as one:
        yield one


async def by_door(site, path, method="GET"):
    async with open_door([site], "shell") as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        lines = (f"{method} http://site.test{path} HTTP/1.1", "host: site.test")
        writer.write("\r\n".join((*lines, "connection: close", "", "")).encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("name", "text"), [("streamed", "0 1 2 3 4 "), ("generated", "0123456789")]
)
async def test_what_is_streamed_arrives_whole(world, name, text):
    assert (await world.step(call(f"site_{name}"))).text() == text
    assert await by_door(world.site, f"/{name}") == (200, text.encode())


async def test_a_file_arrives_whole(world):
    status, body = await by_door(world.site, "/file")
    assert (status, body.startswith(b'"""Answers of every shape')) == (200, True)


async def test_an_endless_answer_is_an_error_and_the_next_one_works(world):
    said = (await world.step(call("site_endless"))).text()
    assert said == 'HTTP 500: {"detail": "Internal Server Error"}'
    assert (await world.step(call("site_generated"))).text() == "0123456789"
    assert [finding.rule for finding in world.alerts] == ["handler-broke"]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none(world, status):
    assert await by_door(world.site, f"/none/{status}") == (status, b"")
    assert a_tool_said(await world.step(call("site_none", status=status)), status)


def a_tool_said(observation, status):
    return observation.text().strip() == f"HTTP {status}:"


@pytest.mark.parametrize("path", ["/streamed", "/file", "/none/200"])
async def test_a_head_request_gets_a_head(world, path):
    assert await by_door(world.site, path, "HEAD") in [(200, b""), (405, b"")]
