"""Accuracy of the DVH against ideal bodies, for both solids and both interpolations. Run: python bench/dvh.py [--quick]

Spheres, cylinders and cones, upright and tilted by 25 degrees, of 3 to 24 mm radius, are contoured exactly on 1, 2 and
3 mm slices and laid into doses on 1, 2 and 3 mm grids: a ramp to the front, a ramp to the head, and a Gaussian hot spot
of 10 mm. The truth is the ideal body, integrated finely in its own coordinates; so
the differences hold what slices and grids cost. Against the contours read literally the tests require 0.01 % in volume
and 0.3 % in dose. The speed is in bench/dvh_speed.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.dose_volume import DoseVolume
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.shape import shape_solid
from rtpipeline.geometry.solid import PrismSolid

SLICES_MM = (1.0, 2.0, 3.0)
GRIDS_MM = (1.0, 2.0, 3.0)
PHASES = {"half a slice inside the ends": (0.5, 0.5, 0.5), "anywhere": (0.2, 0.85, 0.6)}
"""Where the slices lie, in slices from the middle of the body, for each spacing. Anywhere: nothing in the contours says
how far beyond the last of them a cylinder goes, so no solid can have its volume."""

TILT_DEG = 25.0
SIGMA_MM = 10.0
HOT_SPOT_MM = np.array([2.0, -3.0, 2.5])
"""From the middle of the body."""

POINT_MM = 0.2
"""Between the points of a contour."""

SOLIDS = ("prism", "shape")
INTERPOLATIONS = ("linear", "cubic")
GOALS = {"volume": 0.45, "D95": 0.55, "D0.03cc": 0.17}
"""Mean over the set, with shape and cubic."""

PEERS = {
    "dicompyler-core": (3.84, 18.4, 4.57),
    "dicompyler, interpolated": (4.19, 6.12, 2.92),
    "pyCERR": (1.52, 2.15, 1.28),
    "platipy": (19.0, 3.31, 1.43),
    "plastimatch": (1.52, 2.13, 1.27),
}
"""Mean |error| in % of volume, D95 and D0.03cc that were measured on 108 cases of the same families."""

D_PCT = (99, 98, 95, 50, 5, 2, 1)

Dose = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Body:
    """A body of revolution about an axis through the origin. radius_at: radius at a height, as shares of the half
    height, which is `radius_mm`."""

    name: str
    radius_mm: float
    radius_at: Callable[[np.ndarray], np.ndarray]
    tilt_deg: float = 0.0

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Level direction across, the other one across, and along the axis."""
        t = np.deg2rad(self.tilt_deg)
        across, along = np.array([np.cos(t), 0.0, -np.sin(t)]), np.array([np.sin(t), 0.0, np.cos(t)])
        return np.array([0.0, 1.0, 0.0]), across, along


def bodies(quick: bool) -> list[Body]:
    shapes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sphere": lambda h: np.sqrt(np.clip(1.0 - h * h, 0.0, None)),
        "cylinder": lambda h: np.ones_like(h),
        "cone": lambda h: 0.5 * (1.0 - h),
    }
    found = [
        Body(name, radius, shape, tilt)
        for radius in ((12.0,) if quick else (6.0, 12.0, 24.0))
        for name, shape in shapes.items()
        for tilt in ((0.0,) if name == "sphere" else (0.0, TILT_DEG))
    ]
    return found if quick else [Body("sphere", 3.0, shapes["sphere"]), *found]


def contours(body: Body, slice_mm: float, phase: float) -> list[np.ndarray]:
    """The sections of the body with the slices: two points of every disc about its axis that a slice cuts."""
    _, across, along = body.axes
    reach = body.radius_mm * (abs(along[2]) + abs(across[2]) + 1.0)
    rings = []
    for z in (np.arange(-np.ceil(reach / slice_mm), np.ceil(reach / slice_mm) + 1) + phase) * slice_mm:
        ring = _level_section(body, z) if body.tilt_deg else _round_section(body, z)
        if ring is not None:
            rings.append(ring)
    return rings


