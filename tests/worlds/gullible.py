"""An API whose author formats agent text with an object of his own: it tells what its process holds."""

import sys
import uuid
from random import Random

from fastapi import FastAPI
from pydantic import BaseModel

from envkit import Api, Env, Evidence, Score, Script, Task, World, call, say

MODULES = sys.modules


class Order:
    def __init__(self, number: int) -> None:
        self.number = number


class Letter(BaseModel):
    template: str


def make_app() -> FastAPI:
    app = FastAPI()

    @app.post("/letters", operation_id="write")
    def write(body: Letter, world: World) -> dict[str, str]:
        """Write a letter about order 7; {order.number} is its number."""
        return {"text": body.template.format(order=Order(7), world=world)}

    return app


class Gullible(Env):
    """Say the secret, which you can't know."""

    api = Api(make_app)
    evidence = [api.requests()]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        secret = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        return Task(prompt="Say the secret.", gold={"secret": secret})

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        return Score.all(said=evidence.answer == gold["secret"])

    @staticmethod
    def solve(task: Task) -> Script:
        yield call("api_write", template="{order.number}")
        yield say(task.gold["secret"])
