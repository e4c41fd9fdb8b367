"""The players as the config describes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, nextafter

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.imaging import Symmetry
from multicryogan.networks import (
    ComponentGenerator,
    ConvolutionGenerator,
    Discriminator,
    Generator,
    PooledDiscriminator,
    TemplateDiscriminator,
    VolumeGenerator,
    fast_precision,
)
from multicryogan.networks.blocks import gaussian_blob
from multicryogan.rng import stream
from multicryogan.rotations import point_group
from multicryogan.tables import check_finite, to_dict

COUNT, AMOUNT, SHARE = (1, inf), (0, inf), (0, 1)
DECAY = (0, nextafter(1, 0))  # forgets at last
BOUNDS: dict[str, tuple[float, float]] = {
    "data.background_radius": (0.1, 1.2),  # 13 pixels lie beyond at a box of 16
    "data.window_edge_px": AMOUNT,
    "latent.dimensions": (1, 4),  # 5 cells along each: 625 have views of their own
    "generator.components": COUNT,
    "generator.hidden": COUNT,
    "generator.channels": COUNT,
    "generator.endpoint_range": AMOUNT,
    "discriminator.templates": COUNT,
    "discriminator.channels": COUNT,
    "discriminator.hidden": COUNT,
    "imaging.shift_sigma_angstrom": AMOUNT,
    "imaging.contrast_spread": SHARE,
    "train.images": AMOUNT,
    "train.time_limit": AMOUNT,
    "train.volumes_per_batch": COUNT,
    "train.poses_per_volume": COUNT,
    "train.discriminator_steps": COUNT,
    "train.discriminator_warmup": AMOUNT,
    "train.penalty_weight": AMOUNT,
    "train.generator_rate": AMOUNT,
    "train.network_rate": AMOUNT,
    "train.discriminator_rate": AMOUNT,
    "train.beta1": DECAY,
    "train.beta2": DECAY,
    "train.average_decay": DECAY,
    "train.rate_decay_start": SHARE,
    "train.rate_decay_factor": SHARE,
    "train.coarse_share": SHARE,
    "train.start_shell": AMOUNT,
    "train.low_pass_share": SHARE,
    "train.motion_start": SHARE,
    "train.motion_full": SHARE,
    "output.checkpoint_minutes": AMOUNT,
    "output.preview_minutes": AMOUNT,
    "output.log_steps": COUNT,
}
COMPONENT_START = 0.1  # first size of the motion, as a share of the mean


def build_generator(
    config: RunConfig,
    box: int,
    start: Tensor | None = None,
    focus: Tensor | None = None,
) -> Generator:
    """Make the generator of a run at `box`, from a rough ball or voxels of a map.

    Where the run has a focus mask and none is given, it comes with the weights.
    """
    shape, symmetry = config.generator, build_symmetry(config)
    draws = stream(config.train.seed, "start")
    if shape.kind == "cnn":
        endpoints = torch.rand((2, box, box, box), generator=draws)
        with seeded(config.train.seed, "weights/generator"):
            return ConvolutionGenerator(
                endpoints * shape.endpoint_range, shape.channels, symmetry
            )
    ball = gaussian_blob(box, draws)
    mean = ball if start is None else start
    if shape.kind == "volume":
        return VolumeGenerator(mean, symmetry)
    motions = [gaussian_blob(box, draws) for _ in range(shape.components)]
    uneven = torch.stack([m - ball for m in motions])
    if shape.focus_mask and focus is None:
        focus = torch.ones(box, box, box)
    with seeded(config.train.seed, "weights/generator"):
        return ComponentGenerator(
            mean,
            COMPONENT_START * uneven,
            config.latent.dimensions,
            shape.hidden,
            config.latent.kind,
            symmetry,
            focus,
        )


def build_symmetry(config: RunConfig) -> Symmetry:
    """Say what the molecule of a run has of a point group."""
    return Symmetry(config.generator.symmetry, config.generator.symmetric_motion)


def has_frame(config: RunConfig) -> bool:
    """Whether conformations lie in one frame: by their axes, or by what is at rest."""
    return build_symmetry(config).order > 1 or config.generator.focus_mask != ""


def build_discriminator(config: RunConfig, box: int, device: str) -> Discriminator:
    """Make the discriminator of a run at `box`, templates at zero."""
    shape = config.discriminator
    is_auto = shape.precision == "auto"
    precision = fast_precision(device) if is_auto else torch.float32
    if shape.kind == "templates":
        return TemplateDiscriminator(box, shape.templates, precision).to(device)
    with seeded(config.train.seed, f"weights/discriminator/{box}"):
        return PooledDiscriminator(box, shape.channels, shape.hidden, precision).to(
            device
        )


def check_config(config: RunConfig, processes: int) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InputError: With both settings and the cure.
    """
    _check_bounds(config)
    point_group(config.generator.symmetry)  # refuses what is none
    train, box = config.train, config.data.box
    low, high = config.imaging.defocus_um
    rules = (
        (
            low < 0 or high < low,
            f"imaging.defocus_um is {low:g} to {high:g}; give the lesser first, both "
            "positive, or 0 0 to draw from the particles' rows",
        ),
        (
            train.images <= 0 and train.time_limit <= 0,
            "neither a number of images nor a time limit is set; "
            "give --images or --time-limit",
        ),
        (
            config.latent.kind == "segment" and config.latent.dimensions != 1,
            f"latent.kind segment has one dimension, not {config.latent.dimensions}; "
            "set latent.kind to uniform",
        ),
        (
            config.discriminator.kind == "pooled" and train.start_shell > 0,
            "discriminator.kind pooled sees every frequency; set train.start_shell to "
            "0",
        ),
        (
            train.motion_full < train.motion_start,
            f"train.motion_full {train.motion_full:g} lies before train.motion_start "
            f"{train.motion_start:g}; give a later share",
        ),
        (
            box < 16 or box % 2 != 0,
            f"data.box is {box}; it must be even and at least 16",
        ),
        (
            train.volumes_per_batch % processes != 0,
            f"train.volumes_per_batch {train.volumes_per_batch} does not divide over "
            f"{processes} processes; choose a multiple of {processes}",
        ),
        (
            config.generator.focus_mask != "" and config.generator.kind != "components",
            f"generator.kind {config.generator.kind} has no motions that --focus-mask "
            "could confine; set generator.kind to components",
        ),
        (
            config.generator.focus_mask != "" and config.generator.start_map == "",
            "--focus-mask needs the map that it was drawn on, as a run without one "
            "begins anywhere; give --start-map",
        ),
        *_rules_of_cnn(config),
    )
    for is_broken, message in rules:
        if is_broken:
            raise InputError(message)


