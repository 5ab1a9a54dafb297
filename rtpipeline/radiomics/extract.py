"""Features of one structure on one image: PyRadiomics' own feature classes on a crop of the whole image's grid.

Equal to `RadiomicsFeatureExtractor.execute` on the whole image as float64 and the whole mask, at a fraction of its
time: the library prefilters, resamples and searches the whole image for every structure.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name its manual uses
from numpy.typing import NDArray
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor

from rtpipeline.geometry.grid import Grid
from rtpipeline.radiomics.frame import SPLINE_MARGIN_VOXELS, Frame, resampling_lattice
from rtpipeline.radiomics.profiles import Profile

TIE_RELATIVE = 2e-12
"""A crop and the whole image differ by rounding of up to 512 voxels x 2.2e-16 x the steepest step, which is twice the
largest value; a value nearer than this to the edge of a bin may fall on either side of it."""

logging.getLogger("radiomics").setLevel(logging.ERROR)  # one warning a structure and class says nothing new


class NoFeatures(Exception):  # noqa: N818 - not an error: a status of the row
    """A structure that gets no features. status: too_small, one_dimensional, empty or single_plane."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    def __reduce__(self) -> tuple[type[NoFeatures], tuple[str, str]]:
        return NoFeatures, (self.status, self.reason)


class _AtBinEdge(Exception):  # noqa: N818 - asks for the slow route
    """A value lies so near the edge of a bin that rounding decides."""


