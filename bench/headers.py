"""How fast the scan reads headers, against a plain read of the same bytes.

    python -m bench.headers                    2,000 generated CT slices of 64 x 64 pixels, 120 elements each
    python -m bench.headers --source DIR       an export of yours
    python -m bench.headers --workers 1 2 4    processes to compare

Each line is the best of `--repeats` runs with warm file caches, so it tells the cost of the program, not of the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from rtpipeline.dicom.row import CONTENT_KINDS
from rtpipeline.dicom.scan import ScanResult, scan
from rtpipeline.dicom.window import FIRST_READ_BYTES

SLICES = 2000
FILLERS = 80
"""Public elements besides those the index uses, so that a header is as long as those of scanners."""


def write_slices(folder: Path, count: int) -> None:
    """CT slices of one series, as files below `folder`."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.Modality, ds.PatientName, ds.PatientID, ds.StudyDate = "CT", "Bench^Mark", "B1", "20240101"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
    ds.ImageType, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "Maker"
    ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [0.9765625, 0.9765625], "3"
    ds.Rows = ds.Columns = 64
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.RescaleIntercept, ds.RescaleSlope = "-1024", "1"
    for number in range(FILLERS):
        ds.add_new(0x00189000 + number, "LO", f"value {number}")
    ds.PixelData = bytes(2 * 64 * 64)
    for number in range(count):
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID(f"2.25.2.{number + 1}")
        ds.InstanceNumber = number + 1
        ds.ImagePositionPatient = [-250, -250, 3 * number]
        ds.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)


def read_plainly(folder: Path, result: ScanResult) -> int:
    """Reads the bytes that the scan reads: the first block of a file with an image, the whole of any other."""
    whole = {path for path, kind in zip(*_columns(result, "path", "kind"), strict=True) if kind in CONTENT_KINDS}
    archives = {path for path, member in zip(*_columns(result, "path", "member"), strict=True) if member}
    total = 0
    for path in sorted(set(_columns(result, "path")[0])):
        with (folder / path).open("rb", buffering=0) as file:
            total += len(file.readall() if path in whole or path in archives else file.read(FIRST_READ_BYTES) or b"")
    return total


def read_with_pydicom(folder: Path, result: ScanResult) -> int:
    """Headers of the plain files by `dcmread`, as a reference."""
    count = 0
    for path, member in zip(*_columns(result, "path", "member"), strict=True):
        if not member:
            count += sum(1 for _ in dcmread(folder / path, stop_before_pixels=True, force=True).elements())
    return count


def _columns(result: ScanResult, *names: str) -> list[list[str]]:
    return [result.table[name].to_pylist() for name in names]


def best_s(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of the fastest run; CPU of this process only."""
    times = []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - start, time.process_time() - start_cpu))
    return min(times)


def measure(folder: Path, workers: list[int], repeats: int) -> None:
    """Prints the table for one folder."""
    result = scan([folder], workers=1, secret=b"bench")
    objects = result.table.num_rows
    print(f"{result.counts['files']} files, {objects} objects, {result.counts['bytes'] / 1e6:.1f} MB on disk")
    print(f"{'':34}{'seconds':>10}{'CPU s':>10}{'objects/s':>12}{'us/object':>12}")
    lines: dict[str, Callable[[], object]] = {
        "plain read of the same bytes": partial(read_plainly, folder, result),
        "pydicom, elements not decoded": partial(read_with_pydicom, folder, result),
    }
    for count in workers:
        name = "scan in this process" if count == 1 else f"scan, {count} processes"
        lines[name] = partial(scan, [folder], workers=count, secret=b"bench")
    for name, work in lines.items():
        seconds, cpu_s = best_s(work, repeats)
        print(f"{name:34}{seconds:10.3f}{cpu_s:10.3f}{objects / seconds:12.0f}{seconds / max(objects, 1) * 1e6:12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder with an export; generated slices by default")
    parser.add_argument("--slices", type=int, default=SLICES, help="number of generated slices (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each line (%(default)s)")
    arguments = parser.parse_args()
    if arguments.source:
        measure(arguments.source, arguments.workers, arguments.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_slices(Path(folder), arguments.slices)
        measure(Path(folder), arguments.workers, arguments.repeats)


if __name__ == "__main__":
    main()
