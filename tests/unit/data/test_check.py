"""Facts about the report on a particle file."""

from pathlib import Path

import numpy as np
import pytest

from multicryogan.cli import main
from multicryogan.config import DataConfig
from multicryogan.data.check import Report, check_particles
from multicryogan.data.inspection import inspect_images
from multicryogan.io import StackWriter, read_particles, write_stack
from particle_files import ball_images, optics_groups, write_particles

COUNT = 120


def report_on(path: Path, **settings: object) -> Report:
    return check_particles(read_particles(path), DataConfig(**settings))  # type: ignore[arg-type]


def fact(report: Report, label: str) -> str:
    return dict(report.facts)[label]


@pytest.fixture
def particles(tmp_path: Path) -> Path:
    """Write good particles: bright balls of 32 x 32 pixels of 4 Å."""
    return write_particles(tmp_path, ball_images(COUNT))


def test_good_particles_have_no_problem(particles: Path) -> None:
    assert report_on(particles).problems == ()


def test_box_and_pixel_size_are_told(particles: Path) -> None:
    assert fact(report_on(particles), "images") == "32 x 32 pixels of 4 Å"


def test_the_optics_are_told(particles: Path) -> None:
    assert fact(report_on(particles), "optics") == (
        "120 particles, 300 kV, Cs 2.7 mm, amplitude contrast 0.1, "
        "defocus 1.20 to 1.31 µm, astigmatism up to 100 Å"
    )


def test_each_optics_group_is_told(tmp_path: Path) -> None:
    optics = optics_groups(rlnVoltage=[300.0, 200.0])
    groups = [1] * 20 + [2] * (COUNT - 20)
    path = write_particles(tmp_path, ball_images(COUNT), optics, rlnOpticsGroup=groups)
    report = report_on(path)
    assert fact(report, "optics group 1").startswith("20 particles, 300 kV")
    assert fact(report, "optics group 2").startswith("100 particles, 200 kV")


def test_the_working_box_limits_the_resolution(particles: Path) -> None:
    text = fact(report_on(particles), "finest detail")
    assert "16.0 Å at a working box of 16" in text
    assert "8.0 Å at a working box of 32" in text


def test_few_particles_are_a_note_and_no_problem(particles: Path) -> None:
    assert any("few" in note for note in report_on(particles).notes)


@pytest.mark.parametrize(("dark", "word"), [(True, "dark"), (False, "white")])
def test_the_contrast_is_found(tmp_path: Path, dark: bool, word: str) -> None:
    path = write_particles(tmp_path, ball_images(COUNT, dark=dark))
    assert fact(report_on(path), "contrast").startswith(f"{word} protein")


def test_a_contrast_that_is_set_is_not_detected(particles: Path) -> None:
    assert fact(report_on(particles, contrast="dark"), "contrast") == "dark (set)"


def test_unclear_contrast_is_a_note(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(COUNT, 32, 32)).astype(np.float32)
    assert any(
        "contrast" in note for note in report_on(write_particles(tmp_path, noise)).notes
    )


def test_white_noise_is_called_white(tmp_path: Path) -> None:
    path = write_particles(tmp_path, ball_images(1_000))
    assert fact(report_on(path), "noise").startswith("white")


def test_coloured_noise_is_called_coloured(tmp_path: Path) -> None:
    images = ball_images(COUNT)
    # Averaging neighbours weakens high frequencies.
    soft = (images + np.roll(images, 1, 1) + np.roll(images, 1, 2)) / 3
    assert fact(report_on(write_particles(tmp_path, soft)), "noise").startswith(
        "coloured"
    )


def test_the_signal_to_noise_ratio_is_that_of_the_images(tmp_path: Path) -> None:
    images = ball_images(2_000, 32)
    clean = np.exp(
        -((np.arange(32)[:, None] - 16) ** 2 + (np.arange(32) - 16) ** 2) / 32
    )
    expected = 10 * np.log10(clean.var())  # noise variance 1
    text = fact(report_on(write_particles(tmp_path, images)), "signal to noise")
    assert float(text.split()[0]) == pytest.approx(expected, abs=1)


