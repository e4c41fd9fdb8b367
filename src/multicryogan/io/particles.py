"""Particle stacks: one view of .star, .cs and bare .mrcs files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.imaging.params import CTFParams
from multicryogan.io.cryosparc import read_cryosparc
from multicryogan.io.images import ImageFiles
from multicryogan.io.mrc_header import read_stack_header
from multicryogan.io.ranges import check_range
from multicryogan.io.relion import read_relion
from multicryogan.io.rows import Floats, OpticsOverride, ParticleRows, first_true

_STACK_SUFFIXES = (".mrcs", ".mrc", ".st", ".stk")
GROUP_COLUMNS = ("rlnOpticsGroup", "ctf/exp_group_id")
_READ = 2**22  # pixels read at once: images on disk may be large
_SPREAD = 1e-3  # relative difference of pixel sizes that is rounding


def read_particles(
    path: str | Path,
    datadir: str | Path | None = None,
    optics: OpticsOverride | None = None,
) -> ParticleStack:
    """Read a particle file; its images stay on disk until they are asked for.

    Args:
        path: RELION .star (2 to 5), cryoSPARC .cs, or a bare .mrcs/.mrc stack.
        datadir: Folder to look for the stacks in, before the folder of `path` and
            the folders above it.
        optics: Values that complete or replace those of the file.

    Returns:
        The particles in file order.

    Raises:
        InputError: The file cannot be read or holds no particles. A missing stack is
            reported when images are asked for, or by `check_files`.
    """
    path = Path(path)
    if datadir is not None and not Path(datadir).is_dir():
        raise InputError(f"the data folder {datadir} does not exist (datadir)")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a .star, .cs or .mrcs file")
    if not path.exists():
        raise InputError(f"{path} does not exist; give a .star, .cs or .mrcs file")
    suffix = path.suffix.lower()
    if suffix == ".star":
        rows = read_relion(path)
    elif suffix == ".cs":
        rows = read_cryosparc(path)
    elif suffix in _STACK_SUFFIXES:
        rows = _read_bare_stack(path)
    else:
        raise InputError(
            f"{path} is of an unknown kind ({suffix or 'no suffix'}); particles are "
            "read from .star, .cs and .mrcs files"
        )
    return ParticleStack(rows, datadir, optics)


class ImageGrid(NamedTuple):
    """The pixels that some of the particles share."""

    box: int
    pixel_size: float  # Å

    @property
    def field_angstrom(self) -> float:
        """Side of the images in Å."""
        return self.box * self.pixel_size


class ParticleStack:
    """N particle images with what their file says about each.

    Attributes:
        path: The file that was read.
        table: Its rows, columns and order as in the file.
        optics: Its optics table (RELION 3.1 and later), or None.
        sign: (N,) +1 or -1: factor already applied to `images` (cryoSPARC).
    """

    def __init__(
        self,
        rows: ParticleRows,
        datadir: str | Path | None = None,
        optics: OpticsOverride | None = None,
    ) -> None:
        """Join rows with the optics that the user gave."""
        self._given = datadir, optics
        given = (optics or OpticsOverride()).values()
        self.path = rows.path
        self.table: pd.DataFrame = rows.table
        self.optics: pd.DataFrame | None = rows.optics
        self.sign: NDArray[np.float32] = rows.sign
        self._rows = rows
        self._files = ImageFiles(rows, None if datadir is None else Path(datadir))
        self._all = np.arange(len(rows.stack))
        self._values = dict(rows.values)
        for name, value in given.items():
            self._values[name] = np.full(len(rows.stack), value)

    def __len__(self) -> int:
        """Number of particles."""
        return len(self._rows.stack)

    @property
    def boxes(self) -> NDArray[np.int64]:
        """(N,) side of each image in pixels."""
        return self._files.boxes()

    @property
    def box(self) -> int:
        """Side of the images in pixels, which all must share."""
        sides = np.unique(self.boxes)
        if len(sides) > 1:
            raise InputError(
                f"{self.path} mixes boxes of {_listed(sides)} pixels; extract the "
                "particles with one box, or give one optics group"
            )
        return int(sides[0])

    @property
    def pixel_sizes(self) -> Floats:
        """(N,) Å per pixel, from the file, else from the headers of the stacks."""
        sizes = self._values.get("pixel_size")
        if sizes is None:
            sizes = self._files.header_pixel_sizes()
        check_range(self._rows, "pixel_size", sizes)
        return sizes

    @property
    def pixel_size(self) -> float:
        """Å per pixel, which all particles must share."""
        sizes = self.pixel_sizes
        if np.ptp(sizes) > _SPREAD * sizes[0]:
            raise InputError(
                f"{self.path} mixes pixel sizes of {_listed(np.unique(sizes))} Å; "
                "extract the particles with one pixel size, or give one optics group"
            )
        return float(sizes[0])

    @property
    def grids(self) -> tuple[ImageGrid, ...]:
        """Every pair of box and pixel size that occurs."""
        return self._sorted_grids[0]

    @property
    def grid_of_row(self) -> NDArray[np.int64]:
        """(N,) which of `grids` each image has."""
        return self._sorted_grids[1]

    @property
    def field_angstrom(self) -> float:
        """Smallest side of the images in Å: what all of them show."""
        return min(grid.field_angstrom for grid in self.grids)

    @property
    def least_box(self) -> int:
        """Pixels that the common field of view has in the coarsest images."""
        field = self.field_angstrom
        return min(round(field / grid.pixel_size) for grid in self.grids)

    @cached_property
    def optics_group(self) -> NDArray[np.int64]:
        """(N,) number of the optics group, and of the grid, of each particle.

        Groups are numbered in the order of their names.
        """
        columns = [
            pd.factorize(self.table[name], sort=True)[0]
            for name in GROUP_COLUMNS
            if name in self.table.columns
        ]
        keys = np.stack([*columns, self.grid_of_row], axis=1)
        group: NDArray[np.int64] = np.unique(keys, axis=0, return_inverse=True)[1]
        return group

    @cached_property
    def _sorted_grids(self) -> tuple[tuple[ImageGrid, ...], NDArray[np.int64]]:
        """Grids, and that of each row; sizes that differ by rounding are the same."""
        sizes, boxes = self.pixel_sizes, self.boxes
        found, place = np.unique(sizes, return_inverse=True)
        steps = np.cumsum(np.diff(np.log(found), prepend=np.log(found[0])) > _SPREAD)
        keys = np.stack((boxes, steps[place]), axis=1)
        _, first, row = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        grids = tuple(ImageGrid(int(boxes[i]), float(sizes[i])) for i in first)
        return grids, row

    @property
    def bytes_on_disk(self) -> int:
        """Size of all stacks together, also of images that no row names."""
        return self._files.bytes_on_disk()

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities met while reading, one line each."""
        return self._rows.notes + self._files.notes()

    @property
    def image_keys(self) -> NDArray[np.int64]:
        """(N, 2) number of the stack, in order of appearance, and of its image."""
        return np.stack((self._rows.stack, self._rows.image_index), axis=1)

    def images(
        self, rows: Sequence[int] | ArrayLike | Tensor | slice
    ) -> NDArray[np.float32]:
        """Read images from disk.

        Args:
            rows: Rows of the table, in any order.

        Returns:
            (B, D, D) images, axes (y, x), multiplied by `sign`.

        Raises:
            InputError: A missing or truncated stack, an index beyond its end, NaN.
        """
        return self._files.read(self._numbers(rows))

    def expect(self, rows: Sequence[int] | ArrayLike | Tensor | slice) -> None:
        """Have the system fetch images that will be asked for soon, where it can."""
        self._files.expect(self._numbers(rows))

    def select(self, rows: NDArray[np.int64]) -> ParticleStack:
        """Keep (n,) rows, in the order given."""
        return ParticleStack(self._rows.select(rows), *self._given)

    def beside(self, path: str | Path) -> ParticleStack:
        """Read another file with the data folder and optics given for this one."""
        return read_particles(path, *self._given)

    def images_by_grid(
        self, rows: Tensor
    ) -> Iterator[tuple[Tensor, int, NDArray[np.float32]]]:
        """Read rows (B,) of several boxes and pixel sizes, few at a time.

        Yields:
            Some of the rows (b,) that have one grid, its number, their images
            (b, D, D).
        """
        grid = self.grid_of_row[rows.numpy()]
        for number in np.unique(grid):
            few = max(1, _READ // self.grids[number].box ** 2)
            places = torch.from_numpy(np.flatnonzero(grid == number))
            for here in torch.split(places, few):
                yield here, int(number), self.images(rows[here])

    def check_files(self) -> None:
        """Raise InputError unless every image named is there and of one size."""
        self._files.check()
        _ = self.grids

    def file_problems(self) -> tuple[str, ...]:
        """Say what is wrong with each stack, one line each; nothing when all is well.

        Where `check_files` stops at the first one, this goes on.
        """
        return self._files.problems()

    def ctf_params(self) -> CTFParams | None:
        """Give the optics of every particle, float32 (N,) each.

        Returns:
            None when the file holds no defocus and none was given. A missing phase
            shift is 0; a missing B-factor or scale is None.

        Raises:
            InputError: There is a defocus but no voltage, Cs or amplitude contrast,
                or a value that is not a number.
        """
        if "defocus_u_angstrom" not in self._values:
            return None
        if self._rows.is_premultiplied:
            raise InputError(
                f"{self.path}: the images are already multiplied by their CTF; extract "
                "them again without premultiplication"
            )
        u, zero = self._values["defocus_u_angstrom"], np.zeros(len(self))
        v = self._values.get("defocus_v_angstrom", u)
        angle = zero if np.array_equal(u, v) else None  # a round defocus needs none
        optional = ("bfactor_angstrom2", "scale")
        return CTFParams(
            defocus_u_angstrom=self._optic("defocus_u_angstrom"),
            defocus_v_angstrom=self._optic("defocus_v_angstrom", v),
            defocus_angle_deg=self._optic("defocus_angle_deg", angle),
            phase_shift_deg=self._optic("phase_shift_deg", zero),
            voltage_kv=self._optic("voltage_kv"),
            cs_mm=self._optic("cs_mm"),
            amplitude_contrast=self._optic("amplitude_contrast"),
            **{name: self._optic(name) for name in optional if name in self._values},
        )

    def rotations(self) -> Tensor | None:
        """(N, 3, 3) float32 matrices A, r_image = A r_volume, or None."""
        return self._pose(self._rows.rotation, "the rotation")

    def shifts_angstrom(self) -> Tensor | None:
        """(N, 2) float32 (x, y) in Å: where the particles sit, or None."""
        shift = self._rows.shift_angstrom
        if shift is None and self._rows.shift_px is not None:
            shift = self._rows.shift_px * self.pixel_sizes[:, None]
        return self._pose(shift, "the shift")

    def _numbers(
        self, rows: Sequence[int] | ArrayLike | Tensor | slice
    ) -> NDArray[np.int64]:
        """(B,) numbers of rows, counted from the start."""
        return np.atleast_1d(self._all[_as_index(rows)])

    def _optic(self, name: str, default: Floats | None = None) -> Tensor:
        """One (N,) column of optics as float32, checked."""
        values = self._values.get(name, default)
        label = self._rows.labels.get(name, name)
        if values is None:
            raise InputError(
                f"{self.path} has a defocus but no {label}; add the column, or give "
                f"{name}"
            )
        check_range(self._rows, name, values)
        return torch.from_numpy(values.astype(np.float32))

    def _pose(self, values: Floats | None, what: str) -> Tensor | None:
        """Rotations or shifts as float32, checked."""
        if values is None:
            return None
        finite = np.isfinite(values).reshape(len(self), -1)
        wrong = first_true(finite.sum(axis=1) < finite.shape[1])
        if wrong is not None:
            raise InputError(
                f"{self.path}, {self._rows.describe(wrong)}: {what} is not a number; "
                "put the row right or remove it"
            )
        return torch.from_numpy(values.astype(np.float32))


def _read_bare_stack(path: Path) -> ParticleRows:
    """Rows of a stack without a table, named as RELION would name them."""
    count = read_stack_header(path).shape[0]
    names = [f"{number:06d}@{path.name}" for number in range(1, count + 1)]
    return ParticleRows(
        path=path,
        table=pd.DataFrame({"rlnImageName": names}),
        optics=None,
        stack_names=(path.name,),
        stack=np.zeros(count, np.int64),
        image_index=np.arange(count),
        values={},
        labels={},
        sign=np.ones(count, np.float32),
    )


def _as_index(
    rows: Sequence[int] | ArrayLike | Tensor | slice,
) -> NDArray[np.int64] | slice:
    """Rows as NumPy understands them."""
    if isinstance(rows, slice):
        return rows
    index = np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows)
    return index.astype(np.int64) if index.size == 0 else index


def _listed(values: NDArray[np.float64] | NDArray[np.int64]) -> str:
    """A few values for a message."""
    shown = ", ".join(f"{value:g}" for value in values[:5])
    return shown + (", ..." if len(values) > 5 else "")