def _round_section(body: Body, z: float) -> np.ndarray | None:
    r = float(body.radius_at(np.array(z / body.radius_mm))) * body.radius_mm if abs(z) < body.radius_mm else 0.0
    if r <= 0.01:
        return None
    angle = np.linspace(0.0, 2.0 * np.pi, max(60, int(2.0 * np.pi * r / POINT_MM)), endpoint=False)
    return np.c_[r * np.cos(angle), r * np.sin(angle), np.full(len(angle), z)]


def _level_section(body: Body, z: float) -> np.ndarray | None:
    level, across, along = body.axes
    heights = np.linspace(-1.0, 1.0, 40001)
    radii = body.radius_at(heights) * body.radius_mm
    t = heights * body.radius_mm
    offset = (z - t * along[2]) / across[2]
    cut = np.abs(offset) < radii
    if np.count_nonzero(cut) < 3:
        return None
    t, offset, half = t[cut], offset[cut], np.sqrt(radii[cut] ** 2 - offset[cut] ** 2)
    if half.max() < 0.01:
        return None
    middle = t[:, None] * along + offset[:, None] * across
    ring = np.concatenate([middle + half[:, None] * level, (middle - half[:, None] * level)[::-1]])
    steps = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))]
    # the chord at an end of the axis is straight, so the points may be as dense there as elsewhere
    even = np.arange(0.0, steps[-1], POINT_MM)
    ring = np.c_[[np.interp(even, steps, ring[:, a]) for a in range(3)]].T
    ring[:, 2] = z
    return ring


def ideal(body: Body, dose: Dose) -> tuple[float, np.ndarray, np.ndarray]:
    """Volume (cc), doses in descending order, and the volume (cc) that receives at least each of them."""
    n = 110
    level, across, along = body.axes
    middles = (np.arange(n) + 0.5) / n
    height, share, angle = np.meshgrid(2.0 * middles - 1.0, middles, 2.0 * np.pi * middles, indexing="ij", sparse=True)
    radius = body.radius_at(height) * body.radius_mm
    rho = radius * np.sqrt(share)  # equal areas
    points = (
        (height * body.radius_mm)[..., None] * along
        + (rho * np.cos(angle))[..., None] * level
        + (rho * np.sin(angle))[..., None] * across
    )
    weights = np.broadcast_to(np.pi * radius**2 * (2.0 * body.radius_mm / n) / n**2 / 1000.0, points.shape[:3]).ravel()
    doses = dose(points).ravel()
    order = np.argsort(-doses)
    above = np.cumsum(weights[order])
    return float(above[-1]), doses[order], above - 0.5 * weights[order]


def doses(body: Body) -> dict[str, Dose]:
    """20 to 60 Gy across the body, and a hot spot of 60 Gy."""
    reach = body.radius_mm
    return {
        "AP": lambda p: 40.0 - 20.0 * p[..., 1] / reach,
        "SI": lambda p: 40.0 + 20.0 * p[..., 2] / reach,
        "Gaussian": lambda p: 2.0 + 58.0 * np.exp(-0.5 * np.sum(((p - HOT_SPOT_MM) / SIGMA_MM) ** 2, axis=-1)),
    }


def on_grid(dose: Dose, reach_mm: float, spacing_mm: float) -> DoseVolume:
    """The dose on a grid that goes well beyond the body and shares no plane with its slices."""
    n = int(np.ceil(2.0 * (1.5 * reach_mm + 10.0) / spacing_mm))
    first = -0.5 * (n - 1) * spacing_mm + 0.17
    grid = Grid.from_dicom_like(
        [1, 0, 0, 0, 1, 0], [first] * 3, [spacing_mm] * 2, np.arange(n, dtype=float) * spacing_mm, n, n
    )
    along = first + np.arange(n) * spacing_mm
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    return DoseVolume(grid, np.maximum(dose(np.stack([x, y, z], axis=-1)), 0.0))