def test_the_images_needed_are_told_beside_those_there_are(tmp_path: Path) -> None:
    path = write_particles(tmp_path, ball_images(1_000))
    text = fact(report_on(path), "images needed")
    assert text.endswith("there are 1,000")
    assert "known poses" in text


def test_symmetry_makes_fewer_images_do(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(60, 32, 32)).astype(np.float32)
    stack = read_particles(write_particles(tmp_path, noise))
    counts = []
    for group in ("C1", "D2"):
        text = fact(check_particles(stack, DataConfig(), group), "images needed")
        counts.append(float(text.split(" for ")[0].split()[-1].replace(",", "")))
    assert counts[0] / counts[1] == pytest.approx(4, rel=0.05)
    assert "D2 symmetry" in text


def test_too_few_images_even_with_known_poses_are_a_note(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(60, 32, 32)).astype(np.float32)
    notes = report_on(write_particles(tmp_path, noise)).notes
    assert any("even with known poses" in note for note in notes)


def test_one_defocus_is_a_note_and_no_problem(tmp_path: Path) -> None:
    columns = {f"rlnDefocus{axis}": [15_000.0] * COUNT for axis in "UV"}
    report = report_on(write_particles(tmp_path, ball_images(COUNT), **columns))
    assert report.problems == ()
    assert any("CTFs together" in note for note in report.notes)


def test_a_missing_stack_is_a_problem_that_says_where_it_was_looked_for(
    particles: Path,
) -> None:
    particles.with_name("particles.mrcs").unlink()
    (problem,) = report_on(particles).problems
    assert "particles.mrcs" in problem
    assert str(particles.parent) in problem


def test_many_missing_stacks_are_counted(tmp_path: Path) -> None:
    names = [f"1@micrograph_{i}.mrcs" for i in range(COUNT)]
    path = write_particles(tmp_path, ball_images(COUNT), rlnImageName=names)
    problems = report_on(path).problems
    assert len(problems) == 4
    assert "117 more" in problems[-1]


def test_an_image_index_beyond_the_stack_is_a_problem(tmp_path: Path) -> None:
    names = [f"{i + 2}@particles.mrcs" for i in range(COUNT)]
    path = write_particles(tmp_path, ball_images(COUNT), rlnImageName=names)
    assert "121" in report_on(path).problems[0]


def test_missing_defocus_is_a_problem(tmp_path: Path) -> None:
    drop = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
    path = write_particles(tmp_path, ball_images(COUNT), drop=drop)
    assert "no defocus" in report_on(path).problems[0]


def test_a_missing_optics_column_is_a_problem(tmp_path: Path) -> None:
    optics = optics_groups().drop(columns="rlnVoltage")
    path = write_particles(tmp_path, ball_images(COUNT), optics)
    assert "rlnVoltage" in report_on(path).problems[0]


