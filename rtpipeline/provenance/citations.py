"""References that the methods text cites: standards, reports and software."""

from __future__ import annotations

CITATIONS: dict[str, str] = {
    "dicom": "National Electrical Manufacturers Association. NEMA PS3 / ISO 12052, Digital Imaging and "
    "Communications in Medicine (DICOM) Standard. Rosslyn, VA, USA.",
    "pydicom": "Mason D. pydicom: An open source DICOM library. Med Phys 2011;38:3493. doi:10.1118/1.3611983",
    "numpy": "Harris CR, Millman KJ, van der Walt SJ, et al. Array programming with NumPy. Nature "
    "2020;585:357-362. doi:10.1038/s41586-020-2649-2",
    "scipy": "Virtanen P, Gommers R, Oliphant TE, et al. SciPy 1.0: fundamental algorithms for "
    "scientific computing in Python. Nat Methods 2020;17:261-272. doi:10.1038/s41592-019-0686-2",
    "numba": "Lam SK, Pitrou A, Seibert S. Numba: a LLVM-based Python JIT compiler. Proc. LLVM-HPC 2015."
    " doi:10.1145/2833157.2833162",
    "pandas": "McKinney W. Data structures for statistical computing in Python. Proc. 9th Python in "
    "Science Conf. 2010:56-61. doi:10.25080/Majora-92bf1922-00a",
    "SimpleITK": "Lowekamp BC, Chen DT, Ibáñez L, Blezek D. The design of SimpleITK. Front Neuroinform "
    "2013;7:45. doi:10.3389/fninf.2013.00045",
    "nelms": "Nelms B, Stambaugh C, Hunt D, et al. Methods, software and datasets to verify DVH "
    "calculations against analytical values: Twenty years late(r). Med Phys 2015;42:4435-4448. "
    "doi:10.1118/1.4923175",
    "icru83": "International Commission on Radiation Units and Measurements. ICRU Report 83: Prescribing,"
    " recording, and reporting photon-beam intensity-modulated radiation therapy (IMRT). J ICRU"
    " 2010;10(1).",
    "paddick_ci": "Paddick I. A simple scoring ratio to index the conformity of radiosurgical treatment "
    "plans. J Neurosurg 2000;93(Suppl 3):219-222. doi:10.3171/jns.2000.93.supplement_3.0219",
    "paddick_gi": "Paddick I, Lippitz B. A simple dose gradient measurement tool to complement the conformity"
    " index. J Neurosurg 2006;105(Suppl):194-201. doi:10.3171/sup.2006.105.7.194",
    "fowler": "Fowler JF. The linear-quadratic formula and progress in fractionated radiotherapy. Br J Radiol"
    " 1989;62:679-694. doi:10.1259/0007-1285-62-740-679",
    "withers": "Withers HR, Thames HD, Peters LJ. A new isoeffect curve for change in dose per fraction. "
    "Radiother Oncol 1983;1:187-191. doi:10.1016/S0167-8140(83)80021-8",
    "niemierko": "Niemierko A. A generalized concept of equivalent uniform dose (EUD). Med Phys 1999;26:1100.",
    "TotalSegmentator": "Wasserthal J, Breit HC, Meyer MT, et al. TotalSegmentator: Robust segmentation of 104 "
    "anatomic structures in CT images. Radiol Artif Intell 2023;5:e230024. "
    "doi:10.1148/ryai.230024",
    "nnunetv2": "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring "
    "method for deep learning-based biomedical image segmentation. Nat Methods 2021;18:203-211."
    " doi:10.1038/s41592-020-01008-z",
    "pyradiomics": "van Griethuysen JJM, Fedorov A, Parmar C, et al. Computational radiomics system to decode "
    "the radiographic phenotype. Cancer Res 2017;77:e104-e107. "
    "doi:10.1158/0008-5472.CAN-17-0339",
    "ibsi": "Zwanenburg A, Vallières M, Abdalah MA, et al. The Image Biomarker Standardization "
    "Initiative. Radiology 2020;295:328-338. doi:10.1148/radiol.2020191145",
    "perturbation": "Zwanenburg A, Leger S, Agolli L, et al. Assessing robustness of radiomic features by image "
    "perturbation. Sci Rep 2019;9:614. doi:10.1038/s41598-018-36938-4",
    "icc": "Koo TK, Li MY. A guideline of selecting and reporting intraclass correlation coefficients "
    "for reliability research. J Chiropr Med 2016;15:155-163. doi:10.1016/j.jcm.2016.02.012",
}
"""By the name that the text uses."""


class Bibliography:
    """Numbers references in the order in which the text cites them."""

    def __init__(self) -> None:
        self._cited: list[str] = []

    def cite(self, *names: str) -> str:
        """Numbers of the references in brackets, such as `[1, 2]`."""
        for name in names:
            if name not in CITATIONS:
                raise KeyError(name)
            if name not in self._cited:
                self._cited.append(name)
        return "[" + ", ".join(str(self._cited.index(n) + 1) for n in names) + "]"

    def lines(self) -> list[str]:
        """The list of references, numbered."""
        return [f"{number}. {CITATIONS[name]}" for number, name in enumerate(self._cited, start=1)]
