"""Configuration: defaults, presets, files and typing errors."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multicryogan.config import (
    PAPER_MODE,
    GroupConfig,
    LawConfig,
    RefineConfig,
    RunConfig,
    SimulationConfig,
    run_config,
)
from multicryogan.errors import InputError
from multicryogan.tables import build, checked, merge, read_toml, to_dict, write_toml


def test_nothing_given_means_the_defaults() -> None:
    assert run_config({}) == RunConfig()


@pytest.mark.parametrize(
    ("given", "dimensions", "expected"),
    [(None, 1, 5), (None, 2, 9), (3, 2, 3), (0, 1, 0)],
)
def test_a_plane_has_more_components_than_a_line(
    given: int | None, dimensions: int, expected: int
) -> None:
    """Nine: x, y, and all their products of degrees two and three."""
    assert RefineConfig(components=given).motions(dimensions) == expected


def test_a_value_wins_over_the_preset_of_its_mode() -> None:
    config = run_config({"mode": "paper", "train": {"discriminator_steps": 7}})
    assert config.train.discriminator_steps == 7


def test_mode_paper_is_the_published_method() -> None:
    config = run_config({"mode": "paper"})
    published = ("cnn", "pooled", 0, 0.0)  # every frequency and motion from the start
    assert published == (
        config.generator.kind,
        config.discriminator.kind,
        config.train.start_shell,
        config.train.motion_full,
    )


def test_the_preset_holds_known_keys_only() -> None:
    assert build(RunConfig, PAPER_MODE).discriminator.kind == "pooled"


def test_merge_leaves_both_tables_as_they_were() -> None:
    base: dict[str, Any] = {"a": {"b": 1, "c": 2}}
    over: dict[str, Any] = {"a": {"b": 3}}
    merged = merge(base, over)
    assert (merged, base, over) == (
        {"a": {"b": 3, "c": 2}},
        {"a": {"b": 1, "c": 2}},
        {"a": {"b": 3}},
    )


@pytest.mark.parametrize("mode", ["fast", "paper"])
def test_a_run_config_survives_a_file(tmp_path: Path, mode: str) -> None:
    config = run_config({"mode": mode, "train": {"generator_rate": 1e-8}})
    write_toml(tmp_path / "run.toml", config)
    assert run_config(read_toml(tmp_path / "run.toml")) == config


def test_a_simulation_config_survives_a_file(tmp_path: Path) -> None:
    motion = {"chains": ["A"], "residues": [12, 442], "range_deg": [0, 20.5]}
    values = {"molecule": {"motions": [motion]}, "law": {"weights": [1, 2]}}
    config = build(SimulationConfig, values)
    write_toml(tmp_path / "sim.toml", config)
    assert build(SimulationConfig, read_toml(tmp_path / "sim.toml")) == config


def test_what_a_group_does_not_set_stays_unset_in_a_file(tmp_path: Path) -> None:
    groups = [{"share": 2}, {"pixel_size": 4, "defocus_um": [1, 2]}]
    config = build(SimulationConfig, {"groups": groups})
    write_toml(tmp_path / "sim.toml", config)
    written = read_toml(tmp_path / "sim.toml")
    assert written["groups"][0] == {"share": 2.0, "noise_factor": 1.0}
    assert build(SimulationConfig, written) == config
    assert config.groups[1].defocus_um == (1.0, 2.0)


def test_a_wrong_value_of_a_group_is_named_with_its_place() -> None:
    with pytest.raises(InputError, match=r"groups\[0\]\.box: expected int, got 1\.5"):
        build(SimulationConfig, {"groups": [{"box": 1.5}]})


def test_tables_in_a_list_become_parts_of_the_config(tmp_path: Path) -> None:
    path = tmp_path / "sim.toml"
    path.write_text("[[molecule.motions]]\nchains = ['A']\nrange_deg = [0, 20]\n")
    (motion,) = build(SimulationConfig, read_toml(path)).molecule.motions
    assert (motion.chains, motion.range_deg) == (("A",), (0.0, 20.0))


def test_an_unknown_key_in_a_list_is_named_with_its_place() -> None:
    values = {"molecule": {"motions": [{"chain": ["A"]}]}}
    expected = r"key molecule\.motions\[0\]\.chain; .*motions\[0\]\.chains"
    with pytest.raises(InputError, match=expected):
        build(SimulationConfig, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trian": {}}, r"unknown config key trian; did you mean train\?"),
        (
            {"train": {"discriminator_step": 1}},
            r"train\.discriminator_step; did you mean train\.discriminator_steps\?",
        ),
        ({"train": {"qqqq": 1}}, r"unknown config key train\.qqqq; there are images,"),
        ({"train": 3}, r"train: expected a table, got 3"),
        ({"train": {"images": 1.5}}, r"train\.images: expected int, got 1\.5"),
        ({"train": {"images": True}}, r"train\.images: expected int, got True"),
        ({"train": {"images": "9"}}, r"train\.images: expected int, got '9'"),
        ({"train": {"beta1": "1e-8"}}, r"train\.beta1: expected float, got '1e-8'"),
        ({"mode": "slow"}, r"mode: 'slow' is not one of \('fast', 'paper'\)"),
        ({"latent": {"kind": ["segment"]}}, r"latent\.kind: \['segment'\] is not one"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_config(values)


def test_a_list_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"defocus_um: expected 2 values, got 3"):
        build(SimulationConfig, {"optics": {"defocus_um": [1, 2, 3]}})


def test_a_whole_number_is_accepted_for_a_float() -> None:
    assert run_config({"train": {"time_limit": 3}}).train.time_limit == 3.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no config file"),
        (b"mode = ", "not a readable TOML file"),
        (b"\xff\xfe", "not a readable TOML file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_toml(path)
    assert str(path) in str(caught.value)


def test_every_field_is_plain_so_that_a_file_can_hold_it() -> None:
    def is_plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(is_plain(v) for v in value.values())
        if isinstance(value, tuple):
            return all(is_plain(v) for v in value)
        return isinstance(value, bool | int | float | str)

    assert is_plain(to_dict(RunConfig()))
    assert is_plain(to_dict(SimulationConfig()))


def test_a_file_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    """Python has UTF-8 in the C locale of itself, unless it is told not to."""
    (tmp_path / "a.toml").write_bytes('name = "Ångström"\n'.encode())
    program = f"""if True:
        from dataclasses import dataclass
        from pathlib import Path
        from multicryogan.tables import read_toml, write_toml
        @dataclass
        class Named:
            name: str
        folder = Path({str(tmp_path)!r})
        write_toml(folder / "b.toml", Named(**read_toml(folder / "a.toml")))
        """
    bare = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], env=bare, check=True)
    assert (tmp_path / "b.toml").read_bytes() == (tmp_path / "a.toml").read_bytes()


def test_settings_made_in_python_become_plain_values() -> None:
    mask = Path("masks/of the core.mrc")
    made = RefineConfig(iterations=np.int64(3), mask=mask)  # type: ignore[arg-type]
    found = checked(made)
    assert type(found.iterations) is int
    assert found == RefineConfig(iterations=3, mask=str(mask))
    groups = (GroupConfig(box=16), GroupConfig(share=np.float32(2)))  # type: ignore[arg-type]
    simulation = checked(SimulationConfig(groups=groups, images=8))
    assert simulation.groups == (GroupConfig(box=16), GroupConfig(share=2.0))
    assert type(simulation.groups[1].share) is float


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (RefineConfig(views="even"), "config views: 'even' is not one of"),
        (RefineConfig(iterations=2.5), "config iterations: expected int, got 2.5"),
        (RefineConfig(iterations=True), "config iterations: expected int, got True"),
        (RefineConfig(seed=None), "config seed: expected int, got None"),
        (SimulationConfig(law=LawConfig(kind="even")), "config law.kind: 'even' is"),
        (SimulationConfig(groups=(GroupConfig(box="16"),)), r"groups\[0\].box: exp"),
        (SimulationConfig(contrast_in_star=1), "expected bool, got 1"),
    ],  # type: ignore[arg-type]
)
def test_settings_made_in_python_are_checked(made: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=said):
        checked(made)
