"""Settings that contradict each other are refused with the cure."""

import math
from typing import Any

import pytest

from multicryogan.config import RunConfig, run_config
from multicryogan.errors import InputError
from multicryogan.tables import merge, to_dict
from multicryogan.training.build import check_config

SOUND: dict[str, Any] = {"train": {"images": 1000}}
FLOATS = [
    f"{part}.{name}"
    for part, values in to_dict(RunConfig()).items()
    if isinstance(values, dict)
    for name, value in values.items()
    if isinstance(value, float)
]
CNN = {"generator": {"kind": "cnn"}, "train": {"coarse_share": 0.0}}


@pytest.mark.parametrize("mode", ["fast", "paper"])
@pytest.mark.parametrize("length", [{"images": 9}, {"time_limit": 1.0}])
def test_both_modes_are_sound_as_they_are(mode: str, length: dict[str, Any]) -> None:
    check_config(run_config({"mode": mode, "train": length}), 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"images": 0}}, "give --images or --time-limit"),
        ({"latent": {"dimensions": 2}}, r"one dimension, not 2; set latent\.kind"),
        ({"latent": {"kind": "uniform", "dimensions": 0}}, r"latent\.dimensions is 0"),
        (
            {"latent": {"kind": "uniform", "dimensions": 50}},
            r"latent\.dimensions is 50; it must be between 1 and 4",
        ),
        (merge(CNN, {"latent": {"kind": "gaussian"}}), "cnn needs latent.kind segment"),
        ({"generator": {"kind": "cnn"}}, "cnn has no coarse stage; set"),
        (merge(CNN, {"data": {"box": 18}}), "multiple of 4, not 18"),
        ({"data": {"box": 33}}, r"data\.box is 33; it must be even and at least 16"),
        ({"data": {"box": 14}}, r"data\.box is 14"),
        ({"train": {"volumes_per_batch": 3}}, "3 does not divide over 2 processes"),
        ({"train": {"volumes_per_batch": 0}}, r"volumes_per_batch is 0"),
        ({"train": {"poses_per_volume": 0}}, r"poses_per_volume is 0"),
        ({"train": {"discriminator_steps": 0}}, r"discriminator_steps is 0"),
        ({"train": {"discriminator_warmup": -1}}, r"discriminator_warmup is -1"),
        ({"train": {"start_shell": -1}}, r"train\.start_shell is -1; .* 0 or more"),
        ({"train": {"rate_decay_start": 1.5}}, r"rate_decay_start is 1\.5"),
        ({"train": {"low_pass_share": -0.5}}, r"low_pass_share is -0\.5"),
        ({"train": {"generator_rate": -1.0}}, r"generator_rate is -1"),
        ({"train": {"beta1": 1.0}}, r"train\.beta1 is 1"),
        ({"train": {"average_decay": 1.5}}, r"average_decay is 1\.5"),
        ({"train": {"coarse_share": 1.5}}, r"coarse_share is 1\.5"),
        ({"train": {"time_limit": float("nan")}}, r"time_limit is nan"),
        ({"generator": {"components": 0}}, r"generator\.components is 0"),
        ({"generator": {"hidden": 0}}, r"generator\.hidden is 0"),
        ({"discriminator": {"templates": 0}}, r"discriminator\.templates is 0"),
        ({"discriminator": {"channels": 0}}, r"discriminator\.channels is 0"),
        (
            {"discriminator": {"kind": "pooled"}, "train": {"start_shell": 3}},
            r"pooled sees every frequency; set train\.start_shell to 0",
        ),
        (
            {"train": {"motion_start": 0.3, "motion_full": 0.2}},
            r"motion_full 0\.2 lies before train\.motion_start 0\.3; give a later",
        ),
        ({"train": {"motion_full": 1.5}}, r"train\.motion_full is 1\.5"),
        ({"imaging": {"shift_sigma_angstrom": -2.0}}, r"shift_sigma_angstrom is -2"),
        ({"generator": {"symmetry": "c4"}}, r"no symmetry 'c4'; give C1 to C99, D1"),
        (
            merge(CNN, {"generator": {"symmetry": "D2"}}),
            r"no mean to give symmetry D2 to; set generator\.symmetric_motion to true",
        ),
        ({"output": {"log_steps": 0}}, r"output\.log_steps is 0"),
        ({"output": {"checkpoint_minutes": -1.0}}, r"output\.checkpoint_minutes is -1"),
        ({"output": {"preview_minutes": -1.0}}, r"output\.preview_minutes is -1"),
        ({"generator": {"endpoint_range": -1.0}}, r"generator\.endpoint_range is -1"),
        ({"data": {"window_edge_px": -1.0}}, r"data\.window_edge_px is -1"),
        ({"generator": {"focus_mask": "a.mrc"}}, "drawn on.* give --start-map"),
        (
            {"generator": {"kind": "volume", "focus_mask": "a", "start_map": "b"}},
            "volume has no motions .* set generator.kind to components",
        ),
    ],
)
def test_contradictory_settings_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    config = run_config(merge(SOUND, changes))
    with pytest.raises(InputError, match=message) as caught:
        check_config(config, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_numbers_are_finite(name: str, number: float) -> None:
    part, field = name.split(".")
    config = run_config(merge(SOUND, {part: {field: number}}))
    with pytest.raises(InputError, match=rf"^{name} is -?\w+; give a finite number"):
        check_config(config, 2)


@pytest.mark.parametrize(("low", "high"), [(math.nan, 1.0), (1.0, math.inf)])
def test_a_range_of_defocus_is_finite(low: float, high: float) -> None:
    config = run_config(merge(SOUND, {"imaging": {"defocus_um": [low, high]}}))
    with pytest.raises(InputError, match=r"imaging\.defocus_um\[[01]\] is (nan|inf)"):
        check_config(config, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"generator": {"symmetry": "D2"}},
        {"generator": {"symmetry": "I", "symmetric_motion": True}},
        {"generator": {"symmetry": "C3", "kind": "volume"}},
        merge(CNN, {"generator": {"symmetry": "T", "symmetric_motion": True}}),
    ],
)
def test_symmetry_is_allowed(changes: dict[str, Any]) -> None:
    check_config(run_config(merge(SOUND, changes)), 2)


def test_all_degrees_of_the_motion_may_open_at_once() -> None:
    at_once = {"train": {"motion_start": 0.2, "motion_full": 0.2}}
    check_config(run_config(merge(SOUND, at_once)), 2)


def test_the_pooled_discriminator_is_allowed_without_a_low_pass() -> None:
    changes = {"discriminator": {"kind": "pooled"}, "train": {"start_shell": 0}}
    check_config(run_config(merge(SOUND, changes)), 2)
