"""What lies among the checkpoints of a refinement and is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from multicryogan.errors import InputError
from multicryogan.inference.refine import _read_checkpoint
from multicryogan.training import save_checkpoint
from refinement_data import TREE

MADE_FOR = {"particles": ["a.star", 9]}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "holds work of another run"),
        ({"facts": "not JSON"}, "holds work of another run"),
        ({"facts": "[1]"}, "holds work of another run"),
        ({"facts": 1}, "holds work of another run"),
        ({"facts": json.dumps({"made_for": MADE_FOR})}, "lacks 'basis': another vers"),
    ],
)
def test_what_is_no_checkpoint_of_this_refinement_is_refused(
    tmp_path: Path, found: dict[str, Any], message: str
) -> None:
    save_checkpoint(tmp_path, {"step": 20, **found})
    with pytest.raises(InputError, match=f"{message}.* give another -o"):
        _read_checkpoint(tmp_path, MADE_FOR, TREE, "cpu")


def test_a_text_is_no_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 20}).write_text("hello")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read"):
        _read_checkpoint(tmp_path, MADE_FOR, TREE, "cpu")
