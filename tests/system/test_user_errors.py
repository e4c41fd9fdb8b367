"""What a user can get wrong: one line that names the thing and the cure, status 2."""

from pathlib import Path

import numpy as np
import pytest

from multicryogan.cli import main
from user_mistakes import (
    Arrange,
    a_file,
    against_truth,
    assigning,
    bare_stack,
    damaged_run,
    full_folder,
    good,
    map_for_particles,
    missing_stack,
    no_run,
    oblong_images,
    oblong_true_map,
    on_a_run,
    output_below_a_file,
    output_not_empty,
    output_of_other_settings,
    pickled_table,
    refining,
    set_pixel,
    simulating,
    simulating_into,
    simulating_with_config,
    truth_of_another_field,
    two_boxes,
    with_array,
    with_columns,
    with_config,
    with_file,
    with_manifold,
    with_optics,
    with_options,
    with_stack,
    without_optics_column,
    words,
)

OPTICS_TABLE = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n1 300\n"
STAR = "data_particles\n\nloop_\n_rlnImageName\n_rlnDefocusU\n"
NO_IMAGES = np.zeros(3, [("uid", "u8"), ("ctf/df1_A", "f4")])
EMPTY = np.zeros(0, [("uid", "u8"), ("blob/path", "S9"), ("blob/idx", "u4")])
OPTICS = ("--voltage-kv", "300", "--cs-mm", "2.7", "--amplitude-contrast", "0.1")

