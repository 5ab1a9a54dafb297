"""Every table of the results and every column in it, declared once. The data dictionary is generated from here.

snake_case, the unit last (`_gy`, `_cc`, `_pct`, `_mm`, `_s`, `_days`). Missing is null with a status, never 0 or -1.
Longer than other modules because it is one list: a column is looked up in one place.
"""

from __future__ import annotations

from rtpipeline.contracts.columns import Column, Pattern, Table

COHORT = Column("cohort", "string", "", "name of the cohort", nullable=False)
PATIENT = Column("patient_id", "string", "", "pseudonym of the patient: p and 10 hex", nullable=False)
COURSE = Column("course_id", "string", "", "pseudonym of the course: patient_id and -cNN", nullable=False)
IMAGE = Column("image_id", "string", "", "image within the course; null where the structure set has none")
MODALITY = Column("modality", "string", "", "CT, MR or PT, of the image")
SET = Column("structure_set_id", "string", "", "structure set within the course", nullable=False)
SOURCE = Column(
    "structure_source", "string", "", "manual, totalsegmentator, custom, derived or cropped", nullable=False
)
STRUCTURE = Column("structure_id", "string", "", "source, set and ROI number or label", nullable=False)
NAME = Column("structure_name", "string", "", "name as in the file", nullable=False)
NAME_TG263 = Column("structure_name_tg263", "string", "", "TG-263 name; null when not matched")
DOSE = Column("dose_id", "string", "", "dose within the course: plan-NN, total, dose-NN", nullable=False)
STAGE_KEY = Column("stage_key", "string", "", "key of the stage output that the row comes from", nullable=False)
VERSION = Column("rtpipeline_version", "string", "", "version that computed the row", nullable=False)

STRUCTURE_KEYS = (COHORT, PATIENT, COURSE, IMAGE, MODALITY, SET, SOURCE, STRUCTURE, NAME, NAME_TG263)
PROVENANCE = (STAGE_KEY, VERSION)

FINDINGS = Table(
    "findings",
    "what is wrong with the data, or was done about it; one row each",
    (),
    (
        COHORT,
        Column("code", "string", "", "code of the catalogue", nullable=False),
        Column("severity", "string", "", "E left out, W kept and flagged, I recorded", nullable=False),
        Column("scope", "string", "", "what it is about", nullable=False),
        Column("stage", "string", "", "stage that found it"),
        Column("patient_id", "string", "", "pseudonym, when it is about one patient"),
        Column("course_id", "string", "", "course, when it is about one"),
        Column("object", "string", "", "pseudonymous name of the object", nullable=False),
        Column("measured", "string", "", "what was found", nullable=False),
        Column("expected", "string", "", "what is needed", nullable=False),
        Column("action", "string", "", "what the pipeline did", nullable=False),
        Column("remedy", "string", "", "what the user can do", nullable=False),
    ),
)

