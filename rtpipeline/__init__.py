"""RTpipeline turns a hospital's DICOM-RT exports into research tables. For research, not for treatment decisions."""

__version__ = "0.1.0"
