"""Coefficients of the cubic spline through the dose at the voxel centres.

The spline is the tensor product of cubic splines along the three axes (de Boor, A Practical Guide to Splines, chapters
IX, X and XVII). Each passes through every value, has continuous second derivatives, and satisfies the not-a-knot
condition at both ends: the first two and the last two intervals hold one cubic each. So a polynomial up to the third
degree is reproduced up to the border, on unevenly spaced planes too. Along an axis of three or two voxels it is the
parabola or the line through them.

An axis of n nodes has n + 2 coefficients, of the B-splines on its nodes and three more beyond each end; between nodes
k and k + 1 those with the indices k .. k + 3 take part. The coefficient of a B-spline is the polar form of the spline's
polynomial at the three middle knots (Ramshaw 1987), which yields the outer equations in closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtpipeline.geometry.even_odd import Array
from rtpipeline.kernels import kernel

Bools = NDArray[np.bool_]

FILLED_LAYERS = 12
"""Voxels of unknown dose that get a value for the filter. Each weighs a quarter of the one before: 1e-7 is left."""


class AxisFilter(NamedTuple):
    """What turns the values along an axis of n nodes into its n + 2 coefficients.

    weights: (n, 3) of the coefficients before, at and after each node in the value there. first, last: (3,) weights of
    the outermost three values in the coefficients of the second and of the last but one node. inverse, carry: (n,)
    factors of the elimination of the nodes between. few: (n + 2, n) all of it for n < 4, else (0, 0).
    """

    weights: Array
    first: Array
    last: Array
    inverse: Array
    carry: Array
    few: Array


def _knots(nodes: Array) -> Array:
    """The nodes and three more beyond each end, spaced as the end gaps."""
    steps = np.array([3.0, 2.0, 1.0])
    before, after = nodes[0] - steps * (nodes[1] - nodes[0]), nodes[-1] + steps[::-1] * (nodes[-1] - nodes[-2])
    return np.concatenate([before, nodes, after])


def interval_table(nodes: Array) -> Array:
    """(n - 1, 4, 4): the four B-splines of each interval as polynomials, constant term first, of the share of the
    interval that lies below the point. nodes: (n,) ascending, n >= 2."""
    knots, n_intervals = _knots(nodes), len(nodes) - 1
    start, gap = nodes[:-1, None], np.diff(nodes)

    def times(coefficients: Array, constant: Array, slope: Array) -> Array:
        product = coefficients * constant[:, None]
        product[:, 1:] += coefficients[:, :-1] * slope[:, None]
        return product

    table = np.zeros((n_intervals, 4, 4))
    table[:, 0, 0] = 1.0
    # distances from the point to the knots on its left and right, at the beginning of the interval
    left = np.stack([start[:, 0] - knots[3 - j : 3 - j + n_intervals] for j in range(3)], axis=1)
    right = np.stack([knots[4 + j : 4 + j + n_intervals] - start[:, 0] for j in range(3)], axis=1)
    for degree in range(1, 4):
        saved = np.zeros((n_intervals, 4))
        for r in range(degree):
            near, far = right[:, r], left[:, degree - 1 - r]
            part = table[:, r] / (near + far)[:, None]
            table[:, r] = saved + times(part, near, -gap)
            saved = times(part, far, gap)
        table[:, degree] = saved
    return table


def _polar_weights(nodes: Array, triples: Array) -> Array:
    """(m, n) weights of the values at n <= 3 nodes in the cubic polar form, at (m, 3) arguments, of the polynomial
    through them."""
    scale = nodes[-1] - nodes[0]
    x, args = (nodes - nodes[0]) / scale, (triples - nodes[0]) / scale
    u, v, w = args.T
    powers = np.stack([np.ones_like(u), (u + v + w) / 3.0, (u * v + v * w + w * u) / 3.0], axis=1)
    return powers[:, : len(x)] @ np.linalg.inv(np.vander(x, increasing=True))


def axis_filter(nodes: Array) -> AxisFilter:
    """The filter along an axis with these nodes, (n,) ascending, n >= 2."""
    n, knots, table = len(nodes), _knots(nodes), interval_table(nodes)
    weights = np.concatenate([table[:, :3, 0], table[-1:, 1:].sum(axis=2)])
    inverse, carry = np.zeros(n), np.zeros(n)
    if n < 4:
        triples = np.stack([knots[m + 1 : m + 4] for m in range(n + 2)])
        return AxisFilter(weights, np.zeros(3), np.zeros(3), inverse, carry, _polar_weights(nodes, triples))
    for k in range(2, n - 2):
        inverse[k] = 1.0 / (weights[k, 1] - weights[k, 0] * carry[k - 1])
        carry[k] = weights[k, 2] * inverse[k]
    first, last = (_polar_weights(three, three[None])[0] for three in (nodes[:3], nodes[-3:]))
    return AxisFilter(weights, first, last, inverse, carry, np.empty((0, 0)))


@kernel(error_model="numpy")
def _filter_rows(rows: Array, axis: AxisFilter) -> None:
    """Replace values by coefficients along the first axis: rows (n + 2, m) with the values in rows 1 .. n."""
    n = rows.shape[0] - 2
    weights = axis.weights
    if n < 4:
        for p in range(rows.shape[1]):
            a, b, c = rows[1, p], rows[2, p], rows[min(3, n), p]
            for m in range(n + 2):
                rows[m, p] = axis.few[m, 0] * a + axis.few[m, 1] * b + (axis.few[m, 2] * c if n == 3 else 0.0)
        return
    for p in range(rows.shape[1]):
        # the outermost rows keep the values of the second and last but one node, which are needed once more
        rows[0, p], rows[n + 1, p] = rows[2, p], rows[n - 1, p]
        second = axis.first[0] * rows[1, p] + axis.first[1] * rows[2, p] + axis.first[2] * rows[3, p]
        rows[n - 1, p] = axis.last[0] * rows[n - 2, p] + axis.last[1] * rows[n - 1, p] + axis.last[2] * rows[n, p]
        rows[2, p] = second
    for k in range(3, n - 1):
        for p in range(rows.shape[1]):
            rows[k, p] = (rows[k, p] - weights[k - 1, 0] * rows[k - 1, p]) * axis.inverse[k - 1]
    for k in range(n - 2, 2, -1):
        for p in range(rows.shape[1]):
            rows[k, p] -= axis.carry[k - 1] * rows[k + 1, p]
    a, b = weights[1], weights[n - 2]
    for p in range(rows.shape[1]):
        # the equations of the second and the first node give the two outer coefficients
        outer = (rows[0, p] - a[1] * rows[2, p] - a[2] * rows[3, p]) / a[0]
        rows[0, p] = (rows[1, p] - weights[0, 1] * outer - weights[0, 2] * rows[2, p]) / weights[0, 0]
        rows[1, p] = outer
        outer = (rows[n + 1, p] - b[1] * rows[n - 1, p] - b[0] * rows[n - 2, p]) / b[2]
        rows[n + 1, p] = (rows[n, p] - weights[n - 1, 1] * outer - weights[n - 1, 0] * rows[n - 1, p]) / weights[
            n - 1, 2
        ]
        rows[n, p] = outer


@kernel(error_model="numpy")
def _filter_planes(values: Array, along_y: AxisFilter, along_x: AxisFilter, coefficients: Array) -> None:
    ny, nx = values.shape[1], values.shape[2]
    rows = np.empty((ny + 2, nx))
    columns = np.empty((nx + 2, ny + 2))
    for k in range(values.shape[0]):
        rows[1 : ny + 1] = values[k]
        _filter_rows(rows, along_y)
        columns[1 : nx + 1] = rows.T
        _filter_rows(columns, along_x)
        coefficients[k + 1] = columns.T


def spline_coefficients(values: Array, offsets_mm: Array) -> Array:
    """(z + 2, y + 2, x + 2) coefficients of the spline through values (z, y, x), each axis at least 2 long, on planes
    at the ascending `offsets_mm`."""
    nz, ny, nx = values.shape
    along_z, along_y, along_x = (axis_filter(x) for x in (offsets_mm, np.arange(float(ny)), np.arange(float(nx))))
    coefficients = np.empty((nz + 2, ny + 2, nx + 2))
    _filter_planes(values, along_y, along_x, coefficients)
    _filter_rows(coefficients.reshape(nz + 2, -1), along_z)
    return coefficients


@kernel(error_model="numpy")
def _continued(values: Array, state: NDArray[np.uint8], offsets: Array, k: int, j: int, i: int) -> tuple[bool, float]:
    """Value of an unknown voxel from its known neighbours along the axes: on the line through two of them, in the mean
    of all directions where there are two, else the mean of those next to it. False where none is known."""
    shape = values.shape
    lines, n_lines, near, n_near = 0.0, 0, 0.0, 0
    for direction in range(6):
        axis, sign = direction >> 1, 1 - 2 * (direction & 1)
        dk, dj, di = sign * (axis == 0), sign * (axis == 1), sign * (axis == 2)
        a, b, c = k + dk, j + dj, i + di
        if not (0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= c < shape[2] and state[a, b, c] == 1):
            continue
        value = values[a, b, c]
        near += value
        n_near += 1
        e, f, g = a + dk, b + dj, c + di
        if 0 <= e < shape[0] and 0 <= f < shape[1] and 0 <= g < shape[2] and state[e, f, g] == 1:
            ratio = (offsets[k] - offsets[a]) / (offsets[a] - offsets[e]) if axis == 0 else 1.0
            lines += value + (value - values[e, f, g]) * ratio
            n_lines += 1
    if n_lines > 0:
        return True, lines / n_lines
    return n_near > 0, near / max(n_near, 1)


@kernel(error_model="numpy")
def fill_unknown(values: Array, known: Bools, offsets: Array) -> Array:
    """The values with up to FILLED_LAYERS voxels around the known ones continued in straight lines, so that the spline
    neither jumps at the border of the known nor depends on the direction in which an axis is listed."""
    filled = values.copy()
    state = known.astype(np.uint8)
    for _ in range(FILLED_LAYERS):
        n_new = 0
        for k in range(values.shape[0]):
            for j in range(values.shape[1]):
                for i in range(values.shape[2]):
                    if state[k, j, i] == 0:
                        found, value = _continued(filled, state, offsets, k, j, i)
                        if found:
                            filled[k, j, i] = value
                            state[k, j, i] = 2
                            n_new += 1
        if n_new == 0:
            break
        flat = state.ravel()
        for p in range(flat.shape[0]):
            flat[p] = min(flat[p], 1)
    return filled