COURSES = Table(
    "courses",
    "one row for each course, also for those without any result",
    ("cohort", "patient_id", "course_id"),
    (
        COHORT, PATIENT, COURSE,
        Column("course_order", "Int64", "", "rank by date within the patient"),
        Column("course_kind", "string", "", "planned, plan_only, structures_only, images_only, dose_only, structures_and_dose, other", nullable=False),
        Column("course_status", "string", "", "ok, excluded, failed, partial or missing", nullable=False),
        Column("excluded_by", "string", "", "finding codes joined with ;"),
        Column("findings_e", "Int64", "", "findings of severity E"),
        Column("findings_w", "Int64", "", "findings of severity W"),
        Column("findings_i", "Int64", "", "findings of severity I"),
        Column("images", "Int64", "", "image series"),
        Column("images_prepared", "Int64", "", "image series prepared"),
        Column("structure_sets", "Int64", "", "structure sets"),
        Column("structures", "Int64", "", "structures of every set"),
        Column("structures_with_volume", "Int64", "", "structures with a volume"),
        Column("plans", "Int64", "", "plans"),
        Column("plans_selected", "Int64", "", "plans whose dose gets rows"),
        Column("doses", "Int64", "", "dose objects"),
        Column("doses_used", "Int64", "", "doses of the tables"),
        Column("dvh_rows", "Int64", "", "rows in dvh_metrics"),
        Column("planning_image_id", "string", "", "image that the plan's structure set references"),
        Column("planning_modality", "string", "", "its modality"),
        Column("slices", "Int64", "", "its slices"),
        Column("slice_spacing_mm", "float64", "mm", "its nominal slice spacing"),
        Column("pixel_spacing_mm", "float64", "mm", "its row spacing"),
        Column("age_years", "Int64", "years", "at day 0, capped at 89"),
        Column("sex", "string", "", "M, F or O"),
        Column("scanner", "string", "", "manufacturer and model of the planning image"),
        Column("contrast", "boolean", "", "contrast agent stated"),
        Column("plan_class", "string", "", "photon, ion, brachy; joined with + when several"),
        Column("technique", "string", "", "techniques of the selected plans joined with +"),
        Column("energies", "string", "", "nominal beam energies joined with +"),
        Column("radiation_types", "string", "", "radiation types joined with +"),
        Column("beams", "Int64", "", "treatment beams, or application setups, of the selected plans"),
        Column("monitor_units", "float64", "MU", "meterset of the selected plans' fraction"),
        Column("approval_status", "string", "", "of the selected plans, joined with +"),
        Column("plan_intent", "string", "", "of the selected plans, joined with +"),
        Column("fractions_planned", "Int64", "", "of the selected plans; null when several fraction groups disagree"),
        Column("fractions_delivered", "Int64", "", "by treatment records"),
        Column("plan_rx_gy", "float64", "Gy", "prescription when one level is stated"),
        Column("plan_rx_levels_gy", "string", "Gy", "every stated target level joined with +"),
        Column("plan_rx_total_gy", "float64", "Gy", "sum over sequential plans when each states one level"),
        Column("beam_dose_total_gy", "float64", "Gy", "BeamDose x fractions; reported, never used as a prescription"),
        Column("course_total_status", "string", "", "ok, single_plan, ambiguous, partial, none"),
        *(Column(f"status_{s}", "string", "", f"how stage {s} ended for this course") for s in (
            "prepare_images", "prepare_rt", "segmentation", "custom_models", "structures", "dvh", "radiomics", "robustness", "qc")),
        Column("rtpipeline_version", "string", "", "version that wrote the row", nullable=False),
    ),
)  # fmt: skip

STRUCTURES = Table(
    "structures",
    "every structure of every source, also empty ones",
    ("cohort", "patient_id", "course_id", "structure_set_id", "structure_id"),
    (
        *STRUCTURE_KEYS,
        Column("tg263_evidence", "string", "", "what the TG-263 name rests on: mapping, exact, case, synonym, totalsegmentator or target; null when not matched"),
        Column("roi_number", "Int64", "", "ROINumber; null for structures that no structure set has"),
        Column("roi_type", "string", "", "RTROIInterpretedType"),
        Column("set_role", "string", "", "primary or other", nullable=False),
        Column("status", "string", "", "ok, empty, points_only, open_only, number_reused, nonplanar, degenerate, no_volume", nullable=False),
        Column("volume_cc", "float64", "cc", "volume of the solid"),
        Column("contours", "Int64", "", "closed contours used"),
        Column("planes", "Int64", "", "planes with contours"),
        Column("plane_spacing_mm", "float64", "mm", "nominal (median) spacing of its planes"),
        Column("gaps", "Int64", "", "gaps of more than 1.5 nominal spacings"),
        Column("components_z", "Int64", "", "pieces along the normal"),
        Column("centroid_x_mm", "float64", "mm", "patient left"),
        Column("centroid_y_mm", "float64", "mm", "patient posterior"),
        Column("centroid_z_mm", "float64", "mm", "patient superior"),
        Column("outside_image_pct", "float64", "%", "part of the volume outside the image; null without an image"),
        Column("end_cap", "string", "", "solid that volume and dose are those of: shape (interpolated between contours, capped) or prism (contours read literally; always that of voxels)"),
        Column("derived_from", "string", "", "of derived ones: name=structure_id of each source, joined with a semicolon; of cropped ones: the whole structure"),
        *PROVENANCE,
    ),
)  # fmt: skip

