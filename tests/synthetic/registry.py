"""What a fault is: a small export that is wrong in one way, the finding it must raise, and what must come of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rtpipeline.contracts.findings import Scope, Severity, catalogue
from rtpipeline.demo.small import SmallPatient, small_patient
from tests.synthetic.pipeline import Chain

E, W, I = Severity.ERROR, Severity.WARNING, Severity.INFO  # noqa: E741

Writer = Callable[[Path], object]
"""Writes an export into an empty folder; its docstring says what happens in real exports."""

Consequence = Callable[[Chain, Chain], None]
"""Asserts on the broken and the clean patient's results what FINDINGS demands."""


@dataclass(frozen=True)
class Fault:
    """One way in which an export is wrong.

    code: '' for what looks odd and is right, so that nothing may be found. measured: part of the finding's text. also:
    codes that the same fault cannot but raise. course: position (in `courses.json`) of the course that the finding
    stands with; None for what is said of files and of the whole export. before: an earlier state of the export, which
    was organized first.
    """

    code: str
    variant: str
    severity: Severity
    scope: Scope
    measured: str
    write: Writer
    then: Consequence
    also: frozenset[str]
    course: int | None
    before: Writer | None

    @property
    def key(self) -> str:
        """`DOSE_UNITS/relative`."""
        return f"{self.code or 'nothing'}/{self.variant or self.write.__name__}"

    @property
    def story(self) -> str:
        """What happens in real exports."""
        return " ".join((self.write.__doc__ or "").split())


FAULTS: dict[str, Fault] = {}
"""By key."""

ODDITIES: dict[str, Fault] = {}
"""What looks odd and is right, by key."""


def fault(
    code: str,
    variant: str,
    *,
    measured: str,
    then: Consequence,
    severity: Severity | None = None,
    scope: Scope | None = None,
    also: tuple[str, ...] = (),
    course: int | None = 0,
    before: Writer | None = None,
) -> Callable[[Writer], Writer]:
    """Registers a writer. Severity and scope are the catalogue's unless given."""
    entry = catalogue()[code]

    def register(write: Writer) -> Writer:
        one = Fault(
            code, variant, severity or entry.severity, scope or entry.scope, measured, write, then, frozenset(also),
            course, before,
        )  # fmt: skip
        assert one.key not in FAULTS and one.story, one.key
        FAULTS[one.key] = one
        return write

    return register


def oddity(*, then: Consequence) -> Callable[[Writer], Writer]:
    """Registers an export that looks odd and is right: nothing is found, and `then` holds."""

    def register(write: Writer) -> Writer:
        one = Fault("", "", I, Scope.COHORT, "", write, then, frozenset(), None, None)
        assert one.key not in ODDITIES and one.story, one.key
        ODDITIES[one.key] = one
        return write

    return register


@cache
def _pickled() -> bytes:
    return pickle.dumps(small_patient())


def patient() -> SmallPatient:
    """The clean small patient, free to be altered; a copy is ten times as fast as making it."""
    made: SmallPatient = pickle.loads(_pickled())
    return made
