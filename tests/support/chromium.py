"""The browser that the tests of pages need."""

from __future__ import annotations

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "pages in a browser: no chromium is installed"
