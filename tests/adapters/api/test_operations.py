"""From OpenAPI to tools: what a model is told is what the app takes, and a call is the request that it describes."""

import json
from typing import Annotated

import pytest
from fastapi import APIRouter, Body, Cookie, FastAPI, File, Form, Header, Path, Query
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from envkit import Env, Score, Task
from envkit.adapters.api import Api
from envkit.data.message import Action, ToolCall
from envkit.data.tool import BadArguments
from envkit.errors import DeclarationError
from tests.adapters.api.conftest import opened


class Address(BaseModel):
    street: str = Field(description="with the number")
    title: str = "home"


class Node(BaseModel):
    name: str
    children: list["Node"] = []


class Customer(BaseModel):
    """Who orders."""

    name: str = Field(min_length=1, description="as on the card")
    address: Address
    former: list[Address] = []
    tags: dict[str, int] = {}


class Note(BaseModel):
    text: str = "none"


def arguments(app):
    @app.put("/shops/{shop}/customers", operation_id="register")
    def register(
        shop: Annotated[int, Path(description="its number", ge=1)],
        body: Customer,
        dry: bool = False,
        tag: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI makes its own
        x_reason: Annotated[str | None, Header()] = None,
        seen: Annotated[str | None, Cookie()] = None,
    ):
        """Register a customer
        of a shop."""
        return {"shop": shop, "name": body.name, "dry": dry, "tag": tag, "why": x_reason}

    @app.post("/tree", operation_id="tree")
    def tree(body: Node):
        return body

    @app.post("/many", operation_id="many")
    def many(body: list[int]):
        return sum(body)

    @app.post("/note", operation_id="note")
    def note(body: Note | None = None):
        return body and body.text

    @app.post("/mixed", operation_id="mixed")
    def mixed(first: Annotated[int, Body()], note: Note):
        return [first, note.text]


def loose(app):
    @app.post("/form", operation_id="form")
    def form(name: Annotated[str, Form()], age: Annotated[int, Form()] = 0):
        return {"name": name, "age": age}

    @app.get("/files/{where:path}", operation_id="file")
    def file(where: str):
        return where

    @app.get("/hidden", operation_id="hidden", include_in_schema=False)
    def hidden():
        return "hidden"

    @app.get("/unnamed")
    def unnamed():
        return "unnamed"


def make_app():
    app = FastAPI()
    router = APIRouter(prefix="/v1")
    arguments(router)
    loose(router)
    app.include_router(router)
    return app


class Many(Env[dict]):
    """Call."""

    api = Api(make_app)

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="Call.", gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(done=True)


NAMES = ["register", "tree", "many", "note", "mixed", "form", "file"]
PERSON = {"name": "Ann", "address": {"street": "High Street 1"}}


async def use(tool, /, **arguments):
    async with opened(env=Many) as world:
        return (await world.step(Action(calls=(ToolCall(f"api_{tool}", arguments, "c"),)))).text()


def test_named_and_documented_operations_are_tools_in_their_order():
    assert list(Many.api.tools()) == NAMES
    assert list(Api(make_app, tools=("file", "note")).tools()) == ["file", "note"]
    assert Api(make_app, tools=False).tools() == {}


def test_a_schema_says_all_that_the_app_says_and_refers_to_nothing():
    tool = Many.api.tools()["register"]
    assert tool.description == "Register a customer of a shop."
    schema = tool.parameters
    assert schema["required"] == ["shop", "name", "address"]
    assert list(schema["properties"]) == [
        "shop", "dry", "tag", "x-reason", "name", "address", "former", "tags",
    ]  # fmt: skip
    assert schema["properties"]["shop"] == {
        "type": "integer", "minimum": 1, "description": "its number",
    }  # fmt: skip
    street = schema["properties"]["address"]["properties"]
    assert street["street"] == {"type": "string", "description": "with the number"}
    assert street["title"] == {"type": "string", "default": "home"}
    for one in Many.api.tools().values():
        assert "$ref" not in json.dumps(one.schema())
        assert "$defs" not in json.dumps(one.schema())


