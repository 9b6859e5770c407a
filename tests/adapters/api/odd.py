"""An app with what authors do at their worst, for attacks on it."""

import sqlite3

from fastapi import APIRouter, Body, Cookie, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel, field_validator

from envkit import Env, Score, Task, ToolRefusal
from envkit.adapters.api import Api, World
from envkit.adapters.store import Store


class Code(BaseModel):
    code: str

    @field_validator("code")
    @classmethod
    def known(cls, value):
        assert value == "s3cret", "wrong code"
        return value


def pages(app):
    @app.get("/page", response_class=HTMLResponse)
    def page():
        return "<p>hello</p>"

    @app.get("/moved")
    def moved():
        return RedirectResponse("/page", 303)

    @app.get("/echo")
    def echo(request: Request):
        return {
            "host": request.headers["host"],
            "client": request.client.host,
            "url": str(request.url),
        }

    @app.get("/header", operation_id="header")
    def header(value: str, response: Response, times: int = 1):
        response.headers["x-note"] = value * times
        return "ok"

    @app.get("/big", operation_id="big")
    def big(size: int):
        return StreamingResponse(iter([b"x" * 1_000_000] * size))

    @app.get("/basket")
    def basket(response: Response, seen: int = Cookie(0)):
        response.set_cookie("seen", str(seen + 1))
        return seen


def bodies(app):
    @app.post("/raw")
    async def raw(request: Request):
        return len(await request.body())

    @app.post("/number")
    def number(body: float = Body()):
        return body


def faults(app):
    @app.get("/status/{code}", operation_id="status")
    def status(code: int):
        return Response("secret detail", code)

    @app.get("/format", operation_id="format")
    def format_it(template: str, world: World):
        return template.format(world=world)

    @app.get("/busy")
    def busy():
        raise HTTPException(503, "shard db-7 is down", {"retry-after": "3", "x-shard": "db-7"})

    @app.post("/code", operation_id="code")
    def code(body: Code):
        return "right"

    @app.get("/refused", operation_id="refused")
    def refused():
        raise ToolRefusal("the change log is full")

    @app.get("/database", operation_id="database")
    def database():
        raise sqlite3.OperationalError("near /srv/shop.db")

    @app.get("/keep", operation_id="keep")
    def keep(request: Request):
        request.app.state.greeting = "kept"


def make_app():
    app = FastAPI(title="odd", debug=True)
    app.state.greeting = "hello"
    pages(app)
    bodies(app)
    faults(app)
    router = APIRouter(prefix="/inner")

    @router.get("/thing", operation_id="inner_thing")
    def inner(world: World):
        """A thing of a router."""
        return world.actor

    app.include_router(router)
    mounted = FastAPI(title="mounted secret", debug=True)

    @mounted.get("/boom")
    def boom():
        raise RuntimeError("/srv/mounted.py")

    app.mount("/mounted", mounted)
    return app


class Odd(Env[dict]):
    """Look around."""

    store = Store("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    api = Api(make_app, origin="http://odd.test", store=store)
    evidence = [api.requests()]

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="Look.", gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(asked=bool(evidence.json("api/requests.json")))
