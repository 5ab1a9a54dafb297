"""Reading DICOM: one pass over an export, headers, references, RT objects."""