def test_what_refers_to_itself_ends():
    inner = Many.api.tools()["tree"].parameters["properties"]["children"]["items"]
    assert inner["properties"]["children"]["items"] == {}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("register", {"shop": 3, **PERSON}, '{"shop":3,"name":"Ann","dry":false,"tag":[],"why":null}'),
        (
            "register", {"shop": 3, **PERSON, "dry": True, "tag": ["a&b", "c d"], "x-reason": "none"},
            '{"shop":3,"name":"Ann","dry":true,"tag":["a&b","c d"],"why":"none"}',
        ),
        ("tree", {"name": "a", "children": [{"name": "b"}]}, '{"name":"a","children":[{"name":"b","children":[]}]}'),
        ("many", {"body": [1, 2, 3]}, "6"),
        ("note", {}, "null"),
        ("note", {"text": "hi"}, '"hi"'),
        ("mixed", {"first": 1, "note": {"text": "x"}}, '[1,"x"]'),
        ("form", {"name": "a b&c", "age": 7}, '{"name":"a b&c","age":7}'),
        ("file", {"where": "a/b c"}, '"a/b c"'),
    ],
)  # fmt: skip
async def test_a_call_is_the_request_that_it_describes(name, arguments, said):
    assert await use(name, **arguments) == said


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("register", {"shop": 0, **PERSON}, "HTTP 422"),
        ("register", {"shop": 3, "name": "", "address": {}}, "HTTP 422"),
        ("register", {"shop": "3/x", **PERSON}, "shop: must be neither empty nor hold a slash"),
        (
            "register",
            {"shop": 3, **PERSON, "x-reason": "a\r\nb"},
            "x-reason: must be printable ASCII",
        ),
        ("many", {"body": [float("nan")]}, "HTTP 422"),
        ("many", {"body": [10**5_000]}, "HTTP 422"),
        ("many", {"body": None}, "HTTP 422"),
        ("many", {}, "api_many: body: is required"),
        ("hidden", {}, "There is no tool"),
        ("unnamed_v1_unnamed_get", {}, "There is no tool"),
    ],
)
async def test_what_does_not_fit_is_told(name, arguments, said):
    assert (await use(name, **arguments)).startswith(said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(name=st.sampled_from(NAMES), data=st.data())
def test_any_arguments_make_a_request_or_are_refused(name, data):
    tool = Many.api.tools()[name]
    asked = {key: data.draw(JSON) for key in tool.parameters["properties"]}
    request = None
    try:
        request = Many.api._app().operations[name].request(tool.check(asked)["arguments"])
    except BadArguments:
        return
    assert request.path.startswith("/v1/")
    assert request.path.isascii()
    assert "{" not in request.path
    assert all(b"\n" not in value and b"\r" not in value for _, value in request.headers)


# ---- apps that no tools can be made of -----------------------------------------------------------


def app_of(*routes):
    def make():
        app = FastAPI()
        for route in routes:
            route(app)
        return app

    return make


def one(name, path="/x"):
    return lambda app: app.get(path, operation_id=name)(lambda: 1)


def clash(app):
    @app.post("/x/{name}", operation_id="clash")
    def clash(name: str, body: Customer):
        pass


def needs_cookie(app):
    @app.get("/x", operation_id="cookie")
    def cookie(token: Annotated[str, Cookie()]):
        pass


def upload(app):
    @app.post("/x", operation_id="upload")
    def upload(data: Annotated[bytes, File()]):
        pass


@pytest.mark.parametrize(
    ("make", "tools", "words"),
    [
        (app_of(*(one(f"t{n}", f"/{n}") for n in range(65))), True, "65 operations are too many"),
        (app_of(one("same", "/a"), one("same", "/b")), True, "two operations are called 'same'"),
        (app_of(one("no name")), True, "'no name' can't be a tool's name"),
        (app_of(one("a")), ("b",), "names 'b'; the app documents: a"),
        (app_of(one("a")), ("a", "a"), "two operations are called 'a'"),
        (app_of(clash), True, "two arguments called 'name'"),
        (app_of(needs_cookie), True, "needs the cookie 'token'"),
        (app_of(upload), True, "multipart/form-data"),
        (lambda: "an app", True, "returned str, not a FastAPI app"),
    ],
)
def test_what_can_be_no_tool_is_named(make, tools, words):
    api = Api(make, tools=tools)
    with pytest.raises(DeclarationError, match=words):
        api.tools()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"origin": "https://shop.test"}, "must look like http://shop.test"),
        ({"origin": "http://shop.test/x"}, "must look like"),
        ({"origin": "http://a@shop.test"}, "must look like"),
        ({"origin": "http://shop.test:port"}, "must look like"),
        ({"tools": "one"}, "tools='one'"),
        ({"store": object()}, "store= must be an adapter"),
    ],
)
def test_bad_declarations_are_named(arguments, words):
    with pytest.raises(DeclarationError, match=words):
        Api(make_app, **arguments)


def test_sixty_four_are_not_too_many_and_the_rest_can_be_left_out():
    routes = [one(f"t{n}", f"/{n}") for n in range(65)]
    assert len(Api(app_of(*routes[:64])).tools()) == 64
    assert list(Api(app_of(*routes), tools=("t1",)).tools()) == ["t1"]
    assert Api(app_of(upload), tools=False).tools() == {}


async def test_a_world_name_that_is_taken_is_refused():
    from envkit import Data

    class Taken(Many):
        table = Data(dict[str, int])
        api = Api(make_app, clock=table)

    with pytest.raises(DeclarationError, match=r"something else as world\.clock"):
        async with opened(env=Taken):
            pass
