"""Spatial Registration (PS3.3 C.20.2): rigid matrices between frames of reference."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.dicom.element_values import items, numbers, term, text
from rtpipeline.geometry.rigid import is_identity

RIGID_TOLERANCE = 1e-3
"""Of a rotation matrix against its inverse (matrices are written with few decimals)."""


@dataclass(frozen=True)
class Link:
    """matrix: (4, 4) that takes (x, y, z, 1) in mm of frame `from_uid` to frame `to_uid`."""

    from_uid: str
    to_uid: str
    matrix: NDArray[np.float64]

    @property
    def is_identity(self) -> bool:
        """Whether both frames hold the same coordinates."""
        return is_identity(self.matrix)


@dataclass(frozen=True)
class Registration:
    """Links between frames; empty where the object cannot be used, and `findings` say why."""

    links: tuple[Link, ...]
    findings: list[Finding] = field(default_factory=list)


def parse_registration(ds: Dataset, name: str = "REG") -> Registration:
    """The rigid links of a Spatial Registration object.

    Each item's matrices are applied in their order and take its frame to the registered frame, the object's own
    (C.20.2.1.1). One item that cannot be used costs that link only; but an object that moves its own frame against
    itself has two meanings, and none of its links is used.
    """
    if items(ds, "DeformableRegistrationSequence"):
        return Registration((), [finding("REG_INVALID", name, "deformable registration")])
    target = text(ds, "FrameOfReferenceUID")
    sequence = items(ds, "RegistrationSequence")
    problems, links = [], []
    if not target:
        problems.append("no frame of reference of its own")
    if not sequence:
        problems.append("no RegistrationSequence")
    for position, item in enumerate(sequence, start=1):
        source = text(item, "FrameOfReferenceUID")
        matrix = _matrix(item)
        if not source:
            problems.append(f"item {position} without frame of reference")
        if isinstance(matrix, str):
            problems.append(f"item {position}: {matrix}")
        elif source and target and source != target:
            links.append(Link(source, target, matrix))
        elif source == target and target and not is_identity(matrix):
            return Registration((), [finding("REG_INVALID", name, f"item {position} moves the object's own frame")])
    if not links and not problems:
        problems.append("only one frame of reference")
    found = [finding("REG_INVALID", name, "; ".join(problems))] if problems else []
    return Registration(tuple(links), found)


def _matrix(item: Dataset) -> NDArray[np.float64] | str:
    """The product of an item's matrices, or what is wrong with one of them."""
    product = np.eye(4)
    matrices = [m for r in items(item, "MatrixRegistrationSequence") for m in items(r, "MatrixSequence")]
    if not matrices:
        return "no matrix"
    for matrix_item in matrices:
        kind = term(matrix_item, "FrameOfReferenceTransformationMatrixType")
        values = numbers(matrix_item, "FrameOfReferenceTransformationMatrix")
        if kind != "RIGID":
            return f"matrix type {kind or 'missing'}"
        if values is None or len(values) != 16:
            return "matrix without 16 numbers"
        matrix = np.array(values).reshape(4, 4)
        rotation = matrix[:3, :3]
        proper = np.abs(rotation @ rotation.T - np.eye(3)).max() <= RIGID_TOLERANCE and np.linalg.det(rotation) > 0
        if not proper or np.abs(matrix[3] - [0, 0, 0, 1]).max() > RIGID_TOLERANCE:
            return "matrix is not rigid"
        product = matrix @ product
    return product
