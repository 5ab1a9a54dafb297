"""The log of a stage: where its output goes, and what it may say.

The log lies outside `private/`. Messages of libraries quote what they read (values of elements, UIDs, paths), and so do
the texts of exceptions: of both only the kind is kept.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

LINE = "%(asctime)s %(levelname)s %(message)s"
OWN = "rtpipeline"


def safe_traceback(error: BaseException) -> str:
    """Where an exception and its causes were raised, and their kinds, without their texts."""
    parts = []
    current: BaseException | None = error
    while current is not None:
        frames = traceback.extract_tb(current.__traceback__)
        lines = [f"  {_module_path(f.filename)}:{f.lineno} in {f.name}" for f in frames]
        parts.append("\n".join([*lines, type(current).__name__]))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nraised while handling:\n".join(parts)


def _module_path(filename: str) -> str:
    """A source file from its package on: where the program is installed is nobody's business."""
    parts = Path(filename).parts
    for anchor in (OWN, "site-packages"):
        if anchor in parts:
            at = len(parts) - 1 - parts[::-1].index(anchor)
            return "/".join(parts[at if anchor == OWN else at + 1 :])
    return parts[-1] if parts else filename


class StageFormatter(logging.Formatter):
    """One line an event, UTC; exceptions without their texts."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatException(self, ei: object) -> str:  # noqa: N802 - name of the base class
        """Kinds and places only."""
        error = ei[1] if isinstance(ei, tuple) else None
        return safe_traceback(error) if isinstance(error, BaseException) else ""


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == OWN


def configure_logging(level: int = logging.INFO) -> None:
    """Log lines of this package to stderr, those of libraries nowhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(StageFormatter(LINE))
    handler.addFilter(_is_ours)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    warnings.simplefilter("ignore")


def open_stage_log(path: Path) -> None:
    """Send stdout and stderr of this process to a file, and read nothing from stdin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    configure_logging()
