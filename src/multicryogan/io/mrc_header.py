"""MRC headers: what is stored in a file, and how.

They are read permissively: a stack marked as a volume, no "MAP " word, an empty
machine stamp, voxel size 0 and permuted axes all occur in files of other programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multicryogan.errors import InputError

HEADER_BYTES = 1024
_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_OTHER_MODES = {3: "complex 16-bit", 4: "complex", 101: "4-bit"}
_ORDERS: dict[bytes, Literal["<", ">"]] = {
    b"\x44\x44": "<",
    b"\x44\x41": "<",
    b"\x11\x11": ">",
}


@dataclass(frozen=True, slots=True)
class MrcHeader:
    """What a header says about the values behind it."""

    path: Path
    shape: tuple[int, int, int]  # as stored: (sections, rows, columns)
    dtype: np.dtype[Any]
    offset: int  # bytes before the first value
    axes: tuple[int, int, int]  # 0 = x, 1 = y, 2 = z of (sections, rows, columns)
    voxel_sizes: tuple[float, float, float]  # (x, y, z) in Å, 0 where not given
    is_tidy: bool  # has the MAP word and a machine stamp
    is_marked_volume: bool  # ISPG 1, MZ = NZ: stacks of some programs are as well

    @property
    def voxel_size(self) -> float:
        """Å along x; 0 when the header does not say."""
        return self.voxel_sizes[0]


def read_header(path: str | Path) -> MrcHeader:
    """Read a header and check that the file is as long as it says.

    Args:
        path: An .mrc, .mrcs or .map file.

    Returns:
        Where the values are and how they are stored.

    Raises:
        InputError: No such file, not an MRC file, an unsupported mode, truncated.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_BYTES)
        found = path.stat().st_size
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; check the path"
        ) from error
    if raw[:2] in (b"\x1f\x8b", b"BZ"):
        raise InputError(f"{path} is compressed: unpack it first (gunzip or bunzip2)")
    if len(raw) < HEADER_BYTES:
        raise InputError(
            f"{path} is truncated: {len(raw)} bytes found, an MRC header alone has "
            f"{HEADER_BYTES}; copy or make the file again"
        )
    header = _parse_header(path, raw)
    expected = header.offset + int(np.prod(header.shape)) * header.dtype.itemsize
    if found < expected:
        raise InputError(
            f"{path} is truncated: its header promises {expected} bytes, {found} "
            "found; copy or make the file again"
        )
    return header


def read_stack_header(path: Path) -> MrcHeader:
    """Read the header of a stack of images that no table names.

    Raises:
        InputError: As `read_header`, or it is a map: cubic and marked as one.
    """
    header = read_header(path)
    is_cube = len(set(header.shape)) == 1
    if is_cube and header.is_marked_volume and path.suffix.lower() != ".mrcs":
        raise InputError(
            f"{path} is a map, not a stack of images; give a .star, .cs or .mrcs file "
            "(a stack that only looks like a map is to be named .mrcs)"
        )
    return header


def map_values(header: MrcHeader) -> NDArray[Any]:
    """Map the values of a file into memory, (sections, rows, columns), read-only."""
    return np.memmap(
        header.path,
        dtype=header.dtype,
        mode="r",
        offset=header.offset,
        shape=header.shape,
    )


def _parse_header(path: Path, raw: bytes) -> MrcHeader:
    """Interpret 1024 bytes, in whichever byte order makes sense."""
    from mrcfile.dtypes import HEADER_DTYPE

    stamp = _ORDERS.get(raw[212:214])
    orders: tuple[Literal["<", ">"], ...] = (stamp,) if stamp else ("<", ">")
    for order in orders:
        header = np.frombuffer(raw, np.dtype(HEADER_DTYPE).newbyteorder(order))[0]
        if _is_plausible(header):
            break
    else:
        raise InputError(
            f"{path} is not an MRC file (its header makes no sense); give another, or "
            "copy it again"
        )
    mode = int(header["mode"])
    if mode not in _DTYPES:
        raise InputError(
            f"{path} holds {_OTHER_MODES[mode]} values (mode {mode}); modes 0, 1, 2, "
            "6 and 12 can be read: convert it to mode 2 (float32)"
        )
    return MrcHeader(
        path=path,
        shape=(int(header["nz"]), int(header["ny"]), int(header["nx"])),
        dtype=np.dtype(_DTYPES[mode]).newbyteorder(order),
        offset=HEADER_BYTES + int(header["nsymbt"]),
        axes=_axes(path, header),
        voxel_sizes=_voxel_sizes(header),
        is_tidy=bool(header["map"] == b"MAP ") and stamp is not None,
        is_marked_volume=bool(header["ispg"] == 1 and header["mz"] == header["nz"]),
    )


