"""How long the DVH of 40 structures takes, files included. Run: python bench/dvh_speed.py

Writes an RTSTRUCT (a body outline and 39 ellipsoids of 2 to 900 cc, contoured on the 3 mm slices of a CT of
512x512x150, a point every 1.2 mm) and an RTDOSE on a 2.5 mm grid, then works on them in fresh processes of one thread:
`rtpipeline dvh` as a user calls it, and the same in steps. Modules are compiled and kernels packed before, as `make
setup` leaves them. Seconds are CPU seconds, user and system, of the best of three. Goal: 1.0 (measured elsewhere with
files included: plastimatch 6.6, dicompyler 18, pyCERR 24, platipy 122).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTDoseStorage, RTStructureSetStorage, generate_uid

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3
SLICES_MM = (np.arange(150) - 74.5) * 3.0
CT_SLICE = pydicom.uid.CTImageStorage
SOLIDS = (("prism", "linear"), ("prism", "cubic"), ("shape", "linear"), ("shape", "cubic"))


def structure_set() -> list[list[np.ndarray]]:
    """40 ellipsoids of 2 to 900 cc and one body outline, contoured on 3 mm slices with a point every 1.2 mm."""
    rng = np.random.default_rng(20240607)
    structures = []
    for number in range(40):
        if number == 0:
            centre, half = np.zeros(3), np.array([185.0, 115.0, 400.0])
        else:
            centre, half = rng.uniform(-80, 80, 3) * [1, 0.6, 2], np.exp(rng.uniform(np.log(8), np.log(60), 3))
        rings = []
        for height in SLICES_MM[np.abs(SLICES_MM - centre[2]) < half[2]]:
            scale = np.sqrt(1.0 - ((height - centre[2]) / half[2]) ** 2)
            n = max(12, int(2.0 * np.pi * scale * np.hypot(half[0], half[1]) / np.sqrt(2.0) / 1.2))
            angle = np.linspace(0.0, 2.0 * np.pi, n, endpoint=False)
            xy = np.round(centre[:2] + scale * half[:2] * np.c_[np.cos(angle), np.sin(angle)], 2)
            rings.append(np.c_[xy, np.full(n, height)])
        structures.append(rings)
    return structures


def pelvis_dose_gy() -> np.ndarray:
    """(190, 100, 160): a rounded target dose of 60 Gy with a bath around it, on a 2.5 mm grid."""
    z, y, x = np.meshgrid(*[(np.arange(n) - 0.5 * n) * 2.5 for n in (190, 100, 160)], indexing="ij", sparse=True)
    return np.asarray(60.0 / (1.0 + ((x / 70) ** 2 + (y / 60) ** 2 + (z / 80) ** 2) ** 2))


def _uid(*parts: object) -> str:
    return generate_uid(entropy_srcs=["dvh speed", *map(str, parts)])


def _object(sop_class: str, modality: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, _uid(modality), modality
    ds.PatientID = ds.PatientName = "BENCH"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid("study"), _uid("series", modality)
    ds.FrameOfReferenceUID = _uid("frame")
    return ds


def write_structures(path: Path, structures: Sequence[Sequence[np.ndarray]]) -> None:
    ds = _object(RTStructureSetStorage, "RTSTRUCT")
    rois, contours, observations = [], [], []
    for number, rings in enumerate(structures, start=1):
        roi, content, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, f"S{number:02d}", "MANUAL"
        roi.ReferencedFrameOfReferenceUID = ds.FrameOfReferenceUID
        content.ReferencedROINumber, content.ROIDisplayColor = number, [255, 0, 0]
        content.ContourSequence = [_contour(ring) for ring in rings]
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN", ""
        rois.append(roi)
        contours.append(content)
        observations.append(observation)
    ds.StructureSetROISequence, ds.ROIContourSequence = rois, contours
    ds.RTROIObservationsSequence = observations
    ds.save_as(path, enforce_file_format=True)


def _contour(ring: np.ndarray) -> Dataset:
    contour, image = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CT_SLICE, _uid("slice", ring[0, 2])
    contour.ContourImageSequence = [image]
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(ring)
    contour.ContourData = [f"{v:.2f}" for v in ring.ravel()]
    return contour


def write_dose(path: Path, dose_gy: np.ndarray) -> None:
    ds = _object(RTDoseStorage, "RTDOSE")
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType, ds.DoseGridScaling = "GY", "PHYSICAL", "PLAN", "0.00001"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-199, -124, -236], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.GridFrameOffsetVector = [2.5, 2.5], (np.arange(len(dose_gy)) * 2.5).tolist()
    ds.NumberOfFrames, ds.Rows, ds.Columns = dose_gy.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 32
    ds.HighBit, ds.PixelRepresentation = 31, 0
    ds.PixelData = np.rint(dose_gy / 1e-5).astype("<u4").tobytes()
    ds.save_as(path, enforce_file_format=True)


STEPS = """
import json, sys, time
from pathlib import Path
from rtpipeline.execution.environment import limit_threads
limit_threads(1)
from rtpipeline.kernels import use_pack
use_pack()
from rtpipeline.dvh import loose
marks = [time.process_time()]
structures, volume = loose.read_structures(Path(sys.argv[1])), loose.read_dose(Path(sys.argv[2]))[1]
marks.append(time.process_time())
solids = [loose.solid_of(structures, roi, sys.argv[3]) for roi in structures.rois]
marks.append(time.process_time())
for solid in solids:
    loose.compute_dvh(solid, volume, interpolation=sys.argv[4])
