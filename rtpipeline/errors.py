"""Errors by what the caller has to do about them, and the exit code that says so.

A *data* problem is normally a finding and no exception; `DataError` ends a stage only where nothing is left to do.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtpipeline.contracts.findings import Finding


class ExitCode(IntEnum):
    """Exit codes of a stage process (64 and 65 belong to Argo) and of `rtpipeline run`."""

    DONE = 0
    SOME_COURSES_FAILED = 1
    USAGE = 2
    DATA = 3
    FAULT = 70
    TRANSIENT = 75
    INTERRUPTED = 130


class RTpipelineError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""

    exit_code: ExitCode = ExitCode.FAULT


class UsageError(RTpipelineError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """The configuration is wrong; nothing has run."""


class DataError(RTpipelineError):
    """The data of this item cannot be used: recorded with its findings, never retried."""

    exit_code = ExitCode.DATA

    def __init__(self, message: str, findings: list[Finding] | None = None) -> None:
        super().__init__(message)
        self.findings = findings or []


class TransientError(RTpipelineError):
    """It may work next time (memory, a store that throttles, a node that went away): retried."""

    exit_code = ExitCode.TRANSIENT


class OutOfMemoryError(TransientError):
    """Memory ran out even with one worker: retried one rung up the memory ladder."""
