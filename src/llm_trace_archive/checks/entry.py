"""What the lock says of a workload beside its rows: where it came from, and where releases keep it.

Everything in an entry of the lock is checked. Most of it is generated from recipes, and compared with that
(`lock.validate`); bytes and hash are those of the file and of its link (`integrity`, `links`); facts are those of the
rows (`facts`). The rest is here: provenance, `upstreamBytes` and `urls`. What a recipe does not know of an upstream
file, such as the sha256 of one that it pins by a git blob, is compared when the file is restored or rebuilt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ..convert.formats.registry import packages
from ..core.archive import LOCK, SUMS, Archive
from ..core.files import hash_file
from ..core.recipe import UpstreamFile, Workload
from .leaves import compare
from .result import Result

VERSION = re.compile(r"\d+(\.\d+)+([-+.]?[0-9A-Za-z]+)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
# The origin, the page and the files of a release at each target.
TARGETS = {
    "huggingface": (
        "https://huggingface.co",
        "{origin}/datasets/{place}/tree/{version}",
        "{origin}/datasets/{place}/resolve/{version}/{path}",
    ),
    "zenodo": (
        "https://zenodo.org",
        "{origin}/records/{place}",
        "{origin}/api/records/{place}/files/{path}/content",
    ),
}
SANDBOXES = ("https://sandbox.zenodo.org",)


def list_pins(workload: Workload, originals: Mapping[str, Path] | None = None) -> list[dict[str, Any]]:
    """Return the pins of a workload's files, as the lock has them; for a list of files, its own pin and a summary.

    originals maps each file's name to its verified bytes; without them, what the recipe does not know is None.
    `contents` of a summary is the sha256 of what `sha256sum` prints for the files, in their order.
    """
    pins = [_make_pin(file, originals[file.name] if originals else None) for file in workload.files]
    if workload.listed is None:
        return pins
    sums = "".join(f"{pin['sha256']}  {pin['file']}\n" for pin in pins)
    return [
        {
            "list": workload.listed.path,
            "sha256": workload.listed.sha256,
            "files": len(pins),
            "bytes": sum(pin["bytes"] for pin in pins) if all(pin["bytes"] for pin in pins) else None,
            "contents": hashlib.sha256(sums.encode()).hexdigest() if all(pin["sha256"] for pin in pins) else None,
        }
    ]


def _make_pin(file: UpstreamFile, path: Path | None) -> dict[str, Any]:
    sha256, size = file.sha256, file.bytes
    if path:
        sha256, size = (sha256, path.stat().st_size) if sha256 else hash_file(path)
    pin = {"file": file.name, "url": file.url, "sha256": sha256, "bytes": size}
    if file.git_blob:
        pin["git_blob"] = file.git_blob
    return pin if file.pin else pin | {"unpinned": True}


def check_entry(archive: Archive, workload: Workload, resource: Mapping[str, Any]) -> Iterator[Result]:
    """Check provenance, upstream bytes and URLs of a resource. Reads no data."""
    recipe, given = f"recipes/{workload.trace}.toml", resource["provenance"]
    for expected, found, name, source in (
        (_expect_provenance(workload, recipe, given), given, "provenance", recipe),
        (
            sum(pin["bytes"] for pin in given["pins"]),
            resource["upstreamBytes"],
            "upstreamBytes",
            "the pins of the lock",
        ),
        (_expect_urls(archive, resource), resource.get("urls"), "urls", "the releases of the lock"),
    ):
        for place, wanted, held in compare(expected, found, name):
            yield Result("package", f"{place} of {resource['name']}", wanted, 0, held, source)


def check_built(resource: Mapping[str, Any], provenance: Mapping[str, Any], upstream_bytes: int) -> Iterator[Result]:
    """Check pins and upstream bytes of a resource against those of a rebuild."""
    for name, expected, found in (
        ("provenance.pins", provenance["pins"], resource["provenance"]["pins"]),
        ("provenance.leftOut", provenance.get("leftOut"), resource["provenance"].get("leftOut")),
        ("upstreamBytes", upstream_bytes, resource["upstreamBytes"]),
    ):
        for place, wanted, held in compare(expected, found, name):
            yield Result("lock", place, wanted, 0, held, "the upstream files")


def check_releases(lock: Mapping[str, Any], citation: Mapping[str, Any] | None) -> Iterator[Result]:
    """Check the releases of the lock: each has the page of its target, and its DOI stands in `citation` as well."""
    for index, each in enumerate(lock.get("releases", ())):
        place = f"releases[{index}]"
        target = TARGETS.get(each["target"])
        targets = " or ".join(TARGETS)
        yield _release(f"{place}.target", each["target"] if target else targets, each["target"])
        if target:
            page = target[1].format(origin=_origin(each), place=each["place"], version=each["version"])
            yield _release(f"{place}.url", page, each["url"])
        unknown = sorted(each.keys() - {"target", "version", "place", "url", "doi", "conceptDoi"})
        yield _release(f"keys of {place}", "those of a release", ", ".join(unknown) or "those of a release")
        if citation is not None and "doi" in each:
            identifiers = citation.get("identifiers") or ()
            dois = {one.get("description"): one.get("value") for one in identifiers if isinstance(one, dict)}
            yield _release(f"{place}.doi", str(dois.get(f"version {each['version']}")), each["doi"])
            yield _release(f"DOI of {place}", str(citation.get("doi")), each.get("conceptDoi", each["doi"]))


def _release(name: str, expected: str, found: Any) -> Result:
    return Result("package", name, expected, 0, str(found)[:200], f"{LOCK}, CITATION.cff")


def _origin(release: Mapping[str, Any]) -> str:
    """Return the scheme and host of a release's page if it may have that host, else those of its target."""
    parts = urlsplit(release["url"])
    origin, own = f"{parts.scheme}://{parts.netloc}", TARGETS[release["target"]][0]
    is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return origin if is_local or (origin in SANDBOXES and "zenodo" in own) else own


