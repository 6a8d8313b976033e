"""
The drivers: they answer what a session asks, by waiting, and hand the chunks to the loop.

The two classes are the same but for ``async`` and ``await``; a test compares them.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, NoReturn, Protocol

from llm_kit._core.budget import Budget
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.secrets import Secrets
from llm_kit._core.session import (
    READ,
    Ask,
    Drain,
    Open,
    Read,
    Sleep,
    Steps,
    TimeUp,
    status_of,
)
from llm_kit._io.garbage import close_safely, watch_collector
from llm_kit._io.stop import Expired, Stopped, StopSignal, arun, auntil_woken, run, until_woken
from llm_kit.types import Chunk, Status, StreamResult


class Source(Protocol):
    """Where items come from; `open` or `begin` too where the session asks for it."""

    def read(self) -> Any: ...
    def drain(self) -> Any: ...
    def close(self) -> None: ...
    def read_in_background(self) -> None: ...


class AsyncSource(Protocol):
    """Where items come from: the async twin."""

    async def read(self) -> Any: ...
    async def drain(self) -> Any: ...
    async def aclose(self) -> None: ...
    def read_in_background(self) -> None: ...


class _State:
    """What a driver knows: of either colour."""

    _turning: threading.Lock
    _until_woken: Callable[[StopSignal], Any]
    _over = True  # until made: an object whose making failed has nothing to give up

    def __init__(
        self,
        source: Any,
        steps: Steps,
        pipeline: Pipeline,
        stop: StopSignal,
        budget: Budget,
        secrets: Secrets,
    ) -> None:
        self._source = source
        self._steps = steps
        self._pipeline = pipeline
        self._stop = stop
        self._budget = budget
        self._secrets = secrets
        self._turning = threading.Lock()
        self._started = False
        self._left_at = 0.0
        """When the user's code got a chunk that says nothing: the server's time still runs."""
        self._verdict: tuple[Status, Exception | None] = ("complete", None)
        self._error: Exception | None = None
        self._failure: Exception | None = None
        """What the stream's end raised, also after it was raised."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ask: Ask | None = steps.send(None)
        self._over = False

    def _refuse_turn(self) -> None:
        """Say so if somebody else reads; who is just closing the stream is no reader."""
        if not self._stop.fired:
            raise RuntimeError(
                "this stream is being read by another thread or task already; give each"
                " reader a stream of its own"
            )

    def _start(self) -> None:
        watch_collector()
        self._started = True
        now = self._pipeline.accumulator.since = monotonic()
        self._budget.begin(now)
        with suppress(RuntimeError):  # no loop: a stream that is read in a thread
            self._loop = asyncio.get_running_loop()

    def _lend(self) -> None:
        """Give the server back the time that the loop and its callbacks took."""
        self._budget.lend(monotonic() - self._left_at)
        self._left_at = 0.0

    def _rarer_operation(self, now: float) -> tuple[Callable[[], Any], float]:
        """Find what answers an ask that is no plain `READ`, and when the wait must end."""
        ask = self._ask
        if isinstance(ask, Read):
            return self._source.read, self._budget.wait(now) if ask.until is None else ask.until
        if isinstance(ask, Drain):
            return self._source.drain, ask.until
        if self._stop.expired:  # of an attempt that is over
            self._stop.renew()
        if isinstance(ask, Sleep):
            return partial(self._until_woken, self._stop), ask.until
        due = self._budget.wait(now)
        if isinstance(ask, Open):
            return partial(self._source.open, ask.request), due
        return self._source.begin, due

    def _conclude(self, status: Status, error: Exception | None) -> None:
        """Tell every stage how the stream ended, and keep the error for the loop."""
        total = self._pipeline.accumulator
        try:
            self._pipeline.flush(status)
        except Exception as failure:
            if error is None:
                raise
            error.__context__ = failure  # the stream's own error comes out first
        if error is not None and total.status == status:
            attach_partial(error, total.result())
            self._secrets.scrub(error)
            self._error = self._failure = error

    def _keep_partial(self, error: BaseException) -> None:
        """Put what came on an error that ends the stream from outside: the loop's, a task's."""
        ends = isinstance(error, StopIteration | StopAsyncIteration)
        if not ends and "partial" not in getattr(error, "__dict__", {}):
            attach_partial(error, self._pipeline.accumulator.result())

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class Driver(_State):
    """Reads one stream in a thread."""

    _until_woken = staticmethod(until_woken)

    def __next__(self) -> Chunk:
        if self._turning.locked():
            self._refuse_turn()
            raise StopIteration
        with self._turning:  # not a call before `try`: a Ctrl-C would keep it taken
            try:
                if self._left_at:
                    self._lend()
                if not self._started:
                    self._start()
                pipeline = self._pipeline
                while True:
                    if not self._stop.fired or self._over:
                        arrived = pipeline.arrived
                        if arrived and not arrived[0].delta:
                            self._left_at = monotonic()
                        chunk = pipeline.pop()
                        if pipeline.callbacks:
                            settle(pipeline)
                        if chunk is not None:
                            return chunk
                        if self._left_at:
                            self._lend()
                    if self._over:
                        self._raise_error()
                        raise StopIteration
                    self._answer()
            except BaseException as error:
                # Raised by the stream itself, by a callback, or from outside (KeyboardInterrupt,
                # a genuine cancellation): in any case it is over, and what came is kept.
                self._end("interrupted", None)
                self._keep_partial(error)
                raise

    def _answer(self) -> None:
        """Do what the session asks; when it asks no more, end as it said."""
        if self._stop.fired:
            self._end("interrupted", self._stop.error)
            return
        if self._ask is None:
            self._end(*self._verdict)
            return
        answer: Any
        step: Callable[[Any], Ask] = self._steps.send
        try:
            now = monotonic()
            if self._ask is READ:
                due = self._budget.wait(now)
                operation = self._source.read
            else:
                operation, due = self._rarer_operation(now)
            if due <= now:
                raise Expired
            answer = run(self._stop, operation, due)
        except Stopped:
            return  # seen in the next turn: how a wait was woken is nobody's cause
        except Expired:
            answer, step = TimeUp(), self._steps.throw
        except Exception as error:
            answer, step = error, self._steps.throw
        self._pipeline.now = monotonic()
        try:
            self._ask = step(answer)
        except StopIteration:
            self._ask = None
        except Exception as error:  # raised when the loop has taken what came before
            self._ask = None
            self._verdict = (status_of(error), error)

    def _end(self, status: Status, error: Exception | None) -> None:
        if self._stop.retire():
            self._over = True
            try:
                self._conclude(status, error)
                if self._pipeline.callbacks:
                    settle(self._pipeline)
            finally:
                self._source.close()

    def _open(self) -> None:
        """Go as far as the answer's head."""
        if self._turning.locked():
            self._refuse_turn()
            return
        with self._turning:  # not a call before `try`: a Ctrl-C would keep it taken
            try:
                if not self._started:
                    self._start()
                # Chunks that wait are a sign that the head has come, and wait for the loop.
                while not (self._ask is READ or self._pipeline.arrived or self._over):
                    self._answer()
                self._left_at = monotonic()
                self._raise_error()
            except BaseException as error:
                self._end("interrupted", None)
                self._keep_partial(error)
                raise

    def close(self) -> None:
        """
        End the stream and give its connection up; what came is kept in `result`.

        While another thread is reading this acts as an interrupt: that thread ends its loop
        and cleans up. Closing twice, or after the end, does nothing.
        """
        self._stop.fire()
        if self._turning.acquire(blocking=False):
            try:
                self._end("interrupted", None)
            finally:
                self._turning.release()

    def __del__(self) -> None:
        if not self._over and self._started and self._stop.retire():
            self._over = True
            try:
                self._conclude("interrupted", None)
                drop_callbacks(self._pipeline)
            finally:
                close_safely(self._source.close)


