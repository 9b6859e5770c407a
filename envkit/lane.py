"""A lane: the thread on which one episode's own code runs, so that a slow piece holds up its own episode alone.

What runs are the author's plain tools, and the handlers of an API. They take turns, in the order in which calls came:
ids and draws are then the same for the same calls. Work over its deadline is cancelled; what does not even notice is
left behind with its thread, which is interrupted, and a new thread takes over.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Any, TypeVar

T = TypeVar("T")

MOST_STUCK = 3  # threads of one episode that do not end; above it nothing is run any more
_GRACE = 0.1  # seconds that cancelled work may take to end

_local = threading.local()

Work = Callable[[], Coroutine[Any, Any, T]]


class LaneClosedError(Exception):
    """Nothing runs here any more: the episode is over, or too much of its work never ended."""


class _Left(BaseException):
    """Raised inside work that was left behind; no `except Exception` of an author keeps it."""


class Lane:
    """An event loop on a thread of its own, begun on first use. Belongs to the loop that runs work on it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: _Thread | None = None
        self._stuck: list[_Thread] = []
        self._closed = False

    async def run(self, work: Work[T], seconds: float | None = None) -> T:
        """What the work comes to.

        Raises TimeoutError after `seconds` (None: it has the time of its episode), LaneClosedError where nothing runs
        any more, RuntimeError for work that ended by cancelling itself or by a BaseException, and whatever else it
        raised.
        """
        thread = self._running()
        job = _Job(work, asyncio.get_running_loop().create_future())
        thread.start(job)
        timer = None if seconds is None else thread.home.call_later(seconds, job.expire)
        try:
            result: T = await job.done
        except _Expired:
            await self._give_up(thread, job)
            raise TimeoutError from None
        except asyncio.CancelledError:  # the episode was cancelled: nobody waits for it
            thread.cancel(job)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return result

    async def aclose(self) -> None:
        """End the thread, or leave it behind where it doesn't end. Safe to call twice."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.stop()
        try:
            await _comes(thread.ended, _GRACE)
        finally:
            if not thread.ended.is_set():
                thread.leave()

    def _running(self) -> _Thread:
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if self._closed or len(self._stuck) >= MOST_STUCK:
            raise LaneClosedError
        if self._thread is None or not self._thread.is_alive():
            self._thread = _Thread(self._name)
        return self._thread

    async def _give_up(self, thread: _Thread, job: _Job) -> None:
        """Cancel the job; where that has no effect, leave its thread behind."""
        thread.cancel(job)
        if await _comes(job.ended, _GRACE) or self._thread is not thread:  # another gave it up
            return
        self._thread = None
        self._stuck.append(thread)
        thread.leave()


def on_lane() -> bool:
    """Whether the caller runs on one."""
    return getattr(_local, "here", False)


class _Expired(Exception):
    """A job's time is up."""


class _Job:
    """One piece of work: its future belongs to the loop that waits, its task to the lane."""

    def __init__(self, work: Work[Any], done: asyncio.Future[Any]) -> None:
        self.done = done
        self.ended = asyncio.Event()  # `done` may be over before
        self.task: asyncio.Task[None] | None = None
        self._work = work

    async def run(self) -> None:
        """Do it, on the lane. Nothing that it raises reaches the lane's loop."""
        try:
            self._tell(await self._work(), None)
        except Exception as error:  # noqa: BLE001 - it is the waiting side's
            self._tell(None, error)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop, and it is an author's
            ended = RuntimeError(f"it ended by {type(error).__name__}")
            self._tell(None, ended.with_traceback(error.__traceback__))

    def expire(self) -> None:
        """Say that the time is up."""
        if not self.done.done():
            self.done.set_exception(_Expired())

    def _tell(self, result: Any, error: Exception | None) -> None:
        _call(self.done.get_loop(), self._settle, result, error)

    def _settle(self, result: Any, error: Exception | None) -> None:
        self.ended.set()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(result)
        elif isinstance(error, StopIteration):  # a future refuses it
            self.done.set_exception(RuntimeError("it raised StopIteration"))
        else:
            self.done.set_exception(error)


