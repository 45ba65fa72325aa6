"""What the site needs besides the pages: links out of docs/ lead to the repository, and the search has a name."""

from __future__ import annotations

import re
from typing import Any

REPOSITORY = "https://github.com/llm-trace-archive/llm-trace-archive/blob/main"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links to files outside docs/, and to the notebook, lead to the repository."""
    markdown = re.sub(r"\]\((?:\.\./)+(?!traces/)([^)]*)\)", rf"]({REPOSITORY}/\1)", markdown)
    return re.sub(r"\]\((tour\.ipynb)\)", rf"]({REPOSITORY}/docs/\1)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Return the HTML of a page whose search dialog says to screen readers what it is."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
