"""The discriminator that a stage begins with."""

from __future__ import annotations

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.networks import Discriminator, TemplateDiscriminator
from multicryogan.rng import stream
from multicryogan.training.build import build_discriminator
from multicryogan.training.stage import Stage


def make_opponent(
    config: RunConfig,
    stage: Stage,
    coarse: Discriminator | None = None,
    rows: Tensor | None = None,
) -> Discriminator:
    """Make a discriminator that knows the data, or what a coarser one learned.

    Args:
        config: The run's config.
        stage: Gives the box, the spectra and the images that templates start from.
        coarse: The discriminator of the stage before; None: there was none.
        rows: (N,) particles that it may start from where there is no `coarse`; None:
            all that are not held out.

    Returns:
        A discriminator on the stage's device, its band open.
    """
    made = build_discriminator(config, stage.box, stage.sampler.device)
    if not isinstance(made, TemplateDiscriminator):
        return made
    snr = stage.shown.shell_snr()
    made.adapt(stage.shown.standard_noise(), snr)
    if isinstance(coarse, TemplateDiscriminator):
        made.take_over(coarse)
    else:
        # Every process draws the same images: one start for any team.
        sampler = stage.sampler
        draws = stream(config.train.seed, "templates/rows")
        if rows is None:
            rows = sampler.rows(torch.arange(sampler.in_use))
        order = rows[torch.randperm(len(rows), generator=draws)]
        chosen = order[torch.arange(config.discriminator.templates) % len(order)]
        seeds = stage.alone().show(*sampler.take(chosen), "templates", 0)
        made.start(seeds.images, seeds.transfer, snr)
    return made
