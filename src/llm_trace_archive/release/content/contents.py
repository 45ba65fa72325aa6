"""What a bundle holds, before anything is written: the tables to copy and the texts to write, all from the archive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...core.archive import CITATION, LOCK, SUMS, Archive
from ...core.errors import BadUse
from ...lock import describe
from . import crate, croissant
from .citation import read_citation
from .notice import add_notices, compose_notice, find_copies, find_keys
from .readme import compose_readme
from .selection import Selection

README, LICENCE, NOTICE = "README.md", "LICENSE.txt", "NOTICE"
REPORTS = ("release-report.json", "release-report.txt")
LAST = (*REPORTS, SUMS)  # they describe the other files
# The canonical columns, and the JSON Schemas of the files in a bundle.
SCHEMAS = (
    "schemas/request.json",
    *(f"schemas/{name}.schema.json" for name in ("recipe", "datapackage", "citation", "release-report")),
)
NAME = "llm-trace-archive"  # of the package; an archive of look-alikes has another
ORGANISATION = "llm-trace-archive"
REPOSITORY = "llm-trace-archive"


@dataclass(frozen=True)
class Contents:
    """What a release of the archive's selection holds; `organisation` owns the dataset repo on the Hub."""

    archive: Archive
    selection: Selection
    organisation: str = ORGANISATION

    @property
    def version(self) -> str:
        """The version to release: that of the lock."""
        return str(self.archive.lock.get("version", ""))

    @property
    def repository(self) -> str:
        """The dataset repo on the Hub, OWNER/NAME."""
        return f"{self.organisation}/{REPOSITORY}"

    @property
    def sizes(self) -> dict[str, int]:
        """The size of every file in bytes; 0 for `LAST`, as those are written last."""
        tables = {each["path"]: int(each["bytes"]) for each in self.package["resources"]}
        return tables | {path: len(text.encode()) for path, text in self.texts.items()} | dict.fromkeys(LAST, 0)

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of every file except `LAST`, in hex."""
        tables = {each["path"]: str(each["hash"]).removeprefix("sha256:") for each in self.package["resources"]}
        return tables | {path: hashlib.sha256(text.encode()).hexdigest() for path, text in self.texts.items()}

    @cached_property
    def citation(self) -> dict[str, Any]:
        """CITATION.cff; empty if it is missing or not YAML."""
        return read_citation(self.archive)

    @cached_property
    def package(self) -> dict[str, Any]:
        """datapackage.json: the lock with the released resources only, each with its URL on the Hub first.

        URLs of earlier releases stay: the lock keeps them as long as the bytes are the same.
        """
        lock, released = self.archive.lock, {str(each) for each in self.selection.released}
        resources = [
            {**each, "urls": list(dict.fromkeys([self._make_url(each["path"]), *each.get("urls", ())]))}
            for each in lock.get("resources", ())
            if f"{each['trace']}/{each['workload']}" in released
        ]
        # The lock's own name and title may be those of an archive that also holds look-alikes.
        return {**lock, **describe.around(resources), "version": self.version}

    @cached_property
    def texts(self) -> dict[str, str]:
        """Every text file by its path in the bundle, except `LAST`."""
        copied = dict(self._copy_texts())
        return dict(sorted({**copied, **self._compose_texts(copied)}.items()))

    @cached_property
    def licence_texts(self) -> dict[str, str]:
        """The path of the text of each released licence that requires a copy, by its SPDX id."""
        return find_copies(licence for each in self.package["resources"] for licence in each["licenses"])

    def _copy_texts(self) -> Iterator[tuple[str, str]]:
        archive, released = self.archive, self.selection.released
        recipes = [archive.recipe(trace) for trace in {each.trace for each in released}]
        recipes += [archive.recipe(each.derived_from) for each in recipes if each.derived_from]
        paths = {LICENCE, CITATION, *SCHEMAS, *self.licence_texts.values(), *(each.schema_path for each in released)}
        paths |= {f"recipes/{each.file.name}" for each in recipes}
        # A recipe can't be read without its file lists, even those of workloads that are left out.
        paths |= {each.listed.path for recipe in recipes for each in recipe.workloads if each.listed}
        notices = self._list_notices()
        for path in sorted(paths):
            if (self.archive.root / path).is_file():
                yield path, add_notices(self._read(path), notices.get(path, ()))

    def _list_notices(self) -> dict[str, list[str]]:
        """Return the copyright notices of the released traces by the path of their licence's text."""
        notices: dict[str, list[str]] = {}
        for trace in dict.fromkeys(each.trace for each in self.selection.released):
            licence = self.archive.recipe(trace).licence
            for key in find_keys(licence["spdx"]):
                if key in self.licence_texts:
                    notices.setdefault(self.licence_texts[key], []).extend(licence.get("copyright", ()))
        return notices

    def _compose_texts(self, copied: Iterable[str]) -> dict[str, str]:
        schemas = {each.schema_path: self.archive.schema(each) for each in self.selection.released}
        parts = [*copied, LOCK, NOTICE, README, croissant.NAME, *LAST]
        readme = compose_readme(self.package, self.repository, self.citation)
        return {
            LOCK: _format_json(self.package),
            NOTICE: compose_notice(self.archive, self.selection, self.package),
            README: describe.with_card(self.archive, self.package, readme, NOTICE),
            croissant.NAME: _format_json(croissant.describe_tables(self.package, schemas, self.citation)),
            crate.NAME: _format_json(crate.describe_files(self.package, self.citation, parts)),
        }

    def _make_url(self, path: str) -> str:
        return f"https://huggingface.co/datasets/{self.repository}/resolve/{self.version}/{path}"

    def _read(self, path: str) -> str:
        file = self.archive.root / path
        try:
            return file.read_text(encoding="utf-8") if file.is_file() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadUse(
                path, "can't be read as UTF-8 text", reason=str(error), next=f"git checkout -- {path}"
            ) from None


def digest_files(hashes: Mapping[str, str]) -> str:
    """Return one sha256 over the files of a release, given theirs by path: what binds a bundle to its report.

    `LAST` is left out: the report is one of them.
    """
    lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(hashes.items()) if path not in LAST]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _format_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
