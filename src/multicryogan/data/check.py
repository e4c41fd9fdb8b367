"""What a particle file holds, and what would spoil a reconstruction from it.

`check_particles` looks at everything that training will use, before hours are spent:
the files, the optics, a sample of the images, their noise. Poses and half-sets are
mentioned and not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from multicryogan.config import DataConfig
from multicryogan.data.inspection import ImageSample, inspect_images
from multicryogan.data.optics import describe_groups, unusual_optics
from multicryogan.data.preprocess import Preprocessing, detect_contrast
from multicryogan.data.spectra import Spectra, survey
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack

T = TypeVar("T")
SAMPLE = 2_000  # images looked at
FEW = 1_000  # particles: below it only a rough map can be hoped for
DUPLICATES = 0.01  # share of repeated images that counts as a problem
SHOWN = 3  # stacks that cannot be used, before they are only counted
WHITE = (0.75, 1.33)  # ratio of noise power at low to high resolution
MEASURABLE = 50  # images below which spectra say nothing
BOXES = (16, 32, 64, 128)  # working boxes whose resolution is told


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, in the order it is printed."""

    facts: tuple[tuple[str, str], ...]  # (label, text)
    notes: tuple[str, ...]  # worth knowing, does not stop a run
    problems: tuple[str, ...]  # would spoil a run