def test_mixed_pixel_sizes_are_told_and_cut_to_the_smallest_field(
    tmp_path: Path,
) -> None:
    optics = optics_groups(rlnImagePixelSize=[4.0, 2.0])
    groups = [1, 2] * (COUNT // 2)
    path = write_particles(tmp_path, ball_images(COUNT), optics, rlnOpticsGroup=groups)
    report = report_on(path, box=16)
    assert report.problems == ()
    assert fact(report, "images") == "32 x 32 pixels of 2 Å; 32 x 32 pixels of 4 Å"
    assert fact(report, "field of view") == "64 Å"
    assert any("64 to 128 Å" in note for note in report.notes)


def test_a_working_box_must_fit_the_coarsest_images(tmp_path: Path) -> None:
    names = [f"{i + 1}@particles.mrcs" for i in range(COUNT - 1)] + ["1@small.mrcs"]
    path = write_particles(tmp_path, ball_images(COUNT), rlnImageName=names)
    write_stack(tmp_path / "small.mrcs", ball_images(1, 16), 4.0)
    (problem,) = report_on(path).problems
    assert "16 pixels across 64 Å" in problem
    assert "--data.box 16" in problem


def test_a_working_box_larger_than_the_images_is_a_problem(particles: Path) -> None:
    assert "--data.box 32" in report_on(particles, box=64).problems[0]


def test_many_repeated_images_are_a_problem(tmp_path: Path) -> None:
    names = [f"{i % 100 + 1}@particles.mrcs" for i in range(COUNT)]
    path = write_particles(tmp_path, ball_images(COUNT), rlnImageName=names)
    report = report_on(path)
    assert fact(report, "repeated images") == "20"
    assert "20 rows (16.7%)" in report.problems[0]


def test_one_repeated_image_is_a_note(tmp_path: Path) -> None:
    names = [f"{max(i, 1)}@particles.mrcs" for i in range(COUNT)]
    path = write_particles(tmp_path, ball_images(COUNT), rlnImageName=names)
    report = report_on(path)
    assert report.problems == ()
    assert any("1 rows" in note for note in report.notes)


def break_image(path: Path, number: int, value: float) -> None:
    """Overwrite one pixel of an image of 32 x 32 pixels."""
    with path.open("r+b") as file:
        file.seek(1024 + number * 32 * 32 * 4)
        file.write(np.float32(value).tobytes())


def test_nan_images_are_a_problem_that_names_the_row(particles: Path) -> None:
    break_image(particles.with_name("particles.mrcs"), 6, np.nan)
    break_image(particles.with_name("particles.mrcs"), 9, np.nan)
    problems = report_on(particles).problems
    assert "row 7 (000007@particles.mrcs)" in problems[0]
    assert "1 more" in problems[1]


def masked_particles(folder: Path, count: int, edge: float) -> Path:
    """Write particles, some of them kept inside a circle alone."""
    images, offset = ball_images(COUNT), np.arange(32) - 16
    images[:count, np.hypot(offset[:, None], offset) > edge * 16] = 0.25
    return write_particles(folder, images)


@pytest.mark.parametrize("edge", [0.8, 1.0])
def test_masked_images_are_a_problem(tmp_path: Path, edge: float) -> None:
    report = report_on(masked_particles(tmp_path, COUNT, edge))
    (problem,) = report.problems
    assert "120 of 120 images are masked" in problem
    assert "extract the particles again without a mask" in problem
    assert not any("corners" in note for note in report.notes)
    assert "signal over noise" not in dict(report.facts)


def test_masked_images_among_others_are_noted(tmp_path: Path) -> None:
    report = report_on(masked_particles(tmp_path, 12, 1.0))
    assert report.problems == ()
    assert any("12 of 120 images have corners of one" in n for n in report.notes)


@pytest.mark.parametrize("value", [0.0, 5.3])
def test_constant_images_are_a_problem(tmp_path: Path, value: float) -> None:
    images = ball_images(COUNT)
    images[3:9] = value
    (problem,) = report_on(write_particles(tmp_path, images)).problems
    assert "6 of 120 images are constant (the first is row 4)" in problem


def test_an_image_of_another_brightness_is_found(tmp_path: Path) -> None:
    images = ball_images(COUNT)
    images[7] += 100
    images[11] *= 5
    stack = read_particles(write_particles(tmp_path, images))
    assert inspect_images(stack, COUNT).outlying.tolist() == [7, 11]


def test_an_image_with_a_hot_pixel_is_found(tmp_path: Path) -> None:
    images = ball_images(COUNT)
    images[5, 3, 4] = 60
    stack = read_particles(write_particles(tmp_path, images))
    assert inspect_images(stack, COUNT).spotted.tolist() == [5]


def test_ordinary_images_are_not_odd(particles: Path) -> None:
    sample = inspect_images(read_particles(particles), COUNT)
    assert (
        sum(map(len, (sample.broken, sample.blank, sample.outlying, sample.spotted)))
        == 0
    )


def test_the_sample_spreads_over_the_stack(particles: Path) -> None:
    assert inspect_images(read_particles(particles), 3).rows.tolist() == [20, 60, 100]


def test_poses_and_half_sets_are_mentioned(tmp_path: Path) -> None:
    angles = {f"rlnAngle{name}": [10.0] * COUNT for name in ("Rot", "Tilt", "Psi")}
    path = write_particles(
        tmp_path, ball_images(COUNT), **angles, rlnRandomSubset=[1, 2] * (COUNT // 2)
    )
    text = fact(report_on(path), "also in the file")
    assert text == (
        "poses, for --start-map alone; half-sets, kept by refine and assign"
    )


def test_defocus_in_micrometres_is_noted(tmp_path: Path) -> None:
    path = write_particles(
        tmp_path,
        ball_images(COUNT),
        rlnDefocusU=[1.5] * COUNT,
        rlnDefocusV=[1.4] * COUNT,
    )
    assert any("is it in Å" in note for note in report_on(path).notes)


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(["check", *arguments, "--threads", "1", "--trial-seconds", "0"])
    assert isinstance(ending.value.code, int)
    return ending.value.code


def test_the_command_ends_with_0_for_good_particles(
    particles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(str(particles)) == 0
    assert "Ready to train" in capsys.readouterr().out


def test_the_command_ends_with_1_and_the_problems(
    particles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    particles.with_name("particles.mrcs").unlink()
    assert status(str(particles)) == 1
    assert "Would spoil a run" in capsys.readouterr().out


def test_settings_of_the_run_are_taken_as_by_train(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "run.toml"
    settings.write_text("[data]\nbox = 16\n")
    status(str(particles), "--config", str(settings), "--latent.dimensions", "1")
    assert "dB at a working box of 16" in capsys.readouterr().out


def test_text_from_a_file_is_not_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["1@[red]x[/red]\x1b[2J.mrcs"] * 5
    path = write_particles(tmp_path, ball_images(5), rlnImageName=names)
    status(str(path))
    assert "[red]x[/red]?[2J.mrcs" in capsys.readouterr().out


def test_a_bare_stack_is_completed_by_options(tmp_path: Path) -> None:
    with StackWriter(tmp_path / "bare.mrcs", 32, 4.0) as writer:
        writer.append(ball_images(COUNT))
    optics = "--voltage-kv 300 --cs-mm 2.7 --amplitude-contrast 0.1"
    path = str(tmp_path / "bare.mrcs")
    assert status(path, *optics.split(), "--defocus-angstrom", "15000") == 0


def test_a_bare_stack_alone_lacks_optics(tmp_path: Path) -> None:
    write_stack(tmp_path / "bare.mrcs", ball_images(COUNT), 4.0)
    assert status(str(tmp_path / "bare.mrcs")) == 1


def test_real_particles_need_no_options(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "betagal_101" / "particles_first101_128px.star"
    assert status(str(path)) == 0
    assert "dark protein" in capsys.readouterr().out


DIALECTS = {  # rows, and the stack that is missing
    "FinalRefinement-OriginalParticles-PfCRT.star": (5, "OriginalParticles-PfCRT.mrcs"),
    "relion5.star": (17, "toy_images_a.mrcs"),
    "cryosparc_J2_particles_exported.cs": (22, "18jam15b_0345_ali_DW.mrcs"),
    "cryosparc_P12_J24_001_particles.cs": (2019, "003-072_particles.mrc"),
    "relion31.star": (5, ""),
    "relion31.v2.star": (5, ""),
    "empiar_10076_7.star": (7, ""),
    "empiar_10076_7.cs": (7, ""),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_is_described(name: str, shared_data: Path) -> None:
    rows, missing = DIALECTS[name]
    report = report_on(shared_data / "star_dialects" / name)
    assert fact(report, "particles") == f"{rows:,}"
    if missing:
        assert missing in report.problems[0]
        assert "looked in" in report.problems[0]
    else:
        assert report.problems == ()
