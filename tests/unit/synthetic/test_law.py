"""Distributions of conformations."""

from pathlib import Path

import numpy as np
import pytest

from multicryogan.config import LawConfig
from multicryogan.errors import InputError
from multicryogan.synthetic.law import Law

ONE = np.array([[0.0, 20.0]])
TWO = np.array([[0.0, 20.0], [10.0, 50.0]])


def test_uniform_law_has_the_mean_and_variance_of_its_range() -> None:
    drawn, _ = Law(LawConfig(), ONE, Path()).sample(20000, seed=3)
    assert drawn.mean() == pytest.approx(10, abs=0.15)
    assert drawn.var() == pytest.approx(400 / 12, rel=0.03)
    assert 0 <= drawn.min() < 0.01
    assert 19.99 < drawn.max() <= 20


def test_coordinates_of_a_plane_are_independent() -> None:
    drawn, _ = Law(LawConfig(), TWO, Path()).sample(20000, seed=3)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03
    np.testing.assert_allclose(drawn.mean(0), [10, 30], atol=0.4)


def test_discrete_law_has_the_shares_of_its_weights() -> None:
    drawn, state = Law(LawConfig(kind="discrete"), ONE, Path()).sample(20000, seed=3)
    assert np.mean(state == 1) == pytest.approx(0.75, abs=0.01)
    np.testing.assert_array_equal(drawn[:, 0], 20.0 * state)


def test_weights_need_not_sum_to_one() -> None:
    config = LawConfig(kind="discrete", coordinates=(0.0, 0.5, 1.0), weights=(2, 1, 1))
    law = Law(config, ONE, Path())
    np.testing.assert_allclose(law.weights, [0.5, 0.25, 0.25])
    np.testing.assert_allclose(law.states[:, 0], [0, 10, 20])


def test_discrete_states_of_a_plane_take_two_coordinates_each() -> None:
    config = LawConfig(
        kind="discrete", coordinates=(0.0, 1.0, 0.5, 0.25), weights=(0.5, 0.5)
    )
    law = Law(config, TWO, Path())
    np.testing.assert_allclose(law.states, [[0, 50], [10, 20]])


def test_rows_of_a_continuous_law_belong_to_no_state() -> None:
    _, state = Law(LawConfig(), ONE, Path()).sample(5, seed=0)
    assert (state == -1).all()


def test_states_of_a_continuous_law_are_evenly_spaced() -> None:
    law = Law(LawConfig(maps=21), ONE, Path())
    np.testing.assert_allclose(law.states[:, 0], np.arange(21))


def test_ends_of_a_continuous_law_weigh_half() -> None:
    law = Law(LawConfig(maps=21), ONE, Path())
    np.testing.assert_allclose(law.weights, [1 / 40, *[1 / 20] * 19, 1 / 40])


def test_states_of_a_plane_are_a_grid() -> None:
    law = Law(LawConfig(maps=3), TWO, Path())
    assert law.states.shape == (9, 2)
    np.testing.assert_allclose(law.states[1], [0, 30])
    np.testing.assert_allclose(law.weights[[0, 1, 4]], [1 / 16, 1 / 8, 1 / 4])


def test_motionless_molecule_has_one_state() -> None:
    law = Law(LawConfig(), np.array([[0.0, 0.0]]), Path())
    np.testing.assert_array_equal(law.states, [[0.0]])
    np.testing.assert_array_equal(law.weights, [1.0])


def test_table_law_has_the_shares_of_its_table(tmp_path: Path) -> None:
    table = np.array([[1.0, 0.0, 2.0], [3.0, 4.0, 0.0]])
    np.save(tmp_path / "table.npy", table)
    law = Law(LawConfig(kind="table", table="table.npy"), TWO, tmp_path)
    _, state = law.sample(20000, seed=5)
    shares = np.bincount(state, minlength=6) / 20000
    np.testing.assert_allclose(shares, table.ravel() / 10, atol=0.012)


def test_nodes_of_a_table_span_the_ranges(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.ones((2, 3)))
    law = Law(LawConfig(kind="table", table="table.npy"), TWO, tmp_path)
    expected = [[0, 10], [0, 30], [0, 50], [20, 10], [20, 30], [20, 50]]
    np.testing.assert_allclose(law.states, expected)


def test_hsp90_occupancies_are_read(shared_data: Path) -> None:
    config = LawConfig(kind="table", table="Occ2D_1k.npy")
    law = Law(config, TWO, shared_data / "hsp90")
    assert len(law.states) == 400


