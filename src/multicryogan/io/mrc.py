"""MRC files: volumes and stacks of images."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.io.atomic import whole_file
from multicryogan.io.mrc_header import (
    HEADER_BYTES,
    MrcHeader,
    Statistics,
    map_values,
    new_header,
    read_header,
)


@dataclass(frozen=True, slots=True)
class Volume:
    """A map read from a file."""

    values: Tensor  # (D, D, D) float32, axes (z, y, x)
    voxel_size: float  # Å


def read_volume(path: str | Path, voxel_size: float | None = None) -> Volume:
    """Read a cubic map, its axes brought to (z, y, x).

    Args:
        path: An .mrc or .map file.
        voxel_size: Å, for files whose header does not say; wins over the header.

    Returns:
        The map as float32 and its voxel size.

    Raises:
        InputError: Not an MRC file, truncated, not cubic, NaN voxels, no voxel size.
    """
    header = read_header(path)
    if len(set(header.shape)) != 1:
        sections, rows, columns = header.shape
        raise InputError(
            f"{path} has {columns} x {rows} x {sections} voxels; a cubic volume is "
            "needed: crop or pad it to the same number along x, y and z"
        )
    voxel_size = voxel_size or _isotropic_voxel_size(header)
    order = [header.axes.index(axis) for axis in (2, 1, 0)]
    values = np.transpose(map_values(header), order).astype(np.float32)
    if not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise InputError(
            f"{path} is NaN or infinite in {count} of its {values.size} voxels; write "
            "the map again without them"
        )
    return Volume(torch.from_numpy(np.ascontiguousarray(values)), voxel_size)


def write_volume(
    path: str | Path, volume: Tensor | NDArray[Any], voxel_size: float
) -> None:
    """Write a map as float32 MRC: ISPG 1, MZ = NZ, origin 0.

    Args:
        path: The file to write.
        volume: (D, D, D) values, axes (z, y, x).
        voxel_size: Å.
    """
    values = _as_float32(volume)
    if values.ndim != 3 or len(set(values.shape)) != 1:
        raise ValueError(f"expected a cubic (D, D, D) volume, got {values.shape}")
    stats = Statistics()
    stats.add(values)
    header = new_header(values.shape, voxel_size, stats, is_volume=True)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        file.write(values.data)


class StackWriter:
    """Write images to an .mrcs file block by block; nothing remains after an error.

    Use it in a `with` statement and call `append` for each block.
    """

    def __init__(self, path: str | Path, box: int, pixel_size: float) -> None:
        """Prepare a stack of box x box images with `pixel_size` in Å."""
        self.path = Path(path)
        self.box = box
        self.pixel_size = pixel_size
        self.count = 0
        self._stats = Statistics()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            temporary = opening.enter_context(whole_file(self.path))
            self._file = opening.enter_context(temporary.open("wb"))
            self._file.write(bytes(HEADER_BYTES))
            self._open = opening.pop_all()
        return self

    def append(self, images: Tensor | NDArray[Any]) -> None:
        """Add (B, D, D) images, or one (D, D) image, to the end."""
        values = _as_float32(images)
        if values.shape[-2:] != (self.box, self.box) or values.ndim not in (2, 3):
            raise ValueError(
                f"expected images (B, {self.box}, {self.box}), got {values.shape}"
            )
        self._file.write(values.data)
        self._stats.add(values)
        self.count += values.size // self.box**2

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:  # closes the file, then renames it or cleans up
            if error is not None:
                raise error
            if self.count == 0:
                raise ValueError(f"no image was written to {self.path}")
            shape = (self.count, self.box, self.box)
            self._file.seek(0)
            self._file.write(
                new_header(shape, self.pixel_size, self._stats, is_volume=False)
            )


def write_stack(
    path: str | Path,
    images: Tensor | NDArray[Any] | Iterable[Tensor | NDArray[Any]],
    pixel_size: float,
) -> None:
    """Write images as a float32 stack: ISPG 0, MZ 1.

    Args:
        path: The .mrcs file to write.
        images: (N, D, D) images, axes (y, x), or blocks of them one after the other.
        pixel_size: Å.
    """
    blocks = iter([images] if isinstance(images, Tensor | np.ndarray) else images)
    first = next(blocks, None)
    if first is None:
        raise ValueError(f"no image to write to {path}")
    with StackWriter(path, first.shape[-1], pixel_size) as writer:
        writer.append(first)
        for block in blocks:
            writer.append(block)


def _isotropic_voxel_size(header: MrcHeader) -> float:
    """Å of a volume whose three voxel sizes must agree."""
    sizes = header.voxel_sizes
    if not sizes[0] > 0:
        raise InputError(
            f"{header.path} does not say its voxel size; write it into the header: "
            "in ChimeraX, volume #1 voxelSize 1.5 (Å), and save the map"
        )
    if max(sizes) - min(sizes) > 0.01 * sizes[0]:
        raise InputError(
            f"{header.path} has voxels of {sizes[0]:.4g} x {sizes[1]:.4g} x "
            f"{sizes[2]:.4g} Å; equal sides are needed: resample the map"
        )
    return sizes[0]


def _as_float32(values: Tensor | NDArray[Any]) -> NDArray[np.float32]:
    """A contiguous little-endian float32 array; NaN is refused."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    array = np.ascontiguousarray(values, dtype="<f4")
    if not np.isfinite(array).all():
        raise ValueError("values to be written to an MRC file are NaN or infinite")
    return array
