"""The report page: one file that opens from disk, without a network."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from multicryogan.errors import InputError
from multicryogan.io import whole_file
from multicryogan.report import curves, figures, states
from multicryogan.report.contents import Contents, gather
from multicryogan.report.explorer import ENOUGH, pack
from multicryogan.report.findings import numbers, sentences, warnings
from multicryogan.tables import to_dict

PAGE = "report.html"
SUFFIXES = (".html", ".htm")
GENERATOR = '<meta name="generator" content="multicryogan">'
HEAD = 2_000  # bytes of a page that it stands in
FIRST = "conformation_001"
LEARNED = ("shift_sigma_angstrom", "contrast_spread")  # by refine
MOST_DIMENSIONS = 2  # of a latent that is drawn
SCRIPTS = ("surface.js", "camera.js", "theme.js", "explorer.js", "page.js")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        id: Of its heading, and of its figures with a number.
        title: Of the heading.
        text: What is to be seen, and how it was measured.
        figures: Of plotly, with their captions.
        tables: Heads and rows of text.
    """

    id: str
    title: str
    text: str
    figures: tuple[tuple[str, figures.Figure], ...] = ()
    tables: tuple[tuple[list[str], list[list[str]]], ...] = ()


def write_report(folders: list[Path], output: Path) -> Path:
    """Write the page about what was found.

    Args:
        folders: See `gather`.
        output: The file.

    Returns:
        The file written.

    Raises:
        InputError: See `gather`; or the file is there and is no page of ours.
    """
    _guard(output)
    text = render(gather(folders))
    with whole_file(output) as path:
        path.write_text(text, encoding="utf-8")
    return output


def _guard(output: Path) -> None:
    """Refuse to write over what is no page."""
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"-o {output} is no name of a page; let it end in .html")
    if not output.is_file():
        return
    with output.open("rb") as file:
        head = file.read(HEAD)
    if GENERATOR.encode() not in head:
        raise InputError(
            f"{output} is there and is no page of multicryogan; choose another name "
            "with -o"
        )


