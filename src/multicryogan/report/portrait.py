"""Picture of a particle file: what is looked at before hours are spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multicryogan.fourier import disc_mask, low_pass
from multicryogan.report.plots import grey_range, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from multicryogan.data import Portrait

# Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.55"
TICKS_ANGSTROM = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2.5, 2)


def plot_portrait(portrait: Portrait, path: str | Path) -> Path:
    """Draw power, CTF, contrast and defocus of particles above some of them.

    Args:
        portrait: Result of `data.portray`.
        path: PNG file to write.

    Returns:
        The file written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 5.6), layout="constrained")
    above, below = figure.subfigures(
        2, 1, squeeze=False, height_ratios=(1.75, 1)
    ).flatten()
    draws = (_draw_power, _draw_coverage, _draw_profile, _draw_defocus)
    for axes, draw in zip(above.subplots(1, 4), draws, strict=True):
        draw(axes, portrait)
    box, pixel_size = portrait.images.shape[-1], portrait.pixel_size
    below.suptitle(
        f"protein white, {box} x {box} pixels of {pixel_size:.3g} Å, low-passed to "
        f"{4 * pixel_size:.0f} Å",
        fontsize="medium",
    )
    mask = disc_mask(box, box / 8, like=portrait.images, edge=box / 4)
    pictures = low_pass(portrait.images, mask)
    places = below.subplots(1, len(pictures), squeeze=False)[0]
    for axes, picture in zip(places, pictures, strict=True):
        low, high = grey_range(picture)
        axes.imshow(picture.numpy(), cmap="gray", vmin=low, vmax=high, origin="lower")
        axes.set(xticks=[], yticks=[])
    return save_figure(figure, path)


def _draw_power(axes: Axes, portrait: Portrait) -> None:
    """Noise and whole images, per mode of each shell."""
    spectra, measured = portrait.power.spectra(), portrait.power.rim.mean(0)
    shells = torch.arange(1, len(measured) - 1)
    frequency = (shells / (2 * (len(measured) - 1) * portrait.pixel_size)).tolist()
    unit = float(spectra.rim[0, shells].mean())

    def relative(power: Tensor) -> list[float]:
        return [float(value) for value in power[shells] / unit]

    axes.plot(frequency, relative(spectra.raw[0]), color=BLUE, label="whole images")
    axes.plot(
        frequency, relative(spectra.rim[0]), "--", color=ORANGE, label="noise, smoothed"
    )
    axes.plot(
        frequency, relative(measured), ".", color=ORANGE, label="rims, as measured"
    )
    axes.set_yscale("log")
    low, high = float(spectra.rim[0, shells].min()), float(spectra.raw[0, shells].max())
    axes.set_ylim(low / unit / 1.3, high / unit * 1.3)
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(lambda value, _: f"{value:.2g}")
    axes.tick_params(axis="y", which="minor", labelsize="small")
    _resolution_axis(axes, portrait)
    axes.set_title("power per mode", fontsize="medium")
    axes.set_ylabel("of the mean noise")
    axes.legend(fontsize="small")


def _draw_coverage(axes: Axes, portrait: Portrait) -> None:
    """Mean squared CTF against the half that spread defoci keep."""
    axes.set_title("mean squared CTF", fontsize="medium")
    axes.set_ylim(-0.03, 1.03)
    _resolution_axis(axes, portrait)
    coverage = portrait.coverage
    if coverage is None:
        _say(axes, "no optics")
        return
    axes.plot(coverage.frequency.tolist(), coverage.power.tolist(), color=BLUE)
    axes.axhline(0.5, color=GREY, linestyle=":", label="spread defoci")
    if (place := coverage.weakest) is not None:
        axes.plot(
            float(coverage.frequency[place]),
            float(coverage.power[place]),
            "v",
            color=ORANGE,
            label=f"least, at {coverage.resolution(place):.1f} Å",
        )
    axes.legend(fontsize="small")


def _draw_profile(axes: Axes, portrait: Portrait) -> None:
    """Mean image about the centre, as it was read."""
    radius = torch.arange(1, len(portrait.profile) + 1) * portrait.pixel_size
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(radius.tolist(), portrait.profile.tolist(), color=BLUE)
    word = "white" if portrait.sign > 0 else "dark"
    axes.set_title(f"mean image as read: protein {word}", fontsize="medium")
    axes.set(
        xlabel="distance from the centre (Å)",
        ylabel="deviations of the rim",
        xlim=(0, float(radius[-1])),
    )


def _draw_defocus(axes: Axes, portrait: Portrait) -> None:
    """How many particles have which defocus."""
    axes.set_title("defocus", fontsize="medium")
    axes.set(xlabel="mean of U and V (µm)", ylabel="particles")
    if portrait.defocus_um is None:
        _say(axes, "no optics")
        return
    bins = min(40, max(8, len(portrait.defocus_um) // 10))
    axes.hist(portrait.defocus_um.tolist(), bins=bins, color=GREEN)


def _resolution_axis(axes: Axes, portrait: Portrait) -> None:
    """Frequencies from 0 to Nyquist, labelled in Å."""
    nyquist = 1 / (2 * portrait.pixel_size)
    axes.set(xlim=(0, nyquist), xlabel="resolution (Å)")
    shown: list[float] = []
    for ticks in TICKS_ANGSTROM:
        last = 1 / shown[-1] if shown else 0.0
        if 1 / ticks <= nyquist * 1.001 and 1 / ticks - last > 0.1 * nyquist:
            shown.append(ticks)
    axes.set_xticks([1 / tick for tick in shown], [f"{tick:g}" for tick in shown])


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
