"""Which target names follow the rule of AAPM Report 263 (section on target structures). They are kept as they are.

TYPE [classifier] [number] [_imaging] [_structure] [_dose] [-cropped mm]: GTV, CTVp1, PTVn2, PTV_High, PTV_5040,
PTV_Liver_20Gyx3, PTVp1_CT1PT1, PTV_Eval_7000-08.
"""

from __future__ import annotations

import re

from rtpipeline.nomenclature.tg263 import nomenclature

_TARGET = re.compile(
    r"(?:IGTV|ICTV|ITV|GTV|CTV|PTV!?)"
    r"(?:n|p|sb|par|vas|v)?"  # nodal, primary, surgical bed, parenchyma, vascular, venous thrombosis
    r"(?:[1-9]\d?)?"
    r"(?:_(?P<imaging>(?:(?:CT|PT|MR|SP)\d{1,2})+))?"
    r"(?:_(?P<structure>[A-Z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*?))??"  # lazy, so that High is a dose
    r"(?:_(?P<dose>High|Low|Mid(?:\d\d)?|\d{3,5}(?:x\d{1,2})?|\d{1,2}(?:[.p]\d{1,2})?Gy(?:x\d{1,2})?))?"
    r"(?:-(?P<cropped_mm>\d\d))?"
)

_STAGES_OF_CARE = frozenset({"Boost", "Eval", "Preop", "Postop", "SurgicalBed"})


def is_target(name: str) -> bool:
    """Whether a name follows the rule for targets: its type, and behind it only what the rule allows."""
    found = _TARGET.fullmatch(name)
    if found is None:
        return False
    structure = found["structure"]
    return structure is None or structure in _STAGES_OF_CARE or structure in nomenclature().names