DVH_METRICS = Table(
    "dvh_metrics",
    "dose-volume metrics, one row for each structure and dose",
    ("cohort", "patient_id", "course_id", "structure_set_id", "structure_id", "dose_id"),
    (
        *STRUCTURE_KEYS, DOSE,
        Column("roi_type", "string", "", "RTROIInterpretedType"),
        Column("dose_status", "string", "", "ok; low_coverage, outside_grid, no_volume: numbers null; ambiguous, incomplete: what was delivered is not proved", nullable=False),
        Column("volume_cc", "float64", "cc", "volume of the solid"),
        Column("dose_coverage_pct", "float64", "%", "part of the volume where the dose is known"),
        Column("dmin_gy", "float64", "Gy", "minimum dose, surface included"),
        Column("dmax_gy", "float64", "Gy", "maximum dose, surface included; kept below the coverage limit"),
        Column("dmean_gy", "float64", "Gy", "mean dose"),
        Column("rx_gy", "float64", "Gy", "prescription of this structure"),
        Column("prescription_source", "string", "", "manifest, plan_roi, plan_single_level; null when unknown"),
        Column("hi_icru83", "float64", "", "(D2 - D98) / D50 (ICRU 83)"),
        Column("ci_paddick", "float64", "", "Paddick conformity index; null unless the isodose lies inside the grid"),
        Column("gi_paddick", "float64", "", "Paddick gradient index V50 / V100; null unless the isodose lies inside the grid"),
        Column("geud_a", "float64", "", "exponent of gEUD that is declared for this structure"),
        Column("geud_gy", "float64", "Gy", "generalised equivalent uniform dose (Niemierko 1999); null without an exponent"),
        Column("alpha_beta_gy", "float64", "Gy", "alpha/beta that is declared for this structure"),
        Column("alpha_beta_source", "string", "", "manifest or configuration; null where none is declared"),
        Column("eqd2_fractions", "float64", "", "fractions that this dose is given in, where EQD2 and BED are computed; over the plans of a total those of each, as delivered"),
        Column("eqd2_status", "string", "", "ok; no EQD2 and BED: effective_dose, dose_type_unknown, no_plan, plan_unknown, other_radiation, permanent_implant, not_acute, fractions_unknown, several_fraction_groups, concurrent_plans, part_without_dose, parts_differ, negative_dose, alpha_beta_contradicts, low_coverage, outside_grid, no_volume; null where no alpha/beta is declared"),
        Column("sampling_mm", "float64", "mm", "edge of the cells that the solid was sampled with"),
        Column("end_cap", "string", "", "solid that volume and dose are those of: shape (interpolated between contours, capped) or prism (contours read literally; always that of voxels)"),
        Column("dose_interpolation", "string", "", "dose between grid points"),
        Column("dose_overshoot", "boolean", "", "maximum above 1.1 times every value of the dose grid: look at the interpolation"),
        Column("dose_basis", "string", "", "what the dose is made of: plan, beam_sum, ...", nullable=False),
        Column("dose_type", "string", "", "PHYSICAL or EFFECTIVE"),
        Column("dose_link", "string", "", "rule that tied the dose to the structure set, or to its image (image_frame)"),
        Column("dose_registrations", "string", "", "registrations that brought the dose, or parts of it, into the frame of reference of the structure, joined with ;"),
        *PROVENANCE,
    ),
    (
        Pattern(r"d\d+(_\d+)?_gy", "float64", "Gy", "dose that covers this percentage of the volume"),
        Pattern(r"d\d+(_\d+)?cc_gy", "float64", "Gy", "dose that covers this volume; null for smaller structures"),
        Pattern(r"v\d+(_\d+)?gy_pct", "float64", "%", "volume that receives at least this dose"),
        Pattern(r"v\d+(_\d+)?gy_cc", "float64", "cc", "volume that receives at least this dose"),
        Pattern(r"v\d+(_\d+)?rx_pct", "float64", "%", "volume that receives at least this percentage of the prescription"),
        Pattern(r"eqd2_(dmin|dmax|dmean|geud|d\d+(_\d+)?|d\d+(_\d+)?cc)_gy", "float64", "Gy", "the same of the dose in 2 Gy fractions (EQD2), voxel by voxel with alpha_beta_gy"),
        Pattern(r"bed_(dmin|dmax|dmean|geud|d\d+(_\d+)?|d\d+(_\d+)?cc)_gy", "float64", "Gy", "the same of the biologically effective dose, voxel by voxel with alpha_beta_gy"),
    ),
)  # fmt: skip

