"""Atoms of structure files."""

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from multicryogan.errors import InputError
from multicryogan.synthetic.structure import read_structures

PdbWriter = Callable[..., Path]
ATOMS = [
    ("CA", "C", "A", 5, (1.0, 2.0, 3.0)),
    ("N", "N", "A", 6, (4.0, 5.0, 6.0)),
    ("H", "H", "A", 6, (4.5, 5.0, 6.0)),
]


def test_atoms_are_read_with_their_names(write_pdb: PdbWriter) -> None:
    path = write_pdb("one.pdb", ATOMS)
    atoms = read_structures(("one.pdb",), path.parent)
    assert atoms.names.tolist() == ["CA", "N"]
    assert atoms.elements.tolist() == ["C", "N"]
    assert atoms.chains.tolist() == ["A", "A"]
    assert atoms.residues.tolist() == [5, 6]
    np.testing.assert_allclose(atoms.positions, [[1, 2, 3], [4, 5, 6]])


def test_mmcif_gives_the_same_atoms_as_pdb(
    write_pdb: PdbWriter, tmp_path: Path
) -> None:
    import gemmi

    path = write_pdb("one.pdb", ATOMS)
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "one.cif"))
    pdb = read_structures(("one.pdb",), tmp_path)
    cif = read_structures(("one.cif",), tmp_path)
    np.testing.assert_allclose(cif.positions, pdb.positions)
    assert cif.chains.tolist() == pdb.chains.tolist()


def test_water_is_left_out(write_pdb: PdbWriter) -> None:
    path = write_pdb("water.pdb", [("O", "O", "A", 1, (0, 0, 0))], residue="HOH")
    with pytest.raises(InputError, match="no atoms"):
        read_structures((str(path),), Path())


def test_two_files_with_one_chain_name_become_chains_a_and_b(
    write_pdb: PdbWriter,
) -> None:
    first = write_pdb("first.pdb", ATOMS)
    second = write_pdb("second.pdb", ATOMS)
    atoms = read_structures((str(first), str(second)), Path())
    assert atoms.chains.tolist() == ["A", "A", "B", "B"]


def test_different_chain_names_are_kept(write_pdb: PdbWriter) -> None:
    first = write_pdb("first.pdb", [("CA", "C", "X", 1, (0, 0, 0))])
    second = write_pdb("second.pdb", [("CA", "C", "B", 1, (0, 0, 9))])
    atoms = read_structures((str(first), str(second)), Path())
    assert atoms.chains.tolist() == ["X", "B"]


def test_pdb_id_without_network_says_to_download_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(InputError, match=r"2cg9.*download the file by hand"):
        read_structures(("2cg9",), tmp_path)


def test_pdb_id_is_fetched_as_mmcif(
    monkeypatch: pytest.MonkeyPatch, write_pdb: PdbWriter, tmp_path: Path
) -> None:
    import io

    import gemmi

    structure = gemmi.read_structure(str(write_pdb("one.pdb", ATOMS)))
    structure.setup_entities()
    text = structure.make_mmcif_document().as_string()
    asked = []

    def reply(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(text.encode())

    monkeypatch.setattr("urllib.request.urlopen", reply)
    assert len(read_structures(("2cg9",), tmp_path)) == 2
    assert asked == ["https://files.rcsb.org/download/2CG9.cif"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pdb", None, "no structure file"),
        ("empty.pdb", "", "no atoms"),
        ("text.pdb", "hello\n", "no atoms"),
        ("broken.cif", "loop_\n", "not a PDB or mmCIF file"),
        ("empty.cif", "", "not a PDB or mmCIF file: it is empty; give another"),
        ("other.xyz", "1 2 3\n", "not a PDB or mmCIF file"),
    ],
)
def test_unusable_structure_is_named(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_structures((name,), tmp_path)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_atom_without_element_is_refused(write_pdb: PdbWriter) -> None:
    path = write_pdb("unknown.pdb", [("X1", "X", "A", 1, (0, 0, 0))])
    with pytest.raises(InputError, match="without an element"):
        read_structures((str(path),), Path())


def test_no_structure_is_refused() -> None:
    with pytest.raises(InputError, match="no structure"):
        read_structures((), Path())
