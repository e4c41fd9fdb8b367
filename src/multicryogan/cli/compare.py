"""`multicryogan compare`."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.folders import forget, result_folder
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.evaluation import Comparison, Match
    from multicryogan.io import Volume

NO_MAPS = ("half", "mask")  # in names of maps that are no conformations
SUFFIXES = (".mrc", ".map")
ALIGNED, REFERENCE = "aligned.mrc", "reference.mrc"
FSC_CSV, FSC_PNG, NUMBERS = "fsc.csv", "fsc.png", "compare.json"
MATCHES = "matches.csv"


def compare(
    first: Annotated[Path, Parameter(help="A map (.mrc, .map), or a folder of maps.")],
    second: Annotated[Path, Parameter(help="Another, laid on the first.")],
    *,
    output: options.Output,
    mask: Annotated[
        Path | None,
        Parameter(help="Mask (.mrc) drawn on reference.mrc; made if not given."),
    ] = None,
    threads: options.Threads = 0,
) -> int:
    """Tell how alike two maps are, whatever their frame, hand, sign, scale and grid.

    Of two maps writes aligned.mrc, the second laid on the first (reference.mrc, on
    their common grid), and their correlation in a mask (fsc.csv, fsc.png,
    compare.json). Of two folders finds for each map of the first the one of the second
    that is most like it (matches.csv) and writes it, aligned; half maps and masks are
    left out.
    """
    options.set_up_torch("cpu", threads)
    if first.is_dir() or second.is_dir():
        if mask is not None:
            raise InputError(f"--mask {mask}: a mask is for two maps, not for folders")
        return _compare_folders(first, second, output)
    _write_comparison(compare_files(first, second, mask), output)
    folders = first.parent, second.parent
    if folders[0] != folders[1] and all(map(_is_of_series, (first, second))):
        print(
            "each is one of a series, and latents may run either way: multicryogan "
            f"compare {folders[0]} {folders[1]} finds which is like which"
        )
    print(f"done: {output}")
    return 0


def compare_files(first: Path, second: Path, mask: Path | None = None) -> Comparison:
    """Lay one map on another, in a mask on their common grid if one is given."""
    from multicryogan.evaluation import compare_maps, on_one_grid

    maps = [_read_map(path) for path in (first, second)]
    one, other, voxel_size = on_one_grid(
        maps[0].values[None], maps[1].values[None], _voxel_sizes(*maps)
    )
    inside = None if mask is None else _mask(mask, one[0], voxel_size)
    return compare_maps(one[0], other[0], voxel_size, inside)


def _write_comparison(found: Comparison, output: Path) -> None:
    from multicryogan.io import write_volume
    from multicryogan.report.plots import plot_half_sets

    with result_folder(output, NUMBERS):
        write_volume(output / REFERENCE, found.reference, found.voxel_size)
        write_volume(output / ALIGNED, found.moved, found.voxel_size)
        _write_curves(found, output)
        plot_half_sets(found.curves, output / FSC_PNG)
    print("\n".join(_lines(found)))


def _compare_folders(first: Path, second: Path, output: Path) -> int:
    import torch

    from multicryogan.evaluation import match_sets, on_one_grid
    from multicryogan.io import write_volume
    from multicryogan.progress import ProgressLine

    files = [_maps_of(path) for path in (first, second)]
    sets = [_read_set(paths) for paths in files]
    voxel_sizes = _voxel_sizes(sets[0][0], sets[1][0])
    one, other = (torch.stack([volume.values for volume in own]) for own in sets)
    one, other, voxel_size = on_one_grid(one, other, voxel_sizes)
    counts = " with ".join(
        f"{len(n)} maps of {f}" for n, f in zip(files, (first, second), strict=True)
    )
    print(f"{counts}; folders in them are not looked into")
    with ProgressLine() as line:
        laying = partial(line.count_steps, "laying each map on each")
        found = match_sets(one, other, laying)
    rows = _match_rows(files, found, voxel_size)
    with result_folder(output, MATCHES):
        forget(output, "on_*.mrc")
        for path, match in zip(files[0], found, strict=True):
            write_volume(output / f"on_{path.stem}.mrc", match.moved, voxel_size)
        _write_table(output / MATCHES, rows)
    for row in rows:
        print(
            f"{row['map']}: most like {row['match']}, FSC area {row['fsc_area']:.3f}, "
            f"0.5 at {row['resolution_angstrom']:.1f} Å"
        )
    areas = sorted(float(row["fsc_area"]) for row in rows)
    print(f"done: {output}; FSC area {areas[0]:.3f} to {areas[-1]:.3f}")
    return 0


def _is_of_series(path: Path) -> bool:
    """Whether a numbered map lies beside others of its name."""
    name = path.stem.rstrip("0123456789")
    names = [other.stem.rstrip("0123456789") for other in path.parent.iterdir()]
    return name != path.stem and names.count(name) > 1


def _maps_of(path: Path) -> list[Path]:
    """List the maps of a folder, in the order of their names; or a single one."""
    if not path.is_dir():
        return [path]
    found = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in SUFFIXES
        and not any(word in file.stem.lower() for word in NO_MAPS)
    ]
    if not found:
        raise InputError(f"{path} holds no map; give a folder of .mrc or .map files")
    return found


def _read_set(paths: list[Path]) -> list[Volume]:
    """Read maps that must be on one grid."""
    from multicryogan.units import is_same_length

    found = [_read_map(path) for path in paths]
    for path, volume in zip(paths, found, strict=True):
        is_same = is_same_length(volume.voxel_size, found[0].voxel_size)
        if volume.values.shape != found[0].values.shape or not is_same:
            raise InputError(
                f"{path} has another box or voxel size than {paths[0].name}; put maps "
                "of one grid into a folder"
            )
    return found


def _read_map(path: Path) -> Volume:
    """Read a map that is not the same everywhere."""
    from multicryogan.io import read_volume

    found = read_volume(path)
    if found.values.max() == found.values.min():
        raise InputError(
            f"{path} is {float(found.values.max()):g} everywhere; give a map that "
            "shows something"
        )
    return found


def _mask(path: Path, like: Tensor, voxel_size: float) -> Tensor:
    from multicryogan.io import read_volume
    from multicryogan.units import is_same_length

    read = read_volume(path)
    is_same = is_same_length(read.voxel_size, voxel_size)
    if read.values.shape != like.shape or not is_same:
        raise InputError(
            f"{path} has {read.values.shape[0]} voxels of {read.voxel_size:.3f} Å, the "
            f"maps are compared on {like.shape[0]} of {voxel_size:.3f} Å; draw it on "
            f"{REFERENCE}, which is written without --mask"
        )
    if not float(read.values.max()) > 0:
        raise InputError(f"the mask {path} is empty: no value above 0; give another")
    return read.values.clamp(0, 1)


def _voxel_sizes(first: Volume, second: Volume) -> tuple[float, float]:
    return first.voxel_size, second.voxel_size


def _lines(found: Comparison) -> list[str]:
    """Say how the maps were laid on each other, and how alike they are."""
    hand = "the other hand" if found.alignment.is_mirrored else "the same hand"
    sign = "inverted" if found.is_inverted else "the same sign"
    half, gold = (found.resolution_angstrom(level) for level in (0.5, 0.143))
    return [
        f"turned by {found.rotation_deg:.1f} degrees, shifted by "
        f"{found.shift_angstrom:.1f} Å, {hand}, {sign}, scale {found.scale:.4g}",
        f"correlation in the mask {found.correlation:.3f}",
        f"FSC 0.5 at {_angstrom(half)}, 0.143 at {_angstrom(gold)}, corrected for the "
        f"mask; Nyquist {2 * found.voxel_size:.1f} Å",
    ]


def _angstrom(value: float) -> str:
    return f"{value:.1f} Å" if math.isfinite(value) else "no resolution"


def _write_curves(found: Comparison, output: Path) -> None:
    from multicryogan.io import whole_file

    curves = found.curves
    shells = range(1, len(curves.corrected))
    table = [
        {
            "shell": shell,
            "resolution_angstrom": found.voxel_size * curves.box / shell,
            "corrected": float(curves.corrected[shell]),
            "masked": float(curves.masked[shell]),
            "unmasked": float(curves.unmasked[shell]),
            "randomised": float(curves.randomised[shell]),
        }
        for shell in shells
    ]
    _write_table(output / FSC_CSV, table)
    half, gold = (found.resolution_angstrom(level) for level in (0.5, 0.143))
    facts = {
        "rotation": found.alignment.rotation.tolist(),
        "rotation_deg": found.rotation_deg,
        "shift_angstrom": (found.alignment.shift * found.voxel_size).tolist(),
        "is_mirrored": found.alignment.is_mirrored,
        "is_inverted": found.is_inverted,
        "scale": found.scale,
        "correlation": found.correlation,
        "resolution_0.5_angstrom": half if math.isfinite(half) else None,
        "resolution_0.143_angstrom": gold if math.isfinite(gold) else None,
        "voxel_size": found.voxel_size,
    }
    with whole_file(output / NUMBERS) as path:
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _match_rows(
    files: list[list[Path]], found: list[Match], voxel_size: float
) -> list[dict[str, Any]]:
    from multicryogan.evaluation import resolution_angstrom

    return [
        {
            "map": path.name,
            "match": files[1][match.number].name,
            "fsc_area": match.fsc_area,
            "resolution_angstrom": resolution_angstrom(
                match.fsc, 0.5, match.moved.shape[-1], voxel_size
            ),
        }
        for path, match in zip(files[0], found, strict=True)
    ]


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    from multicryogan.io import whole_file

    with whole_file(path) as unfinished:
        pd.DataFrame(rows).to_csv(unfinished, index=False, float_format="%.6g")
