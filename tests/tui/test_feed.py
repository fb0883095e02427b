from __future__ import annotations

import threading

from batchtui.errors import StoreError
from batchtui.tui.feed import Feed
from batchtui.tui.view import View
from tests.tui import fake


class Gated:
    """A source whose reads wait for a gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.reads = 0
        self.error: Exception | None = None

    def read(self) -> View:
        self.reads += 1
        self.started.release()
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        return fake.FakeSource(fake.facts(5)).read()


def test_requests_coalesce_while_a_view_is_read() -> None:
    source, views = Gated(), threading.Semaphore(0)
    feed = Feed(source, lambda view: views.release(), lambda error: None)
    feed.start()
    assert source.started.acquire(timeout=5)
    for _ in range(100):
        feed.request()
    source.gate.set()
    assert views.acquire(timeout=5)
    assert views.acquire(timeout=5)
    feed.stop()
    assert source.reads == 2


def test_an_error_costs_one_view() -> None:
    source, views = Gated(), threading.Semaphore(0)
    errors: list[Exception] = []
    source.gate.set()
    source.error = StoreError("torn")
    failed = threading.Event()
    feed = Feed(source, lambda view: views.release(), lambda e: (errors.append(e), failed.set())[1])
    feed.start()
    assert failed.wait(5)
    source.error = None
    feed.request()
    assert views.acquire(timeout=5)
    feed.stop()
    assert str(errors[0]) == "torn"


def test_a_source_that_hangs_does_not_hold_up_the_end() -> None:
    source = Gated()
    feed = Feed(source, lambda view: None, lambda error: None)
    feed.start()
    assert source.started.acquire(timeout=5)
    feed.stop(timeout=0.05)
    source.gate.set()
