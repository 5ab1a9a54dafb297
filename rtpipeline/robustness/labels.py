"""What a feature may be called, from the lower bound of ICC(1,1) and the variation within subjects."""

from __future__ import annotations

from dataclasses import dataclass

from rtpipeline.config import LevelConfig, RobustnessConfig


@dataclass(frozen=True)
class Judged:
    """label: robust, acceptable, poor or not_evaluable. reason: what keeps it from a better one. cov_status: of CoV and
    QCD."""

    label: str
    reason: str
    cov_status: str


def judge(
    found: dict[str, float | None], n_complete: int, n_cov: int, n_states: int, config: RobustnessConfig
) -> Judged:
    """Label of one feature in one group.

    CoV counts where it is defined in every complete subject; a feature whose values lie about zero (skewness, a mean of
    CT numbers) has none, and is judged by its ICC alone.

    Parameters
    ----------
    found: statistics by column; None where undefined.
    """
    cov_status = "ok" if n_cov == n_complete else "some_undefined" if n_cov else "undefined"
    if n_complete == 0:
        cov_status = "no_subject"
    low = found.get("icc_1_1_low")
    if low is None:
        return Judged("not_evaluable", _why_no_icc(n_complete, n_states, config), cov_status)
    cov = found.get("cov_pct") if cov_status == "ok" else None
    levels = {"robust": config.thresholds.robust, "acceptable": config.thresholds.acceptable}
    label = next((name for name, level in levels.items() if _meets(low, cov, level)), "poor")
    short_of = {"robust": None, "acceptable": levels["robust"], "poor": levels["acceptable"]}[label]
    reasons = []
    if short_of is not None and low < short_of.icc:
        reasons.append(f"lower bound of ICC(1,1) {low:.3f}, below {short_of.icc:g}")
    if short_of is not None and cov is not None and cov > short_of.cov_pct:
        reasons.append(f"CoV {cov:.1f} %, above {short_of.cov_pct:g} %")
    if config.metrics.cov and cov_status != "ok":
        reasons.append(f"CoV does not count: defined in {n_cov} of {n_complete} subjects")
    return Judged(label, "; ".join(reasons), cov_status)


def _meets(low: float, cov: float | None, level: LevelConfig) -> bool:
    return low >= level.icc and (cov is None or cov <= level.cov_pct)


def _why_no_icc(n_complete: int, n_states: int, config: RobustnessConfig) -> str:
    if not config.metrics.icc:
        return "intraclass correlations are switched off"
    if n_complete < 2:
        return f"{n_complete} complete subjects; need 2"
    if n_states < 2:
        return f"{n_states} state; need 2"
    return "the same in every subject and state"
