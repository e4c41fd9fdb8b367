"""States, ways and their particles, written by the command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
import torch

from evaluation_phantoms import hinge
from multicryogan.cli import main
from multicryogan.cli.landscape import landscape
from multicryogan.io import write_star, write_volume
from multicryogan.rng import stream

BOX, VOXEL_SIZE, PARTICLES, COUNT = 16, 8.0, 400, 11
SHARE = np.array([1, 4, 8, 4, 1, 0.2, 0.5, 2, 4, 2, 0.5])


def assigned(folder: Path, particles: int = PARTICLES) -> Path:
    """A folder of assign: two states on a hinge that opens evenly."""
    folder.mkdir()
    for number, volume in enumerate(hinge(BOX, [3.0 * n for n in range(COUNT)])):
        write_volume(folder / f"class_{number + 1:03d}.mrc", volume, VOXEL_SIZE)
    draws = stream(0, "where")
    share = torch.tensor(SHARE / SHARE.sum())
    where = torch.multinomial(share, particles, True, generator=draws)
    weight = torch.full((particles, COUNT), 1e-3)
    weight[torch.arange(particles), where] = 1
    np.savez(
        folder / "latents.npz",
        conformation_latents=np.linspace(0, 1, COUNT, dtype=np.float32)[:, None],
        conformation_prior=np.full(COUNT, 1 / COUNT),
        conformation_weight=(weight / weight.sum(1, keepdim=True)).numpy(),
        conformation=where.numpy(),
    )
    table = pd.DataFrame(
        {
            "rlnImageName": [f"{n + 1:06d}@p.mrcs" for n in range(particles)],
            "rlnClassNumber": where.numpy() + 1,
        }
    )
    write_star(folder / "particles_assigned.star", table, None)
    return folder


def test_states_are_written_with_their_maps_and_particles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert landscape(assigned(tmp_path / "a"), output=out) == 0
    states = pd.read_csv(out / "states.csv")
    assert states["conformation"].tolist() == [3, 9]
    assert states["share"].iloc[0] == pytest.approx(18.1 / 27.2, abs=0.07)
    assert (states["low"] < states["share"]).all()
    table = pd.read_csv(out / "landscape.csv")
    assert len(table) == COUNT
    assert table["free_energy_kt"].min() == 0
    rows = []
    for number in (1, 2):
        assert (out / f"state_{number}.mrc").is_file()
        chosen = starfile.read(out / f"particles_state_{number}.star")
        members = table.loc[table["state"] == number, "conformation"]
        assert set(chosen["rlnClassNumber"]) <= set(members)
        rows.append(len(chosen))
    assert sum(rows) == PARTICLES
    assert len(list((out / "way_1_2").glob("volume_*.mrc"))) == 7
    (way,) = pd.read_csv(out / "ways.csv").to_dict("records")
    assert (way["from_state"], way["to_state"]) == (1, 2)
    assert way["conformations"] == "3 4 5 6 7 8 9"
    assert way["barrier_kt"] == pytest.approx(table["free_energy_kt"].max(), abs=1)
    assert (out / "way_1_2/open.cxc").is_file()
    assert (out / "landscape.png").stat().st_size > 1000
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 states"
    assert said[-1] == f"done: {out}"


@pytest.mark.parametrize(
    ("particles", "cure"), [(None, "made by assign"), (20, "needs 100")]
)
def test_what_is_no_landscape_gets_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    particles: int | None,
    cure: str,
) -> None:
    folder = tmp_path / "a"
    if particles is not None:
        assigned(folder, particles)
    with pytest.raises(SystemExit) as stop:
        main(["landscape", str(folder), "-o", str(tmp_path / "out")])
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert cure in error[0]
    assert not (tmp_path / "out").exists()
