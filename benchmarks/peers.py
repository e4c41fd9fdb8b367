"""Per-image figures of several methods on the same particles, side by side.

python benchmarks/peers.py points DATA CRYODRGN [--images 2000] [--volumes 100]
python benchmarks/peers.py score DATA [--assigned FOLDER ...] [--cryodrgn FOLDER ...]

DATA is a folder that `multicryogan simulate` wrote, with one continuous coordinate.
`--assigned` names folders that `multicryogan assign` wrote, `--cryodrgn` folders with
z.npy, pose.npy and volumes/: docs/peers.md says how they come about. `points`
writes the latents of the first images of the sample, for which cryoDRGN then makes
volumes. All rows of the table are counted on the same images:

- rank correlation of the true coordinate with three readings of the latent. `axis` is
  its first principal axis, `curve` the place along a curve that is led through the
  latents, both without the truth. `ceiling` is fitted to the truth of all other images
  (least squares, all squares and products): what the latent knows at best;
- pose error after one turn and one hand for all images, those that fit best. Images do
  not show the frame of a conformation: one that drifts along the latent counts here;
- FSC area of the volume that a method gives an image with the true map nearest to its
  coordinate, in its own frame, and in one frame for all volumes. Empty levels are set
  to zero first: no method learns the mean of a map.

Beside them stand the true maps, each image placed by its posterior (what single images
tell at best, see oracle.py), and the true mean map for all (what no motion gives).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from oracle import FAR_DEG, search
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.evaluation import (
    Alignment,
    apply_alignment,
    common_alignment,
    fsc,
    fsc_area,
)
from multicryogan.evaluation.alignment import candidates_each
from multicryogan.evaluation.order import spearman
from multicryogan.evaluation.pose_errors import pose_errors_deg
from multicryogan.evaluation.rigid import border_level
from multicryogan.io import read_volume
from multicryogan.rng import stream
from multicryogan.synthetic import Truth, read_truth

POINTS, VOLUMES = "points.txt", "volumes"  # in the folder of cryoDRGN's results
NODES, ROUNDS = 21, 10  # of the curve through the latents
TINY = 1e-12
READINGS = ("axis", "curve", "ceiling")


@dataclass(frozen=True)
class Entry:
    """What one method says of the B images of the sample; None where it is silent."""

    name: str
    readings: dict[str, Tensor]  # of the latent, each (B,)
    rotation: Tensor | None  # (B, 3, 3) matrices A, r_image = A r_volume
    volumes: Tensor  # (P, D, D, D) of the first P images


def main() -> None:
    """Write points for cryoDRGN, or print the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    truth = read_truth(options.data)
    rows = sample(truth, options.images)
    if options.command == "points":
        write_points(options.cryodrgn, rows[: options.volumes])
        return
    entries = [
        entry_of_truth(options.data, truth, rows, options.volumes),
        entry_of_mean(truth, options.volumes),
        *(read_assigned(f, truth, rows, options.volumes) for f in options.assigned),
        *(read_cryodrgn(f, truth, rows, options.volumes) for f in options.cryodrgn),
    ]
    print("\n".join(table(entries, truth, rows)))


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    points = commands.add_parser("points", help="latents to make volumes of")
    score = commands.add_parser("score", help="the table")
    for command in (points, score):
        command.add_argument("data", type=Path)
        command.add_argument("--images", type=int, default=2_000)
        command.add_argument("--volumes", type=int, default=100)
        command.add_argument("--threads", type=int, default=1)
    points.add_argument("cryodrgn", type=Path)
    score.add_argument("--assigned", type=Path, nargs="*", default=[])
    score.add_argument("--cryodrgn", type=Path, nargs="*", default=[])
    return parser.parse_args()


def sample(truth: Truth, images: int) -> Tensor:
    """Draw the rows (B,) of the images that are counted: those of oracle.py."""
    if truth.coordinates.shape[1] != 1 or bool((truth.state >= 0).any()):
        raise InputError("give data with one continuous coordinate")
    count = len(truth.coordinates)
    return torch.randperm(count, generator=stream(0, "oracle"))[:images]


def write_points(folder: Path, rows: Tensor) -> None:
    """Write the latents of some images as `cryodrgn eval_vol --zfile` reads them."""
    latent = np.load(folder / "z.npy", allow_pickle=False)
    np.savetxt(folder / POINTS, latent[rows.numpy()])
    print(folder / POINTS)


