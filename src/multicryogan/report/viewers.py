"""What shows a series of maps: scripts for ChimeraX, and a moving picture."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from multicryogan.io import whole_file
from multicryogan.report.explorer import SUGGESTED, peak_of
from multicryogan.report.plots import grey_range

MOVIE, SERIES = "motion.gif", "open.cxc"
FRAME_MS = 120
SIDE = 320  # pixels of the moving picture, at least
PER_STEP = 4  # frames of the morph from one map to the next
MOST_FRAMES = 200
GLASS = "#6495ed80"  # cornflowerblue, half seen through
EMPTY = "# For an empty session: models are numbered from 1. `close` empties it."
LOOK = ("set bgColor white", "lighting soft", "view")


def write_viewers(volumes: Tensor, folder: Path, *, has_atoms: bool = False) -> None:
    """Write open.cxc, morph.cxc and motion.gif beside volume_001.mrc and so on.

    Args:
        volumes: (V, D, D, D), each laid on its neighbour.
        folder: That holds the maps.
        has_atoms: Whether it holds atoms.cif, too: then atoms.cxc is written.
    """
    level = SUGGESTED * peak_of(volumes.mean(0))
    scripts = {SERIES: series(level, len(volumes))}
    if len(volumes) > 1:
        scripts["morph.cxc"] = morph(level, len(volumes))
        write_movie(volumes, folder / MOVIE)
    if has_atoms:
        scripts["atoms.cxc"] = with_atoms(level, len(volumes))
    for name, lines in scripts.items():
        with whole_file(folder / name) as path:
            path.write_text("\n".join((EMPTY, *lines)) + "\n", encoding="utf-8")


def series(level: float, count: int) -> list[str]:
    """Commands that open maps as a volume series and play it there and back.

    ChimeraX changes to the folder of a script before it runs it, and numbers models
    from 1 in an empty session: commands open, volume and vseries in
    https://www.rbvi.ucsf.edu/chimerax/docs/user/commands/.
    """
    shown = f"volume #1 style surface step 1 level {level:.6g} color cornflowerblue"
    if count == 1:
        return ["open volume_001.mrc", shown, *LOOK]
    play = "vseries play #1 loop true direction oscillate maxFrameRate 8"
    return ["open volume_*.mrc vseries true", shown, *LOOK, play]


def with_atoms(level: float, count: int) -> list[str]:
    """Commands that open maps and the models in them, with a slider for each.

    Models become coordinate sets of one: commands open, coordset and vseries.
    """
    shown = f"volume #1 style surface step 1 level {level:.6g} color {GLASS}"
    if count == 1:
        return ["open volume_001.mrc", "open atoms.cif", shown, *LOOK]
    return [
        "open volume_*.mrc vseries true",
        "open atoms.cif coordsets true",
        shown,
        *LOOK,
        "vseries slider #1",
        "coordset slider #2",
    ]


def morph(level: float, count: int) -> list[str]:
    """Commands that morph smoothly from map to map: volume morph."""
    frames = min(MOST_FRAMES, PER_STEP * (count - 1) + 1)
    return [
        *(f"open volume_{number:03d}.mrc" for number in range(1, count + 1)),
        f"volume #1-{count} style surface step 1 level {level:.6g} color darkorange",
        *LOOK,
        f"volume morph #1-{count} frames {frames} playStep {1 / frames:.4g}",
    ]


def write_movie(volumes: Tensor, path: Path) -> None:
    """Draw (V, D, D, D) maps summed along where motion is seen best, there and back."""
    from PIL import Image

    axis = 1 + int(
        torch.stack([volumes.sum(a).var(0).sum() for a in (1, 2, 3)]).argmax()
    )
    pictures = volumes.sum(axis).flip(1)  # y, or z, upwards
    low, high = grey_range(pictures)
    bytes_ = ((pictures - low) / (high - low)).clamp(0, 1) * 255
    size = -(-SIDE // volumes.shape[-1]) * volumes.shape[-1]
    frames = [
        Image.fromarray(picture.to(torch.uint8).numpy()).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        for picture in torch.cat((bytes_, bytes_[1:-1].flip(0)))
    ]
    with whole_file(path) as unfinished:
        frames[0].save(
            unfinished,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=FRAME_MS,
            loop=0,
        )
