"""The documents as a site: `make docs`."""

import sys
from pathlib import Path
from typing import Any

from multicryogan import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "multicryogan"
copyright = "the multicryogan developers"
release = version = __version__
extensions = [
    "cyclopts.sphinx_ext",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = f"multicryogan {version}"
html_copy_source = False
myst_heading_anchors = 4  # what [links](results.md#the-demo) point to
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_type_aliases = {"Array": "Array", "ArrayLike": "ArrayLike"}
napoleon_use_ivar = True
python_use_unqualified_type_names = True
highlight_language = "none"


def setup(app: Any) -> None:  # noqa: ANN401
    """Keep what stands before a colon in the first line about a field."""
    app.connect("autodoc-process-docstring", _keep_colons, priority=400)


def _keep_colons(*told: Any) -> None:  # noqa: ANN401
    """Begin with a line that shows nothing: napoleon takes a type up to its colon."""
    _, what, _, _, _, lines = told
    if what in ("attribute", "property"):
        lines.insert(0, "\\")
