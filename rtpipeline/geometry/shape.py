"""The solid of planar contours interpolated between the planes, with caps: `end_cap` "shape".

It is a stack of prisms like the literal one, only of more and thinner ones, so that volume, dose, extremes and
everything else that is computed of a `PrismSolid` is computed of it in the same way.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from rtpipeline.geometry.area_guide import area_guide
from rtpipeline.geometry.distance_blend import Blend, Outlines, Shrinking
from rtpipeline.geometry.even_odd import Array, Ints, area_moments, even_odd_edges
from rtpipeline.geometry.layers import Layers, plan_layers, write_layers
from rtpipeline.geometry.loop_links import BLENDS, DOWN, ENDS, UP, Links, link_loops
from rtpipeline.geometry.loops import Loops, planar_loops
from rtpipeline.geometry.morph import partners
from rtpipeline.geometry.solid import EndCap, PrismSolid

SHAPE: EndCap = "shape"
"""Name of this way to close a solid, for the rows of result tables."""

CAP_LIMIT = 2.0
"""A cap ends within this many half gaps of its plane: short of the next plane, in which nothing was drawn."""

AREA_MISS = 0.02
"""Where the outlines of a layer overlap or cross so that they miss its area by more than this, they are blended."""


def shape_solid(solid: PrismSolid) -> PrismSolid:
    """The solid interpolated between the planes of a stack of prisms, as thinner prisms.

    The cross-section goes over from contour to contour, at the area of `area_guide`; beyond the last plane, at real
    gaps and where a part of the structure ends a cap closes it. A single plane stays a prism.
    """
    slabs = solid.slabs_mm
    if slabs is None or len(solid.plane_offsets_mm) < 2:
        return replace(solid, end_cap=SHAPE)
    is_joined = slabs[1:, 0] <= slabs[:-1, 1]
    loops = planar_loops(
        solid.points_uv_mm, solid.contour_starts, solid.plane_starts, solid.edges, solid.edge_starts, solid.areas_mm2
    )
    is_blended = np.zeros(len(is_joined), bool)
    made = _stacked(solid, slabs, loops, is_joined, is_blended)
    bad = _missed(made)
    if len(bad):
        is_blended[np.clip(bad, 0, len(is_blended) - 1)] = True
        made = _stacked(solid, slabs, loops, is_joined, is_blended & is_joined)
    return made[0]


def _missed(made: tuple[PrismSolid, Array, Ints]) -> Ints:
    """Gaps with a layer that misses its area: numbers of the plane below."""
    solid, area_mm2, gaps = made
    bad = np.abs(solid.areas_mm2 - area_mm2) > AREA_MISS * np.maximum(area_mm2, solid.areas_mm2)
    return np.array(sorted(set(gaps[bad].tolist())), np.int64)  # np.unique brings numpy.ma with it


def _stacked(
    solid: PrismSolid, slabs: Array, loops: Loops, is_joined: np.ndarray, is_blended: np.ndarray
) -> tuple[PrismSolid, Array, Ints]:
    """The solid of layers, the area that each should have (mm2), and the gap in which it lies."""
    planes = solid.plane_offsets_mm
    half_gaps = np.c_[planes - slabs[:, 0], slabs[:, 1] - planes]
    is_end = np.c_[np.r_[True, ~is_joined], np.r_[~is_joined, True]]
    limits = _cap_limits(planes, half_gaps, is_end)
    plane_of = np.repeat(np.arange(len(planes)), np.diff(loops.first))
    links = link_loops(loops, is_joined, is_blended, solid.edges, solid.edge_starts)
    guide = area_guide(loops, links, planes[plane_of], half_gaps[plane_of], limits[plane_of])
    partner, farthest = partners(loops, links)
    reach, counts = plan_layers(loops, links, guide, half_gaps, is_end, farthest)
    layers = write_layers(loops, links, guide, planes, reach, counts, is_end, partner)
    extra = _literal(solid, loops, layers) + _missing(loops, links, planes, layers)
    points, starts, layer, area = _merged(layers, extra)

    is_used = np.bincount(layer, minlength=len(area)) > 0
    ends, plane = layers.ends[is_used], layers.plane[is_used]
    plane_starts = np.r_[0, np.cumsum(np.bincount(layer, minlength=len(area))[is_used])]
    edges, edge_starts = even_odd_edges(
        np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1]), starts, plane_starts
    )
    middles = ends.mean(axis=1)
    made = replace(
        solid,
        plane_offsets_mm=middles,
        slabs_mm=ends,
        points_uv_mm=points,
        contour_starts=starts,
        plane_starts=plane_starts,
        edges=edges,
        edge_starts=edge_starts,
        moments=area_moments(edges, edge_starts),
        end_cap=SHAPE,
    )
    return made, area[is_used], plane - (middles < planes[plane])


def _cap_limits(planes: Array, half_gaps: Array, is_end: np.ndarray) -> Array:
    """(p, 2) how far caps may reach down and up, mm: two that meet in a real gap share it."""
    apart = np.diff(planes)
    share = np.where(is_end, 0.5, 1.0) * np.c_[np.r_[np.inf, apart], np.r_[apart, np.inf]]
    return np.minimum(CAP_LIMIT * half_gaps, share)


def _literal(solid: PrismSolid, loops: Loops, layers: Layers) -> list[tuple[int, Outlines]]:
    """Contours of the planes whose regions do not fall into loops."""
    found = []
    for plane in np.flatnonzero(~loops.is_sound):
        first, last = solid.plane_starts[plane], solid.plane_starts[plane + 1]
        starts = solid.contour_starts[first : last + 1]
        contours = [solid.points_uv_mm[a:b] for a, b in pairwise(starts.tolist())]
        outlines = Outlines(contours, float(solid.areas_mm2[plane]))
        found += [(int(k), outlines) for k in np.flatnonzero(layers.plane == plane)]
    return found


def _missing(loops: Loops, links: Links, planes: Array, layers: Layers) -> list[tuple[int, Outlines]]:
    """Blends of groups of loops, and caps of loops that are no stars."""
    found = []
    blends: dict[int, Blend] = {}
    shrinking: dict[int, Shrinking] = {}
    for k, i, side, share in ((int(m[0]), int(m[1]), int(m[2]), float(m[3])) for m in layers.missing):
        if links.to[i, side] == BLENDS:
            group = int(links.group[i, side])
            plane = int(layers.plane[k])
            below = plane if side == UP else plane - 1
            if group not in blends:
                members = [np.flatnonzero(links.group[:, s] == group).tolist() for s in (UP, DOWN)]
                blends[group] = Blend(*[[_loop(loops, m) for m in side_members] for side_members in members])
            t = (layers.ends[k].mean() - planes[below]) / (planes[below + 1] - planes[below])
            found.append((k, blends[group].at(float(t))))
            continue
        family = np.flatnonzero((links.root[:, side] == i) & (links.to[:, side] == ENDS))
        if i not in shrinking:
            shrinking[i] = Shrinking([_loop(loops, m) for m in family.tolist()])
        sign = np.where((loops.depth[family] - loops.depth[i]) % 2 == 0, 1.0, -1.0)
        outlines = shrinking[i].at(share * float(sign @ loops.area_mm2[family]))
        hole = -1.0 if loops.depth[i] % 2 else 1.0
        found.append((k, Outlines(outlines.contours, hole * outlines.area_mm2)))
    return found


def _loop(loops: Loops, i: int) -> Array:
    return loops.points[loops.starts[i] : loops.starts[i + 1]]


def _merged(layers: Layers, extra: list[tuple[int, Outlines]]) -> tuple[Array, Ints, Ints, Array]:
    """Points, first point of each contour, layer of each contour, area of each layer; `extra` in its place."""
    area = layers.area_mm2.copy()
    if not extra:
        return layers.points, layers.starts, layers.layer, area
    contours = [layers.points[a:b] for a, b in pairwise(layers.starts.tolist())]
    layer = layers.layer.tolist()
    for k, outlines in extra:
        contours += outlines.contours
        layer += [k] * len(outlines.contours)
        area[k] += outlines.area_mm2
    order = np.argsort(layer, kind="stable")
    starts = np.r_[0, np.cumsum([len(contours[c]) for c in order])].astype(np.int64)
    return np.concatenate([contours[c] for c in order]), starts, np.asarray(layer, np.int64)[order], area
