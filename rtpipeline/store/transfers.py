"""Many calls at once that wait for a disk or a server, with the results in order and a bound on what is held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(call: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """Results of `call` for every item, in their order; at most twice `threads` are begun and not yet taken.

    What a call raises is raised here; what has not begun then never begins.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="transfer")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
