"""Rows of `dvh_metrics` and `dvh_curves`: one structure in one dose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rtpipeline import __version__
from rtpipeline.config import DvhConfig
from rtpipeline.contracts.findings import Finding, finding
from rtpipeline.contracts.tables import STRUCTURE_KEYS
from rtpipeline.dvh.biology import Biological
from rtpipeline.dvh.course_doses import CourseBiology, CourseDose
from rtpipeline.dvh.curve import Dvh
from rtpipeline.dvh.declared import AlphaBeta, Declarations
from rtpipeline.dvh.dose_links import DoseLink, registrations
from rtpipeline.dvh.engine import compute_dvh
from rtpipeline.dvh.evaluation import Histograms
from rtpipeline.dvh.fractionation import OK
from rtpipeline.dvh.metrics import biological_metrics, conformity, dose_status, dvh_metrics, overshoots
from rtpipeline.dvh.prescription import Prescription
from rtpipeline.geometry.solid import PrismSolid

RX_MISMATCH = 0.15
"""Share of the prescription by which the D95 of its target may differ before somebody should look."""


@dataclass
class StructureInDose:
    """row: of `dvh_metrics`. curve: of `dvh_curves`, None without a histogram."""

    row: dict[str, Any]
    histograms: Histograms
    curve: dict[str, Any] | None = None
    findings: list[Finding] = field(default_factory=list)


def label(structure: Mapping[str, Any]) -> str:
    """How findings name a structure: by its number where a structure set has one."""
    if structure["structure_source"] == "manual":
        return f"{structure['structure_set_id']} ROI {structure['roi_number']} '{structure['structure_name']}'"
    return str(structure["structure_id"])


@dataclass
class RowMaker:
    """Makes the rows of a course."""

    settings: DvhConfig
    stage_key: str
    declared: Declarations
    biology: CourseBiology
    _lost: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """structures with an alpha/beta and no EQD2, by dose and status"""
    _overshot: dict[str, dict[str, float]] = field(default_factory=dict)
    """maxima in Gy by structure that lie far above that of the grid, by dose"""

    def make(
        self, structure: Mapping[str, Any], dose: CourseDose, link: DoseLink, solid: PrismSolid | None, rx: Prescription
    ) -> StructureInDose:
        """One structure in one dose; the solid in the dose's frame of reference."""
        keys = {c.name: structure[c.name] for c in STRUCTURE_KEYS} | {"dose_id": dose.dose_id}
        provenance = {"stage_key": self.stage_key, "rtpipeline_version": __version__}
        alpha_beta = self.declared.alpha_beta(structure, dose.facts["plan_ids"])
        exponent = self.declared.exponent(structure)
        row: dict[str, Any] = keys | {
            "roi_type": structure["roi_type"],
            "dose_status": "no_volume",
            "volume_cc": structure["volume_cc"],
            "rx_gy": rx.rx_gy,
            "prescription_source": rx.source,
            "geud_a": exponent,
            "alpha_beta_gy": alpha_beta.value_gy,
            "alpha_beta_source": alpha_beta.source,
            "eqd2_status": None if alpha_beta == AlphaBeta() else "no_volume",
            "dose_basis": dose.facts["dose_basis"],
            "dose_type": dose.facts["dose_type"],
            "dose_link": link.rule,
            "dose_registrations": registrations(dose.facts, link),
            **provenance,
        }
        limit = self.settings.coverage_limit_pct
        if solid is None or not solid.volume_cc:
            return StructureInDose(row, Histograms(None, limit, rx.rx_gy, exponent))
        dvh = compute_dvh(solid, dose.volume, interpolation=self.settings.dose_interpolation)
        row |= self._numbers(dvh, dose, rx.rx_gy, exponent)
        row["dose_overshoot"] = overshoots(dvh, dose.volume)
        if dvh.dmax_gy is not None and row["dose_overshoot"]:
            self._overshot.setdefault(dose.dose_id, {})[label(structure)] = dvh.dmax_gy
        status, biological = self._biological(dose, solid, dvh, alpha_beta)
        if biological is not None and status == OK:
            row["eqd2_fractions"] = self.biology.fractionation(dose).fractions
            for quantity in ("eqd2", "bed"):
                row |= biological_metrics(
                    quantity, getattr(biological, quantity), d_pct=self.settings.d_pct, d_cc=self.settings.d_cc,
                    geud_a=exponent,
                )  # fmt: skip
        elif status not in ("", "low_coverage", "outside_grid"):
            self._lost.setdefault((dose.dose_id, status), []).append(str(structure["structure_name"]))
        row["eqd2_status"] = status or None
        made = StructureInDose(row, Histograms(dvh, limit, rx.rx_gy, exponent, biological, status, row))
        made.findings = self._findings(dvh, row, dose, label(structure))
        if row["dose_status"] == "ok":  # the numbers are whole; what they are a dose of is the other half of the status
            row["dose_status"] = dose.facts["dose_status"]
        if dvh.coverage_pct > 0:
            dose_gy, volume_cc = dvh.compact_curve(self.settings.curve_step_gy)
            made.curve = {
                **keys, "dose_gy": dose_gy.tolist(), "cumulative_volume_cc": volume_cc.tolist(), **provenance
            }  # fmt: skip
        return made

    def _numbers(self, dvh: Dvh, dose: CourseDose, rx_gy: float | None, exponent: float | None) -> dict[str, Any]:
        settings, limit = self.settings, self.settings.coverage_limit_pct
        metrics = dvh_metrics(
            dvh,
            d_pct=settings.d_pct,
            d_cc=settings.d_cc,
            v_gy=settings.v_gy,
            v_rx_pct=settings.v_rx_pct,
            rx_gy=rx_gy,
            coverage_limit_pct=limit,
        )
        if rx_gy:
            metrics |= conformity(dvh, dose.volume, rx_gy, coverage_limit_pct=limit)
        is_physical = dvh.dmin_gy is not None and dvh.dmin_gy >= 0.0 and dvh.coverage_pct >= limit
        return {
            **metrics,
            "geud_gy": dvh.geud_gy(exponent) if exponent is not None and is_physical else None,
            "dose_status": dose_status(dvh, coverage_limit_pct=limit),
            "volume_cc": dvh.volume_cc,
            "dose_coverage_pct": dvh.coverage_pct,
            "sampling_mm": dvh.sampling_mm,
            "end_cap": dvh.end_cap,
            "dose_interpolation": dvh.interpolation,
        }

    def _biological(
        self, dose: CourseDose, solid: PrismSolid, dvh: Dvh, alpha_beta: AlphaBeta
    ) -> tuple[str, Biological | None]:
        """Status and histograms; ('', None) where no alpha/beta is declared."""
        if alpha_beta.contradicts:
            return "alpha_beta_contradicts", None
        if alpha_beta.value_gy is None:
            return "", None
        covered = dose_status(dvh, coverage_limit_pct=self.settings.coverage_limit_pct)
        if covered != OK:
            return covered, None
        status, biological = self.biology.histograms(dose, solid, dvh, alpha_beta.value_gy)
        if biological is not None:
            status = dose_status(biological.eqd2, coverage_limit_pct=self.settings.coverage_limit_pct)
        return status, biological if status == OK else None

    def _findings(self, dvh: Dvh, row: Mapping[str, Any], dose: CourseDose, name: str) -> list[Finding]:
        if row["dose_status"] == "ok":
            return rx_findings(dvh, row["rx_gy"], f"{dose.dose_id} {name}")
        measured = f"{dvh.coverage_pct:.2f} % of {dvh.volume_cc:.2f} cc inside the dose grid of {dose.dose_id}"
        expected = f"at least {self.settings.coverage_limit_pct:g} %"
        return [finding("DOSE_GRID_COVERAGE", name, measured, expected=expected)]

    def findings_of_doses(self) -> list[Finding]:
        """EQD2_NOT_COMPUTED for each dose and reason, and DOSE_OVERSHOOT for each dose, with their structures."""
        found = [
            finding("EQD2_NOT_COMPUTED", dose_id, f"{status}: {', '.join(sorted(set(names)))}")
            for (dose_id, status), names in sorted(self._lost.items())
        ]
        grid_gy = {d.dose_id: d.volume.extremes_gy[1] for d in self.biology.doses if d.dose_id in self._overshot}
        for dose_id, maxima in sorted(self._overshot.items()):
            measured = f"{max(maxima.values()):.2f} Gy in {', '.join(sorted(maxima))}; "
            found.append(
                finding("DOSE_OVERSHOOT", dose_id, measured + f"maximum of the grid {grid_gy[dose_id]:.2f} Gy")
            )
        return found


def rx_findings(dvh: Dvh, rx_gy: float | None, name: str) -> list[Finding]:
    """COURSE_IMPLAUSIBLE where a target did not get what is said to be prescribed to it."""
    d95_gy = dvh.dose_at_volume_pct(95.0)
    if rx_gy is None or d95_gy is None or abs(d95_gy - rx_gy) <= RX_MISMATCH * rx_gy:
        return []
    measured = f"D95 {d95_gy:.2f} Gy, prescription {rx_gy:.2f} Gy"
    return [finding("COURSE_IMPLAUSIBLE", name, measured, expected=f"within {100 * RX_MISMATCH:.0f} %")]