def test_larger_set_begins_with_the_rows_of_a_smaller_one() -> None:
    law = Law(LawConfig(), ONE, Path())
    few, many = law.sample(100, seed=1)[0], law.sample(9000, seed=1)[0]
    np.testing.assert_array_equal(few, many[:100])


DOMAIN = np.array([[0.0, 1.0]])
WITH_DOMAIN = np.concatenate((ONE, DOMAIN))


def test_a_domain_is_there_in_its_share_whatever_the_motion() -> None:
    law = Law(LawConfig(), WITH_DOMAIN, Path(), domain_share=0.6)
    drawn, state = law.sample(20000, seed=3)
    assert set(drawn[:, 1]) == {0.0, 1.0}
    assert drawn[:, 1].mean() == pytest.approx(0.6, abs=0.01)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03
    assert (state == -1).all()


def test_a_domain_changes_nothing_in_the_motion() -> None:
    plain, _ = Law(LawConfig(), ONE, Path()).sample(500, seed=3)
    drawn, _ = Law(LawConfig(), WITH_DOMAIN, Path(), domain_share=0.6).sample(500, 3)
    np.testing.assert_array_equal(drawn[:, :1], plain)


def test_states_come_without_and_with_the_domain() -> None:
    law = Law(LawConfig(maps=2), WITH_DOMAIN, Path(), domain_share=0.6)
    np.testing.assert_allclose(law.states, [[0, 0], [0, 1], [20, 0], [20, 1]])
    np.testing.assert_allclose(law.weights, [0.2, 0.3, 0.2, 0.3])


def test_discrete_states_are_known_with_their_domain() -> None:
    law = Law(LawConfig(kind="discrete"), WITH_DOMAIN, Path(), domain_share=0.6)
    drawn, state = law.sample(20000, seed=3)
    np.testing.assert_array_equal(drawn, law.states[state])
    shares = np.bincount(state, minlength=4) / 20000
    np.testing.assert_allclose(shares, [0.1, 0.15, 0.3, 0.45], atol=0.01)


def test_a_domain_without_a_motion_gives_two_states() -> None:
    law = Law(LawConfig(), DOMAIN, Path(), domain_share=0.6)
    drawn, state = law.sample(20000, seed=3)
    np.testing.assert_allclose(law.states, [[0], [1]])
    np.testing.assert_allclose(law.weights, [0.4, 0.6])
    np.testing.assert_array_equal(drawn[:, 0], state)
    assert state.mean() == pytest.approx(0.6, abs=0.01)


def test_places_along_the_first_coordinate_run_from_0_to_1() -> None:
    law = Law(LawConfig(), TWO, Path())
    places = law.along(np.array([[0.0, 50.0], [5.0, 10.0], [20.0, 30.0]]))
    np.testing.assert_allclose(places, [0, 0.25, 1])


def test_a_molecule_that_does_not_move_is_half_way() -> None:
    law = Law(LawConfig(), np.array([[0.0, 0.0]]), Path())
    np.testing.assert_array_equal(law.along(np.zeros((2, 1))), [0.5, 0.5])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LawConfig(kind="discrete", weights=(1.0,)), "2 coordinates for 1 weights"),
        (LawConfig(kind="discrete", coordinates=(0.0, 1.5)), "run from 0 to 1"),
        (LawConfig(kind="discrete", weights=(-1.0, 2.0)), "weights must be"),
        (LawConfig(kind="discrete", weights=(0.0, 0.0)), "weights must be"),
        (LawConfig(kind="discrete", coordinates=(), weights=()), "0 coordinates"),
        (LawConfig(kind="table"), "needs a table; give --law.table FILE"),
        (LawConfig(kind="table", table="."), "npy: Is a directory; give another"),
        (LawConfig(kind="table", table="absent.npy"), "npy: No such file .*; give"),
        (LawConfig(kind="table", table="cut.npz"), "cannot be read"),
        (LawConfig(kind="table", table="objects.npy"), "cannot be read"),
        (LawConfig(kind="table", table="plane.npy"), "one axis for each"),
        (LawConfig(kind="table", table="archive.npz"), "one axis for each"),
        (LawConfig(kind="table", table="negative.npy"), "weights must be"),
        (LawConfig(kind="table", table="text.npy"), "weights must be"),
    ],
)
def test_unusable_law_is_refused(
    config: LawConfig, message: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "objects.npy", np.array([None, "x"]))
    np.save(tmp_path / "plane.npy", np.ones((2, 2)))
    np.savez(tmp_path / "archive.npz", a=np.ones(2))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "archive.npz").read_bytes()[:50])
    np.save(tmp_path / "negative.npy", np.array([1.0, -1.0]))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    with pytest.raises(InputError, match=message):
        Law(config, ONE, tmp_path)