class _Thread:
    """The thread of a lane, and its loop."""

    def __init__(self, name: str) -> None:
        self.ended = asyncio.Event()
        self.home = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._window = _Window()
        # a daemon, and so are the threads that it begins: what never returns must not keep the runner alive
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._jobs: set[_Job] = set()  # those whose waiting side has to be told if it all ends
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def start(self, job: _Job) -> None:
        """Begin a job, after those that came before it."""
        self._jobs.add(job)
        job.done.add_done_callback(lambda _: self._jobs.discard(job))
        if not _call(self._loop, self._begin, job):
            job.expire()

    def cancel(self, job: _Job) -> None:
        """Cancel a job, where the thread gets to it."""
        _call(self._loop, lambda: job.task and job.task.cancel())

    def stop(self) -> None:
        """Stop as soon as the present step is done. Who still waits is told that time is up."""
        _call(self._loop, self._loop.stop)
        for job in list(self._jobs):
            job.expire()

    def leave(self) -> None:
        """Stop, and interrupt what holds the thread: a loop in Python ends at once, a blocking call when it returns."""
        self.stop()
        self._window.interrupt()

    def _begin(self, job: _Job) -> None:
        if not job.done.done():
            job.task = self._loop.create_task(job.run())

    def _live(self) -> None:
        _local.here = True
        asyncio.set_event_loop(self._loop)
        self._loop.set_task_factory(self._task)
        self._loop.set_exception_handler(self._report)
        self._loop.run_forever()
        ending = asyncio.Task(_wind_up(self._loop), loop=self._loop)
        ending.add_done_callback(lambda _: self._loop.stop())
        while not ending.done():  # a second stop may be on its way
            self._loop.run_forever()
        asyncio.set_event_loop(None)
        self._loop.close()
        _call(self.home, self.ended.set)

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **told: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Steps(work, self._window), loop=loop, **told)

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio says of errors that nobody waits for; of work that was left behind that is nothing new."""
        if not self._window.left:
            loop.default_exception_handler(context)


async def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a loop, and give it one chance to clean up."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_GRACE)
    with suppress(TimeoutError):
        await asyncio.wait_for(loop.shutdown_asyncgens(), _GRACE)


class _Window:
    """When a thread can be interrupted: while it takes a step of work, and never inside of its event loop."""

    def __init__(self) -> None:
        self.left = False  # once for all
        self._changing = threading.Lock()
        self._within: int | None = None  # the thread, in a step

    def interrupt(self) -> None:
        """Raise _Left in the step that is being taken, and in all that come."""
        with self._changing:
            if self.left:
                return
            self.left = True
            if self._within is not None:
                ident, error = ctypes.c_ulong(self._within), ctypes.py_object(_Left)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, error)

    def open(self) -> None:
        """A step begins. Raises _Left."""
        with self._changing:
            if self.left:
                raise _Left
            self._within = threading.get_ident()

    def shut(self) -> None:
        """It ended. Raises _Left where that is on its way, so that it can't come later."""
        with self._changing:
            self._within = None
        on_lane()  # any call: an interruption comes as a call begins, at the latest


class _Steps(Coroutine[Any, Any, T]):
    """A coroutine whose steps are taken in a window."""

    def __init__(self, work: Coroutine[Any, Any, T], window: _Window) -> None:
        self._work = work
        self._window = window

    def send(self, value: Any) -> Any:
        """Take a step."""
        return self._step(self._work.send, value)

    def throw(self, *error: Any) -> Any:
        """Take a step that begins with an error."""
        return self._step(self._work.throw, *error)

    def close(self) -> None:
        """End the work where it stands."""
        self._work.close()

    def __await__(self) -> Any:
        return self._work.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)  # its name, and what `inspect` asks: where it stands

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            self._window.open()
        except _Left:
            if iscoroutine(self._work) and getcoroutinestate(self._work) == CORO_CREATED:
                self._work.close()  # or it warns that it was never awaited
            raise
        try:
            return step(*args)
        finally:
            self._window.shut()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> bool:
    """Have another thread's loop call something; False where that loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return False
    return True


async def _comes(event: asyncio.Event, seconds: float) -> bool:
    """Whether something comes in time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
