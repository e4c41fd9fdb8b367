"""Poses, optics and latents as cryoDRGN keeps them: one array each, in file order."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.imaging.params import CTFParams
from multicryogan.io.atomic import whole_file
from multicryogan.io.rows import Floats

Singles = NDArray[np.float32]
_OPTICS = (  # the order of cryoDRGN's table, after box and pixel size
    "defocus_u_angstrom",
    "defocus_v_angstrom",
    "defocus_angle_deg",
    "voltage_kv",
    "cs_mm",
    "amplitude_contrast",
    "phase_shift_deg",
)


@dataclass(frozen=True, slots=True)
class CryodrgnTables:
    """What cryoDRGN knows of N particles.

    Attributes:
        rotation: (N, 3, 3) matrices A, r_image = A r_volume: cryoDRGN's are ours.
        translation: (N, 2) (x, y) shift that centres the image, as in RELION, in
            fractions of the box.
        latent: (N, d) its z.
        ctf: (N, 9) box, Å per pixel, defocus U and V in Å, angle in degrees, kV, Cs in
            mm, amplitude contrast, phase shift in degrees; None without optics.
    """

    rotation: Singles
    translation: Singles
    latent: Singles
    ctf: Singles | None = None


def cryodrgn_tables(
    rotation: Tensor,
    shift_angstrom: Tensor,
    latent: Tensor,
    boxes: NDArray[np.int64],
    pixel_size: Floats,
    optics: CTFParams | None,
) -> CryodrgnTables:
    """Say in cryoDRGN's words how N particles are seen.

    Args:
        rotation: (N, 3, 3) matrices A, r_image = A r_volume.
        shift_angstrom: (N, 2) (x, y) where the particles sit.
        latent: (N, d) latents.
        boxes: (N,) side of each image in pixels.
        pixel_size: (N,) Å per pixel of the images.
        optics: Optics of each particle, fields (N,), or None.
    """
    field_angstrom = (boxes * pixel_size)[:, None]
    ctf = None
    if optics is not None:
        columns = [boxes, pixel_size]
        columns += [getattr(optics, name).numpy() for name in _OPTICS]
        ctf = np.stack(columns, axis=1).astype(np.float32)
    return CryodrgnTables(
        rotation=rotation.numpy().astype(np.float32),
        translation=(-shift_angstrom.numpy() / field_angstrom).astype(np.float32),
        latent=latent.numpy().astype(np.float32),
        ctf=ctf,
    )


def write_cryodrgn(
    folder: Path, tables: CryodrgnTables, *, has_pickles: bool = False
) -> None:
    """Write poses.npz, z.npz and, with optics, ctf.npz.

    Args:
        folder: Where to.
        tables: What to write: arrays rotation and translation, z, ctf.
        has_pickles: Whether to write cryoDRGN's own poses.pkl, z.pkl and ctf.pkl too.
    """
    files: dict[str, Mapping[str, Singles]] = {
        "poses": {"rotation": tables.rotation, "translation": tables.translation},
        "z": {"z": tables.latent},
    }
    if tables.ctf is not None:
        files["ctf"] = {"ctf": tables.ctf}
    for name, arrays in files.items():
        with whole_file(folder / f"{name}.npz") as path, path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        if has_pickles:
            with whole_file(folder / f"{name}.pkl") as path:
                path.write_bytes(_pickled(*arrays.values()))


def _pickled(*arrays: Singles) -> bytes:
    """Pickle one array, or a tuple of two.

    Written out, opcode by opcode (`pickletools` lists them), for two reasons: nothing
    here imports what could read a pickle, and NumPy's own names modules that moved in
    NumPy 2, which an older cryoDRGN beside NumPy 1 cannot open.
    """
    end = b"." if len(arrays) == 1 else b"\x86."  # TUPLE2, STOP
    return b"\x80\x05" + b"".join(map(_array_opcodes, arrays)) + end


def _array_opcodes(array: Singles) -> bytes:
    """Opcodes that call numpy.ndarray(shape, "<f4", buffer)."""
    shape = b"".join(struct.pack("<ci", b"J", side) for side in array.shape)
    data = np.ascontiguousarray(array, "<f4").tobytes()
    buffer = struct.pack("<cQ", b"\x96", len(data)) + data  # BYTEARRAY8: writable
    arguments = b"((" + shape + b"t" + b"\x8c\x03<f4" + buffer + b"t"
    return b"cnumpy\nndarray\n" + arguments + b"R"
