"""The embedded engine: a KV cache in slots, for any Hugging Face causal model whose layers all attend to everything.

Each conversation lives in a slot and keeps its keys and values between turns; what the world said is prefilled behind
them. Freed slots are refilled at once, so sequences of any lengths share the same batches. It samples from the very
tensors that the learner trains.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import torch

from envkit.errors import UsageError
from envkit.train.engine import EngineClosed, EngineFailed
from envkit.train.slot import Request, Slot
from envkit.train.stepper import Stepper
from envkit.train.types import Completion, Sampling

BURST = 32  # steps before the event loop is asked for news, where nothing happens


class SlotEngine:
    """Samples in this process, from a model that a learner may train between steps.

    Args:
        model: a causal model of transformers; all its layers attend to all positions
        slots: how many conversations are kept and sampled at once
        context: the most tokens of one; the model's own limit where it is smaller

    The model is run by one thread, so the event loop never waits for it. Raises UsageError for a model whose
    cache is not of this kind, or that is not exact in slots.
    """

    def __init__(self, model: Any, *, slots: int = 32, context: int = 8192) -> None:
        if slots < 1 or context < 2:
            raise UsageError(
                f"an engine needs slots and context, not slots={slots}, context={context}"
            )
        config = model.config.get_text_config()
        self.context = min(context, getattr(config, "max_position_embeddings", None) or context)
        self._stepper = Stepper(model, slots, self.context)
        self._stepper.verify()
        self._slots = [Slot(index) for index in range(slots)]
        self._waiting: deque[Request] = deque()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "envkit-engine")
        self._driver: asyncio.Task[None] | None = None
        self._turnstile: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._pauser: asyncio.Task[Any] | None = None
        self._news = False  # something waits for the thread to come back
        self._clock = 0
        self._closed = False

    @property
    def capacity(self) -> int:
        """How many completions can be sampled at once."""
        return len(self._slots)

    @property
    def version(self) -> int:
        """Of the weights that the next token is sampled from."""
        return self._stepper.version

    # ---- what callers do: all of it in the event loop ----

    async def generate(
        self, ids: Sequence[int], sampling: Sampling, session: str | None = None
    ) -> Completion:
        """Sample what follows `ids`. Raises EngineFailed, UsageError."""
        _refuse(ids, sampling, self._stepper.noise.size)
        if self._closed:
            raise EngineClosed("the engine is closed")
        if len(ids) >= self.context:
            return Completion((), (), (), "context", self.version)
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        request = Request(list(ids), sampling, session, future)
        request.inside = sampling.thinking is not None and sampling.thinking.inside
        self._waiting.append(request)
        self._wake()
        return await future  # whoever is cancelled here leaves a slot that `_settle` frees

    async def release(self, session: str) -> None:
        """Forget a session."""
        for slot in self._slots:
            if slot.session == session:
                if slot.request is None:
                    slot.empty()
                else:
                    slot.session = slot.request.session = None  # freed when it ends

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No token is sampled inside."""
        me = asyncio.current_task()
        if self._pauser is not None and self._pauser is me:
            yield
            return
        self._news = True
        async with self._lock:
            self._pauser = me
            try:
                yield
            finally:
                self._pauser = None

    async def publish(self, version: int) -> None:
        """Nothing that was computed with the old weights is used any more; texts under way are prefilled again."""
        async with self.paused():
            self._stepper.version = version
            for slot in self._slots:
                slot.done = 0
                if slot.request is None:
                    slot.empty()
            self._stepper.cache.clear()

    async def aclose(self) -> None:
        """End; what is under way fails with EngineClosed."""
        self._closed = True
        self._news = True
        async with self.paused():
            self._fail(EngineClosed("the engine was closed"))
        self._thread.shutdown(wait=False)

    # ---- the loop that drives the thread ----

    @property
    def _lock(self) -> asyncio.Lock:
        """A lock of the running loop; each `asyncio.run` brings a new one."""
        loop = asyncio.get_running_loop()
        if self._turnstile is None or self._turnstile[0] is not loop:
            self._turnstile = loop, asyncio.Lock()
        return self._turnstile[1]

    def _wake(self) -> None:
        self._news = True
        if self._driver is not None and not self._driver.done():
            if self._driver.get_loop() is not asyncio.get_running_loop():
                raise EngineFailed("the engine is in use by another event loop")
            return
        self._driver = asyncio.create_task(self._drive())

    async def _drive(self) -> None:
        """Admit, step, settle, until nothing is under way."""
        try:
            while self._waiting or any(slot.request for slot in self._slots):
                async with self._lock:
                    self._news = False
                    self._admit()
                    await self._run()
                    self._settle()
                await asyncio.sleep(
                    0
                )  # whoever got something may ask for more before the thread goes on
        except Exception as error:  # noqa: BLE001 - whoever waits is told; a bug of ours as it is
            torchs = isinstance(error, RuntimeError | MemoryError)  # no memory left, a lost device
            self._fail(EngineFailed(f"the engine failed: {error}") if torchs else error)
        finally:
            if self._waiting or any(slot.request for slot in self._slots):  # cancelled
                self._fail(EngineClosed("the engine's event loop ended"))

    async def _run(self) -> None:
        work = self._thread.submit(self._burst)
        try:
            await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            self._news = True
            concurrent.futures.wait([work])  # slots belong to the thread until it is back
            raise

    def _admit(self) -> None:
        """Give slots to those who wait: first to sessions that have one, then in order of arrival."""
        parked = {slot.session: slot for slot in self._slots if slot.request is None}
        parked.pop(None, None)
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            slot = parked.pop(request.session, None) if request.session is not None else None
            if request.future.done():
                continue
            if slot is None:
                self._waiting.append(request)
            else:
                slot.seat(request)
        while self._waiting and (free := self._free()) is not None:
            free.empty()
            free.seat(self._waiting.popleft())

    def _free(self) -> Slot | None:
        """An empty slot, low ones first (whole batches need no gathering); else the one parked longest."""
        idle = [slot for slot in self._slots if slot.request is None]
        empty = [slot for slot in idle if slot.session is None]
        if empty:
            return empty[0]
        return min(idle, key=lambda slot: slot.used, default=None)

    def _settle(self) -> None:
        """Hand out what is finished, and let go of what nobody waits for."""
        for slot in self._slots:
            request = slot.request
            if request is None or (request.finish is None and not request.future.done()):
                continue
            if not request.future.done():
                request.future.set_result(request.completion())
            self._clock += 1
            slot.request, slot.used = None, self._clock
            if slot.session is None:
                slot.empty()

    def _fail(self, error: Exception) -> None:
        requests = [slot.request for slot in self._slots if slot.request is not None]
        for request in (*requests, *self._waiting):
            if not request.future.done() and not request.future.get_loop().is_closed():
                request.future.set_exception(error)
        self._waiting.clear()
        for slot in self._slots:
            slot.empty()

    # ---- in the thread ----

    def _burst(self) -> None:
        """Step until something is finished or somebody waits."""
        with torch.inference_mode():
            for _ in range(BURST):
                busy = [slot for slot in self._slots if slot.request is not None]
                if not busy or self._stepper.step(busy) or self._news:
                    return


def _refuse(ids: Sequence[int], sampling: Sampling, vocabulary: int) -> None:
    """Raise for what can't be sampled: one wrong id would fail the whole batch, and on a GPU the process."""
    if not ids:
        raise UsageError("nothing to go on from: give at least one token")
    if min(ids) < 0 or max(ids) >= vocabulary:
        raise UsageError(f"a token id outside the model's vocabulary of {vocabulary:,}")
    if not 0 <= sampling.temperature < float("inf"):
        raise UsageError(f"temperature={sampling.temperature}: give 0 or more")
    if sampling.max_tokens < 1:
        raise UsageError(f"max_tokens={sampling.max_tokens}: give at least 1")
    if sampling.thinking is not None and sampling.thinking.budget < 1:
        raise UsageError(
            f"a thinking budget of {sampling.thinking.budget}: give at least 1, or thinking off"
        )
