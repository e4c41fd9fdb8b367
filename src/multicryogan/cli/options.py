"""Options that several commands share, and what they set up."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multicryogan.errors import InputError
from multicryogan.tables import checked

if TYPE_CHECKING:
    from multicryogan.config import RunConfig
    from multicryogan.io import ParticleStack

MOST_THREADS = 1024

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    Parameter(help="Where to compute; auto takes a GPU when there is one."),
]
Threads = Annotated[
    int, Parameter(help="CPU threads; 0: OMP_NUM_THREADS, or all cores.")
]
Particles = Annotated[
    Path, Parameter(help="Particles: RELION .star, cryoSPARC .cs, or a .mrcs stack.")
]
Config = Annotated[
    Path | None,
    Parameter(help="TOML file of settings; options given here win over it."),
]
Output = Annotated[Path, Parameter(name=["-o", "--output"], help="Folder to write.")]


@Parameter(name="*")
@dataclass(frozen=True)
class ParticleOptions:
    """Where the images are, and what the particle file does not say of them."""

    datadir: Path | None = None
    """Folder that the image paths in the file refer to."""
    pixel_size: float | None = None
    """Å per pixel of all particles; wins over the file."""
    voltage_kv: float | None = None
    """Voltage in kV; wins over the file."""
    cs_mm: float | None = None
    """Spherical aberration in mm; wins over the file."""
    amplitude_contrast: float | None = None
    """Amplitude contrast, 0 to 1; wins over the file."""
    defocus_angstrom: float | None = None
    """One defocus for all, in Å, without astigmatism; wins over the file."""


def open_particles(path: Path, given: ParticleOptions) -> ParticleStack:
    """Read particles, completed by what the command line gives."""
    from multicryogan.io import OpticsOverride, read_particles

    given = checked(given)
    optics = OpticsOverride(
        pixel_size=given.pixel_size,
        voltage_kv=given.voltage_kv,
        cs_mm=given.cs_mm,
        amplitude_contrast=given.amplitude_contrast,
        defocus_angstrom=given.defocus_angstrom,
    )
    return read_particles(path, given.datadir, optics)


def warn_of_no_ctf(stack: ParticleStack) -> None:
    """Warn of particles whose images are taken as free of the CTF.

    Raises:
        InputError: The optics cannot be used.
    """
    from multicryogan.data import lack_of_ctf

    if stack.ctf_params() is None:
        print(f"warning: {printable(lack_of_ctf(stack))}")


def with_whole_paths(run: RunConfig) -> RunConfig:
    """Name files so that this and later commands find them from anywhere."""
    imaging, generator = run.imaging, run.generator
    return replace(
        run,
        imaging=replace(imaging, background=whole_path(imaging.background)),
        generator=replace(
            generator,
            start_map=whole_path(generator.start_map),
            focus_mask=whole_path(generator.focus_mask),
        ),
    )


def whole_path(path: str) -> str:
    """Name a file from the root; empty where none is named."""
    return str(Path(path).resolve()) if path else ""


def printable(text: str) -> str:
    """Replace control characters, which could steer the terminal or break a line."""
    return "".join(c if c.isprintable() else "?" for c in text)


def contrast_sign(
    stack: ParticleStack, setting: Literal["auto", "white", "dark"]
) -> tuple[int, str]:
    """Sign that makes protein white, and a line that says why."""
    from multicryogan.data import detect_contrast

    if setting != "auto":
        return (1 if setting == "white" else -1), f"{setting} protein (as set)"
    contrast = detect_contrast(stack)
    return contrast.sign, contrast.text


def set_up_torch(device: str, threads: int) -> str:
    """Set threads and memory behaviour; return the device to use."""
    import torch

    if not 0 <= threads <= MOST_THREADS:
        raise InputError(
            f"--threads is {threads}; give 0 (all cores) or up to {MOST_THREADS}"
        )
    if device not in ("auto", "cpu", "cuda"):  # which no command asks for
        raise InputError(f"the device is {device!r}; give auto, cpu or cuda")
    if threads > 0:
        torch.set_num_threads(threads)
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise InputError("--device cuda: torch sees no CUDA device; give --device cpu")
    if has_cuda and device != "cpu":
        return _own_gpu(torch.cuda.device_count())
    keep_freed_memory()
    return "cpu"


def _own_gpu(count: int) -> str:
    """Name the GPU that torchrun means for this process; the first without it."""
    number = os.environ.get("LOCAL_RANK") or "0"
    if not number.isdecimal() or int(number) >= count:
        raise InputError(
            f"LOCAL_RANK is {number!r} where torch sees {count} GPUs; start as many "
            "processes as there are GPUs, or unset it"
        )
    return f"cuda:{number}"


def keep_freed_memory() -> None:
    """Tell glibc not to return memory to the system after each update.

    Mapping and clearing the same pages again at every update costs more than some
    updates do.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
