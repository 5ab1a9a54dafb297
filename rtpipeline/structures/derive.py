"""Structures derived from others on the voxel lattice of an image: expressions, then margins.

The lattice goes on beyond the image, so that a structure that leaves it, or a margin that does, is not cut for the DVH.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.geometry.grid import Grid
from rtpipeline.geometry.mask_margins import Margins, grown, reach_zyx, shrunk
from rtpipeline.nomenclature.words import canonical
from rtpipeline.structures.custom_structures import Definition
from rtpipeline.structures.expressions import Combined, Expression, Source, evaluate
from rtpipeline.structures.measure import OUTSIDE_REPORT_PCT
from rtpipeline.structures.regions import Region, common_box, region_of
from rtpipeline.structures.rows import CUSTOM, DERIVED, MANUAL, TOTALSEGMENTATOR, RowWriter, Structure

PREFERRED = (MANUAL, CUSTOM, TOTALSEGMENTATOR)
"""Where a name is that of structures of several sources, the first of these; a source in front of the name picks one:
`totalsegmentator:heart`."""


class NotFoundError(ValueError):
    """No structure, or more than one, answers to a name."""


class AmbiguousNameError(NotFoundError):
    """More than one does: none of them is missing."""


@dataclass
class Derivation:
    """The derived structures of one image, and the definitions that could not be made there, with the reason."""

    made: dict[str, Structure] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    not_made: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def derive(
    definitions: Sequence[Definition], image_id: str, structures: Iterable[Structure], grid: Grid, writer: RowWriter
) -> Derivation:
    """Make every definition whose sources this image has.

    Parameters
    ----------
    definitions: each after those it is made of. structures: of every source; only those on the image count. grid:
        voxel grid of the image.
    """
    present = [s for s in structures if s.row["image_id"] == image_id]
    done = Derivation()
    names = {d.name for d in definitions}
    taken: set[str] = set()
    drawn: dict[tuple[str, str], Region] = {}

    def region(structure: Structure) -> Region:
        if structure.key not in drawn:
            assert structure.outline is not None
            drawn[structure.key] = region_of(structure.outline.solid(), grid)
        return drawn[structure.key]

    for definition in definitions:
        structure_id = _free(f"{DERIVED}-{image_id}-{_slug(definition.name)}", taken)
        try:
            parts, used = _parts(definition, present, names, done, region)
        except NotFoundError as error:
            done.not_made[definition.name] = str(error)
            continue
        made = _made(definition, parts, grid)
        done.regions[definition.name] = made
        structure = writer.of_voxels(
            made.outline(grid),
            outside_image_pct=made.outside_pct(grid),
            image_id=image_id,
            set_id=f"{DERIVED}-{image_id}",
            source=DERIVED,
            structure_id=structure_id,
            name=definition.name,
            extra={"derived_from": "; ".join(f"{name}={used_id}" for name, used_id in used.items())},
        )
        done.made[definition.name] = structure
        outside_pct = structure.row["outside_image_pct"]
        if outside_pct is not None and outside_pct > OUTSIDE_REPORT_PCT:
            measured = f"{outside_pct:.2f} % of the volume outside the image"
            done.findings.append(finding("SS_OUTSIDE_IMAGE", f"{image_id} derived '{definition.name}'", measured))
    return done


def missing_finding(where: str, name: str, reason: str) -> Finding:
    """SS_DERIVED_MISSING of a definition."""
    return finding("SS_DERIVED_MISSING", f"{where} derived '{name}'", reason)


def _parts(
    definition: Definition,
    present: Sequence[Structure],
    derived: set[str],
    done: Derivation,
    region: Callable[[Structure], Region],
) -> tuple[dict[str, Region], dict[str, str]]:
    """Regions by the names of an expression, and the structure that each name was taken from.

    Raises NotFoundError when one is missing, or all of a union that may be incomplete, or a name is ambiguous.
    """
    parts: dict[str, Region] = {}
    used: dict[str, str] = {}
    missing: list[str] = []
    for name in definition.sources:
        try:
            if name in derived:
                if name not in done.made:
                    raise NotFoundError(f"derived '{name}' was not made")
                # an empty one is a fact here, unlike a structure that was not drawn or not found
                parts[name], used[name] = done.regions[name], done.made[name].row["structure_id"]
            else:
                source = find(name, present)
                parts[name], used[name] = region(source), source.row["structure_id"]
        except AmbiguousNameError:
            raise
        except NotFoundError as error:
            missing.append(str(error))
    if missing and not (definition.allow_missing and parts):
        raise NotFoundError("; ".join(missing))
    return parts, used


def find(name: str, present: Sequence[Structure]) -> Structure:
    """The structure that a name means: its name in the file or its TG-263 name, exactly.

    Of several sources the first of PREFERRED counts, of several manual sets the primary one.

    present: structures of one image; those without a volume on it do not count.

    Raises
    ------
    NotFoundError: there is none. AmbiguousNameError: there are two that nothing tells apart.
    """
    prefix, _, rest = name.partition(":")
    source, wanted = (prefix, canonical(rest)) if prefix in PREFERRED and rest else (None, canonical(name))
    called = [
        s for s in present
        if wanted in (canonical(s.row["structure_name"]), s.row["structure_name_tg263"])
        and s.row["structure_source"] in ((source,) if source else PREFERRED)
    ]  # fmt: skip
    found = [s for s in called if s.lies_on_image]
    if called and not found:
        # a volume that the image says nothing about was drawn in another frame of reference
        why = sorted({"not on this image" if s.row["status"] == "ok" else s.row["status"] for s in called})
        raise NotFoundError(f"'{name}' has no volume here ({', '.join(why)})")
    if not found:
        raise NotFoundError(f"no structure is called '{name}'")

    def rank(structure: Structure) -> tuple[int, bool, bool]:
        row = structure.row
        other_name = canonical(row["structure_name"]) != wanted
        return PREFERRED.index(row["structure_source"]), row["set_role"] != "primary", other_name

    best = min(map(rank, found))
    first = [s for s in found if rank(s) == best]
    if len(first) > 1:
        ids = ", ".join(sorted(s.row["structure_id"] for s in first))
        raise AmbiguousNameError(f"{len(first)} structures are called '{name}': {ids}")
    return first[0]


def _made(definition: Definition, parts: dict[str, Region], grid: Grid) -> Region:
    first, shape = common_box(list(parts.values()), reach_zyx(definition.grow, grid))
    expression = _present(definition.expression, parts)
    assert expression is not None
    mask = evaluate(expression, lambda name: parts[name].on(first, shape))
    nothing = Margins()
    if definition.grow != nothing:
        mask = grown(mask, grid, definition.grow)
    if definition.shrink != nothing:
        mask = shrunk(mask, grid, definition.shrink)
    return Region(mask, first)


def _present(tree: Expression, parts: Mapping[str, Region]) -> Expression | None:
    """The expression without the names that there are no parts for: only a union lacks any."""
    if isinstance(tree, Source):
        return tree if tree.name in parts else None
    left, right = _present(tree.left, parts), _present(tree.right, parts)
    return Combined(tree.sign, left, right) if left and right else left or right


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name).strip("-") or "structure"


def _free(structure_id: str, taken: set[str]) -> str:
    """The id, with a number behind it where another definition has it already."""
    number, found = 1, structure_id
    while found in taken:
        number += 1
        found = f"{structure_id}-{number}"
    taken.add(found)
    return found