def _is_plausible(header: np.void) -> bool:
    """Whether numbers of a header read in this byte order can be meant."""
    mode = int(header["mode"])
    known = mode in _DTYPES or mode in _OTHER_MODES
    sides = all(0 < int(header[name]) < 1 << 24 for name in ("nx", "ny", "nz"))
    axes = all(0 <= int(header[name]) <= 3 for name in ("mapc", "mapr", "maps"))
    return known and sides and axes and int(header["nsymbt"]) >= 0


def _axes(path: Path, header: np.void) -> tuple[int, int, int]:
    """(sections, rows, columns) as 0 = x, 1 = y, 2 = z."""
    sections, rows, columns = (int(header[n]) - 1 for n in ("maps", "mapr", "mapc"))
    if (sections, rows, columns) == (-1, -1, -1):  # not filled in
        return 2, 1, 0
    if {sections, rows, columns} != {0, 1, 2}:
        raise InputError(
            f"{path} names its axes {columns + 1}, {rows + 1}, {sections + 1} (MAPC, "
            "MAPR, MAPS); each of 1, 2, 3 is needed once: write the file again"
        )
    return sections, rows, columns


def _voxel_sizes(header: np.void) -> tuple[float, float, float]:
    """CELLA / M along x, y, z; 0 where either is not given."""
    x, y, z = (
        float(header["cella"][axis]) / max(int(header[count]), 1)
        if int(header[count]) > 0
        else 0.0
        for axis, count in (("x", "mx"), ("y", "my"), ("z", "mz"))
    )
    return x, y, z


class Statistics:
    """Running minimum, maximum, mean and standard deviation of what is written."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.total_squares = 0.0
        self.lowest = np.inf
        self.highest = -np.inf

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in more values."""
        self.count += values.size
        self.total += float(values.sum(dtype=np.float64))
        self.total_squares += float(np.vdot(values, values))
        self.lowest = min(self.lowest, float(values.min(initial=np.inf)))
        self.highest = max(self.highest, float(values.max(initial=-np.inf)))

    @property
    def mean(self) -> float:
        """Mean of all values so far."""
        return self.total / self.count

    @property
    def deviation(self) -> float:
        """Standard deviation of all values so far."""
        return float(max(self.total_squares / self.count - self.mean**2, 0.0) ** 0.5)


def new_header(
    shape: tuple[int, ...], voxel_size: float, stats: Statistics, *, is_volume: bool
) -> bytes:
    """1024 bytes of an MRC2014 header for float32 values, mode 2."""
    from mrcfile.dtypes import HEADER_DTYPE

    header = np.zeros((), np.dtype(HEADER_DTYPE).newbyteorder("<"))
    nz, ny, nx = shape
    mz = nz if is_volume else 1
    for name, value in {"nx": nx, "ny": ny, "nz": nz, "mode": 2}.items():
        header[name] = value
    for name, value in {"mx": nx, "my": ny, "mz": mz}.items():
        header[name] = value
    header["cella"] = (nx * voxel_size, ny * voxel_size, mz * voxel_size)
    header["cellb"] = (90.0, 90.0, 90.0)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"] = stats.lowest, stats.highest
    header["dmean"], header["rms"] = stats.mean, stats.deviation
    header["ispg"] = 1 if is_volume else 0
    header["nversion"] = 20141
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nlabl"] = 1
    header["label"][0] = b"multicryogan"
    return header.tobytes()