DVH_CURVES = Table(
    "dvh_curves",
    "cumulative dose-volume curves, one row for each structure and dose",
    ("cohort", "patient_id", "course_id", "structure_set_id", "structure_id", "dose_id"),
    (
        *STRUCTURE_KEYS, DOSE,
        Column("dose_gy", "list<float64>", "Gy", "dose levels, ascending"),
        Column("cumulative_volume_cc", "list<float64>", "cc", "volume that receives at least the level, of the part where dose is known"),
        *PROVENANCE,
    ),
)  # fmt: skip

CONSTRAINTS = Table(
    "constraints",
    "dose constraints of the user's table, one row for each constraint, structure of its name and dose; one without structure where there is none",
    ("cohort", "patient_id", "course_id", "constraint", "structure_set_id", "structure_id", "dose_id"),
    (
        COHORT, PATIENT, COURSE,
        Column("constraint", "Int64", "", "its place in the table, from 1", nullable=False),
        Column("constraint_structure", "string", "", "structure that the table names, as in a file or of TG-263", nullable=False),
        *(Column(c.name, c.dtype, c.unit, c.meaning) for c in (IMAGE, MODALITY, SET, SOURCE, STRUCTURE, NAME, NAME_TG263, DOSE)),
        Column("metric", "string", "", "measure, named as in dvh_metrics; cv: volume that receives less", nullable=False),
        Column("limit", "string", "", "sign, value and unit", nullable=False),
        Column("limit_value", "float64", "", "in `limit_unit`", nullable=False),
        Column("limit_unit", "string", "", "Gy, %, cc, % of Rx (of this structure's prescription) or none"),
        Column("value", "float64", "", "of this structure in this dose, in `limit_unit`"),
        Column("result", "string", "", "pass, fail or not_evaluable", nullable=False),
        Column("reason", "string", "", "why it is not evaluable"),
        Column("dose_basis", "string", "", "what the dose is made of: plan, beam_sum, ..."),
        Column("dose_status", "string", "", "as in dvh_metrics"),
        *PROVENANCE,
    ),
)  # fmt: skip

