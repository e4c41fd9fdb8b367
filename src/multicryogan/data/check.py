"""What a particle file holds, and what would spoil a reconstruction from it.

`check_particles` looks at everything that training will use, before hours are spent:
the files, the optics, a sample of the images, their noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from multicryogan.config import DataConfig
from multicryogan.data.coverage import POOR, SPREAD, measure_coverage
from multicryogan.data.inspection import ImageSample, check_masked, inspect_images
from multicryogan.data.optics import describe_groups, lack_of_ctf, unusual_optics
from multicryogan.data.preprocess import Contrast, Preprocessing, detect_contrast
from multicryogan.data.signal import CLEAR, Band, Power, measure_power
from multicryogan.data.spectra import Spectra
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack
from multicryogan.rotations import point_group

T = TypeVar("T")
SAMPLE = 2_000  # images looked at
FEW = 1_000  # particles: below it only a rough map can be hoped for
DUPLICATES = 0.01  # share of repeated images that counts as a problem
WIDER = 1.05  # ratio of fields of view worth a note
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


def check_particles(
    stack: ParticleStack, settings: DataConfig, symmetry: str = "C1"
) -> Report:
    """Look at particles as training would.

    Args:
        stack: The particles.
        settings: Working box, contrast and background radius of the run to come.
        symmetry: Point group of the molecule: each image shows it so many times.

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
    if is_uniform and not page.problems:
        _describe_coverage(stack, settings.box, page)
    _describe_others(stack, page)
    if is_uniform and _describe_images(stack, page):
        power = _describe_signal(stack, settings, page)
        if power is not None:
            _describe_need(stack, power, symmetry, page)
    page.notes.extend(stack.notes)
    return Report(tuple(page.facts), tuple(page.notes), tuple(page.problems))


def _describe_files(stack: ParticleStack, page: _Page) -> bool:
    """Count the stacks; return whether every image that rows name is there."""
    count = len(np.unique(stack.image_keys[:, 0]))
    found = stack.file_problems()
    if found:
        text = f"{count:,}, of which {len(found):,} cannot be used"
    else:
        megabytes = stack.bytes_on_disk / 1e6
        text = f"{count:,}, {megabytes:,.0f} MB on disk, read by row"
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
    """Give boxes and pixel sizes; return whether the working box fits them."""
    grids = page.attempt(lambda: stack.grids)
    if grids is None:
        return False
    listed = [f"{g.box} x {g.box} pixels of {g.pixel_size:.4g} Å" for g in grids]
    more = "" if len(listed) <= SHOWN else f"; and {len(listed) - SHOWN} more sizes"
    page.fact("images", "; ".join(listed[:SHOWN]) + more)
    field, box = stack.field_angstrom, stack.least_box
    page.fact("field of view", f"{field:.0f} Å")
    widest = max(grid.field_angstrom for grid in grids)
    if widest > WIDER * field:
        page.notes.append(
            f"images span {field:.0f} to {widest:.0f} Å; all are cut to the smallest"
        )
    boxes = sorted({b for b in (*BOXES, working_box) if b <= box})
    page.fact(
        "finest detail",
        "; ".join(f"{2 * field / b:.1f} Å at a working box of {b}" for b in boxes),
    )
    if box < working_box:
        page.problems.append(
            f"the images have {box} pixels across {field:.0f} Å, fewer than the "
            f"working box of {working_box}; give --data.box {box - box % 2}"
        )
    return box >= working_box


def _describe_optics(stack: ParticleStack, page: _Page) -> None:
    """Describe the optics of each group and what looks unusual."""
    problems = len(page.problems)
    optics = page.attempt(stack.ctf_params)
    if optics is None:
        page.fact("optics", "none that can be used")
        if len(page.problems) == problems:
            page.problems.append(lack_of_ctf(stack))
        return
    for label, text in describe_groups(stack, optics):
        page.fact(label, text)
    page.notes.extend(unusual_optics(optics))


def _describe_coverage(stack: ParticleStack, working_box: int, page: _Page) -> None:
    """Say which frequencies the CTFs lose together."""
    optics = stack.ctf_params()
    if optics is None:
        return
    nyquist = 2 * stack.field_angstrom / working_box
    coverage = measure_coverage(optics, nyquist)
    peak, weakest = coverage.peak, coverage.weakest
    if peak is None or weakest is None:
        reached = float(coverage.power[-1])
        page.fact("mean squared CTF", f"rises to {reached:.2f} at {nyquist:.1f} Å")
        return
    least, where = float(coverage.power[weakest]), coverage.resolution(weakest)
    first = "" if peak == 0 else f" from {coverage.resolution(peak):.1f} Å"
    page.fact(
        "mean squared CTF",
        f"{least:.2g} or more{first} to {nyquist:.1f} Å, least at {where:.1f} Å",
    )
    if least < POOR:
        page.notes.append(
            f"the CTFs together keep {least:.1%} of the signal at {where:.1f} Å "
            f"({SPREAD:.0%} where defoci are spread): detail of that size is lost; "
            "add micrographs of other defoci"
        )


