"""What the site needs besides the pages: all traces in the navigation, links into the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

REPOSITORY = "https://github.com/llm-trace-archive/llm-trace-archive/blob/main"


def on_config(config: Any) -> Any:
    """Return the configuration with the page of each trace in the navigation."""
    traces = next(part["Traces"] for part in config["nav"] if "Traces" in part)
    pages = sorted(page.name for page in Path(config["docs_dir"], "traces").glob("*.md"))
    traces += [f"traces/{name}" for name in pages if name != "README.md"]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links to files outside docs/, and to the notebook, lead to the repository."""
    markdown = re.sub(r"\]\((?:\.\./)+(?!traces/)([^)]*)\)", rf"]({REPOSITORY}/\1)", markdown)
    return re.sub(r"\]\((tour\.ipynb)\)", rf"]({REPOSITORY}/docs/\1)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Return the HTML of a page whose search dialog says to screen readers what it is."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