FRACTIONS = Table(
    "fractions",
    "planned and delivered fractions, one row for each plan and fraction group, and one for each treatment record",
    (),
    (
        COHORT, PATIENT, COURSE,
        Column("plan_id", "string", "", "plan within the course"),
        Column("record_id", "string", "", "treatment record; null on rows of planned fractions"),
        Column("fraction_group", "Int64", "", "fraction group number"),
        Column("fraction_number", "Int64", "", "current fraction of the record"),
        Column("fractions_planned", "Int64", "", "of the fraction group"),
        Column("fractions_delivered", "Int64", "", "on rows of planned fractions: those that treatment records show to be delivered whole, each counted once; null without records, and where they contradict"),
        Column("fractions_stated", "Int64", "", "on rows of planned fractions: delivered fractions of the plan by the manifest"),
        Column("delivery_doubt", "string", "", "on rows of planned fractions: why the records may not count all that was delivered"),
        Column("day", "Int64", "days", "day of the record from the course's day 0"),
        Column("delivered_mu", "float64", "MU", "delivered meterset"),
        Column("delivered_dose_gy", "float64", "Gy", "dose recorded as delivered"),
        Column("record_status", "string", "", "planned, or the record's treatment termination status", nullable=False),
        *PROVENANCE,
    ),
)  # fmt: skip

TPS_DVH = Table(
    "tps_dvh",
    "curves that the planning system stored with its dose, for comparison",
    (),
    (
        COHORT, PATIENT, COURSE,
        Column("rtdose_id", "string", "", "dose object", nullable=False),
        Column("dose_id", "string", "", "dose of the tables that is made of this object alone; null otherwise"),
        Column("structure_set_id", "string", "", "structure set that the curve's ROI numbers belong to"),
        Column("roi_numbers", "string", "", "ROI numbers with their contribution, joined with ;", nullable=False),
        Column("roi_number", "Int64", "", "ROI number when one structure is included alone"),
        Column("volume_cc", "float64", "cc", "volume at dose 0"),
        Column("dmin_gy", "float64", "Gy", "from the curve"),
        Column("dmax_gy", "float64", "Gy", "from the curve"),
        Column("dmean_gy", "float64", "Gy", "from the curve"),
        Column("dose_gy", "list<float64>", "Gy", "dose levels"),
        Column("cumulative_volume_cc", "list<float64>", "cc", "volume at or above the level"),
        Column("written_min", "float64", "", "DVHMinimumDose as written; some systems write percent of the prescription"),
        Column("written_max", "float64", "", "DVHMaximumDose as written"),
        Column("written_mean", "float64", "", "DVHMeanDose as written"),
        Column("written_units", "string", "", "DoseUnits and DVHVolumeUnits of the curve"),
        *PROVENANCE,
    ),
)  # fmt: skip

PLANS = Table(
    "plans",
    "what each plan states, also of plans that are not used",
    ("cohort", "patient_id", "course_id", "plan_id"),
    (
        COHORT, PATIENT, COURSE,
        Column("plan_id", "string", "", "plan within the course", nullable=False),
        Column("plan_class", "string", "", "photon, ion, brachy or unknown", nullable=False),
        Column("selected", "boolean", "", "its dose gets rows", nullable=False),
        Column("reason", "string", "", "why it is selected or not"),
        Column("structure_set_id", "string", "", "structure set that it references"),
        Column("approval_status", "string", "", "ApprovalStatus"),
        Column("plan_intent", "string", "", "PlanIntent"),
        Column("technique", "string", "", "techniques of its beams joined with +"),
        Column("energies", "string", "", "nominal beam energies joined with +"),
        Column("radiation_types", "string", "", "radiation types joined with +"),
        Column("fraction_groups", "Int64", "", "fraction groups"),
        Column("fractions_planned", "Int64", "", "of its fraction group; null when several disagree"),
        Column("beams", "Int64", "", "treatment beams, or application setups"),
        Column("monitor_units", "float64", "MU", "meterset of a fraction"),
        Column("plan_rx_gy", "float64", "Gy", "prescription when one level is stated"),
        Column("plan_rx_levels_gy", "string", "Gy", "every stated target level joined with +"),
        Column("beam_dose_total_gy", "float64", "Gy", "BeamDose x fractions; reported, never used as a prescription"),
        *PROVENANCE,
    ),
)  # fmt: skip

