"""What the figures of the page show, as numbers."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from evaluation_phantoms import hinge
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.report import curves, figures
from multicryogan.report.contents import Shapes, path_lengths
from report_data import likeness

COUNT = 5


def shapes(angles: list[float], shares: list[float] | None = None) -> Shapes:
    count = len(angles)
    latents = torch.linspace(0, 1, count)[:, None]
    weights = (
        torch.full((count,), 1 / count) if shares is None else torch.tensor(shares)
    )
    return Shapes(hinge(24, angles), 5.0, latents, weights, None)


def test_even_steps_of_an_even_distribution_have_one_density() -> None:
    trace = figures.landscape(shapes([0, 3, 6, 9, 12]), None)["data"][0]
    assert np.ptp(trace["y"]) < 0.1 * max(trace["y"])
    assert trace["customdata"] == list(range(COUNT))


def test_where_steps_are_half_as_long_there_are_twice_as_many_particles() -> None:
    density = figures.landscape(shapes([0, 4, 8, 10, 12]), None)["data"][0]["y"]
    assert density[4] / density[0] == pytest.approx(2, rel=0.15)


def test_assigned_particles_give_intervals() -> None:
    share = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    table = pd.DataFrame({"share": share, "low": 0.5 * share, "high": 2 * share})
    drawn = figures.landscape(shapes([0, 3, 6, 9, 12], share.tolist()), table)
    trace = drawn["data"][0]
    y = np.array(trace["y"])
    assert y.argmax() == 2
    np.testing.assert_allclose(trace["error_y"]["array"], y, rtol=1e-4)
    np.testing.assert_allclose(trace["error_y"]["arrayminus"], y / 2, rtol=1e-4)


def test_two_states_have_a_density_that_asks_for_a_logarithm() -> None:
    layout = figures.landscape(shapes([0, 0.05, 0.1, 20, 20.05]), None)["layout"]
    assert layout["yaxis"]["type"] == "log"
    assert layout["meta"] == {"selects": True}


def test_what_is_next_to_empty_does_not_stretch_the_axis() -> None:
    empty = shapes([0, 3, 6, 9, 12], [0.5, 0.5, 1e-12, 0, 0])
    low, high = figures.landscape(empty, None)["layout"]["yaxis"]["range"]
    assert 4 < high - low < 7


def test_a_plane_tells_its_intervals() -> None:
    share = np.array([0.1, 0.2, 0.3, 0.4])
    maps, weights = torch.zeros(4, 4, 4, 4), torch.tensor(share)
    plane = Shapes(maps, 5.0, PLANE, weights, None)
    table = pd.DataFrame({"share": share, "low": 0.5 * share, "high": 2 * share})
    (trace,) = figures.landscape(plane, table)["data"]
    assert trace["marker"]["color"] == pytest.approx([10, 20, 30, 40])
    assert "5.00 to 20.00 %" in trace["text"][0]
    (trace,) = figures.landscape(plane, None)["data"]
    assert "95 %" not in trace["text"][0]


PLANE = torch.cartesian_prod(*[torch.tensor([0.25, 0.75])] * 2)


def test_cells_of_places_fill_the_line() -> None:
    width = figures.cell_widths(torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert float(width.sum()) == pytest.approx(1)
    torch.testing.assert_close(width / width[0], torch.tensor([1, 1, 1.5, 2]))


def test_the_way_grows_with_the_motion() -> None:
    place = path_lengths(hinge(24, [0, 2, 4, 8]))
    assert place[0] == 0
    assert float(place[-1]) == pytest.approx(1)
    assert float(place[2] / place[1]) == pytest.approx(2, rel=0.05)


def test_noise_that_is_twice_too_strong_has_a_ratio_of_two() -> None:
    first, second = curves.noise(likeness())["data"]
    np.testing.assert_allclose(first["y"], 1, rtol=1e-5)
    np.testing.assert_allclose(second["y"], 2, rtol=1e-5)
    wanted = 2 * math.hypot(0.02, 0.02)
    np.testing.assert_allclose(second["error_y"]["array"], wanted, rtol=1e-4)


def test_views_stand_where_they_come_from() -> None:
    table = pd.DataFrame({"all": np.zeros(CELLS)})
    cell = 40
    table.loc[cell, "all"] = 3.0
    trace = figures.views(table, "all")["data"][0]
    z = np.array(trace["z"])
    row, column = np.argwhere(z == 3).mean(0)
    x, y, height = view_directions(CELLS)[cell].tolist()
    rot = np.interp(column, np.arange(z.shape[1]), trace["x"])
    assert rot == pytest.approx(math.degrees(math.atan2(y, x)), abs=6)
    assert np.interp(row, np.arange(z.shape[0]), trace["y"]) == pytest.approx(
        height, abs=0.06
    )
    # Areas are kept: every view has about as many pixels.
    assert (z == 3).mean() == pytest.approx(1 / CELLS, rel=0.5)


def test_half_maps_are_drawn_beside_the_mean_map() -> None:
    found = shapes([0, 10, 20, 30, 40])
    names = [f"conformation_{n:03d}" for n in range(1, COUNT + 1)]
    table = pd.DataFrame({"shell": range(13), **{n: np.ones(13) for n in names}})
    drawn = curves.half_curves(table, found, 24 * 5.0)
    assert [t["name"] for t in drawn["data"]][:2] == [
        "conformation 1",
        "conformation 1, with the mean map",
    ]
    ends, middle = drawn["data"][1]["y"], drawn["data"][3]["y"]
    assert np.mean(ends[3:8]) < np.mean(middle[3:8])
    assert drawn["layout"]["xaxis"]["ticktext"][0] == "120"


def test_real_images_stand_above_simulated_ones() -> None:
    found = likeness()
    z = np.array(figures.images(found)["data"][0]["z"], dtype=float)
    box = found.real.shape[-1]
    np.testing.assert_allclose(z[:box, :box], found.simulated[0], atol=0.006)
    np.testing.assert_allclose(z[-box:, :box], found.real[0], atol=0.006)
    assert np.isnan(z[:box, box]).all()


def test_tips_of_curves_are_in_angstrom() -> None:
    curve = curves.fsc_curve([0, 0.0125, 0.05], [1, 0.9, 0.5], "one", dash="dot")
    assert curve["customdata"] == ["∞", "80", "20"]
    assert curve["y"] == [1, 0.9, 0.5]
    assert curve["dash"] == "dot"


def test_names_of_groups_are_no_markup_of_plotly() -> None:
    names = [trace["name"] for trace in curves.noise(likeness())["data"]]
    assert names[0] == "first"
    assert "<" not in names[1]
    assert curves.power_ratios(likeness())[1][1] == pytest.approx(2)


def test_pairs_are_numbered_from_one() -> None:
    (trace,) = figures.likeness_of_pairs(shapes([0, 3, 6]))["data"]
    assert trace["x"] == trace["y"] == [1, 2, 3]
