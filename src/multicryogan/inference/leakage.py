"""Whether the latents of single images tell how the images were taken.

A conformation is drawn apart from pose and defocus (Algorithm 1). A latent that goes
with one of them may stand for it in place of motion; or motion is seen from some sides
only, or the molecule lies down by its conformation.

Rank correlation sees what rises or falls with the latent. Information imbalance
(Glielmo et al. 2022, PNAS Nexus 1, pgac039) sees any smooth dependence: whether nearest
neighbours by one quantity are near by the other. Both are compared with the same images
after their latents were dealt out anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.rng import stream
from multicryogan.rotations import geodesic_distance_deg

LEAKAGE = "leakage.json"
AXES = ("x", "y", "z", "|x|", "|y|", "|z|")
VIEWS = tuple(f"{axis} of the viewing direction" for axis in AXES)
ROWS_AT_ONCE = 200  # of a table of rotation angles
LEAST = 0.1  # of a measure: less is what the means of posteriors do, which crowd
TINY = 1e-30  # together where an image, say of low defocus, tells little


@dataclass(frozen=True, slots=True)
class Dependence:
    """One measure of how two quantities depend, and what chance makes of it.

    Attributes:
        of: The quantity that is looked at: "latent", "pose" or "defocus".
        on: The quantity that it is compared with.
        measure: "rank correlation", of the strongest pair, -1 to 1 and 0 where there is
            none; or "information imbalance", 1 where `of` says nothing of `on`, 0 where
            it gives it.
        value: Of the measure.
        threshold: Chance seldom gives a correlation above it in size, or an imbalance
            below it.
        is_flagged: Whether `value` is beyond.
        text: A line for the reader of a report.
    """

    of: str
    on: str
    measure: str
    value: float
    threshold: float
    is_flagged: bool
    text: str


@dataclass(frozen=True, slots=True)
class Leakage:
    """How much latents say of pose and defocus, and these of latents."""

    found: tuple[Dependence, ...]
    images: int  # that were compared

    @property
    def is_flagged(self) -> bool:
        """Whether any dependence is beyond chance."""
        return any(one.is_flagged for one in self.found)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Latents of n images, dealt out anew P times."""

    latent: Tensor  # (n, d)
    orders: Tensor  # (P, n)
    rate: float  # false alarms of one measure
    generator: torch.Generator


def measure_leakage(
    latent: Tensor,
    rotation: Tensor,
    defocus_angstrom: Tensor | None,
    seed: int,
    *,
    most: int = 2_000,
    false_alarms: float = 0.01,
) -> Leakage:
    """Measure how latent and pose, and latent and defocus, depend on each other.

    Views are taken with their sign and without. Opposite views are mirror images: a
    latent that tells top from side goes with |z|, one that tells images from their
    mirror images with z. The mirror image of the maps only turns signs.

    Args:
        latent: (N, d) latents of single images, best the means of their posteriors.
        rotation: (N, 3, 3) their matrices A, r_image = A r_volume.
        defocus_angstrom: (N,) mean of U and V; None where it is not known.
        seed: Of the choice of images and the dealing.
        most: At most so many images are compared, drawn at random.
        false_alarms: Probability of any flag where nothing depends on the latent.

    Returns:
        Three measures about pose and, with a defocus, three about that.

    Raises:
        ValueError: If lengths differ, or fewer than 10 images are given.
    """
    if not len(latent) == len(rotation) >= 10:
        raise ValueError(
            f"expected as many latents as rotations, 10 or more, got {len(latent)} and "
            f"{len(rotation)}"
        )
    generator = stream(seed, "leakage")
    rate = false_alarms / (3 if defocus_angstrom is None else 6)
    picked = torch.randperm(len(latent), generator=generator)[:most]
    # The third most extreme of these dealings is the threshold.
    shape = (round(3 / rate) - 1, len(picked))
    orders = torch.rand(shape, generator=generator).argsort(dim=1)
    trial = _Trial(_standard(latent.cpu()[picked]), orders, rate, generator)
    turned = rotation.cpu()[picked].double()
    direction = turned[:, 2]  # of view, in the frame of the volume
    views = torch.cat((direction, direction.abs()), dim=1)
    found = [
        _correlation(trial, views, "pose", VIEWS),
        *_imbalances(trial, _angles(turned), "pose"),
    ]
    if defocus_angstrom is not None:
        defocus = _standard(defocus_angstrom.cpu()[picked, None])
        found += [
            _correlation(trial, defocus, "defocus", ("defocus",)),
            *_imbalances(trial, _distances(defocus), "defocus"),
        ]
    return Leakage(tuple(found), len(picked))


