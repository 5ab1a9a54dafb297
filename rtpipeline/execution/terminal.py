"""What a run is shown on: lines of a log, or a part of the terminal that is drawn again below lines that stay."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.live import Live


class LogLines:
    """Lines with the time, for a log file; use it in `with`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def say(self, text: str) -> None:
        """One line with the time."""
        self._stream.write(f"{datetime.now(UTC):%H:%M:%SZ} {text}\n")
        self._stream.flush()


class LiveArea:
    """What `rich` draws again; use it in `with`."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line above it."""
        self._console.print(text, markup=False, highlight=False)