# What was done, how, and what the message must say: the thing and the cure.
CASES: dict[str, tuple[Arrange, tuple[str, ...]]] = {
    # Particle files
    "missing file": (
        words("train", "FOLDER/no.star", "-o", "FOLDER/out"),
        ("no.star", "give"),
    ),
    "a folder": (words("train", "FOLDER", "-o", "FOLDER/out"), ("folder", "give")),
    "unknown kind": (with_file("a.txt", "x"), ("a.txt", ".star")),
    "missing stack": (missing_stack, ("particles.mrcs", "looked in", "datadir")),
    "missing data folder": (
        with_options("--datadir", "/no/such"),
        ("/no/such", "datadir"),
    ),
    "index beyond the stack": (
        with_columns(rlnImageName=[f"{i + 2}@particles.mrcs" for i in range(20)]),
        ("21", "particles.mrcs", "give"),
    ),
    "star without rows": (with_file("a.star", STAR), ("a.star", "empty")),
    "star of something else": (
        with_file("a.star", "data_\n\nloop_\n_rlnMtfValue\n0.5\n"),
        ("rlnImageName", "give"),
    ),
    "star that is not text": (
        with_file("a.star", b"\xff\xfe\x00\x80"),
        ("a.star", "not text"),
    ),
    "star with half a row": (
        with_file("a.star", f"{STAR}1@a.mrcs\n"),
        ("line 6", "write the file again"),
    ),
    "malformed image name": (
        with_file("a.star", f"{STAR}0@a.mrcs 9000\n"),
        ("0@a.mrcs", "expected"),
    ),
    "text for a number": (
        with_columns(rlnDefocusU=[*["9000"] * 19, "much"]),
        ("rlnDefocusU", "row 20", "put"),
    ),
    "defocus of NaN": (
        with_columns(rlnDefocusU=[*[9000.0] * 19, np.nan]),
        ("rlnDefocusU", "row 20", "remove"),
    ),
    "missing voltage": (without_optics_column("rlnVoltage"), ("rlnVoltage", "add")),
    "missing Cs": (
        without_optics_column("rlnSphericalAberration"),
        ("rlnSphericalAberration", "add"),
    ),
    "unknown optics group": (
        with_file(
            "a.star",
            f"{OPTICS_TABLE}\n{STAR}_rlnOpticsGroup\n1@a.mrcs 9000 7\n",
        ),
        ("optics group 7", "add"),
    ),
    "premultiplied images": (
        with_optics(rlnCtfDataAreCtfPremultiplied=[1]),
        ("multiplied", "extract"),
    ),
    "pixel sizes between groups": (
        with_optics(rlnImagePixelSize=[4.0, 3.0]),
        ("24 pixels across the 96 Å", "--data.box 24"),
    ),
    "boxes between groups": (two_boxes, ("16 pixels across the 64 Å", "--data.box 16")),
    "empty cs": (with_array(EMPTY), ("a.cs", "no particles", "export")),
    "pickled cs": (with_array(np.array([{"a": 1}])), ("a.cs", "pickled", "export")),
    "pickled npy": (with_array(np.array([{"a": 1}]), "a.npy"), ("a.npy", ".star")),
    "plain array as cs": (with_array(np.zeros((3, 3))), ("a.cs", "columns")),
    "truncated cs": (
        with_file("a.cs", b"\x93NUMPY\x01\x00v\x00{'descr': "),
        ("a.cs", "copy"),
    ),
    "newer cs": (with_file("a.cs", b"\x94CSDAT" + bytes(64)), ("CSDAT", "convert")),
    "not a cs": (with_file("a.cs", "hello"), ("a.cs", "not a .cs")),
    "cs without images": (with_array(NO_IMAGES), ("blob/path", "export")),
    # Stacks
    "truncated stack": (
        with_stack(lambda data: data[:-100]),
        ("particles.mrcs", "truncated", "again"),
    ),
    "half a header": (
        with_stack(lambda data: data[:500]),
        ("particles.mrcs", "truncated", "again"),
    ),
    "stack of noise": (
        with_stack(lambda data: b"\xab" * len(data)),
        ("particles.mrcs", "not an MRC"),
    ),
    "compressed stack": (
        with_stack(lambda data: b"\x1f\x8b" + data),
        ("particles.mrcs", "unpack"),
    ),
    "NaN pixels": (with_stack(set_pixel), ("row 2", "NaN", "remove")),
    "oblong images": (oblong_images, ("16 x 32", "square")),
    "bare stack without pixel size": (
        bare_stack(*OPTICS, "--defocus-angstrom", "9000", pixel_size=0.0),
        ("pixel_size is 0", "give"),
    ),
    "bare stack without voltage": (
        bare_stack("--defocus-angstrom", "9000"),
        ("voltage_kv", "give"),
    ),
    "negative pixel size": (with_options("--pixel-size", "-1"), ("-1", "give")),
    # Settings
    "unknown key": (
        with_config("[train]\nposes_per_volum = 3\n"),
        ("poses_per_volum", "did you mean train.poses_per_volume"),
    ),
    "unknown table": (
        with_config("[trian]\nseed = 3\n"),
        ("trian", "did you mean train"),
    ),
    "text for a number in the config": (
        with_config('[data]\nbox = "big"\n'),
        ("data.box", "expected int"),
    ),
    "number for a table": (with_config("data = 3\n"), ("data", "expected a table")),
    "no such choice": (
        with_config('[generator]\nkind = "gan"\n'),
        ("generator.kind", "components"),
    ),
    "not TOML": (with_config("train: {seed: 3}\n"), ("settings.toml", "TOML")),
    "missing config": (
        with_options("--config", "/no/such.toml"),
        ("/no/such.toml", "check the path"),
    ),
    "unknown mode": (with_options("--mode", "quick"), ("quick", "fast")),
    "cnn with coarse stage": (
        with_options("--generator.kind", "cnn"),
        ("coarse", "set"),
    ),
    "cnn with box of latents": (
        with_options(
            "--generator.kind",
            "cnn",
            "--latent.kind",
            "uniform",
            "--train.coarse-share",
            "0",
        ),
        ("segment", "cnn"),
    ),
    "segment of two dimensions": (
        with_options("--latent.dimensions", "2"),
        ("segment", "set"),
    ),
    "latent without dimensions": (
        with_options("--latent.kind", "uniform", "--latent.dimensions", "0"),
        ("latent.dimensions", "between 1 and 4"),
    ),
    "unknown symmetry": (
        with_options("--generator.symmetry", "I1"),
        ("I1", "give C1 to C99", "RELION's I2"),
    ),
    "odd working box": (with_options("--data.box", "31"), ("31", "even")),
    "tiny working box": (with_options("--data.box", "8"), ("8", "at least 16")),
    "working box above the images": (
        with_options("--data.box", "64"),
        ("32 pixels", "--data.box 32"),
    ),
    "background beyond the corners": (
        with_options("--data.background-radius", "1.35"),
        ("data.background_radius", "between 0.1 and 1.2"),
    ),
    "negative number of images": (with_options("--images", "-5"), ("images", "-5")),
    "negative time": (with_options("--time-limit", "-1"), ("time_limit", "-1")),
    "empty batch": (
        with_options("--train.volumes-per-batch", "0"),
        ("volumes_per_batch", "1 or more"),
    ),
    "no templates": (
        with_options("--discriminator.templates", "0"),
        ("discriminator.templates", "1 or more"),
    ),
    "low-pass for a discriminator that sees all": (
        with_options("--discriminator.kind", "pooled"),
        ("pooled sees every frequency", "set train.start_shell to 0"),
    ),
    "motion full before its start": (
        with_options("--train.motion-start", "0.4", "--train.motion-full", "0.2"),
        ("motion_full 0.2", "motion_start 0.4", "give a later share"),
    ),
    "share above one": (
        with_options("--train.coarse-share", "1.5"),
        ("coarse_share", "1.5"),
    ),
    "negative rate": (
        with_options("--train.discriminator-rate", "-1"),
        ("train.discriminator_rate", "-1", "0 or more"),
    ),
    "negative shifts": (
        with_options("--imaging.shift-sigma-angstrom", "-3"),
        ("shift_sigma_angstrom", "-3"),
    ),
    # Output and machine
    "output below a file": (output_below_a_file, ("file", "choose")),
    "output not empty": (output_not_empty, ("not empty", "choose another")),
    "other settings": (
        output_of_other_settings,
        ("train.seed was 0, now 5", "another folder"),
    ),
    "no CUDA": (with_options("--device", "cuda"), ("cuda", "--device cpu")),
    "unknown device": (with_options("--device", "tpu"), ("tpu", "cpu")),
    "negative threads": (with_options("--threads", "-2"), ("-2", "give")),
    # Command line
    "unknown command": (words("trian"), ("trian", "train")),
    "unknown option": (with_options("--colour", "red"), ("--colour", "--help")),
    "unknown section of an option": (
        with_options("--train.colour", "red"),
        ("--train.colour", "--help"),
    ),
    "missing particles": (
        words("train", "-o", "FOLDER/out"),
        ("--particles", "--help"),
    ),
    "missing output": (words("train", "a.star"), ("-o", "--help")),
    "text for a number as an option": (
        with_options("--images", "many"),
        ("many", "int"),
    ),
    "fraction for a whole number": (
        with_options("--seed", "1.5"),
        ("--seed is 1.5", "give a whole number"),
    ),
    "option without a value": (with_options("--seed"), ("--seed", "--help")),
    # simulate
    "molecule beyond the box": (simulating("--pixel-size", "2"), ("16", "use box")),
    "missing structure": (
        simulating("--structures", "no.pdb"),
        ("no.pdb", "check the path"),
    ),
    "structure of nothing": (
        simulating("--structures", __file__),
        ("test_user_errors.py", "PDB"),
    ),
    "weights without coordinates": (
        simulating("--law.kind", "discrete", "--law.weights", "1", "2", "3"),
        ("3 weights", "each state needs"),
    ),
    "negative weights": (
        simulating("--law.kind", "discrete", "--law.weights", "-1", "2"),
        ("law.weights", ">= 0"),
    ),
    "pickled table": (pickled_table, ("law.npy", ".npy")),
    "missing frames": (simulating("--molecule.frames", "no.npz"), ("no.npz",)),
    "frames and motions": (
        simulating_with_config(
            '[molecule]\nframes = "a.npz"\n[[molecule.motions]]\nchains = ["A"]\n'
        ),
        ("frames", "keep one"),
    ),
    "motion of nothing": (
        simulating_with_config('[[molecule.motions]]\nchains = ["Q"]\n'),
        ("motion 1", "chains"),
    ),
    "motion about another galaxy": (
        simulating_with_config(
            '[[molecule.motions]]\nchains = ["A"]\npivot = [0, 0, 1e300]\n'
        ),
        ("molecule.motions[0].pivot[2] is 1e+300", "-100,000 to 100,000 Å"),
    ),
    "unknown simulation key": (
        simulating_with_config("snr = 3\n"),
        ("snr", "did you mean snr_db"),
    ),
    "no images": (simulating("--images", "0"), ("images is 0", "1 to")),
    "defocus from high to low": (
        simulating("--optics.defocus-um", "2", "1"),
        ("defocus_um", "lowest"),
    ),
    "one defocus": (
        simulating("--optics.defocus-um", "2"),
        ("--optics.defocus-um", "2"),
    ),
    "simulating into a full folder": (
        simulating_into(full_folder),
        ("not empty", "choose"),
    ),
    "train in a focus of no map": (
        with_options("--focus-mask", "a.mrc"),
        ("--focus-mask", "give --start-map"),
    ),
    "simulating into a file": (simulating_into(a_file), ("file", "choose")),
    "simulating below a file": (
        simulating_into(lambda folder: a_file(folder) / "data"),
        ("file", "choose"),
    ),
    # check, volumes, evaluate
    "check of a missing file": (words("check", "FOLDER/no.star"), ("no.star", "give")),
    "check of an odd box": (
        lambda folder: ["check", str(good(folder)), "--data.box", "31"],
        ("31", "even"),
    ),
    "check against no truth": (
        lambda folder: ["check", str(good(folder)), "--against-truth", str(folder)],
        ("no truth", "give a folder"),
    ),
    "check against the truth of others": (
        against_truth(own=False),
        ("span 128.0 Å", "192.0 Å", "give the truth of these particles"),
    ),
    "check of few particles against their truth": (
        against_truth("--data.box", "16", own=True),
        ("8 particles, too few", "give 256 or more"),
    ),
    "volumes of no run": (no_run("volumes"), ("empty", "give a folder made")),
    "volumes of a damaged run": (
        damaged_run,
        ("snapshot.safetensors", "not a snapshot"),
    ),
    "no volumes": (on_a_run("volumes", "--count", "0"), ("--count", "give 1")),
    "latents of two columns": (
        on_a_run("volumes", latents="0 1\n1 0\n"),
        ("latents.txt", "2 columns", "1 latent"),
    ),
    "latents beyond the segment": (
        on_a_run("volumes", latents="0.5\n1.5\n"),
        ("latents.txt", "between 0 and 1"),
    ),
    "latents of words": (
        on_a_run("volumes", latents="closed\n"),
        ("latents.txt", "numbers"),
    ),
    "latents of nothing": (
        on_a_run("volumes", latents=""),
        ("latents.txt", "one latent per line"),
    ),
    "missing latents": (on_a_run("volumes", "--latents", "FOLDER/no.txt"), ("no.txt",)),
    "assign by no run": (
        words("assign", "FOLDER", "FOLDER/no.star", "-o", "FOLDER/out"),
        ("no snapshot.safetensors", "give a folder made"),
    ),
    "assign no particles": (on_a_run("assign"), ("--particles",)),
    "assign to nothing": (
        assigning("--conformations", "-1"),
        ("--conformations is -1", "give 0"),
    ),
    "assign with an option that is gone": (
        assigning("--poses", "100"),
        ("--poses", "--help"),
    ),
    "select one number": (
        assigning("--select", "0.5"),
        ("--select 0.5", "give two numbers"),
    ),
    "select from high to low": (
        assigning("--select", "0.5:0.2"),
        ("--select 0.5:0.2", "lower end first"),
    ),
    "assign to too many": (
        assigning("--conformations", "500"),
        ("500", "--conformations"),
    ),
    "assign particles of another field": (
        assigning(voxel_size=3.0),
        ("span 192.0 Å", "span 48.0 Å", "give the particles that the run"),
    ),
    "assign a refined folder anew": (
        with_manifold("assign", "--conformations", "3"),
        ("--conformations 3", "leave the option away"),
    ),
    "assign by a broken manifold": (
        with_manifold("assign", broken=True),
        ("manifold.safetensors", "no manifold"),
    ),
    # refine
    "refine no run": (
        words("refine", "FOLDER", "FOLDER/no.star", "-o", "FOLDER/out"),
        ("no snapshot.safetensors", "give a folder made"),
    ),
    "refine missing particles": (on_a_run("refine"), ("--particles",)),
    "refine without iterations": (
        refining("--iterations", "0"),
        ("--iterations is 0", "give 1"),
    ),
    "refine no conformation": (
        refining("--conformations", "-1"),
        ("--conformations is -1", "give 0"),
    ),
    "refine from shell 0": (
        refining("--start-shell", "0"),
        ("--start-shell is 0", "give 1"),
    ),
    "refine too many": (
        refining("--conformations", "500"),
        ("--conformations 500", "give fewer"),
    ),
    "refine into the run": (
        refining(output="run"),
        ("is the run itself", "another folder"),
    ),
    "refine particles of another field": (
        refining(voxel_size=3.0),
        ("span 192.0 Å", "span 48.0 Å", "give the particles that the run"),
    ),
    "refine one particle": (
        refining(images=1),
        ("halves hold 1 and 0", "needs 4 in each", "give more"),
    ),
    "refine a map": (map_for_particles, ("map.mrc is a map", "give a .star")),
    "refine from an unknown start": (
        refining("--start", "truth"),
        ("truth", "generator"),
    ),
    "refine few particles from nothing": (
        refining("--start", "random", output="begun"),
        ("--start random", "too few particles", "use --start generator"),
    ),
    "refine in a mask that is missing": (
        refining("--mask", "/no/such.mrc", output="begun"),
        ("/no/such.mrc", "auto"),
    ),
    "refine in a focus from nothing": (
        refining("--focus-mask", "a.mrc", "--start", "both", output="begun"),
        ("--start both", "random start lies anywhere", "use --start generator"),
    ),
    "refine on with other settings": (
        refining(output="other"),
        ("other settings or particles", "another -o"),
    ),
    "evaluate without truth": (on_a_run("evaluate"), ("--truth",)),
    "truth without truth": (
        on_a_run("evaluate", "--truth", "FOLDER"),
        ("no truth", "give a folder"),
    ),
    "missing truth": (
        on_a_run("evaluate", "--truth", "FOLDER/no"),
        ("no truth", "give a folder"),
    ),
    "evaluate of no run": (
        no_run("evaluate", "--truth", "."),
        ("empty", "give a folder made"),
    ),
    "truth of another field": (truth_of_another_field, ("span", "give the truth")),
    "oblong true map": (oblong_true_map, ("state_0001.mrc", "cubic")),
}


