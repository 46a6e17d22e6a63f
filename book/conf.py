"""The course as a website: `make book` builds it from the notebooks' stored outputs."""

import sys
from importlib.resources import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # chapters.py, docstrings.py

from chapters import REPOSITORY

project = "Transformers from scratch"
html_title = project
copyright = "the authors of the course, MIT licence"
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "chapters",
    "docstrings",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

# The notebooks, as they are stored. Anchors are those of JupyterLab.
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
myst_heading_slug_func = "conf.jupyter_slug"

# The docstrings.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries_show_parents = "hide"

# The pages. Nothing comes from a network: a page also works when it is opened as a file.
html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": REPOSITORY,
    "use_repository_button": True,
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "primary_sidebar_end": [],
    "extra_footer": "Formulas are set by MathJax (Apache licence 2.0).",
}
html_sidebars = {"**": ["search-button-field.html", "sbt-sidebar-nav.html"]}
MATHJAX = files("sphinx-mathjax-offline") / "static/mathjax/tex-svg.js"
html_static_path = ["_static", str(MATHJAX)]
mathjax_path = MATHJAX.name
html_context = {"default_mode": "auto"}
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_copy_source = False
html_show_sourcelink = False


def jupyter_slug(title):
    """Name the anchor of a heading as JupyterLab does."""
    return title.replace(" ", "-")
