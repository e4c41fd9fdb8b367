"""Facts about STAR text: what survives reading and writing."""

from pathlib import Path

import pandas as pd
import pytest
import starfile

from multicryogan.errors import InputError
from multicryogan.io import read_star, write_star


def star(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.star"
    path.write_text(text, encoding="utf-8")
    return path


def loop(labels: list[str], *rows: str, name: str = "particles") -> str:
    header = "".join(f"_{label} #{i}\n" for i, label in enumerate(labels, start=1))
    return f"\ndata_{name}\n\nloop_\n{header}" + "\n".join(rows) + "\n"


def column(path: Path, label: str) -> list[object]:
    ((_, table),) = read_star(path).blocks
    values: list[object] = table[label].tolist()
    return values


def test_numbers_are_numeric(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnDefocusU"], "1.5", "2e3", "nan"))
    assert column(path, "rlnDefocusU")[:2] == [1.5, 2000.0]


def test_names_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnMicrographName"], "1", "002"))
    assert column(path, "rlnMicrographName") == ["1", "002"]


def test_leading_zeros_of_unknown_columns_survive(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["myTag"], "10", "007"))
    assert column(path, "myTag") == ["10", "007"]


def test_unknown_columns_of_numbers_are_numeric(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["myNumber"], "10", "-2.5"))
    assert column(path, "myNumber") == [10.0, -2.5]