@dataclass(slots=True)
class _Page:
    """A report that is being written."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fact(self, label: str, text: str) -> None:
        self.facts.append((label, text))

    def attempt(self, measure: Callable[[], T]) -> T | None:
        """Result of `measure`, or None with its complaint among the problems."""
        try:
            return measure()
        except InputError as error:
            self.problems.append(str(error))
            return None


def check_particles(stack: ParticleStack, settings: DataConfig) -> Report:
    """Look at particles as training would.

    Args:
        stack: The particles.
        settings: Working box, contrast and background radius of the run to come.

    Returns:
        Facts, notes and problems; no problem means that training can start.
    """
    page = _Page()
    page.fact("file", str(stack.path))
    page.fact("particles", f"{len(stack):,}")
    if len(stack) < FEW:
        page.notes.append(
            f"{len(stack):,} particles are few: expect a rough map and no motion"
        )
    is_complete = _describe_files(stack, page)
    _describe_duplicates(stack, page)
    is_uniform = is_complete and _describe_size(stack, settings.box, page)
    _describe_optics(stack, page)
    _describe_unused(stack, page)
    if is_uniform and _describe_images(stack, page):
        _describe_signal(stack, settings, page)
    page.notes.extend(stack.notes)
    return Report(tuple(page.facts), tuple(page.notes), tuple(page.problems))


def _describe_files(stack: ParticleStack, page: _Page) -> bool:
    """Count the stacks; return whether every image that rows name is there."""
    count = len(np.unique(stack.image_keys[:, 0]))
    found = stack.file_problems()
    text = (
        f"{count:,}"
        if not found
        else f"{count:,}, of which {len(found):,} cannot be used"
    )
    page.fact("stack files", text)
    page.problems.extend(found[:SHOWN])
    if len(found) > SHOWN:
        page.problems.append(f"... and {len(found) - SHOWN:,} more stacks like these")
    return not found


def _describe_duplicates(stack: ParticleStack, page: _Page) -> None:
    """Count rows that show an image which an earlier row shows as well."""
    _, counts = np.unique(stack.image_keys, axis=0, return_counts=True)
    repeated = int((counts - 1).sum())
    share = repeated / len(stack)
    page.fact("repeated images", f"{repeated:,}" if repeated else "none")
    if repeated:
        (page.problems if share > DUPLICATES else page.notes).append(
            f"{repeated:,} rows ({share:.1%}) name an image that another row names as "
            "well; remove the repeated rows"
        )


def _describe_size(stack: ParticleStack, working_box: int, page: _Page) -> bool:
    """Give box, pixel size and memory; return whether all particles share them."""
    box, pixel_size = (
        page.attempt(lambda: stack.box),
        page.attempt(lambda: stack.pixel_size),
    )
    if box is None or pixel_size is None:
        return False
    page.fact("images", f"{box} x {box} pixels of {pixel_size:.4g} Å")
    page.fact("field of view", f"{box * pixel_size:.0f} Å")
    megabytes = len(stack) * box**2 * 4 / 1e6
    page.fact("memory", f"{megabytes:,.0f} MB of pixels, read from disk by row")
    boxes = sorted({b for b in (*BOXES, working_box) if b <= box})
    page.fact(
        "finest detail",
        "; ".join(
            f"{2 * pixel_size * box / b:.1f} Å at a working box of {b}" for b in boxes
        ),
    )
    if box < working_box:
        page.problems.append(
            f"the images have {box} pixels, fewer than the working box of "
            f"{working_box}; give --data.box {box - box % 2}"
        )
    return box >= working_box


def _describe_optics(stack: ParticleStack, page: _Page) -> None:
    """Describe the optics of each group and what looks unusual."""
    problems = len(page.problems)
    optics = page.attempt(stack.ctf_params)
    if optics is None:
        page.fact("optics", "none that can be used")
        if len(page.problems) == problems:
            page.problems.append(
                f"{stack.path} holds no defocus: images would be taken as free of the "
                "CTF; estimate it and extract again, or give --defocus-angstrom, "
                "--voltage-kv, --cs-mm and --amplitude-contrast"
            )
        return
    for label, text in describe_groups(stack, optics):
        page.fact(label, text)
    page.notes.extend(unusual_optics(optics))


def _describe_unused(stack: ParticleStack, page: _Page) -> None:
    """Say which results of other programs are in the file."""
    columns = set(stack.table.columns)
    has_halves = bool({"rlnRandomSubset", "alignments3D/split"} & columns)
    has_poses = page.attempt(stack.rotations) is not None
    present = [
        name
        for name, is_there in (("poses", has_poses), ("half-sets", has_halves))
        if is_there
    ]
    text = " and ".join(present)
    page.fact("also in the file", f"{text}; not used" if text else "no poses")


def _describe_images(stack: ParticleStack, page: _Page) -> bool:
    """Look at a sample of images; return whether all of them can be read."""
    sample = inspect_images(stack, SAMPLE)
    page.fact("images looked at", f"{len(sample.rows):,}")
    page.notes.extend(_odd_images(sample))
    if sample.broken:
        page.problems.append(sample.broken[0])
        if len(sample.broken) > 1:
            page.problems.append(
                f"... and {len(sample.broken) - 1:,} more images like this among "
                f"{len(sample.rows):,}"
            )
    blank = len(sample.blank)
    if blank > DUPLICATES * len(sample.rows):
        page.problems.append(
            f"{blank:,} of {len(sample.rows):,} images are constant (the first is "
            f"row {sample.blank[0] + 1}); remove them"
        )
    return not sample.broken and blank < len(sample.rows)


def _odd_images(sample: ImageSample) -> list[str]:
    """Notes on images that differ from the others."""
    count = f"of {len(sample.rows):,} images"
    notes = []
    if 0 < len(sample.blank) <= DUPLICATES * len(sample.rows):
        notes.append(f"{len(sample.blank):,} {count} are constant")
    for rows, what in (
        (sample.outlying, "are much brighter, darker or stronger than the others"),
        (sample.spotted, "have single pixels far off the others (X-rays, dust)"),
    ):
        if len(rows):
            notes.append(
                f"{len(rows):,} {count} {what}; the first is row {rows[0] + 1}"
            )
    return notes


def _describe_signal(stack: ParticleStack, settings: DataConfig, page: _Page) -> None:
    """Give contrast, noise and signal at the working box."""
    sign, text = 1 if settings.contrast == "white" else -1, f"{settings.contrast} (set)"
    if settings.contrast == "auto":
        contrast = detect_contrast(stack, SAMPLE)
        sign, text = contrast.sign, contrast.text
        if "unclear" in text:
            page.notes.append("the contrast is unclear; give --data.contrast")
    page.fact("contrast", text)
    if len(stack) < MEASURABLE:
        page.fact("noise and signal", "too few images to measure")
        return
    box = settings.box
    preprocessing = Preprocessing(
        box=box,
        sign=sign,
        background_radius_px=settings.background_radius * box / 2,
        window_edge_px=settings.window_edge_px,
    )
    spectra = survey(
        stack, stack.optics_group, preprocessing, seed=0, device="cpu", most=SAMPLE
    )
    page.fact("noise", _noise_line(spectra))
    snr = spectra.snr()
    where = f"at a working box of {box}"
    if snr > 0:
        page.fact("signal to noise", f"{10 * np.log10(snr):.0f} dB {where}")
    else:
        page.fact("signal to noise", f"too low to measure {where}")
        page.notes.append(
            "the centre of the images holds no more power than their rim: are the "
            "particles centred, and smaller than the box?"
        )


def _noise_line(spectra: Spectra) -> str:
    """Whether the noise is white: power at low over power at high resolution."""
    rim = spectra.noise[1:-1]
    part = max(len(rim) // 4, 1)
    ratio = float(rim[:part].mean() / rim[-part:].mean())
    measured = f"{ratio:.2f} times as strong at low as at high resolution"
    is_white = WHITE[0] <= ratio <= WHITE[1]
    return f"{'white' if is_white else 'coloured'} ({measured})"