def compared(dvh: Dvh, truth: tuple[float, np.ndarray, np.ndarray]) -> Iterator[tuple[str, float]]:
    """|error| in % of the ideal value; D at a share of the volume refers to each one's own volume."""
    true_cc, levels, above = truth

    def off(got: float | None, true: float) -> float:
        return 100.0 if got is None else 100.0 * abs(got / true - 1.0)

    def true_dose(volume_cc: float) -> float:
        return float(np.interp(volume_cc, above, levels))

    yield "volume", off(dvh.volume_cc, true_cc)
    for p in D_PCT:
        yield f"D{p}", off(dvh.dose_at_volume_pct(p), true_dose(0.01 * p * true_cc))
    if true_cc > 0.03:
        yield "D0.03cc", off(dvh.dose_at_volume_cc(0.03), true_dose(0.03))
    yield "Dmean", off(dvh.dmean_gy, float(np.average(levels, weights=np.diff(above, prepend=0.0))))


def accuracy(phases: Sequence[float], quick: bool = False) -> dict[tuple[str, str], dict[str, list[float]]]:
    """|error| in % of each quantity over all cases, by solid and interpolation."""
    errors: dict[tuple[str, str], dict[str, list[float]]] = {(s, i): {} for s in SOLIDS for i in INTERPOLATIONS}
    for body in bodies(quick):
        prisms = {
            slice_mm: PrismSolid.from_contours(contours(body, slice_mm, phase), single_plane_thickness_mm=slice_mm)
            for slice_mm, phase in zip(SLICES_MM, phases, strict=True)
        }
        solids = {"prism": prisms, "shape": {slice_mm: shape_solid(prism) for slice_mm, prism in prisms.items()}}
        for dose in doses(body).values():
            truth = ideal(body, dose)
            for spacing_mm in GRIDS_MM:
                volume = on_grid(dose, body.radius_mm, spacing_mm)
                for (name, interpolation), found in errors.items():
                    for solid in solids[name].values():
                        dvh = compute_dvh(solid, volume, interpolation=interpolation)
                        for quantity, error in compared(dvh, truth):
                            found.setdefault(quantity, []).append(error)
    return errors


def print_table(errors: dict[tuple[str, str], dict[str, list[float]]]) -> None:
    print(f"{'':10}" + "".join(f"{s + ' ' + i:^26}" for s, i in errors))
    for quantity in errors["prism", "linear"]:
        cells = ""
        for found in errors.values():
            values = np.array(found[quantity])
            cells += f"{values.mean():9.3f}{values.max():9.2f}{int((values > 3.0).sum()):6d}  "
        print(f"{quantity:10}{cells}")


def main() -> None:
    quick = "--quick" in sys.argv
    by_place = {place: accuracy(phases, quick) for place, phases in PHASES.items()}
    for place, errors in by_place.items():
        n_cases = len(errors["prism", "linear"]["volume"])
        print(
            f"\nSlices {place}: {n_cases} cases against the ideal body, |error| in %: mean, largest, number above 3 %"
        )
        print_table(errors)
    place, errors = next(iter(by_place.items()))
    print(f"\n{'mean |error| in %':26}" + "".join(f"{name:>10}" for name in GOALS))
    for peer, values in PEERS.items():
        print(f"{peer:26}" + "".join(f"{v:10.2f}" for v in values))
    for solid, found in errors.items():
        print(f"{'ours: ' + ' '.join(solid):26}" + "".join(f"{np.mean(found[name]):10.3f}" for name in GOALS))
    print(f"{'goal: shape cubic':26}" + "".join(f"{goal:10.2f}" for goal in GOALS.values()))


if __name__ == "__main__":
    from rtpipeline.execution.environment import limit_threads

    limit_threads(1)
    main()