def render(contents: Contents) -> str:
    """Make the text of the page. What comes from files is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    parts = sections(contents)
    explorer = pack(contents.shapes)
    data = {
        "explorer": explorer,
        "figures": {
            f"{part.id}-{n}": drawn
            for part in parts
            for n, (_, drawn) in enumerate(part.figures)
        },
    }
    environment = Environment(
        loader=PackageLoader("multicryogan.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    scripts = [get_plotlyjs(), *(_asset(name) for name in SCRIPTS)]
    return environment.get_template("page.html").render(
        title=f"multicryogan: {contents.folder.resolve().name}",
        sentences=sentences(contents),
        numbers=numbers(contents),
        warnings=warnings(contents),
        sections=[_for_template(part) for part in parts],
        surface_note=_shown(explorer["variance_shown"]),
        generator=Markup(GENERATOR),
        style=Markup(_asset("page.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(as_script(data)),
    )


def _shown(variance: float) -> str:
    """Tell what surfaces leave out, if it can be seen."""
    if variance >= ENOUGH:
        return ""
    return f"Surfaces show {variance:.0%} of the variance of the maps. "


def as_script(values: Any) -> str:  # noqa: ANN401
    """Give JSON that no text in it ends the script of; what is not finite is null."""
    text = json.dumps(_finite(values), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(values: Any) -> Any:  # noqa: ANN401
    """Put None for numbers that are not finite: a gap in a curve."""
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values


def sections(contents: Contents) -> list[Section]:
    """Make the parts of the page that there is something to show for."""
    made = [
        _landscape(contents),
        _states(contents),
        _resolution(contents),
        _pairs(contents),
        _images(contents),
        _views(contents),
        _dependence(contents),
        _course(contents),
        _origin(contents),
    ]
    return [part for part in made if part is not None]


def _landscape(contents: Contents) -> Section | None:
    shapes, populations = contents.shapes, contents.populations
    count, dimensions = shapes.latents.shape
    if count < 2 or dimensions > MOST_DIMENSIONS:
        return None
    text = (
        "How many particles have which shape. A click selects the conformation in the "
        "surface above."
    )
    if dimensions == 1:
        text += (
            " Along the motion conformations stand as far apart as their maps differ, "
            "and the density is the share of the particles over that distance."
        )
    if populations is None:
        text += (
            " The shares are the model's own: intervals need particles that assign "
            "placed on these conformations."
        )
        caption = "Density of the particles"
    else:
        caption = "Density of the particles, with 95 % intervals of the shares"
    drawn = figures.landscape(shapes, populations)
    return Section("landscape", "Landscape", text, ((caption, drawn),))


def _states(contents: Contents) -> Section | None:
    table, found, ways = contents.landscape, contents.states, contents.ways
    if table is None or found is None or ways is None:
        return None
    text = (
        "The free energy is minus the logarithm of the density of particles over the "
        "change of the map, in kT at the temperature that the sample was frozen from. "
        "States are its clear minima; a barrier is the highest point of the way "
        "between two of them that particles mostly take, over the first. What lies "
        f"higher than {states.HIGHEST:.0f} kT is drawn there."
    )
    dimensions = contents.shapes.latents.shape[1]
    drawn: tuple[tuple[str, figures.Figure], ...] = ()
    if len(table) == len(contents.shapes.latents) and dimensions <= MOST_DIMENSIONS:
        curve = states.free_energy(contents.shapes, table, found, ways)
        errors = " with standard errors" if dimensions == 1 else ""
        drawn = ((f"Free energy{errors}, and states", curve),)
    return Section("states", "States", text, drawn, states.tables(found, ways))


def _resolution(contents: Contents) -> Section | None:
    drawn = []
    text = []
    if contents.halves is not None and contents.refined:
        last_shell = len(contents.halves) - 1
        box_angstrom = contents.refined["last_shell_angstrom"] * last_shell
        text.append(
            "Two halves of the particles were refined apart. Where their maps agree "
            "(FSC above 0.143, in a mask and corrected for it) is signal. Dotted: the "
            "FSC of the conformation with the mean of all, of whole maps without a "
            "mask; where it falls while the halves agree, motion is resolved."
        )
        found = curves.half_curves(contents.halves, contents.shapes, box_angstrom)
        drawn.append(("FSC of the half maps, both ends and the middle", found))
    if contents.scores:
        text.append(
            "The particles are simulated, so the truth is known. Solid: the FSC of "
            "true states with the conformations that match them best. Dotted: with the "
            "mean of all true states, the best map that a reconstruction without "
            "motion could reach."
        )
        found = curves.true_curves(contents.scores)
        drawn.append(("FSC with the truth, each map in its own frame", found))
    if not drawn:
        return None
    return Section("resolution", "Resolution", "\n\n".join(text), tuple(drawn))


def _pairs(contents: Contents) -> Section | None:
    shapes = contents.shapes
    if shapes.latents.shape[1] > 1 or len(shapes.shares) < 3:
        return None
    text = (
        "The area under the FSC of every pair of conformations (FSCCC), each laid on "
        "its neighbour first. Blocks are states, a band along the diagonal is a "
        "continuous motion."
    )
    drawn = figures.likeness_of_pairs(shapes)
    return Section("pairs", "Likeness of the conformations", text, (("FSCCC", drawn),))


def _images(contents: Contents) -> Section | None:
    found = contents.likeness
    if found is None:
        return None
    text = (
        "Particles that were held out beside images simulated from what was found. If "
        "volumes, optics and noise are right, the eye cannot tell them apart, and "
        "their power is the same in every shell (1 in the second figure)."
    )
    drawn = [("Real and simulated images on one grey scale", figures.images(found))]
    if found.groups:
        caption = "Power of simulated over real images, with standard errors"
        drawn.append((caption, curves.noise(found)))
    return Section("images", "Images and noise", text, tuple(drawn))


def _views(contents: Contents) -> Section | None:
    table = contents.views
    if table is None:
        return None
    last = [name for name in table.columns if name.startswith("conformation_")][-1:]
    columns = {"all": "All particles"}
    if last and last[0] != FIRST:
        columns |= {FIRST: "First conformation", last[0]: "Last conformation"}
    drawn = [
        (f"{caption}: views, uniform = 1", figures.views(table, column))
        for column, caption in columns.items()
    ]
    text = (
        "From where the molecule is seen, on a map that keeps areas. Details across "
        "directions that few particles are seen from are less well resolved."
    )
    return Section("views", "Directions of view", text, tuple(drawn))


def _dependence(contents: Contents) -> Section | None:
    found = contents.leakage.get("found", [])
    if not found:
        return None
    rows = [["yes" if one["is_flagged"] else "no", one["text"]] for one in found]
    text = (
        "A conformation should not depend on how an image was taken. Where it does, it "
        "may stand for a view or a defocus in place of a shape."
    )
    table = (["beyond chance", "what was compared"], rows)
    return Section("leakage", "Latents, views and defocus", text, (), (table,))


def _course(contents: Contents) -> Section | None:
    drawn, text = [], []
    if contents.metrics:
        caption = "Training: loss and margin of the discriminator"
        drawn.append((caption, figures.training(contents.metrics)))
        text.append(
            "A discriminator that cannot tell real from simulated images has a loss of "
            "0.69 and a margin of 0; training mostly ends before that."
        )
    if contents.quality:
        caption = "Training: log-likelihood of held-out images at low resolution"
        drawn.append((caption, figures.quality(contents.quality)))
        text.append(
            "Volumes that come to resemble the molecule explain images that were held "
            "out better and better, over noise alone."
        )
    if contents.refined.get("iterations"):
        caption = "Refinement: log-likelihood of an image over noise alone, all shells"
        drawn.append((caption, figures.iterations(contents.refined["iterations"])))
        text.append(
            "Refinement ends when held-out images gain no more, or after as many "
            "iterations as were allowed; with finer shells or poses the numbers jump."
        )
    if not drawn:
        return None
    return Section("course", "Course of the work", " ".join(text), tuple(drawn))


def _origin(contents: Contents) -> Section:
    head = ["folder", "command", "started", "minutes", "memory, GB", "threads"]
    head += ["machine", "versions"]
    rows = []
    for folder, record in contents.about:
        keys = ("command", "started", "minutes", "peak_memory_gb", "threads", "machine")
        known = record.get("versions")
        known = known.items() if isinstance(known, dict) else ()
        versions = ", ".join(f"{name} {value}" for name, value in known)
        rows.append([folder, *(str(record.get(key, "")) for key in keys), versions])
    learned = LEARNED if contents.refined else ()
    settings = [
        [f"{group}.{name}" + (" (learned)" if name in learned else ""), str(value)]
        for group, values in to_dict(contents.config).items()
        if isinstance(values, dict)
        for name, value in values.items()
    ]
    settings += [
        [f"refine.{name}", str(value)]
        for name, value in contents.refined.get("settings", {}).items()
    ]
    tables = [(["setting", "value"], settings)]
    if rows:
        tables.insert(0, (head, rows))
    text = "How to make it again: commands, versions, settings and seeds."
    return Section("origin", "Where it comes from", text, (), tuple(tables))


def _for_template(part: Section) -> dict[str, Any]:
    """Name what the template reads."""
    return {
        "id": part.id,
        "title": part.title,
        "text": part.text,
        "figures": [
            {"id": f"{part.id}-{n}", "caption": caption}
            for n, (caption, _) in enumerate(part.figures)
        ],
        "tables": [{"head": head, "rows": rows} for head, rows in part.tables],
    }


def _asset(name: str) -> str:
    return (resources.files("multicryogan.report") / "assets" / name).read_text("utf-8")
