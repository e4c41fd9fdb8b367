"""FSC against torch-fourier-shell-correlation, which bins softly."""

import pytest
import torch

from evaluation_phantoms import asymmetric_points, blobs
from multicryogan.evaluation import fsc
from multicryogan.rng import stream


@pytest.mark.parametrize("box", [32, 48])
def test_agrees_with_an_independent_program(box: int) -> None:
    oracle = pytest.importorskip("torch_fourier_shell_correlation")
    volume = blobs(box, asymmetric_points(box, seed=0))
    noise = 0.3 * torch.randn(2, box, box, box, generator=stream(0, "noise"))
    a, b = volume + noise
    ours = fsc(a, b)
    theirs = oracle.fourier_shell_correlation(a, b).to(ours)
    # Soft bins share modes with the next shell: slow curves agree, not exactly.
    assert (ours - theirs[: len(ours)]).abs().max() < 0.08
    assert (ours - theirs[: len(ours)]).abs().mean() < 0.02
