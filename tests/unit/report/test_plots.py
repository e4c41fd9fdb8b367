"""Every picture is a whole PNG, and a failure leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evaluation_phantoms import hinge
from multicryogan.errors import InputError
from multicryogan.evaluation import Scores, score
from multicryogan.report import plot_fsc, plot_fsccc, plot_order, plot_preview, plots

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def scores() -> Scores:
    states, weights = hinge(16, [0, 20, 40]), torch.ones(3)
    position = torch.linspace(0, 1, 3)
    return score(states, position, weights, states, 40 * position, weights, 10.0)


def test_populations_become_a_picture(scores: Scores, tmp_path: Path) -> None:
    assert scores.populations is not None
    path = plot_fsccc(scores.populations, tmp_path / "picture.png")
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("plot", [plot_fsc, plot_order])
def test_scores_become_pictures(
    plot: Callable[[Scores, Path], Path], scores: Scores, tmp_path: Path
) -> None:
    path = plot(scores, tmp_path / "picture.png")
    assert path.read_bytes().startswith(PNG)


def test_preview_takes_rows_of_different_length(tmp_path: Path) -> None:
    path = plot_preview(
        torch.rand(3, 16, 16),
        torch.rand(9, 16, 16),
        torch.zeros(2, 16, 16, 16),
        tmp_path / "preview.png",
    )
    assert path.read_bytes().startswith(PNG)


def test_fsc_axis_is_labelled_in_angstrom(scores: Scores, tmp_path: Path) -> None:
    plot_fsc(scores, tmp_path / "fsc.png")
    figure, axes = plots._figure(4, 3)
    plots._shell_axes(axes, 16, 10.0)
    labels = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert labels[-1] == "20"


def test_a_failed_picture_leaves_the_old_one_and_nothing_else(
    scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = plot_order(scores, tmp_path / "order.png").read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(InputError, match="no space"):
        plot_order(scores, tmp_path / "order.png")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [old]