def test_a_hash_inside_a_name_is_no_comment(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnMicrographName"], "grid#1/a.mrc"))
    assert column(path, "rlnMicrographName") == ["grid#1/a.mrc"]


def test_comment_lines_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnDefocusU"], "1", "", "# note", "2"))
    assert column(path, "rlnDefocusU") == [1, 2]


def test_a_row_may_begin_with_data(tmp_path: Path) -> None:
    labels = ["rlnMicrographName", "rlnDefocusU"]
    path = star(tmp_path, loop(labels, "data_001.mrc 1", "data_002.mrc 2"))
    assert column(path, "rlnMicrographName") == ["data_001.mrc", "data_002.mrc"]


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quoted_text_may_hold_spaces(tmp_path: Path, quote: str) -> None:
    labels = ["rlnMicrographName", "rlnDefocusU"]
    path = star(tmp_path, loop(labels, f"{quote}my grid.mrc{quote} 7"))
    assert column(path, "rlnMicrographName") == ["my grid.mrc"]


def test_a_table_may_quote_in_both_ways(tmp_path: Path) -> None:
    labels = ["rlnMicrographName", "rlnGroupName", "rlnX"]
    rows = ['"it\'s a grid" \'my "b"\' 1', "plain '' '2'", "'tis o'clock 3"]
    path = star(tmp_path, loop(labels, *rows))
    assert column(path, "rlnMicrographName") == ["it's a grid", "plain", "'tis"]
    assert column(path, "rlnGroupName") == ['my "b"', "", "o'clock"]
    assert column(path, "rlnX") == [1, 2, 3]


def test_empty_text_is_a_row_of_its_own(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnGroupName"], "''", "a", '""'))
    assert column(path, "rlnGroupName") == ["", "a", ""]


def test_an_apostrophe_inside_a_name_survives(tmp_path: Path) -> None:
    labels = ["rlnMicrographName", "rlnDefocusU"]
    path = star(tmp_path, loop(labels, "5'end.mrc 7", "3'end.mrc 8"))
    assert column(path, "rlnMicrographName") == ["5'end.mrc", "3'end.mrc"]


def test_empty_quoted_text_is_empty(tmp_path: Path) -> None:
    labels = ["rlnMicrographName", "rlnDefocusU"]
    path = star(tmp_path, loop(labels, '"" 7'))
    assert column(path, "rlnMicrographName") == [""]


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnDefocusU"], "1", "2").replace("\n", "\r\n"))
    assert column(path, "rlnDefocusU") == [1, 2]


def test_a_simple_block_is_a_table_of_one_row(tmp_path: Path) -> None:
    path = star(tmp_path, "data_general\n\n_rlnPixelSize 1.25\n_rlnName 'a b'\n")
    assert column(path, "rlnPixelSize") == [1.25]
    assert column(path, "rlnName") == ["a b"]


def test_values_without_a_label_are_dropped_with_a_note(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnDefocusU", "rlnDefocusV"], "1 2 3", "4 5 6"))
    assert column(path, "rlnDefocusV") == [2, 5]
    assert "2 rows have more values" in read_star(path).notes[0]


def test_a_short_row_names_its_line(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnDefocusU", "rlnDefocusV"], "1 2", "3"))
    with pytest.raises(InputError, match="line 8: 1 values found"):
        read_star(path)


def test_a_quotation_that_is_not_closed_is_reported(tmp_path: Path) -> None:
    labels = ["rlnMicrographName", "rlnDefocusU"]
    path = star(tmp_path, loop(labels, "b.mrc 2", '"a.mrc 1'))
    with pytest.raises(InputError, match="line 8: a quotation mark is not closed"):
        read_star(path)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = star(tmp_path, "\ufeffdata_\nloop_\n_rlnDefocusU\n1\n")
    assert column(path, "rlnDefocusU") == [1]


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnDefocusU", "rlnDefocusU"], "1 2"))
    with pytest.raises(InputError, match="_rlnDefocusU twice"):
        read_star(path)


def test_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "some.star").write_bytes(b"\xff\xfe\x00data_")
    with pytest.raises(InputError, match="not text"):
        read_star(tmp_path / "some.star")


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read and written two by two."""
    monkeypatch.setattr("multicryogan.io.star._ROWS_AT_ONCE", 2)


@pytest.mark.usefixtures("two_at_once")
@pytest.mark.parametrize(
    ("label", "rows", "expected"),
    [
        ("rlnDefocusU", ["1", "2", "3", "4.5", "nan"], [1.0, 2.0, 3.0, 4.5]),
        ("rlnClassNumber", ["1", "2", "3", "4", "5"], [1, 2, 3, 4]),
        ("rlnNote", ["1", "2", "none", "4"], ["1", "2", "none", "4"]),
        ("myTag", ["10", "7", "3", "007"], ["10", "7", "3", "007"]),
        ("rlnMicrographName", ["a", "b", "'c d'", "e"], ["a", "b", "c d", "e"]),
    ],
)
def test_many_rows_are_one_table(
    tmp_path: Path, label: str, rows: list[str], expected: list[object]
) -> None:
    found = column(star(tmp_path, loop([label], *rows)), label)
    assert found[:4] == expected
    assert len(found) == len(rows)


@pytest.mark.usefixtures("two_at_once")
def test_a_short_row_far_down_names_its_line(tmp_path: Path) -> None:
    path = star(tmp_path, loop(["rlnA", "rlnB"], "1 2", "3 4", "5 6", "", "7"))
    with pytest.raises(InputError, match="line 11: 1 values found"):
        read_star(path)


@pytest.mark.usefixtures("two_at_once")
def test_rows_that_are_too_long_are_counted_over_the_whole_table(
    tmp_path: Path,
) -> None:
    path = star(tmp_path, loop(["rlnA"], "1 2", "3", "4 5", "6 7", "8"))
    assert "3 rows have more values" in read_star(path).notes[0]
    assert column(path, "rlnA") == [1, 3, 4, 6, 8]


@pytest.mark.usefixtures("two_at_once")
def test_a_table_of_many_rows_reads_back_exactly(tmp_path: Path) -> None:
    many = pd.concat([TABLE] * 3, ignore_index=True)
    write_star(tmp_path / "out.star", many, OPTICS)
    found = read_star(tmp_path / "out.star").find("particles")
    pd.testing.assert_frame_equal(found, many)


def test_blocks_are_told_apart(tmp_path: Path) -> None:
    text = "# made by hand\n" + loop(["rlnA"], "1", "2", name="optics")
    text += "data_empty\n\ndata_particles\n_rlnB 3\n"
    blocks = read_star(star(tmp_path, text)).blocks
    assert [name for name, _ in blocks] == ["optics", "empty", "particles"]
    assert [len(table) for _, table in blocks] == [2, 0, 1]


TABLE = pd.DataFrame(
    {
        "rlnImageName": ["000002@a.mrcs", "000001@a.mrcs"],
        "rlnMicrographName": ["my grid.mrc", "1"],
        "rlnDefocusU": [15000.123456789, 1e-9],
        "myTag": ["007", ""],
        "rlnOpticsGroup": [1, 1],
    }
)
OPTICS = pd.DataFrame({"rlnOpticsGroup": [1], "rlnVoltage": [300.0]})


def test_a_written_table_reads_back_exactly(tmp_path: Path) -> None:
    write_star(tmp_path / "out.star", TABLE, OPTICS)
    found = read_star(tmp_path / "out.star").find("particles")
    pd.testing.assert_frame_equal(found, TABLE)


def test_float32_is_written_with_its_own_digits(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [0.1]}, dtype="float32")
    write_star(tmp_path / "out.star", table)
    assert "\n0.1\n" in (tmp_path / "out.star").read_text()


def test_the_layout_is_that_of_relion(tmp_path: Path) -> None:
    write_star(tmp_path / "out.star", TABLE, OPTICS)
    text = (tmp_path / "out.star").read_text()
    begin = "\n# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n"
    assert text.startswith(begin)


def test_another_program_reads_what_we_write(tmp_path: Path) -> None:
    write_star(tmp_path / "out.star", TABLE.drop(columns="myTag"), OPTICS)
    found = starfile.read(tmp_path / "out.star", always_dict=True)
    assert found["particles"]["rlnMicrographName"].tolist() == ["my grid.mrc", "1"]
    assert found["particles"]["rlnDefocusU"].tolist() == [15000.123456789, 1e-9]


def test_particles_of_an_unknown_optics_group_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="optics group 1"):
        write_star(tmp_path / "out.star", TABLE, OPTICS.assign(rlnOpticsGroup=2))
    assert list(tmp_path.iterdir()) == []


def test_text_that_star_cannot_hold_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"rlnMicrographName": ['a "b" c']})
    with pytest.raises(InputError, match="rlnMicrographName"):
        write_star(tmp_path / "out.star", table)
    assert list(tmp_path.iterdir()) == []


def test_tables_equal_those_of_another_reader(shared_data: Path) -> None:
    for path in sorted((shared_data / "star_dialects").glob("*.star")):
        other = starfile.read(
            path, always_dict=True, parse_as_string=["rlnMicrographName"]
        )
        for name, table in read_star(path).blocks:
            pd.testing.assert_frame_equal(table, other[name], rtol=1e-15)


def test_real_tables_survive_reading_and_writing(
    shared_data: Path, tmp_path: Path
) -> None:
    for path in sorted((shared_data / "star_dialects").glob("relion*.star")):
        first = read_star(path)
        particles, optics = first.find("particles"), first.find("optics")
        assert particles is not None
        write_star(tmp_path / path.name, particles, optics)
        second = read_star(tmp_path / path.name)
        pd.testing.assert_frame_equal(second.find("particles"), particles)
        pd.testing.assert_frame_equal(second.find("optics"), optics)
