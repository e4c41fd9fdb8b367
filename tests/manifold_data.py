"""A small linear manifold, and images of it in given poses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from multicryogan.imaging import CTFParams, ImagingParams, form_images, sample_noise
from multicryogan.likelihood import ImageLaw, PosePosterior
from multicryogan.likelihood.factors import ImageFactors, Scorer
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement, place
from multicryogan.likelihood.search import Cells, likely_cells, search
from multicryogan.likelihood.thinning import Chance
from multicryogan.rng import stream

FLOAT = torch.float64
BOX, PIXEL_SIZE = 12, 4.0
TREE = PoseTree(40)


def law(power: float = 4.0, max_shell: int = 5, box: int = BOX) -> ImageLaw:
    """White noise of some power per pixel."""
    flat = torch.full((box // 2 + 1,), power, dtype=FLOAT)
    return ImageLaw(flat[None], PIXEL_SIZE, max_shell)


def blobs(name: str, box: int = BOX, atoms: int = 6) -> Tensor:
    """(D, D, D) Gaussians at random places well inside the box."""
    places = box / 9 * torch.randn(atoms, 3, generator=stream(0, name), dtype=FLOAT)
    axis = torch.arange(box, dtype=FLOAT) - box // 2
    x, y, z = (
        (-((axis - p[:, None]) ** 2) / 2).exp()
        for p in places.clamp(-box / 4, box / 4).T
    )
    return torch.einsum("pz,py,px->zyx", z, y, x)


def manifold(size: float = 1.0, box: int = BOX) -> Manifold:
    """Four conformations, not equally likely, of a mean and two components."""
    basis = torch.stack([blobs(name, box) for name in ("mean", "first", "second")])
    sizes = size * torch.tensor([1.0, 0.6, 0.4], dtype=FLOAT)
    coefficients = torch.tensor(
        [[1, -1.2, 0.9], [1, -0.4, -1.0], [1, 0.5, -0.6], [1, 1.3, 1.1]], dtype=FLOAT
    )
    return Manifold(
        latents=torch.linspace(0, 1, 4, dtype=FLOAT)[:, None],
        weights=torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=FLOAT),
        coefficients=coefficients,
        basis=basis * sizes[:, None, None, None],
        pairs=all_pairs(3),
    )


def optics(count: int) -> CTFParams:
    """Astigmatic, of a different defocus for each image."""
    one = torch.ones(count, dtype=FLOAT)
    u = 8_000 + 9_000 * torch.rand(count, generator=stream(0, "ctf")).to(FLOAT)
    angle = torch.linspace(0, 170, count, dtype=FLOAT)
    return CTFParams(u, u - 1_500, angle, 0 * one, 300 * one, 2.7 * one, 0.1 * one)


def clean_images(
    volumes: Tensor, rotations: Tensor, ctfs: CTFParams | None, max_shell: int
) -> Tensor:
    """(B, D, D) one image of each of (B, D, D, D) volumes."""
    shown = None if ctfs is None else ctfs.reshape(len(volumes), 1)
    params = ImagingParams(rotations.to(volumes)[:, None], ctf=shown)
    return form_images(volumes, params, PIXEL_SIZE, max_shell)[:, 0]


def white_noise(count: int, power: float, box: int = BOX) -> Tensor:
    """(B, D, D) of some variance."""
    flat = torch.full((box // 2 + 1,), power, dtype=FLOAT)
    return sample_noise((count, box, box), flat, stream(0, "noise"))


def log_ratios_of_pixels(
    images: Tensor,
    ctfs: CTFParams | None,
    volumes: Tensor,
    rotations: Tensor,
    images_law: ImageLaw,
) -> Tensor:
    """(B, V, M) log ratios under white noise: sums over pixels of clean images."""
    rotation = rotations.to(volumes).expand(len(volumes), -1, -1, -1)
    shape, ratios = rotation.shape[:2], []
    for i, image in enumerate(images):
        one = None
        if ctfs is not None:
            one = ctfs.select(torch.full((math.prod(shape),), i)).reshape(*shape)
        params = ImagingParams(rotation, ctf=one)
        clean = form_images(volumes, params, PIXEL_SIZE, images_law.max_shell)
        clean = clean - clean.mean((-2, -1), keepdim=True)
        ratio = (image * clean - clean.square() / 2).sum((-2, -1))
        ratios.append(ratio / images_law.noise_power[0, 1])
    return torch.stack(ratios)


def no_chance(count: int) -> Chance:
    """Keep all cells of so many images."""
    return Chance(torch.arange(count), (10**9, 10**9))


def found_in(
    images: ImageFactors,
    conformations: Manifold,
    tree: PoseTree = TREE,
    levels: int = 1,
    chance: Chance | None = None,
) -> tuple[Cells, Scorer, PosePosterior, Placement]:
    """Do the E-step of some images; no chance: all cells are kept."""
    chance = chance or no_chance(len(images))
    cells = likely_cells(images, conformations, tree, levels, chance)
    scorer = Scorer.of(conformations, images.modes)
    found = search(cells, images, scorer, tree)
    return (
        cells,
        scorer,
        found,
        place(found, conformations.latents, conformations.weights),
    )


def relative(found: Tensor, expected: Tensor) -> float:
    """L2 norm of the difference over that of what is expected."""
    return float((found - expected).norm() / expected.norm())