SEGMENTATION = Table(
    "segmentation",
    "every structure that a network was asked for, also those that it did not find",
    ("cohort", "patient_id", "course_id", "structure_set_id", "structure_id"),
    (
        COHORT, PATIENT, COURSE, IMAGE, MODALITY, SET, SOURCE, STRUCTURE, NAME,
        Column("model", "string", "", "task of TotalSegmentator, or name of the custom model", nullable=False),
        Column("label", "Int64", "", "number in the label map", nullable=False),
        Column("status", "string", "", "ok, not_found, or cut_off: touches the end of the image", nullable=False),
        Column("volume_cc", "float64", "cc", "voxels times their volume; null unless found whole"),
        Column("voxels", "Int64", "", "voxels with the label"),
        Column("components", "Int64", "", "pieces (26-connected)"),
        Column("largest_component_pct", "float64", "%", "voxels of the largest piece"),
        Column("touches_edge", "string", "", "faces of the image that it touches, joined with +; null when none"),
        Column("centroid_x_mm", "float64", "mm", "patient left"),
        Column("centroid_y_mm", "float64", "mm", "patient posterior"),
        Column("centroid_z_mm", "float64", "mm", "patient superior"),
        Column("laterality", "string", "", "ok, or swapped: on the other side of the body's middle than its name says; null for structures without a side"),
        Column("segmentation_resolution_mm", "float64", "mm", "voxel edge that the network worked at"),
        Column("phantom_weights", "boolean", "", "made by networks that know nothing but the demo's phantom", nullable=False),
        Column("device", "string", "", "cpu or cuda"),
        *PROVENANCE,
    ),
)  # fmt: skip

AGREEMENT = Table(
    "agreement",
    "where two sources have the same structure on the same image: how far they agree",
    ("cohort", "patient_id", "course_id", "structure_id_a", "structure_id_b"),
    (
        COHORT, PATIENT, COURSE, IMAGE,
        Column("structure_name_tg263", "string", "", "the name that both have", nullable=False),
        Column("structure_id_a", "string", "", "first structure", nullable=False),
        Column("structure_source_a", "string", "", "its source", nullable=False),
        Column("structure_id_b", "string", "", "second structure", nullable=False),
        Column("structure_source_b", "string", "", "its source", nullable=False),
        Column("status", "string", "", "ok, or the reason for no numbers", nullable=False),
        Column("volume_a_cc", "float64", "cc", "voxels of the first mask"),
        Column("volume_b_cc", "float64", "cc", "voxels of the second mask"),
        Column("dice", "float64", "", "2 |A and B| / (|A| + |B|)"),
        Column("hd95_mm", "float64", "mm", "the larger of the two directed 95th percentiles of surface distance"),
        Column("surface_dice", "float64", "", "share of both surfaces within the tolerance of the other (Nikolov 2018)"),
        Column("surface_dice_tolerance_mm", "float64", "mm", "its tolerance"),
        *PROVENANCE,
    ),
)  # fmt: skip

FEATURES = Pattern(
    r"(original|log-sigma-[\d-]+-mm-3D|wavelet\d*-[LH]{2,3}|square|squareroot|logarithm|exponential|gradient|lbp-2D)_"
    r"(shape|firstorder|glcm|glrlm|glszm|gldm|ngtdm)_\w+",
    "float64", "", "feature, by its PyRadiomics name",
)  # fmt: skip

RADIOMICS = Table(
    "radiomics",
    "radiomic features, one row for each structure that has an image, on that image",
    ("cohort", "patient_id", "course_id", "structure_set_id", "structure_id"),
    (
        *STRUCTURE_KEYS,
        Column("roi_type", "string", "", "RTROIInterpretedType"),
        Column("status", "string", "", "ok; no features: skipped, not_selected (configuration), no_mask, outside_image, too_small, too_large, one_dimensional, single_plane, flat_image, not_calibrated (HU), not_computed (PET), geometry, timeout, out_of_memory, failed", nullable=False),
        Column("reason", "string", "", "what was measured against what is needed, where there are no features"),
        Column("profile", "string", "", "name of the settings; null for images without a profile"),
        Column("engine", "string", "", "library that computed the features"),
        Column("engine_version", "string", "", "its version"),
        Column("settings_digest", "string", "", "12 hex over settings, filters and feature classes"),
        Column("voxels", "Int64", "", "voxels of the image inside the structure, before resampling"),
        *PROVENANCE,
    ),
    (FEATURES,),
)  # fmt: skip

