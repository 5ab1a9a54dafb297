from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.robustness.states import FIELDS_OF_MODE, ORIGINAL, PROFILES, State, seed_of, states_of

COUNTS = {"demo": 12, "mild": 12, "standard": 81, "aggressive": 315, "ntcv-seed": 81}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_its_states_each_under_a_name_of_its_own_and_begins_as_it_is(profile: str) -> None:
    states = states_of(profile, FIELDS_OF_MODE)
    assert len(states) == len(set(states)) == len({s.name for s in states}) == COUNTS[profile]
    assert states[0] == State() and states[0].name == ORIGINAL


@pytest.mark.parametrize("profile", ["demo", "mild", "standard", "aggressive"])
@pytest.mark.parametrize("mode", FIELDS_OF_MODE)
def test_every_factor_is_in_a_profile_and_can_be_left_out_and_be_alone(profile: str, mode: str) -> None:
    def touched(states: tuple[State, ...]) -> set[str]:
        return {
            m for m, names in FIELDS_OF_MODE.items() for s in states if any(getattr(s, n) for n in names if is_on(s, n))
        }

    def is_on(state: State, name: str) -> bool:
        return getattr(state, name) != getattr(State(), name)

    assert touched(states_of(profile, [mode])) == {mode}
    assert touched(states_of(profile, [m for m in FIELDS_OF_MODE if m != mode])) == set(FIELDS_OF_MODE) - {mode}


def test_no_shift_is_half_a_voxel_where_flat_faces_are_ties() -> None:
    shifts = {abs(v) for states in PROFILES.values() for s in states for v in s.shift_voxels_xyz}
    assert shifts - {0.0} and 0.5 not in shifts and max(shifts) < 1


def test_the_deviation_of_outlines_can_be_set() -> None:
    assert {s.contour_sd_mm for s in states_of("mild", FIELDS_OF_MODE, 3.5)} == {0.0, 3.5}


def test_a_seed_hangs_on_all_it_is_made_of_and_on_nothing_else() -> None:
    base = (20240101, "0123456789ab", "ct-01/rs-01/manual-rs-01-0001", "noise", 1)
    others = [
        (1, *base[1:]),
        (base[0], "x", *base[2:]),
        (*base[:2], "y", *base[3:]),
        (*base[:3], "contour", 1),
        (*base[:4], 2),
    ]
    seeds = [seed_of(*args) for args in (base, *others)]  # type: ignore[arg-type]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
    assert seeds[0] == seed_of(*base) == 354279248401409799
    assert np.random.default_rng(seeds[0]).random() == np.random.default_rng(seed_of(*base)).random()