def entry_of_truth(data: Path, truth: Truth, rows: Tensor, volumes: int) -> Entry:
    """Place the images by their posterior under the true maps."""
    found = search(data, truth, len(rows))
    assert bool((found.rows == rows).all())
    place = found.placement.latent[:, 0]
    return Entry(
        "true maps",
        dict.fromkeys(READINGS[:1], place),
        found.rotation,
        truth.maps[nearest(truth, place[:volumes])],
    )


def entry_of_mean(truth: Truth, volumes: int) -> Entry:
    """Give every image the true mean map."""
    return Entry("true mean map", {}, None, truth.mean.expand(volumes, -1, -1, -1))


def read_assigned(folder: Path, truth: Truth, rows: Tensor, volumes: int) -> Entry:
    """Read what `multicryogan assign` wrote for all images of the data."""
    with np.load(folder / "latents.npz", allow_pickle=False) as arrays:
        names = ("latent", "rotation", "conformation")
        latent, rotation, map_ = (torch.from_numpy(arrays[name]) for name in names)
    files = sorted(folder.glob("class_*.mrc"))
    maps = torch.stack([read_volume(file).values for file in files])
    return Entry(
        folder.name,
        read_latent(latent, truth, rows),
        rotation[rows],
        maps[map_[rows[:volumes]]],
    )


def read_cryodrgn(folder: Path, truth: Truth, rows: Tensor, volumes: int) -> Entry:
    """Read cryoDRGN's results for all images, its pickles already taken to arrays.

    It moves the points of an image by row vectors, r_volume = r_image R: R is our A.
    """
    latent, rotation = (
        torch.from_numpy(np.load(folder / name, allow_pickle=False)).float()
        for name in ("z.npy", "pose.npy")
    )
    files = sorted((folder / VOLUMES).glob("*.mrc"))
    if len(files) != volumes or len(latent) != len(truth.coordinates):
        raise InputError(
            f"{folder}: {len(files)} volumes and {len(latent)} latents, expected "
            f"{volumes} and {len(truth.coordinates)}; give --volumes, or make them anew"
        )
    values = [read_volume(file, truth.voxel_size).values for file in files]
    return Entry(
        folder.name,
        read_latent(latent.reshape(len(latent), -1), truth, rows),
        rotation[rows],
        torch.stack(values),
    )


def read_latent(latent: Tensor, truth: Truth, rows: Tensor) -> dict[str, Tensor]:
    """Read latents (N, d) in every way that the head of this file lists."""
    true = truth.coordinates[:, 0]
    is_other = torch.ones(len(latent), dtype=torch.bool)
    is_other[rows] = False
    readings = {"axis": first_axis(latent)[rows], "curve": along_curve(latent)[rows]}
    if int(is_other.sum()) > 0:
        parts = latent[is_other], true[is_other], latent[rows]
        readings["ceiling"] = fitted(*parts)
    return readings


def first_axis(latent: Tensor) -> Tensor:
    """Project latents (N, d) on their first principal axis: (N,)."""
    centred = (latent - latent.mean(0)).double()
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors
    return centred @ axes[:, -1]


def along_curve(latent: Tensor) -> Tensor:
    """Place latents (N, d) along a curve through their midst, without the truth.

    A principal curve (Hastie and Stuetzle, 1989): nodes are the means of 21 equal
    groups in the order so far, the next order is the place of the nearest point on the
    line through the nodes. It begins with the first principal axis.

    Returns:
        (N,) places, in units of the latent along the curve.
    """
    points, place = latent.double(), first_axis(latent)
    for _ in range(ROUNDS if latent.shape[1] > 1 else 0):
        groups = place.argsort().tensor_split(NODES)
        place = _project(points, torch.stack([points[g].mean(0) for g in groups]))
    return place


def _project(points: Tensor, nodes: Tensor) -> Tensor:
    """Find the place along a line through nodes; its ends go on for ever."""
    steps = nodes.diff(dim=0)  # (S, d)
    length = steps.norm(dim=1).clamp(min=TINY)
    start = torch.cat((length.new_zeros(1), length.cumsum(0)[:-1]))
    best = points.new_full((len(points),), torch.inf)
    place = torch.zeros_like(best)
    for i, step in enumerate(steps):
        share = (points - nodes[i]) @ step / length[i] ** 2
        low = -torch.inf if i == 0 else 0.0
        high = torch.inf if i == len(steps) - 1 else 1.0
        share = share.clamp(low, high)
        away = (points - nodes[i] - share[:, None] * step).square().sum(1)
        place = torch.where(away < best, start[i] + share * length[i], place)
        best = torch.minimum(best, away)
    return place