ROBUSTNESS = Table(
    "robustness",
    "features of perturbed structures, one row for each structure and state",
    ("cohort", "patient_id", "course_id", "structure_set_id", "structure_id", "state"),
    (
        *STRUCTURE_KEYS,
        Column("roi_type", "string", "", "RTROIInterpretedType"),
        Column("state", "string", "", "what was changed; `original` for nothing", nullable=False),
        Column("status", "string", "", "ok; no features: scan_edge (the chain needs what lies beyond the image), vanished, no_mask, outside_image, too_small, too_large, one_dimensional, single_plane, flat_image, not_calibrated (HU), not_computed (PET), geometry, timeout, out_of_memory, failed", nullable=False),
        Column("reason", "string", "", "what was measured against what is needed, where there are no features"),
        Column("perturbation_profile", "string", "", "name of the set of states", nullable=False),
        Column("noise_sd", "float64", "", "standard deviation of the noise that was added, in the image's units (HU of CT)"),
        Column("noise_realisation", "Int64", "", "which draw of the noise; null without noise"),
        Column("noise_seed", "Int64", "", "seed of the draw, numpy.random.default_rng; null without noise"),
        Column("translation_x_mm", "float64", "mm", "motion of the voxel grid towards patient left"),
        Column("translation_y_mm", "float64", "mm", "motion of the voxel grid towards patient posterior"),
        Column("translation_z_mm", "float64", "mm", "motion of the voxel grid towards patient superior"),
        Column("rotation_deg", "float64", "deg", "of the grid in its planes about the structure's middle, from the row direction towards the column direction"),
        Column("volume_pct", "float64", "%", "change of the volume that was asked for"),
        Column("contour_sd_mm", "float64", "mm", "standard deviation of the random displacement of the outline"),
        Column("contour_realisation", "Int64", "", "which draw of the outline; null where none is drawn"),
        Column("contour_seed", "Int64", "", "seed of the draw, numpy.random.default_rng; null where none is drawn"),
        Column("contour_offset_mm", "float64", "mm", "displacement of the whole outline, outwards when positive"),
        Column("profile", "string", "", "name of the feature settings; null for images without a profile"),
        Column("engine", "string", "", "library that computed the features"),
        Column("engine_version", "string", "", "its version"),
        Column("settings_digest", "string", "", "12 hex over settings, filters and feature classes"),
        Column("voxels", "Int64", "", "voxels of the image inside the structure in this state, before resampling"),
        *PROVENANCE,
    ),
    (FEATURES,),
)  # fmt: skip

