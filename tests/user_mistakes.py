"""Ways to use the command line wrongly: each makes its files and gives the words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from multicryogan.config import RunConfig, SimulationConfig
from multicryogan.inference import MANIFOLD
from multicryogan.inference.manifold_file import save_manifold
from multicryogan.io import read_particles, write_stack, write_volume
from multicryogan.likelihood import Manifold
from multicryogan.likelihood.manifold import all_pairs
from multicryogan.synthetic import simulate
from multicryogan.tables import build, write_toml
from multicryogan.training.build import build_generator
from multicryogan.training.state import save_checkpoint, save_snapshot
from particle_files import ball_images, optics_groups, write_particles

Arrange = Callable[[Path], list[str]]  # prepares a folder, returns the command line

SMALL = {"images": 8, "box": 16, "pixel_size": 12.0, "law": {"maps": 2}}


def train(particles: Path, *more: str) -> list[str]:
    """Command line of a short training whose output folder does not exist yet."""
    usual = {"--images": "8", "--threads": "1", "--train.discriminator-warmup": "0"}
    kept = [t for pair in usual.items() if pair[0] not in more for t in pair]
    output = str(particles.parent / "out")
    return ["train", str(particles), "-o", output, *kept, *more]


def good(folder: Path, count: int = 20) -> Path:
    return write_particles(folder, ball_images(count))


def with_options(*more: str) -> Arrange:
    return lambda folder: train(good(folder), *more)


def with_config(text: str) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        (folder / "settings.toml").write_text(text)
        return train(good(folder), "--config", str(folder / "settings.toml"))

    return arrange


def with_file(name: str, content: bytes | str) -> Arrange:
    """Train on a file with this content."""

    def arrange(folder: Path) -> list[str]:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        return train(folder / name)

    return arrange


def with_array(array: np.ndarray, name: str = "a.cs") -> Arrange:
    def arrange(folder: Path) -> list[str]:
        with (folder / name).open("wb") as file:
            np.save(file, array, allow_pickle=True)
        return train(folder / name)

    return arrange


def with_columns(**columns: list[object]) -> Arrange:
    return lambda folder: train(write_particles(folder, ball_images(20), **columns))


def with_optics(**columns: list[object]) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        optics = optics_groups(**columns)
        groups = [1 + i % len(optics) for i in range(20)]
        images = ball_images(20)
        return train(write_particles(folder, images, optics, rlnOpticsGroup=groups))

    return arrange


def without_optics_column(name: str) -> Arrange:
    optics = optics_groups().drop(columns=name)
    return lambda folder: train(write_particles(folder, ball_images(20), optics))


def with_stack(change: Callable[[bytes], bytes]) -> Arrange:
    """Train on good particles whose stack was changed on disk."""

    def arrange(folder: Path) -> list[str]:
        star, stack = good(folder), folder / "particles.mrcs"
        stack.write_bytes(change(stack.read_bytes()))
        return train(star)

    return arrange


def missing_stack(folder: Path) -> list[str]:
    star = good(folder)
    (folder / "particles.mrcs").unlink()
    return train(star)


def two_boxes(folder: Path) -> list[str]:
    write_stack(folder / "small.mrcs", ball_images(1, 16), 4.0)
    names = [f"{i + 1}@particles.mrcs" for i in range(19)] + ["1@small.mrcs"]
    return train(write_particles(folder, ball_images(20), rlnImageName=names))


def oblong_images(folder: Path) -> list[str]:
    star, stack = good(folder), folder / "particles.mrcs"
    header = bytearray(stack.read_bytes())
    header[0:8] = np.array([16, 32], "<i4").tobytes()  # nx, ny
    stack.write_bytes(header)
    return train(star)


def bare_stack(*more: str, pixel_size: float = 4.0) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        write_stack(folder / "bare.mrcs", ball_images(20), pixel_size)
        return train(folder / "bare.mrcs", *more)

    return arrange


def output_below_a_file(folder: Path) -> list[str]:
    star = good(folder)
    (folder / "file").write_text("")
    return ["train", str(star), "-o", str(folder / "file" / "run"), "--images", "9"]


def output_not_empty(folder: Path) -> list[str]:
    star = good(folder)
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("years of work")
    return train(star)


def output_of_other_settings(folder: Path) -> list[str]:
    star = good(folder)
    (folder / "out").mkdir()
    write_toml(folder / "out" / "config.toml", RunConfig())
    return train(star, "--seed", "5")


def simulating(*more: str) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        usual = ["--images", "8", "--box", "16", "--pixel-size", "12"]
        names = {option for option in more if option.startswith("--")}
        pairs = zip(usual[::2], usual[1::2], strict=True)
        kept = [t for pair in pairs if pair[0] not in names for t in pair]
        return ["simulate", "-o", str(folder / "out"), *kept, *more]

    return arrange


def simulating_with_config(text: str) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        (folder / "settings.toml").write_text(text)
        settings = str(folder / "settings.toml")
        return ["simulate", "-o", str(folder / "out"), "--config", settings]

    return arrange


def simulating_into(prepare: Callable[[Path], Path]) -> Arrange:
    return lambda folder: ["simulate", "-o", str(prepare(folder)), "--images", "8"]


def full_folder(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "out" / "a").write_text("x")
    return folder / "out"


def a_file(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file"


def pickled_table(folder: Path) -> list[str]:
    np.save(folder / "law.npy", np.array([{"a": 1}]), allow_pickle=True)
    table = str(folder / "law.npy")
    return simulating("--law.kind", "table", "--law.table", table)(folder)


def make_run(folder: Path, voxel_size: float = 12.0) -> str:
    """Write a run folder that holds a snapshot, without training."""
    run = folder / "run"
    run.mkdir()
    save_snapshot(run, build_generator(RunConfig(), 16), RunConfig(), voxel_size)
    return str(run)


def on_a_run(command: str, *more: str, latents: str | None = None) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        tokens = [command, make_run(folder), "-o", str(folder / "out"), *more]
        if latents is not None:
            (folder / "latents.txt").write_text(latents)
            tokens += ["--latents", str(folder / "latents.txt")]
        return [token.replace("FOLDER", str(folder)) for token in tokens]

    return arrange


def no_run(command: str, *more: str) -> Arrange:
    def arrange(folder: Path) -> list[str]:
        (folder / "empty").mkdir()
        return [command, str(folder / "empty"), "-o", str(folder / "out"), *more]

    return arrange


def assigning(*more: str, voxel_size: float | None = None) -> Arrange:
    """Assign small particles by a run of their own field of view, or another."""

    def arrange(folder: Path) -> list[str]:
        simulate(build(SimulationConfig, SMALL), folder / "data")
        star = folder / "data" / "particles.star"
        size = read_particles(star).pixel_size if voxel_size is None else voxel_size
        run = make_run(folder, voxel_size=size)
        return ["assign", run, str(star), "-o", str(folder / "out"), *more]

    return arrange


def refining(
    *more: str, voxel_size: float | None = None, output: str = "out", images: int = 8
) -> Arrange:
    """Refine on small particles into a new folder, a folder begun, or the run."""

    def arrange(folder: Path) -> list[str]:
        simulate(build(SimulationConfig, SMALL | {"images": images}), folder / "data")
        star = folder / "data" / "particles.star"
        size = read_particles(star).pixel_size if voxel_size is None else voxel_size
        run = make_run(folder, voxel_size=size)
        (folder / "begun").mkdir()
        (folder / "other").mkdir()
        save_checkpoint(folder / "other", {"step": 1, "facts": "{}"})
        return ["refine", run, str(star), "-o", str(folder / output), *more]

    return arrange


def map_for_particles(folder: Path) -> list[str]:
    write_volume(folder / "map.mrc", torch.ones(16, 16, 16), 12.0)
    run, output = make_run(folder), str(folder / "out")
    return ["refine", run, str(folder / "map.mrc"), "-o", output]


def with_manifold(command: str, *more: str, broken: bool = False) -> Arrange:
    """Use a folder that refine has written, or that was damaged since."""

    def arrange(folder: Path) -> list[str]:
        volume, latent = torch.ones(1, 16, 16, 16), torch.tensor([[0.5]])
        found = Manifold(latent, torch.ones(1), torch.ones(1, 1), volume, all_pairs(1))
        save_manifold(folder, found, RunConfig(), 12.0)
        if broken:
            (folder / MANIFOLD).write_bytes(b"not tensors at all")
        star = str(folder / "no.star")
        return [command, str(folder), star, "-o", str(folder / "out"), *more]

    return arrange


def damaged_run(folder: Path) -> list[str]:
    run = Path(make_run(folder))
    (run / "snapshot.safetensors").write_bytes(b"not tensors at all")
    return ["volumes", str(run), "-o", str(folder / "out")]


def truth_of_another_field(folder: Path) -> list[str]:
    simulate(build(SimulationConfig, SMALL), folder / "data")
    run = make_run(folder, voxel_size=3.0)
    output = str(folder / "out")
    return ["evaluate", run, "--truth", str(folder / "data"), "-o", output]


def against_truth(*more: str, own: bool) -> Arrange:
    """Check particles against their own truth, or against that of others."""

    def arrange(folder: Path) -> list[str]:
        simulate(build(SimulationConfig, SMALL), folder / "data")
        star = folder / "data" / "particles.star" if own else good(folder)
        return ["check", str(star), "--against-truth", str(folder / "data"), *more]

    return arrange


def oblong_true_map(folder: Path) -> list[str]:
    simulate(build(SimulationConfig, SMALL), folder / "data")
    path = folder / "data" / "truth" / "maps" / "state_0001.mrc"
    write_volume(path, torch.ones(16, 16, 16), 12.0)
    header = bytearray(path.read_bytes())
    header[8:12] = np.array([8], "<i4").tobytes()  # nz
    path.write_bytes(header)
    truth, output = str(folder / "data"), str(folder / "out")
    return ["evaluate", make_run(folder), "--truth", truth, "-o", output]


def words(*tokens: str) -> Arrange:
    """Give these tokens as they are, FOLDER standing for the folder."""
    return lambda folder: [token.replace("FOLDER", str(folder)) for token in tokens]


def set_pixel(data: bytes) -> bytes:
    """Make the second image's first pixel NaN."""
    start = 1024 + 32 * 32 * 4
    return data[:start] + np.float32(np.nan).tobytes() + data[start + 4 :]