def _rules_of_cnn(config: RunConfig) -> tuple[tuple[bool, str], ...]:
    """What the 3D network cannot do, whether it is asked to, and the cure."""
    is_cnn, box = config.generator.kind == "cnn", config.data.box
    symmetry = build_symmetry(config)
    return (
        (
            is_cnn and config.latent.kind != "segment",
            f"generator.kind cnn needs latent.kind segment, not {config.latent.kind}",
        ),
        (
            is_cnn and config.generator.start_map != "",
            "generator.kind cnn cannot start from a map; leave --start-map away",
        ),
        (
            is_cnn and config.train.coarse_share > 0,
            "generator.kind cnn has no coarse stage; set train.coarse_share to 0",
        ),
        (
            is_cnn and box % 4 != 0,
            f"generator.kind cnn needs a box that is a multiple of 4, not {box}",
        ),
        (
            is_cnn and symmetry.order > 1 and not symmetry.has_motion,
            f"generator.kind cnn has no mean to give symmetry {symmetry.group} to; "
            "set generator.symmetric_motion to true",
        ),
    )


def _check_bounds(config: RunConfig) -> None:
    """Refuse numbers with which no run can work."""
    check_finite(config)
    values = to_dict(config)
    for key, (low, high) in BOUNDS.items():
        part, name = key.split(".")
        value = values[part][name]
        if not low <= value <= high:
            allowed = (
                f"between {low:g} and {high:g}" if high < inf else f"{low:g} or more"
            )
            raise InputError(f"{key} is {value:g}; it must be {allowed}")


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Start torch's own random state from a named stream inside a block.

    The initialisers of torch.nn take no generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, name).initial_seed())
        yield