ROBUSTNESS_SUMMARY = Table(
    "robustness_summary",
    "robustness of each feature over the cohort; a subject is a structure of a course, and only those count that have the feature in every state",
    ("cohort", "structure_source", "structure_group", "modality", "feature"),
    (
        COHORT, SOURCE,
        Column("structure_group", "string", "", "TG-263 name, or the name as in the file where there is none", nullable=False),
        MODALITY,
        Column("feature", "string", "", "PyRadiomics name", nullable=False),
        Column("perturbation_profile", "string", "", "name of the set of states", nullable=False),
        Column("profile", "string", "", "name of the feature settings"),
        Column("n_patients", "Int64", "", "patients with such a structure", nullable=False),
        Column("n_subjects", "Int64", "", "structures that were to be perturbed", nullable=False),
        Column("n_complete", "Int64", "", "subjects with the feature in every state: those that count", nullable=False),
        Column("n_dropped", "Int64", "", "the other subjects", nullable=False),
        Column("n_states", "Int64", "", "states of each subject", nullable=False),
        *(
            Column(f"{name}{end}", "float64", "", f"{meaning}{what}")
            for name, meaning in (
                ("icc_1_1", "ICC(1,1), one-way random: every difference between states is error"),
                ("icc_a_1", "ICC(A,1), two-way, absolute agreement"),
                ("icc_c_1", "ICC(C,1), two-way, consistency: blind to a shift that all subjects share"),
            )
            for end, what in (("", ""), ("_low", "; lower bound, 95 %"), ("_high", "; upper bound, 95 %"))
        ),
        Column("cov_pct", "float64", "%", "median over the subjects of 100 sd / mean between states"),
        Column("cov_q1_pct", "float64", "%", "its first quartile"),
        Column("cov_q3_pct", "float64", "%", "its third quartile"),
        Column("cov_status", "string", "", "of CoV and QCD: ok; some_undefined or undefined (values about zero); no_subject", nullable=False),
        Column("n_cov", "Int64", "", "complete subjects in which CoV and QCD are defined", nullable=False),
        Column("qcd", "float64", "", "median over the subjects of (Q3 - Q1) / (Q3 + Q1) between states"),
        Column("qcd_q1", "float64", "", "its first quartile"),
        Column("qcd_q3", "float64", "", "its third quartile"),
        Column("label", "string", "", "robust, acceptable, poor or not_evaluable: lower bound of ICC(1,1), and CoV where it is defined in every subject", nullable=False),
        Column("reason", "string", "", "what keeps it from a better label, or CoV from counting"),
        VERSION,
    ),
)  # fmt: skip

QC = Table(
    "qc",
    "quality checks of each course, one row for each check and object",
    ("cohort", "patient_id", "course_id", "check", "object"),
    (
        COHORT, PATIENT, COURSE,
        Column("check", "string", "", "name of the check", nullable=False),
        Column("object", "string", "", "what was looked at, by its id; `course` when it is the course as a whole", nullable=False),
        Column("status", "string", "", "pass, warn, fail or not_evaluated", nullable=False),
        Column("measured", "string", "", "what was found; the reason where it was not evaluated", nullable=False),
        Column("expected", "string", "", "what is needed", nullable=False),
        Column("codes", "string", "", "codes of the findings behind it, joined with ;"),
        Column("findings_e", "Int64", "", "findings of severity E behind it", nullable=False),
        Column("findings_w", "Int64", "", "findings of severity W behind it", nullable=False),
        *PROVENANCE,
    ),
)  # fmt: skip

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        COURSES,
        STRUCTURES,
        SEGMENTATION,
        AGREEMENT,
        DVH_METRICS,
        DVH_CURVES,
        CONSTRAINTS,
        RADIOMICS,
        ROBUSTNESS,
        ROBUSTNESS_SUMMARY,
        QC,
        FINDINGS,
        FRACTIONS,
        TPS_DVH,
        PLANS,
    )
}
"""In the order of the workbook."""


def data_dictionary() -> str:
    """The data dictionary as Markdown, from the declarations."""
    lines = ["# Data dictionary", "", "Missing is null with a status. Keys first; a name's end is its unit.", ""]
    for table in TABLES.values():
        lines += [f"## {table.name}", "", table.meaning + ".", ""]
        if table.key:
            lines += [f"Key: {', '.join(f'`{k}`' for k in table.key)}.", ""]
        lines += ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{c.name}` | {c.dtype} | {c.unit} | {'yes' if c.nullable else 'no'} | {c.meaning} |"
            for c in table.columns
        ]
        lines += [f"| `{p.expression}` | {p.dtype} | {p.unit} | yes | {p.meaning} |" for p in table.patterns]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(data_dictionary())
