"""Images of many stack files, read by row.

A read of just the bytes that are asked for costs the same in a file of any size. Pages
of a memory map would count as memory of the process, and reading them ahead, which
suits a file that is read in order, takes many times as long as the rows drawn.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from multicryogan.errors import InputError
from multicryogan.io.mrc_header import MrcHeader, read_header
from multicryogan.io.rows import ParticleRows, first_true

_FOLDERS_NAMED = 6


class ImageFiles:
    """Find the stacks of particles and read rows of them.

    A file is open only while its images are read.
    """

    def __init__(self, rows: ParticleRows, datadir: Path | None) -> None:
        """Prepare to read the images that `rows` name."""
        self._rows = rows
        self._folders = _search_folders(rows.path, datadir)
        self._basenames = Counter(_basename(name) for name in rows.stack_names)
        self._headers: dict[int, MrcHeader] = {}

    def header(self, stack: int) -> MrcHeader:
        """Header of a stack by its number; the file is looked for now."""
        if stack not in self._headers:
            header = read_header(self._locate(self._rows.stack_names[stack]))
            _, height, width = header.shape
            if height != width:
                raise InputError(
                    f"{header.path} has images of {width} x {height} pixels; square "
                    "boxes are needed: extract the particles again"
                )
            self._headers[stack] = header
        return self._headers[stack]

    def boxes(self) -> NDArray[np.int64]:
        """(N,) side of each image in pixels, from the headers of the stacks."""
        sides = [self.header(k).shape[-1] for k in range(len(self._rows.stack_names))]
        box: NDArray[np.int64] = np.array(sides, dtype=np.int64)[self._rows.stack]
        return box

    def header_pixel_sizes(self) -> NDArray[np.float64]:
        """(N,) Å per pixel from the headers; 0 where a header does not say."""
        sizes = [self.header(k).voxel_size for k in range(len(self._rows.stack_names))]
        size: NDArray[np.float64] = np.array(sizes)[self._rows.stack]
        return size

    def check(self) -> None:
        """Find every stack and check that it holds the images that rows name."""
        counts = np.array(
            [self.header(k).shape[0] for k in range(len(self._rows.stack_names))]
        )
        self._check_index(np.arange(len(self._rows.stack)), counts[self._rows.stack])

    def problems(self) -> tuple[str, ...]:
        """What keeps each stack from being read, one line each."""
        stacks = self._rows.stack
        order = np.lexsort((self._rows.image_index, stacks))
        highest = order[np.diff(stacks[order], append=-1) != 0]  # row of each stack
        found = []
        for row in np.sort(highest):
            try:
                counts = np.array([self.header(int(stacks[row])).shape[0]])
                self._check_index(np.array([row]), counts)
            except InputError as error:
                found.append(str(error))
        return tuple(found)

    def bytes_on_disk(self) -> int:
        """Size of all stacks together."""
        stacks = range(len(self._rows.stack_names))
        return sum(self.header(k).path.stat().st_size for k in stacks)

    def notes(self) -> tuple[str, ...]:
        """Oddities of the headers read so far, one line each."""
        untidy = [
            header.path for header in self._headers.values() if not header.is_tidy
        ]
        if not untidy:
            return ()
        return (
            f"{len(untidy)} stacks have an incomplete MRC header (the first is "
            f"{untidy[0]}); they were read all the same",
        )

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read (B, D, D) images of rows, in the order asked for, signs applied."""
        first = self.header(int(self._rows.stack[rows[0] if len(rows) else 0]))
        box = first.shape[-1]
        images = np.empty((len(rows), box, box), np.float32)
        for header, places in self._by_stack(rows):
            if header.shape[-1] != box:
                raise InputError(
                    f"{header.path} has a box of {header.shape[-1]} pixels, "
                    f"{first.path} of {box}; give particles of one box"
                )
            self._check_index(rows[places], np.full(len(places), header.shape[0]))
            index = self._rows.image_index[rows[places]]
            _read_images(header, index, images, places)
        self._check_finite(rows, images)
        images *= self._rows.sign[rows][:, None, None]
        return images

    def expect(self, rows: NDArray[np.int64]) -> None:
        """Have the system fetch the images of rows while something else is computed.

        They come into its page cache, which is no memory of this process. Whatever is
        wrong with them is reported when they are read.
        """
        if sys.platform != "linux":
            return
        for header, places in self._by_stack(rows):
            index, size = self._rows.image_index[rows[places]], _image_bytes(header)
            with suppress(OSError), header.path.open("rb", buffering=0) as file:
                for offset in _offsets(header, index):
                    os.posix_fadvise(
                        file.fileno(), offset, size, os.POSIX_FADV_WILLNEED
                    )

    def _by_stack(
        self, rows: NDArray[np.int64]
    ) -> Iterator[tuple[MrcHeader, NDArray[np.int64]]]:
        """Yield each stack and the places in `rows` of its images, in its order."""
        stacks = self._rows.stack[rows]
        order = np.lexsort((self._rows.image_index[rows], stacks))
        starts = np.flatnonzero(np.diff(stacks[order])) + 1
        for places in np.split(order, starts):
            if len(places):
                yield self.header(int(stacks[places[0]])), places

    def _check_index(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Refuse rows that point behind the end of a stack of `counts` images."""
        wrong = first_true(self._rows.image_index[rows] >= counts)
        if wrong is not None:
            row = int(rows[wrong])
            path = self.header(int(self._rows.stack[row])).path
            raise InputError(
                f"{self._rows.path}, {self._rows.describe(row)}: image number "
                f"{self._rows.image_index[row] + 1} does not exist, {path} has "
                f"{counts[wrong]} images; give the stack that belongs to this file"
            )

    def _check_finite(
        self, rows: NDArray[np.int64], images: NDArray[np.float32]
    ) -> None:
        """Refuse images with NaN or infinite pixels."""
        if np.isfinite(images).all():
            return
        broken = np.array([not np.isfinite(image).all() for image in images])
        wrong = first_true(broken)
        row = int(rows[wrong or 0])
        path = self.header(int(self._rows.stack[row])).path
        raise InputError(
            f"{self._rows.path}, {self._rows.describe(row)}: NaN or infinite pixels in "
            f"{path}; extract this particle again or remove the row"
        )

    def _locate(self, name: str) -> Path:
        """Find a stack by its path, then by its last part."""
        tails = [name]
        # The last part alone could mean another job's stack of the same name.
        if self._basenames[_basename(name)] == 1:
            tails.append(_basename(name))
        for tail in tails:
            for folder in self._folders:
                if (folder / tail).is_file():
                    return folder / tail
        listed = ", ".join(str(folder) for folder in self._folders[:_FOLDERS_NAMED])
        more = ", ..." if len(self._folders) > _FOLDERS_NAMED else ""
        raise InputError(
            f"{self._rows.path} names the stack {name}, which was not found; looked "
            f"in {listed}{more}; give the folder that holds it (--datadir)"
        )


def _search_folders(path: Path, datadir: Path | None) -> list[Path]:
    """The data folder, the folder of the particle file, and the folders above."""
    here = path.resolve().parent
    return [*([datadir] if datadir is not None else []), here, *here.parents]


def _basename(name: str) -> str:
    """Last part of a path as particle files write it."""
    return PurePosixPath(name).name


def _read_images(
    header: MrcHeader,
    index: NDArray[np.int64],
    images: NDArray[np.float32],
    places: NDArray[np.int64],
) -> None:
    """Read images `index` of a stack to `places` of `images`."""
    image = np.empty(header.shape[1:], header.dtype)
    try:
        with header.path.open("rb", buffering=0) as file:
            for offset, place in zip(
                _offsets(header, index), places.tolist(), strict=True
            ):
                file.seek(offset)
                found = file.readinto(image.data)
                if found != image.nbytes:
                    raise InputError(
                        f"{header.path} became shorter while it was read; copy or make "
                        "the file again"
                    )
                images[place] = image
    except OSError as error:
        raise InputError(
            f"cannot read {header.path}: {error.strerror}; check that it is still there"
        ) from error


def _offsets(header: MrcHeader, index: NDArray[np.int64]) -> list[int]:
    """Where images of a stack begin, in bytes."""
    offsets: list[int] = (header.offset + index * _image_bytes(header)).tolist()
    return offsets


def _image_bytes(header: MrcHeader) -> int:
    """Bytes of one image of a stack."""
    return header.shape[1] * header.shape[2] * header.dtype.itemsize