def test_one_process_of_no_team_is_named_with_its_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = message_of(with_options()(tmp_path), capsys)
    assert "RANK is not set; start it with torchrun" in message
    assert not (tmp_path / "out").exists()


@pytest.fixture(autouse=True)
def _machine_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def message_of(tokens: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail as a user's mistake; return its one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ending:
        main(tokens)
    said = capsys.readouterr()
    assert ending.value.code == 2, said
    assert said.err.startswith("multicryogan: ")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.out + said.err
    return said.err


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_with_its_cure(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrange, expected = CASES[name]
    tokens = arrange(tmp_path)
    before = everything_in(tmp_path)
    message = message_of(tokens, capsys)
    assert [word for word in expected if word not in message] == [], message
    assert everything_in(tmp_path) == before


SHARED = {
    "malformed/4k_dataset.cs": ("no particles", "export"),
    "malformed/empty_loop.star": ("no particles", "give"),
    "malformed/mtf_falcon4EC_300kV.star": ("rlnImageName", "give"),
    "malformed/sample_data_model.star": ("rlnImageName", "give"),
    "malformed/sample_incomplete_ctf_params.star": ("sample.mrcs", "looked in"),
    "malformed/sample_relion_one_image.star": ("sample_one_image.mrcs", "looked in"),
    "star_dialects/relion5.star": ("toy_images_a.mrcs", "looked in"),
    "star_dialects/cryosparc_J2_particles_exported.cs": (".mrcs", "looked in"),
    "star_dialects/cryosparc_P12_J24_001_particles.cs": (".mrc", "looked in"),
    "star_dialects/FinalRefinement-OriginalParticles-PfCRT.star": (
        "FinalRefinement-OriginalParticles-PfCRT.mrcs",
        "looked in",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_real_file_that_cannot_be_used_is_named_with_its_cure(
    name: str, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = ["train", str(shared_data / name), "-o", str(tmp_path / "out")]
    message = message_of(tokens, capsys)
    assert [word for word in SHARED[name] if word not in message] == [], message
    assert not (tmp_path / "out").exists()