def _correlation(
    trial: _Trial, others: Tensor, on: str, names: tuple[str, ...]
) -> Dependence:
    """Find the strongest rank correlation of a latent dimension with (n, m) others."""
    a, b = _ranks(trial.latent), _ranks(others)
    pairs = a.T @ b  # (d, m)
    chance = torch.einsum("pnd,nm->pdm", a[trial.orders], b).abs().amax((1, 2))
    threshold = _extreme(chance, trial.rate)
    place = int(pairs.abs().argmax())
    value = float(pairs.flatten()[place])
    is_flagged = abs(value) > max(threshold, LEAST)
    dimension, partner = divmod(place, len(names))
    verb = "goes with" if is_flagged else "does not go with"
    return Dependence(
        of="latent",
        on=on,
        measure="rank correlation",
        value=value,
        threshold=threshold,
        is_flagged=is_flagged,
        text=f"latent {dimension + 1} {verb} {names[partner]} (rank correlation "
        f"{value:+.2f}; chance stays within {threshold:.2f})",
    )


def _imbalances(trial: _Trial, distance: Tensor, other: str) -> list[Dependence]:
    """Measure what latents say of a quantity of (n, n) distances, and it of them."""
    latent = _distances(trial.latent)
    said = {
        ("latent", "pose"): "images of like latent are seen from like sides",
        ("pose", "latent"): "images seen from like sides have like latents",
        ("latent", "defocus"): "images of like latent have like defocus",
        ("defocus", "latent"): "images of like defocus have like latents",
    }
    found = []
    for of, on, source, target in (
        ("latent", other, latent, distance),
        (other, "latent", distance, latent),
    ):
        nearest, ranks = _nearest(source, trial.generator), _neighbour_ranks(target)
        value = float(_imbalance(nearest, ranks, torch.arange(len(ranks))[None]))
        chance = _imbalance(nearest, ranks, trial.orders)
        threshold = -_extreme(-chance, trial.rate)
        is_flagged = value < min(threshold, 1 - LEAST)
        more = (
            "more" if is_flagged else "hardly more" if value < threshold else "no more"
        )
        dependence = Dependence(
            of=of,
            on=on,
            measure="information imbalance",
            value=value,
            threshold=threshold,
            is_flagged=is_flagged,
            text=f"{said[of, on]} {more} than by chance (information imbalance "
            f"{value:.2f}; chance stays above {threshold:.2f})",
        )
        found.append(dependence)
    return found


def information_imbalance(
    source: Tensor, target: Tensor, generator: torch.Generator
) -> float:
    """Measure how little near neighbours by one distance are near by another.

    2 / n times the mean rank, by the target, of each item's nearest neighbour by the
    source (Glielmo et al. 2022, equation 2).

    Args:
        source: (n, n) distances.
        target: (n, n) distances.
        generator: To choose among equally near neighbours.

    Returns:
        2 / n where the source gives the target; 1 on average where it says nothing.
    """
    ranks = _neighbour_ranks(target)
    order = torch.arange(len(ranks))[None]
    return float(_imbalance(_nearest(source, generator), ranks, order))


def _imbalance(nearest: Tensor, ranks: Tensor, orders: Tensor) -> Tensor:
    """(P,) imbalances for (P, n) orders in which the source's items are dealt out."""
    rank = ranks[orders, orders[:, nearest]]  # (P, n)
    return 2 * rank.mean(dim=1) / len(ranks)


def _nearest(distance: Tensor, generator: torch.Generator) -> Tensor:
    """(n,) index of the nearest other item, any one of equally near ones."""
    others = distance.clone().fill_diagonal_(torch.inf)
    is_nearest = others == others.amin(dim=1, keepdim=True)
    lots = torch.rand(others.shape, generator=generator) + 1
    return torch.where(is_nearest, lots, 0).argmax(dim=1)


def _neighbour_ranks(distance: Tensor) -> Tensor:
    """(n, n) rank of each other item by its distance, from 1; equal ones share it."""
    from scipy.stats import rankdata

    with_self = distance.clone().fill_diagonal_(-1)
    return torch.from_numpy(rankdata(with_self.numpy(), axis=1)) - 1


def _ranks(values: Tensor) -> Tensor:
    """(n, m) ranks of each column with mean 0 and norm 1: products are Spearman's."""
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(values.numpy(), axis=0))
    ranks = ranks - ranks.mean(dim=0)
    unit: Tensor = ranks / ranks.norm(dim=0).clamp(min=TINY)
    return unit


def _standard(values: Tensor) -> Tensor:
    """(n, m) columns of mean 0 and spread 1, as dimensions may differ in scale."""
    values = values.double() - values.double().mean(dim=0)
    return values / values.std(dim=0).clamp(min=TINY)


def _distances(values: Tensor) -> Tensor:
    """(n, n) Euclidean distances of (n, m) items, exact for near ones."""
    return torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")


def _angles(rotation: Tensor) -> Tensor:
    """(n, n) angles between (n, 3, 3) rotations, in degrees."""
    rows = torch.split(rotation, ROWS_AT_ONCE)
    return torch.cat([geodesic_distance_deg(r[:, None], rotation[None]) for r in rows])


def _extreme(chance: Tensor, rate: float) -> float:
    """Threshold that a like draw exceeds with probability `rate`, of (P,) draws."""
    return float(chance.topk(round(rate * (len(chance) + 1))).values[-1])
