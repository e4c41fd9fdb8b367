"""Facts about RELION particle files of every layout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.errors import InputError
from multicryogan.io import OpticsOverride, ParticleStack, read_particles

OLD = {  # RELION 2 and 3.0: rows carry their optics, shifts count pixels
    "rlnImageName": "000003@a.mrcs",
    "rlnDefocusU": "15000",
    "rlnDefocusV": "14000",
    "rlnDefocusAngle": "30",
    "rlnVoltage": "300",
    "rlnSphericalAberration": "2.7",
    "rlnAmplitudeContrast": "0.1",
    "rlnMagnification": "40000",
    "rlnDetectorPixelSize": "5",
    "rlnOriginX": "2",
    "rlnOriginY": "-4",
}
NEW = {  # RELION 3.1 and later: shifts in Å, optics in a table of their own
    "rlnImageName": "000003@a.mrcs",
    "rlnOpticsGroup": "2",
    "rlnDefocusU": "15000",
    "rlnDefocusV": "14000",
    "rlnDefocusAngle": "30",
    "rlnPhaseShift": "90",
    "rlnCtfBfactor": "50",
    "rlnCtfScalefactor": "0.9",
    "rlnOriginXAngst": "2",
    "rlnOriginYAngst": "-4",
}
GROUPS = [
    {
        "rlnOpticsGroup": "2",
        "rlnVoltage": "300",
        "rlnSphericalAberration": "2.7",
        "rlnAmplitudeContrast": "0.1",
        "rlnImagePixelSize": "1.25",
    },
    {
        "rlnOpticsGroup": "1",
        "rlnVoltage": "200",
        "rlnSphericalAberration": "2.0",
        "rlnAmplitudeContrast": "0.07",
        "rlnImagePixelSize": "1.25",
    },
]


def block(name: str, rows: list[dict[str, str]]) -> str:
    labels = "".join(f"_{label}\n" for label in rows[0])
    values = "".join(" ".join(row.values()) + "\n" for row in rows)
    return f"\ndata_{name}\n\nloop_\n{labels}{values}\n"


def write(tmp_path: Path, *blocks: str) -> Path:
    path = tmp_path / "particles.star"
    path.write_text("".join(blocks))
    return path


def without(row: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize("name", ["", "images", "model_class_1", "particles"])
def test_the_old_pixel_size_is_detector_over_magnification(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, block(name, [OLD]))
    assert read_particles(path).pixel_size == pytest.approx(1.25)


def test_old_shifts_are_in_pixels_and_centre_the_image(tmp_path: Path) -> None:
    shifts = read_particles(write(tmp_path, block("", [OLD]))).shifts_angstrom()
    assert shifts.tolist() == [[-2.5, 5.0]]


def test_new_shifts_are_in_angstrom(tmp_path: Path) -> None:
    path = write(tmp_path, block("optics", GROUPS), block("particles", [NEW]))
    assert read_particles(path).shifts_angstrom().tolist() == [[-2.0, 4.0]]


@pytest.mark.parametrize("is_first", [True, False])
def test_each_particle_has_the_optics_of_its_group(
    tmp_path: Path, is_first: bool
) -> None:
    rows = [NEW, NEW | {"rlnOpticsGroup": "1"}]
    blocks = [block("optics", GROUPS), block("particles", rows)]
    path = write(tmp_path, *(blocks if is_first else blocks[::-1]))
    assert read_particles(path).ctf_params().voltage_kv.tolist() == [300.0, 200.0]


def test_optics_groups_may_come_in_any_order(tmp_path: Path) -> None:
    numbers = ["3", "1", "2"]
    groups = [
        GROUPS[0] | {"rlnOpticsGroup": n, "rlnVoltage": f"{n}00"} for n in numbers
    ]
    rows = [NEW | {"rlnOpticsGroup": n} for n in ("1", "2", "3", "1")]
    path = write(tmp_path, block("optics", groups), block("particles", rows))
    found = read_particles(path).ctf_params().voltage_kv.tolist()
    assert found == [100.0, 200.0, 300.0, 100.0]


def test_every_ctf_column_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, block("optics", GROUPS), block("particles", [NEW]))
    optics = read_particles(path).ctf_params()
    found = [
        optics.defocus_u_angstrom,
        optics.defocus_v_angstrom,
        optics.defocus_angle_deg,
        optics.phase_shift_deg,
        optics.cs_mm,
        optics.amplitude_contrast,
        optics.bfactor_angstrom2,
        optics.scale,
    ]
    expected = [15000, 14000, 30, 90, 2.7, 0.1, 50, 0.9]
    assert [value.item() for value in found] == pytest.approx(expected)


def test_a_missing_phase_shift_is_zero(tmp_path: Path) -> None:
    optics = read_particles(write(tmp_path, block("", [OLD]))).ctf_params()
    assert optics.phase_shift_deg.tolist() == [0.0]


def test_a_missing_bfactor_and_scale_are_none(tmp_path: Path) -> None:
    optics = read_particles(write(tmp_path, block("", [OLD]))).ctf_params()
    assert (optics.bfactor_angstrom2, optics.scale) == (None, None)


def test_a_file_without_defocus_has_no_ctf(tmp_path: Path) -> None:
    path = write(tmp_path, block("", [{"rlnImageName": "1@a.mrcs"}]))
    assert read_particles(path).ctf_params() is None


def test_a_file_without_angles_has_no_rotations(tmp_path: Path) -> None:
    assert read_particles(write(tmp_path, block("", [OLD]))).rotations() is None


def test_a_file_without_origins_has_no_shifts(tmp_path: Path) -> None:
    row = without(OLD, "rlnOriginX", "rlnOriginY")
    assert read_particles(write(tmp_path, block("", [row]))).shifts_angstrom() is None


@pytest.mark.parametrize(
    ("label", "option"),
    [
        ("rlnVoltage", "voltage_kv"),
        ("rlnSphericalAberration", "cs_mm"),
        ("rlnAmplitudeContrast", "amplitude_contrast"),
    ],
)
def test_missing_optics_name_column_and_cure(
    tmp_path: Path, label: str, option: str
) -> None:
    stack = read_particles(write(tmp_path, block("", [without(OLD, label)])))
    with pytest.raises(InputError, match=f"no {label}.*give {option}"):
        stack.ctf_params()


def test_given_optics_fill_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, block("", [without(OLD, "rlnVoltage")]))
    stack = read_particles(path, optics=OpticsOverride(voltage_kv=200.0))
    assert stack.ctf_params().voltage_kv.tolist() == [200.0]


def test_given_optics_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, block("", [OLD]))
    stack = read_particles(path, optics=OpticsOverride(pixel_size=2.0))
    assert stack.shifts_angstrom().tolist() == [[-4.0, 8.0]]


def test_a_round_defocus_needs_no_angle(tmp_path: Path) -> None:
    row = without(OLD, "rlnDefocusV", "rlnDefocusAngle")
    optics = read_particles(write(tmp_path, block("", [row]))).ctf_params()
    assert optics.defocus_v_angstrom.tolist() == [15000.0]


def test_an_astigmatic_defocus_needs_its_angle(tmp_path: Path) -> None:
    stack = read_particles(
        write(tmp_path, block("", [without(OLD, "rlnDefocusAngle")]))
    )
    with pytest.raises(InputError, match="no rlnDefocusAngle"):
        stack.ctf_params()


def test_a_defocus_that_is_nan_names_its_row(tmp_path: Path) -> None:
    rows = [OLD, OLD | {"rlnDefocusU": "nan"}]
    with pytest.raises(InputError, match=r"row 2 \(000003@a.mrcs\): rlnDefocusU"):
        read_particles(write(tmp_path, block("", rows))).ctf_params()


def test_a_defocus_that_is_text_names_its_row(tmp_path: Path) -> None:
    rows = [OLD, OLD | {"rlnDefocusU": "abc"}]
    with pytest.raises(InputError, match="row 2: rlnDefocusU is 'abc'"):
        read_particles(write(tmp_path, block("", rows)))


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("rlnVoltage", "300000", "300000 kV; expected 10 to 2000"),
        ("rlnAmplitudeContrast", "10", "10; expected 0 to 0.999"),
        ("rlnDefocusU", "1e39", r"1e\+39 Å; expected -1e\+06 to 1e\+06"),
        ("rlnCtfScalefactor", "0", "0; expected 0.001 to 1000"),
        ("rlnCtfScalefactor", "-1", "-1; expected 0.001"),
        ("rlnCtfScalefactor", "1e30", r"1e\+30; expected 0.001"),
        ("rlnCtfBfactor", "-100000", r"-100000 Å²; expected -1000 to 10000"),
        ("rlnPhaseShift", "1e30", r"1e\+30°; expected"),
        ("rlnSphericalAberration", "27000", "27000 mm; expected"),
    ],
)
def test_optics_that_no_microscope_has_are_refused_with_their_row(
    tmp_path: Path, label: str, value: str, said: str
) -> None:
    row = OLD | {"rlnPhaseShift": "0", label: value}
    stack = read_particles(write(tmp_path, block("", [row])))
    expected = rf"row 1 \(.*: {label} is {said}.*: check its unit"
    with pytest.raises(InputError, match=expected):
        stack.ctf_params()


@pytest.mark.parametrize("value", ["0", "-2", "1e300", "nan"])
def test_pixels_that_no_detector_has_are_refused_with_their_row(
    tmp_path: Path, value: str
) -> None:
    row = without(OLD, "rlnMagnification") | {"rlnImagePixelSize": value}
    with pytest.raises(InputError, match=r"row 1 .*rlnImagePixelSize is "):
        _ = read_particles(write(tmp_path, block("", [row]))).pixel_sizes


def test_optics_missing_in_the_optics_table_are_taken_from_the_rows(
    tmp_path: Path,
) -> None:
    groups = [without(GROUPS[0], "rlnImagePixelSize", "rlnVoltage")]
    row = NEW | {name: OLD[name] for name in ("rlnMagnification", "rlnVoltage")}
    row |= {"rlnDetectorPixelSize": "8"}
    path = write(tmp_path, block("optics", groups), block("particles", [row]))
    assert read_particles(path).pixel_size == 2.0
    assert read_particles(path).ctf_params().voltage_kv.tolist() == [300.0]


def test_premultiplied_images_are_refused(tmp_path: Path) -> None:
    groups = [GROUPS[0] | {"rlnCtfDataAreCtfPremultiplied": "1"}]
    path = write(tmp_path, block("optics", groups), block("particles", [NEW]))
    with pytest.raises(InputError, match="premultiplication"):
        read_particles(path).ctf_params()


@pytest.mark.parametrize("digits", [19, 5000])
def test_image_numbers_of_too_many_digits_are_refused(
    tmp_path: Path, digits: int
) -> None:
    rows = [OLD, OLD | {"rlnImageName": "1" * digits + "@a.mrcs"}]
    with pytest.raises(InputError, match=r"row 2: rlnImageName is '1+@a.mrcs'; exp"):
        read_particles(write(tmp_path, block("", rows)))


@pytest.mark.parametrize("group", ["nan", "inf", "1e30", "1.5"])
def test_an_optics_group_that_is_no_number_names_its_row(
    tmp_path: Path, group: str
) -> None:
    rows = [NEW, NEW | {"rlnOpticsGroup": group}]
    path = write(tmp_path, block("optics", GROUPS), block("particles", rows))
    with pytest.raises(InputError, match=r"row 2: rlnOpticsGroup is .*put the row"):
        read_particles(path)


def test_an_optics_group_that_is_described_twice_is_refused(tmp_path: Path) -> None:
    groups = [*GROUPS, GROUPS[0] | {"rlnVoltage": "120"}]
    path = write(tmp_path, block("optics", groups), block("particles", [NEW]))
    with pytest.raises(InputError, match="group 2 more than once; keep one row"):
        read_particles(path)


def test_an_unknown_optics_group_names_its_row(tmp_path: Path) -> None:
    rows = [NEW, NEW | {"rlnOpticsGroup": "7"}]
    path = write(tmp_path, block("optics", GROUPS), block("particles", rows))
    with pytest.raises(InputError, match=r"row 2: optics group 7.*there: 2, 1"):
        read_particles(path)


def test_groups_of_different_pixel_size_have_no_common_one(tmp_path: Path) -> None:
    groups = [GROUPS[0], GROUPS[1] | {"rlnImagePixelSize": "1.5"}]
    rows = [NEW, NEW | {"rlnOpticsGroup": "1"}]
    stack = read_particles(
        write(tmp_path, block("optics", groups), block("particles", rows))
    )
    assert stack.pixel_sizes.tolist() == [1.25, 1.5]
    with pytest.raises(InputError, match=r"1\.25, 1\.5 Å"):
        _ = stack.pixel_size


def test_a_table_without_images_is_no_particle_file(tmp_path: Path) -> None:
    path = write(tmp_path, block("model_classes", [{"rlnReferenceImage": "a.mrc"}]))
    with pytest.raises(InputError, match=r"rlnImageName \(blocks found: data_model"):
        read_particles(path)


def test_an_empty_particle_table_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "data_particles\n\nloop_\n_rlnImageName #1\n\n")
    with pytest.raises(InputError, match="table is empty"):
        read_particles(path)


@pytest.mark.parametrize("name", ["000000@a.mrcs", "x@a.mrcs", "1@"])
def test_an_image_name_that_makes_no_sense_names_its_row(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, block("", [OLD, OLD | {"rlnImageName": name}]))
    with pytest.raises(InputError, match="row 2: rlnImageName"):
        read_particles(path)


def test_subtomograms_are_refused(tmp_path: Path) -> None:
    groups = [GROUPS[0] | {"rlnImageDimensionality": "3"}]
    path = write(tmp_path, block("optics", groups), block("particles", [NEW]))
    with pytest.raises(InputError, match="subtomograms"):
        read_particles(path)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("star_dialects/FinalRefinement-OriginalParticles-PfCRT.star", 5),
        ("star_dialects/empiar_10076_7.star", 7),
        ("star_dialects/relion31.star", 5),
        ("star_dialects/relion31.v2.star", 5),
        ("star_dialects/relion5.star", 17),
        ("betagal_101/particles_first101_128px.star", 101),
        ("betagal_101/particles_26_with_relion_poses.star", 26),
        ("malformed/sample_relion_one_image.star", 1),
    ],
)
def test_real_files_have_the_right_number_of_rows(
    shared_data: Path, name: str, rows: int
) -> None:
    stack = read_particles(shared_data / name)
    assert (len(stack), len(stack.table)) == (rows, rows)


def test_optics_before_or_after_the_particles_read_alike(shared_data: Path) -> None:
    first, second = (
        read_particles(shared_data / "star_dialects" / name).ctf_params()
        for name in ("relion31.star", "relion31.v2.star")
    )
    torch.testing.assert_close(first.defocus_u_angstrom, second.defocus_u_angstrom)
    torch.testing.assert_close(first.voltage_kv, second.voltage_kv)


def golden(shared_data: Path, name: str) -> dict[str, np.ndarray]:
    return dict(np.load(shared_data / "star_dialects" / "golden" / name))


@pytest.fixture(scope="session")
def refined(shared_data: Path) -> ParticleStack:
    path = shared_data / "star_dialects/FinalRefinement-OriginalParticles-PfCRT.star"
    return read_particles(path, optics=OpticsOverride(amplitude_contrast=0.1))


def test_optics_equal_those_of_another_program(
    shared_data: Path, refined: ParticleStack
) -> None:
    expected = torch.from_numpy(golden(shared_data, "ctf1.npz")["arr"])
    optics = refined.ctf_params()
    found = [
        torch.from_numpy(refined.pixel_sizes),
        optics.defocus_u_angstrom,
        optics.defocus_v_angstrom,
        optics.defocus_angle_deg,
        optics.voltage_kv,
        optics.cs_mm,
        optics.amplitude_contrast,
        optics.phase_shift_deg,
    ]
    found = torch.stack([value.float() for value in found], dim=1)
    torch.testing.assert_close(found, expected[:, 1:])


def test_rotations_equal_those_of_another_program(
    shared_data: Path, refined: ParticleStack
) -> None:
    expected = torch.from_numpy(golden(shared_data, "pose.star.npz")["rot"]).float()
    torch.testing.assert_close(refined.rotations(), expected)


def test_shifts_equal_those_of_another_program(
    shared_data: Path, refined: ParticleStack
) -> None:
    fraction = torch.from_numpy(golden(shared_data, "pose.star.npz")["trans"]).float()
    expected = -fraction * 300 * 1.035  # box, Å per pixel
    torch.testing.assert_close(refined.shifts_angstrom(), expected)


def test_a_file_without_amplitude_contrast_says_so(shared_data: Path) -> None:
    path = shared_data / "star_dialects/FinalRefinement-OriginalParticles-PfCRT.star"
    with pytest.raises(InputError, match="rlnAmplitudeContrast"):
        read_particles(path).ctf_params()


def test_a_file_without_voltage_says_so(shared_data: Path) -> None:
    path = shared_data / "malformed/sample_incomplete_ctf_params.star"
    with pytest.raises(InputError, match="rlnVoltage"):
        read_particles(path).ctf_params()


@pytest.mark.parametrize(
    "name", ["empty_loop.star", "mtf_falcon4EC_300kV.star", "sample_data_model.star"]
)
def test_tables_of_other_things_are_refused(shared_data: Path, name: str) -> None:
    with pytest.raises(InputError, match="holds no particles"):
        read_particles(shared_data / "malformed" / name)


def test_what_is_not_modelled_is_noted(shared_data: Path) -> None:
    stack = read_particles(shared_data / "star_dialects/relion5.star")
    assert "rlnBeamTiltX" in stack.notes[0]
