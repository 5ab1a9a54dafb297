"""The methods text of a run: what was done, with the settings that were used and the versions that did it.

`methods.md.j2` holds the paragraphs; a stage that gave no numbers is not described.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from rtpipeline.config import Config, RadiomicsConfig
from rtpipeline.provenance.citations import Bibliography
from rtpipeline.provenance.versions import StageUse
from rtpipeline.radiomics.profiles import Profile, load_profile
from rtpipeline.stages import STAGES

PYRADIOMICS_BIN_WIDTH = 25
"""The library's default, where a parameter file gives neither width nor number of bins."""

NUMBER_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def methods_text(config: Config, uses: Mapping[str, StageUse], counts: Mapping[str, int]) -> str:
    """Markdown with a paragraph for each stage that gave numbers, and the references they cite.

    Parameters
    ----------
    counts: `patients`, `courses`, `courses_ok`, and `phantom_structures`, made by networks that know only a phantom.
    """
    references = Bibliography()
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string((files(__package__) / "methods.md.j2").read_text(encoding="utf-8"))
    programs = sorted({version for use in uses.values() for version in use.rtpipeline})
    software = {name: _software(uses[name]) if name in uses and uses[name].computed else "" for name in STAGES}
    return template.render(
        software,
        config=config,
        counts=counts,
        programs=" and ".join(programs) or "of a version that is not recorded",
        cite=references.cite,
        references=references.lines,
        plural=plural,
        number=lambda value: f"{value:,}",
        joined=joined,
        named=named,
        feature_settings=feature_settings(config.radiomics) if software["radiomics"] else "",
    )


def feature_settings(settings: RadiomicsConfig) -> str:
    """What decides over the numbers of a feature, for CT and for MR: lattice, bins, filters."""
    return "; ".join(f"{m}: {_described(load_profile(given))}" for m, given in settings.parameters_of.items())


def _described(profile: Profile) -> str:
    setting = profile.settings
    lattice = "on the voxels of the image"
    if wanted := setting.get("resampledPixelSpacing"):
        axes = " × ".join(f"{mm:g}" if mm else "own" for mm in wanted)
        lattice = f"resampled to {axes} mm ({setting.get('interpolator', 'sitkBSpline')})"
    count = setting.get("binCount")
    bins = f"{count} bins" if count else f"bins of width {setting.get('binWidth', PYRADIOMICS_BIN_WIDTH):g}"
    normalised = "normalised, " if profile.normalises else ""
    return f"settings `{profile.name}`, {normalised}{lattice}, {bins}, images {joined(list(profile.image_types))}"


def _software(use: StageUse) -> str:
    """`numpy 2.4.1` and so on; every version when outputs of several were used."""
    found = [f"{name} {' and '.join(v)}" for name, v in use.versions.items() if v != ["absent"]]
    return ", ".join(found) or "versions not recorded"


def joined(values: Sequence[float | str]) -> str:
    """`99, 98, 95`: numbers without needless digits."""
    return ", ".join(f"{v:g}" if isinstance(v, int | float) else v for v in values)


def named(values: Mapping[str, float]) -> str:
    """`Lung_L 3, SpinalCord 2`: in the order of the names."""
    return ", ".join(f"{name} {value:g}" for name, value in sorted(values.items()))


def plural(number: int, noun: str) -> str:
    """`one patient`, `12 patients`."""
    return f"{NUMBER_WORDS.get(number, f'{number:,}')} {noun}{'' if number == 1 else 's'}"