def _describe_others(stack: ParticleStack, page: _Page) -> None:
    """Say which results of other programs are in the file."""
    columns = set(stack.table.columns)
    has_halves = bool({"rlnRandomSubset", "alignments3D/split"} & columns)
    has_poses = page.attempt(stack.rotations) is not None
    present = [
        name
        for name, is_there in (
            ("poses, for --start-map alone", has_poses),
            ("half-sets, kept by refine and assign", has_halves),
        )
        if is_there
    ]
    page.fact("also in the file", "; ".join(present) or "no poses")


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
    masked, count = len(sample.masked), len(sample.rows)
    page.attempt(lambda: check_masked(stack, masked, count))
    return not sample.broken and blank < count and 2 * masked <= count


def _odd_images(sample: ImageSample) -> list[str]:
    """Notes on images that differ from the others."""
    count = f"of {len(sample.rows):,} images"
    notes = []
    if 0 < len(sample.blank) <= DUPLICATES * len(sample.rows):
        notes.append(f"{len(sample.blank):,} {count} are constant")
    is_usual = 2 * len(sample.masked) > len(sample.rows)  # which is a problem
    masked = sample.masked[: 0 if is_usual else None]
    for rows, what in (
        (sample.outlying, "are much brighter, darker or stronger than the others"),
        (masked, "have corners of one value (masked, or beyond the micrograph)"),
        (sample.spotted, "have single pixels far off the others (X-rays, dust)"),
    ):
        if len(rows):
            notes.append(
                f"{len(rows):,} {count} {what}; the first is row {rows[0] + 1}"
            )
    return notes


def _describe_signal(
    stack: ParticleStack, settings: DataConfig, page: _Page
) -> Power | None:
    """Give contrast, noise and signal at the working box."""
    sign = _describe_contrast(stack, settings, page)
    if len(stack) < MEASURABLE:
        page.fact("noise and signal", "too few images to measure")
        return None
    box = settings.box
    preprocessing = Preprocessing.of(settings, box, sign)
    power = measure_power(stack, preprocessing, SAMPLE)
    spectra = power.spectra()
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
    return power


def _describe_contrast(stack: ParticleStack, settings: DataConfig, page: _Page) -> int:
    """Tell the contrast of the images as they are stored; return the sign to apply."""
    if (stack.sign < 0).any():
        page.notes.append(
            "the file's blob/sign of -1 is applied as images are read; --data.contrast "
            "is about images after it"
        )
    if settings.contrast != "auto":
        page.fact("contrast", f"{settings.contrast} (set)")
        return 1 if settings.contrast == "white" else -1
    contrast = detect_contrast(stack, SAMPLE)
    page.fact("contrast", _stored_contrast(stack, contrast))
    if "unclear" in contrast.text:
        page.notes.append("the contrast is unclear; give --data.contrast")
    return contrast.sign


def _stored_contrast(stack: ParticleStack, contrast: Contrast) -> str:
    """What was detected, before a factor of -1 that the file asks for."""
    if "unclear" in contrast.text or not (stack.sign < 0).all():
        return contrast.text
    word = "dark" if contrast.sign > 0 else "white"
    count = min(SAMPLE, len(stack))
    measured = f"centre against rim of {count} images: z = {-contrast.evidence:+.1f}"
    return f"{word} protein ({measured})"


def _describe_need(
    stack: ParticleStack, power: Power, symmetry: str, page: _Page
) -> None:
    """Give the signal of two bands and the images that a map of it needs."""
    field = stack.field_angstrom
    bands = [(band, f"{field / band.shell:.0f} Å") for band in power.bands()]
    signal = [f"{_signal_text(band)} at {where}" for band, where in bands]
    page.fact("signal over noise", "; ".join(signal) + ", per mode")
    copies = len(point_group(symmetry))
    needs = [f"{_need_text(band, copies)} for {where}" for band, where in bands]
    group = "no" if copies == 1 else symmetry
    page.fact(
        "images needed",
        f"{'; '.join(needs)} (one conformation, known poses, {group} symmetry); there "
        f"are {len(stack):,}",
    )
    (band, where), _ = bands
    if len(stack) < band.images_needed / copies:
        unless = ", unless the molecule is symmetric (--generator.symmetry)"
        page.notes.append(
            f"fewer images than detail of {where} needs, even with known poses"
            f"{unless if copies == 1 else ''}"
        )


def _signal_text(band: Band) -> str:
    if band.is_measured:
        return f"{band.snr:.2g}"
    return f"below {max(band.snr, 0) + CLEAR * band.error:.1g}"


def _need_text(band: Band, copies: int) -> str:
    count = float(f"{band.images_needed / copies:.2g}")
    return f"{'about' if band.is_measured else 'more than'} {count:,.0f}"


def _noise_line(spectra: Spectra) -> str:
    """Whether the noise is white: power at low over power at high resolution."""
    rim = spectra.noise[1:-1]
    part = max(len(rim) // 4, 1)
    ratio = float(rim[:part].mean() / rim[-part:].mean())
    measured = f"{ratio:.2f} times as strong at low as at high resolution"
    is_white = WHITE[0] <= ratio <= WHITE[1]
    return f"{'white' if is_white else 'coloured'} ({measured})"
