"""How well a run explains images that it never sees, while it goes on.

Losses of a game say little: both players grow. The marginal likelihood of held-out
images under the volumes of the moment, over all poses and shifts, grows as the
volumes come to resemble the molecule, and no truth is needed to see it. It counts
shells at low resolution alone, the same ones all along, so that its values compare.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from multicryogan.likelihood import Score, evidence, mean_score
from multicryogan.training.laws import Laws, examination
from multicryogan.training.stage import Stage

IMAGES = 200
FEWEST = 100  # held-out images


@torch.no_grad()
def held_out_score(
    laws: Laws, stage: Stage, generator: Callable[[Tensor], Tensor], latents: Tensor
) -> Score | None:
    """Measure log p(y | volumes) - log p(y | noise) of some held-out images, in nats.

    Args:
        laws: Of shifts and contrasts, as they were learned.
        stage: Gives images, noise and the law of views.
        generator: Maps latents (V, d) to volumes (V, D, D, D).
        latents: (V, d) that stand for all.

    Returns:
        The mean of an image and its standard error; None where too few images are
        held out, or the defocus of each is not known.
    """
    held_out = stage.sampler.held_out()
    if len(held_out) < FEWEST or not stage.view.shows_ctf:
        return None
    rows = held_out[:: max(1, len(held_out) // IMAGES)]
    look = examination(laws, stage, generator, latents)
    single = look.compare(*stage.sampler.take(rows))
    return mean_score(evidence(single, look.manifold.weights))
