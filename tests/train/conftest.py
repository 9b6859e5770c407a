"""What the trainer's tests share: one tiny model, on one thread."""

import pytest
import torch

from envkit.train.models import load
from envkit.train.render import Renderer


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(one_thread):
    """A model that nobody may train: its tests share it."""
    return load("tiny")


@pytest.fixture(scope="session")
def renderer(tiny):
    made = Renderer(tiny.tokenizer)
    made.check()
    return made