def extract_features(
    values_zyx: NDArray[Any],
    mask_zyx: NDArray[np.bool_],
    grid: Grid | Frame,
    profile: Profile,
    *,
    offset_zyx: tuple[int, int, int] = (0, 0, 0),
    intensity: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Features by their PyRadiomics name; NaN where the library gives none.

    Parameters
    ----------
    values_zyx: (z, y, x) intensities, of any type: they are used as float64, since resampling an integer image
        truncates towards zero. The whole image, or the part of it that begins at `offset_zyx`; it should then reach
        `SPLINE_MARGIN_VOXELS` and the profile's `padDistance` beyond the structure.
    mask_zyx: (z, y, x) the structure, on the same voxels as `values_zyx`.
    grid: geometry of the whole image.
    intensity: mean and standard deviation of the whole image, for profiles that normalise; by default those of
        `values_zyx`.

    Raises
    ------
    NoFeatures: the mask cannot be used.
    ValueError: shapes that differ, or a part that leaves the image.
    """
    if values_zyx.shape != mask_zyx.shape or values_zyx.ndim != 3:
        raise ValueError(f"image {values_zyx.shape} and mask {mask_zyx.shape}; need one shape (z, y, x)")
    frame = _frame(grid)
    if any(o < 0 or o + n > whole for o, n, whole in zip(offset_zyx, mask_zyx.shape, frame.shape_zyx, strict=True)):
        raise ValueError(f"part {mask_zyx.shape} at {offset_zyx} leaves the image {frame.shape_zyx}")
    box = _box(mask_zyx)
    if profile.normalises and intensity is None:
        intensity = whole_intensity(values_zyx)
    part = _Part(values_zyx, mask_zyx, frame, offset_zyx, box, profile, intensity)
    try:
        return _library(*part.prepared(SPLINE_MARGIN_VOXELS), profile, refuse_ties=part.is_cropped)
    except _AtBinEdge:
        # in a flat region, or where the grids coincide, every value is such a tie: then as the library does it
        return _library(*part.prepared(max(frame.size_xyz)), profile, refuse_ties=False)


def whole_intensity(values_zyx: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of an image, as `sitk.Normalize` takes them."""
    values = np.asarray(values_zyx, dtype=np.float64)
    return float(values.mean()), float(values.std(ddof=1))


def _frame(grid: Grid | Frame) -> Frame:
    if isinstance(grid, Frame):
        return grid
    try:
        return Frame.of_grid(grid)
    except ValueError as error:
        raise NoFeatures("single_plane", str(error)) from None


def _box(mask_zyx: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    filled = [np.flatnonzero(mask_zyx.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    if not len(filled[0]):
        raise NoFeatures("empty", "no voxel of the image lies in the structure")
    z, y, x = (slice(int(f[0]), int(f[-1]) + 1) for f in filled)
    return z, y, x


class _Part:
    """A structure and its surroundings, resampled as a profile wants it."""

    def __init__(
        self,
        values_zyx: NDArray[Any],
        mask_zyx: NDArray[np.bool_],
        frame: Frame,
        offset_zyx: tuple[int, int, int],
        box: tuple[slice, slice, slice],
        profile: Profile,
        intensity: tuple[float, float] | None,
    ) -> None:
        self._values, self._mask, self._frame, self._offset = values_zyx, mask_zyx, frame, offset_zyx
        self._box, self._settings, self._intensity = box, profile.settings, intensity
        self._first_xyz = np.array([o + s.start for o, s in zip(offset_zyx, box, strict=True)][::-1])
        self._size_xyz = np.array([s.stop - s.start for s in box][::-1])
        self.is_cropped = False
        """whether `prepared` resampled from less than there is"""

    def prepared(self, margin_voxels: int) -> tuple[sitk.Image, sitk.Image]:
        """Image and mask (1 inside) as the library's loading step leaves them.

        The image is resampled from the voxels within a margin around what is needed.
        """
        self.is_cropped = False
        resamples = self._settings.get("resampledPixelSpacing") is not None
        if not (resamples and self._settings.get("interpolator", "sitkBSpline") is not None):
            return self._unresampled(bool(self._settings.get("preCrop", False)))
        lattice = resampling_lattice(self._frame, self._first_xyz, self._size_xyz, self._settings)
        if lattice is None:
            return self._unresampled(crop=True)
        whole_mask = np.zeros(self._frame.shape_zyx, np.uint8)
        at = tuple(slice(o + s.start, o + s.stop) for o, s in zip(self._offset, self._box, strict=True))
        whole_mask[at] = self._mask[self._box]
        whole = self._frame.image(whole_mask)
        resample = lattice.resampler(self._frame, whole)
        resample.SetInterpolator(sitk.sitkNearestNeighbor)
        mask = resample.Execute(whole)
        image = self._cut(lattice.reach_zyx(self._frame, margin_voxels))
        interpolator = self._settings.get("interpolator", "sitkBSpline")
        resample.SetInterpolator(getattr(sitk, interpolator) if isinstance(interpolator, str) else interpolator)
        return resample.Execute(image), mask

    def _unresampled(self, crop: bool) -> tuple[sitk.Image, sitk.Image]:
        pad = self._settings.get("padDistance", 5) if crop else max(self._frame.size_xyz)
        reach = [
            slice(max(0, f - pad), min(whole, f + n + pad))
            for f, n, whole in zip(self._first_xyz, self._size_xyz, self._frame.size_xyz, strict=True)
        ][::-1]
        image = self._cut((reach[0], reach[1], reach[2]))
        self.is_cropped = False  # the library cuts alike, and nothing is interpolated
        own = self._own((reach[0], reach[1], reach[2]))
        mask = sitk.GetImageFromArray(self._mask[own].astype(np.uint8))
        mask.CopyInformation(image)
        return image, mask

    def _own(self, reach: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
        """Voxels of the whole image as an index of the given part, without what the part lacks."""
        z, y, x = (
            slice(max(0, r.start - o), min(n, r.stop - o))
            for r, o, n in zip(reach, self._offset, self._mask.shape, strict=True)
        )
        return z, y, x

    def _cut(self, reach: tuple[slice, slice, slice]) -> sitk.Image:
        own = self._own(reach)
        values = np.ascontiguousarray(self._values[own], dtype=np.float64)
        self.is_cropped = values.shape != self._values.shape
        if self._intensity is not None:
            values = self._normalised(values, *self._intensity)
        z, y, x = (o + s.start for o, s in zip(self._offset, own, strict=True))
        return self._frame.image(values, (z, y, x))

    def _normalised(self, values: NDArray[np.float64], mean: float, deviation: float) -> NDArray[np.float64]:
        if deviation == 0:
            raise NoFeatures("flat_image", "the image has one value; there is nothing to normalise by")
        values = (values - mean) * (1.0 / deviation)
        limit = self._settings.get("removeOutliers")
        if limit is not None:
            values = np.clip(values, -limit, limit)
        return values * float(self._settings.get("normalizeScale", 1))


def _library(image: sitk.Image, mask: sitk.Image, profile: Profile, *, refuse_ties: bool) -> dict[str, float]:
    inside = sitk.GetArrayViewFromImage(mask) == 1
    _check(inside, profile.settings)
    if profile.settings.get("resegmentRange") is not None:
        _check(_resegmented(image, mask, profile.settings), profile.settings)
    with np.errstate(divide="ignore", invalid="ignore"):  # features that do not exist for a mask are NaN
        found = _Extractor(image, mask, profile, refuse_ties).execute(None, None)
    return {name: float(np.asarray(value).reshape(-1)[0]) for name, value in found.items()}


def _resegmented(image: sitk.Image, mask: sitk.Image, settings: dict[str, Any]) -> NDArray[np.bool_]:
    """Voxels of a mask within `resegmentRange`, as the library finds them."""
    try:
        kept = imageoperations.resegmentMask(image, mask, **settings | {"label": 1})
    except ValueError:
        raise NoFeatures("too_small", f"none or one voxel within {settings['resegmentRange']}") from None
    return np.asarray(sitk.GetArrayViewFromImage(kept) == 1)


def _check(inside: NDArray[np.bool_], settings: dict[str, Any]) -> None:
    """The library's conditions on a mask (`radiomics.imageoperations.checkMask`), as statuses."""
    voxels = int(np.count_nonzero(inside))
    if voxels == 0:
        raise NoFeatures("too_small", "no voxel is left after resampling")
    dimensions = sum(int(np.ptp(np.flatnonzero(inside.any(axis=o))) > 0) for o in ((1, 2), (0, 2), (0, 1)))
    least = settings.get("minimumROIDimensions", 2)
    if dimensions < max(1, least):
        raise NoFeatures("one_dimensional", f"extends in {dimensions} directions; need {max(1, least)}")
    smallest = settings.get("minimumROISize")
    if smallest is not None and voxels <= smallest:
        raise NoFeatures("too_small", f"{voxels} voxels after resampling; need more than {smallest}")


class _Extractor(RadiomicsFeatureExtractor):
    """The library from behind its loading step: image and mask are given resampled and cut."""

    def __init__(self, image: sitk.Image, mask: sitk.Image, profile: Profile, refuse_ties: bool) -> None:
        super().__init__(additionalInfo=False)
        self.settings.update(profile.settings, label=1, additionalInfo=False)
        self.enabledImagetypes = {name: dict(values) for name, values in profile.image_types.items()}
        self.enabledFeatures = {name: list(features) for name, features in profile.feature_classes.items()}
        self._setTolerance()
        self._image, self._mask, self._refuse_ties = image, sitk.Cast(mask, sitk.sitkUInt32), refuse_ties

    def loadImage(self, *_: Any, **__: Any) -> tuple[sitk.Image, sitk.Image]:  # noqa: N802 - the library's name
        """What would be read from files."""
        return self._image, self._mask

    def computeFeatures(  # noqa: N802 - the library's name
        self,
        image: sitk.Image,
        mask: sitk.Image,
        imageTypeName: str,  # noqa: N803 - the library's name
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Features of one filtered image."""
        # the Laplacian of Gaussian comes in single precision, in which both routes round to one value
        if self._refuse_ties and image.GetPixelID() == sitk.sitkFloat64:
            values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(mask) == 1]
            scale = float(np.abs(sitk.GetArrayViewFromImage(self._image)).max())
            if _has_ties(values, scale * TIE_RELATIVE, kwargs):
                raise _AtBinEdge
        features: dict[str, Any] = super().computeFeatures(image, mask, imageTypeName, **kwargs)
        return features


def _has_ties(values: NDArray[np.float64], tolerance: float, settings: dict[str, Any]) -> bool:
    """Whether the bin of a value, by `radiomics.imageoperations.getBinEdges`, hangs on less than the tolerance."""
    if settings.get("binCount") is not None:
        edges = np.asarray(imageoperations.getBinEdges(values, **settings))[
            1:-1
        ]  # the ends are the extremes themselves
        if not len(edges):
            return False
        right = np.clip(np.searchsorted(edges, values), 1, len(edges) - 1) if len(edges) > 1 else np.zeros(1, int)
        nearest = np.minimum(np.abs(values - edges[right]), np.abs(values - edges[right - 1]))
        return bool(nearest.min() <= tolerance)
    width = settings.get("binWidth", 25)
    return bool(np.abs(values - width * np.round(values / width)).min() <= tolerance)
