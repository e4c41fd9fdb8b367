"""A truth that was damaged, or is another's, is told and never scored against."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.config import LawConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.io import write_volume
from multicryogan.synthetic import read_truth, simulate

HEAD = "map,coordinate_1_deg,weight\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "set"
    law = LawConfig(maps=4)
    simulate(SimulationConfig(images=6, box=16, pixel_size=10.0, law=law), folder)
    return folder / "truth"


@pytest.fixture
def truth(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "truth")
    return tmp_path / "truth"


def refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_truth(folder)
    assert "simulate again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.5, 0.7, 0.9])
def test_a_cut_table_of_states_is_refused(truth: Path, kept: float) -> None:
    data = (truth / "states.csv").read_bytes()
    (truth / "states.csv").write_bytes(data[: int(kept * len(data))])
    refused(truth, r"states\.csv (lists|holds)")


def test_a_table_that_lacks_ten_bytes_is_refused(truth: Path) -> None:
    data = (truth / "states.csv").read_bytes()
    (truth / "states.csv").write_bytes(data[:-10])
    refused(truth, r"states\.csv holds weights that sum to")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("state,share\n1,0.5\n", r"has no columns map, coordinate_1_\.\.\., weight"),
        (HEAD, "lists 0 maps, others than the 4 beside it"),
        (HEAD + "../mean.mrc,0,1\n" * 4, "lists 4 maps, others than"),
    ],
)
def test_a_foreign_table_of_states_is_refused(
    truth: Path, text: str, message: str
) -> None:
    (truth / "states.csv").write_text(text)
    refused(truth, message)


@pytest.mark.parametrize("weight", ["nan", "much", "-0.5"])
def test_a_weight_that_is_none_is_refused(truth: Path, weight: str) -> None:
    lines = (truth / "states.csv").read_text().splitlines()
    lines[1] = f"{lines[1].rsplit(',', 1)[0]},{weight}"
    (truth / "states.csv").write_text("\n".join(lines))
    refused(truth, "coordinates or weights that are no numbers")


def test_cut_rows_are_refused(truth: Path) -> None:
    data = (truth / "rows.npz").read_bytes()
    (truth / "rows.npz").write_bytes(data[: len(data) // 2])
    refused(truth, r"cannot read .*rows\.npz: it is damaged")


def test_one_array_in_place_of_rows_is_refused(truth: Path) -> None:
    with (truth / "rows.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    refused(truth, r"cannot read .*rows\.npz: it is damaged")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("state", None),
        ("coordinates", np.zeros((6, 2))),
        ("rotation", np.zeros((5, 3, 3))),
        ("shift_angstrom", np.full((6, 2), "left")),
        ("group", None),
    ],
)
def test_rows_of_another_shape_are_refused(
    truth: Path, name: str, values: np.ndarray | None
) -> None:
    rows = dict(np.load(truth / "rows.npz", allow_pickle=False))
    rows.pop(name)
    given = {} if values is None else {name: values}
    np.savez(truth / "rows.npz", **rows, **given)
    refused(truth, r"rows\.npz has no \w+ of \d particles")


def test_maps_of_two_sizes_are_refused(truth: Path) -> None:
    write_volume(truth / "maps" / "state_0002.mrc", torch.ones(8, 8, 8), 20.0)
    refused(truth, "its maps have several sizes")


def test_a_config_of_another_program_is_named(truth: Path) -> None:
    (truth / "config.toml").write_text("snr = 3\n")
    with pytest.raises(InputError, match=r"config\.toml: unknown config key snr"):
        read_truth(truth)