marks.append(time.process_time())
seconds = [after - before for before, after in zip([0.0, *marks], marks)]
json.dump(dict(zip(("start", "read", "solids", "histograms"), seconds)), sys.stdout)
"""
"""What the command does, with the CPU seconds of each step; kernels are linked by the step that first needs them."""


def in_fresh_process(arguments: Sequence[object]) -> tuple[float, str]:
    """CPU seconds of `python ARGUMENTS` and what it wrote."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def best(arguments: Sequence[object]) -> tuple[float, str]:
    return min((in_fresh_process(arguments) for _ in range(REPEATS)), key=lambda found: found[0])


def main() -> None:
    in_fresh_process(["-m", "compileall", "-q", ROOT / "rtpipeline"])
    in_fresh_process(["-c", "from rtpipeline.dvh.warm import warm; warm()"])
    structures = structure_set()
    with tempfile.TemporaryDirectory() as scratch:
        rtstruct, rtdose = Path(scratch) / "rs.dcm", Path(scratch) / "rd.dcm"
        write_structures(rtstruct, structures)
        write_dose(rtdose, pelvis_dose_gy())
        points = sum(len(ring) for s in structures for ring in s)
        sizes = f"{rtstruct.stat().st_size / 1e6:.1f} and {rtdose.stat().st_size / 1e6:.1f} MB"
        print(f"{len(structures)} structures, {sum(map(len, structures))} contours, {points} points; files of {sizes}")
        print(f"rtpipeline --help: {best(['-m', 'rtpipeline', '--help'])[0]:.2f} CPU s")
        print(f"\n{'CPU s':16}{'command':>9}  of which {'start':>7}{'read':>7}{'solids':>8}{'histograms':>12}")
        for end_cap, interpolation in SOLIDS:
            options = ["--end-cap", end_cap, "--dose-interpolation", interpolation, "--json"]
            whole, _ = best(["-m", "rtpipeline", "dvh", rtstruct, rtdose, *options])
            _, text = best(["-c", STEPS, rtstruct, rtdose, end_cap, interpolation])
            s = json.loads(text)
            print(
                f"{end_cap + ' ' + interpolation:16}{whole:9.2f}  {'':8} {s['start']:7.2f}{s['read']:7.2f}"
                f"{s['solids']:8.2f}{s['histograms']:12.2f}"
            )


if __name__ == "__main__":
    main()