class AsyncDriver(_State):
    """Reads one stream in a task."""

    _until_woken = staticmethod(auntil_woken)

    async def __anext__(self) -> Chunk:
        if self._turning.locked():
            self._refuse_turn()
            raise StopAsyncIteration
        with self._turning:  # not a call before `try`: a Ctrl-C would keep it taken
            try:
                if self._left_at:
                    self._lend()
                if not self._started:
                    self._start()
                pipeline = self._pipeline
                while True:
                    if not self._stop.fired or self._over:
                        arrived = pipeline.arrived
                        if arrived and not arrived[0].delta:
                            self._left_at = monotonic()
                        chunk = pipeline.pop()
                        if pipeline.callbacks:
                            await asettle(pipeline)
                        if chunk is not None:
                            return chunk
                        if self._left_at:
                            self._lend()
                    if self._over:
                        self._raise_error()
                        raise StopAsyncIteration
                    await self._answer()
            except BaseException as error:
                # Raised by the stream itself, by a callback, or from outside (KeyboardInterrupt,
                # a genuine cancellation): in any case it is over, and what came is kept.
                await self._end("interrupted", None)
                self._keep_partial(error)
                raise

    async def _answer(self) -> None:
        """Do what the session asks; when it asks no more, end as it said."""
        if self._stop.fired:
            await self._end("interrupted", self._stop.error)
            return
        if self._ask is None:
            await self._end(*self._verdict)
            return
        answer: Any
        step: Callable[[Any], Ask] = self._steps.send
        try:
            now = monotonic()
            if self._ask is READ:
                due = self._budget.wait(now)
                operation = self._source.read
            else:
                operation, due = self._rarer_operation(now)
            if due <= now:
                raise Expired
            answer = await arun(self._stop, operation, due)
        except Stopped:
            return  # seen in the next turn: how a wait was woken is nobody's cause
        except Expired:
            answer, step = TimeUp(), self._steps.throw
        except Exception as error:
            answer, step = error, self._steps.throw
        self._pipeline.now = monotonic()
        try:
            self._ask = step(answer)
        except StopIteration:
            self._ask = None
        except Exception as error:  # raised when the loop has taken what came before
            self._ask = None
            self._verdict = (status_of(error), error)

    async def _end(self, status: Status, error: Exception | None) -> None:
        if self._stop.retire():
            self._over = True
            try:
                self._conclude(status, error)
                if self._pipeline.callbacks:
                    await asettle(self._pipeline)
            finally:
                await self._source.aclose()

    async def _open(self) -> None:
        """Go as far as the answer's head."""
        if self._turning.locked():
            self._refuse_turn()
            return
        with self._turning:  # not a call before `try`: a Ctrl-C would keep it taken
            try:
                if not self._started:
                    self._start()
                # Chunks that wait are a sign that the head has come, and wait for the loop.
                while not (self._ask is READ or self._pipeline.arrived or self._over):
                    await self._answer()
                self._left_at = monotonic()
                self._raise_error()
            except BaseException as error:
                await self._end("interrupted", None)
                self._keep_partial(error)
                raise

    async def aclose(self) -> None:
        """
        End the stream and give its connection up; what came is kept in `result`.

        While another task is reading this acts as an interrupt: that task ends its loop
        and cleans up. Closing twice, or after the end, does nothing.
        """
        self._stop.fire()
        if self._turning.acquire(blocking=False):
            try:
                await self._end("interrupted", None)
            finally:
                self._turning.release()

    def __del__(self) -> None:
        if not self._over and self._started and self._stop.retire():
            self._over = True
            self._conclude("interrupted", None)
            drop_callbacks(self._pipeline)
            loop = self._loop
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(_close_later, self._source)


_closing: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected unfinished


def _close_later(source: AsyncSource) -> None:
    task: asyncio.Task[None] = asyncio.ensure_future(source.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def attach_partial(error: BaseException, received: StreamResult) -> None:
    """Put what came on the error, also on one that is not ours, if it takes it."""
    try:
        error.partial = received  # type: ignore[attr-defined]  # not declared on foreign errors
    except AttributeError:  # a foreign error with slots: `result` has the partial all the same
        return


def settle(pipeline: Pipeline) -> NoReturn:
    """Refuse the awaitables that callbacks gave: nobody can await them here."""
    drop_callbacks(pipeline)
    raise TypeError(
        "an async callback needs an async stream: pass a plain function, or read the stream"
        " with AsyncLLMClient"
    )


async def asettle(pipeline: Pipeline) -> None:
    """Await what callbacks gave, in order."""
    while pipeline.callbacks:
        await pipeline.callbacks.pop(0)


def drop_callbacks(pipeline: Pipeline) -> None:
    """Give up awaitables without the warning that they were never awaited."""
    while pipeline.callbacks:
        waiting: Awaitable[object] = pipeline.callbacks.pop()
        if inspect.iscoroutine(waiting):
            waiting.close()
