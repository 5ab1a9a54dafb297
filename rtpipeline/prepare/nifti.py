"""NIfTI-1 files of a volume, plane by plane: no second copy in memory, the same volume gives the same bytes.

Header after nifti1.h (Cox et al., NIfTI-1.1, 2005). NIfTI counts in RAS, DICOM in LPS: x and y change sign.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from rtpipeline.geometry.grid import Grid

HEADER_BYTES = 348
VOXEL_OFFSET = 352
COMPRESSION_LEVEL = 1
"""Volumes are read a few times and then kept: level 6 takes three times as long for a tenth less."""

DATATYPES = {"uint8": (2, 8), "int16": (4, 16), "uint16": (512, 16), "float32": (16, 32)}
"""numpy name to NIfTI datatype and bits per voxel."""

RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0])


def write_nifti(path: Path, values: NDArray[Any], grid: Grid) -> None:
    """Write `path` (.nii.gz) from (z, y, x) values of one of DATATYPES on a uniform grid.

    Raises ValueError for other types, for a grid that does not fit, or whose planes have unequal distances.
    """
    if values.dtype.name not in DATATYPES:
        raise ValueError(f"values are {values.dtype}; need {', '.join(DATATYPES)}")
    if values.shape != grid.shape_zyx or not grid.is_uniform or len(values) < 2:
        raise ValueError(f"values {values.shape} need a uniform grid of that shape, found {grid.shape_zyx}")
    little = values.dtype.newbyteorder("<")
    with path.open("wb") as file, gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as packed:
        packed.write(_header(values.dtype.name, grid))
        for plane in values:
            packed.write(np.ascontiguousarray(plane, little).tobytes())


def read_nifti_values(path: Path) -> NDArray[Any]:
    """The (z, y, x) values of a file that `write_nifti` wrote.

    Raises ValueError when it is none. The geometry is read from geometry.json, which holds it in float64.
    """
    with gzip.open(path, "rb") as packed:
        header = packed.read(VOXEL_OFFSET)
        if len(header) < VOXEL_OFFSET or struct.unpack_from("<i", header, 0)[0] != HEADER_BYTES:
            raise ValueError(f"{path.name} is no little-endian NIfTI-1 file")
        dim = struct.unpack_from("<8h", header, 40)
        datatype = struct.unpack_from("<h", header, 70)[0]
        names = [name for name, (code, _) in DATATYPES.items() if code == datatype]
        if not names or dim[0] != 3:
            raise ValueError(
                f"{path.name} has datatype {datatype} and {dim[0]} dimensions; need 3 and {', '.join(DATATYPES)}"
            )
        values = np.empty(dim[3:0:-1], np.dtype(names[0]).newbyteorder("<"))
        for plane in values:
            block = packed.read(plane.nbytes)
            if len(block) < plane.nbytes:
                raise ValueError(f"{path.name} ends before its last voxel")
            plane[...] = np.frombuffer(block, values.dtype).reshape(plane.shape)
    return values


def _header(dtype: str, grid: Grid) -> bytes:
    planes, rows, columns = grid.shape_zyx
    step_mm = float(grid.plane_offsets_mm[-1]) / (planes - 1)
    directions = np.column_stack([grid.row_direction, grid.column_direction, grid.normal * np.sign(step_mm)])
    spacing = np.array([grid.column_spacing_mm, grid.row_spacing_mm, abs(step_mm)])
    rotation = RAS_OF_LPS @ directions
    # qform holds a proper rotation; planes that run against the normal are its third axis reversed (qfac -1)
    qfac = float(np.sign(np.linalg.det(rotation)))
    x, y, z, _ = Rotation.from_matrix(rotation * [1.0, 1.0, qfac]).as_quat(canonical=True)
    origin = RAS_OF_LPS @ grid.origin_xyz_mm
    affine = np.column_stack([rotation * spacing, origin])
    code, bits = DATATYPES[dtype]
    header = bytearray(VOXEL_OFFSET)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    header[38:39] = b"r"
    struct.pack_into("<8h", header, 40, 3, columns, rows, planes, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, qfac, *spacing, 0, 0, 0, 0)
    struct.pack_into("<fff", header, 108, VOXEL_OFFSET, 1.0, 0.0)
    header[123] = 2  # millimetres
    struct.pack_into("<hh", header, 252, 1, 1)  # qform and sform: scanner coordinates
    struct.pack_into("<6f", header, 256, x, y, z, *origin)
    struct.pack_into("<12f", header, 280, *affine.ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)