def fitted(latent: Tensor, true: Tensor, asked: Tensor) -> Tensor:
    """Fit a quadratic function of latents (N, d) to true (N,), at asked (B, d)."""
    mean, spread = latent.mean(0), latent.std(0).clamp(min=TINY)

    def terms(points: Tensor) -> Tensor:
        scaled = ((points - mean) / spread).double()
        products = scaled[:, :, None] * scaled[:, None]
        above = torch.triu_indices(*products.shape[1:])
        products = products[:, above[0], above[1]]
        return torch.cat((torch.ones_like(scaled[:, :1]), scaled, products), dim=1)

    basis = terms(latent)
    ridge = 1e-9 * len(basis) * torch.eye(basis.shape[1], dtype=basis.dtype)
    weights = torch.linalg.solve(basis.T @ basis + ridge, basis.T @ true.double())
    return terms(asked) @ weights


def nearest(truth: Truth, coordinate: Tensor) -> Tensor:
    """Find the true map (B,) nearest to coordinates (B,)."""
    return (truth.map_coordinates[:, 0] - coordinate[:, None]).abs().argmin(1)


def own_frame_areas(volumes: Tensor, states: Tensor, index: Tensor) -> Tensor:
    """FSC areas (P,) of volumes with states[index], each pair aligned by itself."""
    areas = torch.zeros(len(volumes))
    for state in index.unique().tolist():
        mine = (index == state).nonzero()[:, 0]
        distinct, which = volumes[mine].unique(dim=0, return_inverse=True)
        found = [best[0] for best in candidates_each(distinct, states[state])]
        areas[mine] = _areas(distinct, states[state].expand_as(distinct), found)[which]
    return areas


def one_frame_areas(volumes: Tensor, states: Tensor, index: Tensor) -> Tensor:
    """FSC areas (P,) of volumes with states[index], all moved alike."""
    found = common_alignment(volumes, states)
    return _areas(volumes, states[index], [found] * len(volumes))


def _areas(volumes: Tensor, states: Tensor, found: list[Alignment]) -> Tensor:
    pairs = zip(volumes, found, strict=True)
    moved = torch.cat([apply_alignment(volume[None], pose) for volume, pose in pairs])
    return fsc_area(fsc(levelled(moved), levelled(states)))


def levelled(volumes: Tensor) -> Tensor:
    """Set the empty level of volumes (N, D, D, D) to zero."""
    return volumes - border_level(volumes)[:, None, None, None]


def table(entries: list[Entry], truth: Truth, rows: Tensor) -> list[str]:
    """List the figures of every entry as the lines of a Markdown table."""
    heads = (
        "method",
        *(f"rank correlation, {name}" for name in READINGS),
        "pose error, median",
        f"above {FAR_DEG:g} degrees",
        "FSC area per image, own frame: median (quartiles)",
        "one frame",
    )
    lines = [
        f"{len(rows):,} images, {len(entries[0].volumes)} of them with volumes",
        "",
    ]
    lines += [_line(heads), _line(["---"] * len(heads))]
    return lines + [_line(_cells(entry, truth, rows)) for entry in entries]


def _cells(entry: Entry, truth: Truth, rows: Tensor) -> list[str]:
    true = truth.coordinates[rows, 0]
    cells = [entry.name]
    for name in READINGS:
        reading = entry.readings.get(name)
        cells.append("" if reading is None else f"{abs(spearman(reading, true)):.3f}")
    if entry.rotation is None:
        cells += ["", ""]
    else:
        errors = pose_errors_deg(entry.rotation.float(), truth.rotation[rows].float())
        far = (errors > FAR_DEG).double().mean()
        cells += [f"{errors.median():.1f}", f"{100 * far:.1f} %"]
    index = nearest(truth, true[: len(entry.volumes)])
    rules: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...]
    rules = (own_frame_areas, one_frame_areas)
    return cells + [_spread(rule(entry.volumes, truth.maps, index)) for rule in rules]


def _spread(values: Tensor) -> str:
    low, middle, high = values.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