def _expect_provenance(workload: Workload, recipe: str, given: Mapping[str, Any]) -> dict[str, Any]:
    versions = given["tools"]
    return {
        **_expect_left_out(workload, given),
        "recipe": recipe,
        "recipeDigest": workload.digest,
        "pins": _fill(list_pins(workload), given["pins"]),
        "tools": {
            name: _keep(versions.get(name), VERSION, "a version")
            for name in ("llm-trace-archive", "pyarrow", *packages(workload))
        },
    }


def _expect_left_out(workload: Workload, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of archives that the recipe leaves out, without those that it does not."""
    if "leftOut" not in given:
        return {}
    files = {file.name: file for file in workload.files if file.members}
    members: Mapping[str, Any] = given["leftOut"] if isinstance(given["leftOut"], dict) else {}
    return {
        "leftOut": {
            name: [each for each in names if isinstance(each, str) and not files[name].member(each)]
            for name, names in members.items()
            if name in files and isinstance(names, list)
        }
    }


def _fill(pins: list[dict[str, Any]], given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return pins with what the recipe does not know taken from those of the lock, if it has the right form."""
    for pin, held in zip(pins, given, strict=False):
        for name in [name for name, value in pin.items() if value is None]:
            pin[name] = held.get(name) if name == "bytes" else _keep(held.get(name), SHA256, "64 hex digits")
    return pins


def _keep(value: Any, form: re.Pattern[str], expected: str) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else expected


def _expect_urls(archive: Archive, resource: Mapping[str, Any]) -> list[str] | None:
    """Return the URLs of a resource, with what should stand in place of each that no recorded release gives."""
    if "urls" not in resource:
        return None
    path = quote(resource["path"])
    released = [
        TARGETS[each["target"]][2].format(
            origin=_origin(each), place=each["place"], version=quote(each["version"], safe=""), path=path
        )
        for each in archive.lock.get("releases", ())
        if each["target"] in TARGETS
    ]
    own = ""
    if (archive.root / SUMS).exists():  # a bundle names the place where it will be
        version = re.escape(quote(str(archive.lock.get("version")), safe=""))
        own = rf"https://huggingface\.co/datasets/[\w.-]+/[\w.-]+/resolve/{version}/{re.escape(path)}"
    others = " or ".join(released) or "no URL: the lock records no release"
    given = dict.fromkeys(resource["urls"])
    return [each if each in released or (own and re.fullmatch(own, each)) else others for each in given] or [others]
