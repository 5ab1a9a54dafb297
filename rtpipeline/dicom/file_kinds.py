"""What a file is that is no DICOM object, by its first bytes."""

from __future__ import annotations

_FILE_KINDS = (
    (b"%PDF", "PDF"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "bitmap"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"PK\3\4", "office document"),
    (b"\xd0\xcf\x11\xe0", "office document or thumbnails"),
    (b"\0\5\x16\7", "macOS resource fork"),
    (b"\0\0\0\1Bud1", "macOS folder settings"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"NRRD", "NRRD"),
    (b"SQLite format 3", "SQLite"),
    (b"\x89HDF", "HDF5"),
)


def kind_of_file(head: bytes) -> str:
    """What a file that is no DICOM object is, by its first bytes."""
    if not head:
        return "empty"
    for magic, kind in _FILE_KINDS:
        if head.startswith(magic):
            return kind
    start = head[:128]
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" or byte >= 0x80 for byte in start)
    return "text" if printable == len(start) else "other"
