"""The site of these pages: `make site` builds it, offline, from the repository."""

import os

from isa.format import ISA_VERSION

project = "dmpc"
version = f"instruction set {ISA_VERSION}"
copyright = "its authors"  # noqa: A001  Sphinx's name
html_title = "dmpc"
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = [os.path.join("_*")]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
nitpicky = False
suppress_warnings = ["myst.header", "misc.highlighting_failure"]  # languages of our own: dmpir, asm


def setup(app: object) -> None:
    """Nothing of the machine's time gets into the pages."""
    del app
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
