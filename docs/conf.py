"""The documents as a site: `make docs`."""

import sys
from pathlib import Path

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
