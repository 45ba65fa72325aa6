"""The part of the dataset card that `load_dataset` reads: which files make which config and split.

README.md has it for everyone, `.huggingface.yaml` for one clone. A clone needs its own because `datasets` finds its
cache for a local folder by the card alone: after a `datalad get`, or in another clone of the same name, it would return
the rows of the first load. The clone's card names the content that is here, and changes with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..core.archive import Archive
from ..core.files import replace_text

LOCAL = ".huggingface.yaml"
NOTE = "# Written by llm-traces: the content that is in this clone. Not part of the archive.\n"


def front_matter(archive: Archive, package: Mapping[str, Any]) -> str:
    """Return the YAML at the top of README.md, for all resources of the lock."""
    resources = package["resources"]
    licences = sorted({each["licenses"][0]["name"] for each in resources})
    front = {
        "pretty_name": package["title"],
        "license": "other",
        "license_name": "mixed",
        "license_link": "LICENSE.txt",
        "tags": [
            "llm-serving",
            "request-trace",
            "workload",
            "prefix-caching",
            *(f"license:{each}" for each in licences),
        ],
    }
    configs = _configs(archive, resources)
    return _yaml(front | {"configs": configs} if configs else front)


def refresh(archive: Archive, arriving: Collection[str] = ()) -> None:
    """Bring this clone's card up to date with the content that is here or is `arriving` (paths). Raises OSError."""
    path = archive.root / LOCAL
    resources = [*archive.lock.get("resources", ()), *_unlocked(archive)]
    here = [each for each in resources if each["path"] in arriving or (archive.root / each["path"]).exists()]
    if here:
        replace_text(path, NOTE + _yaml({"configs": _configs(archive, here, str(archive.root))}))
    else:
        path.unlink(missing_ok=True)


def _unlocked(archive: Archive) -> Iterator[dict[str, Any]]:
    """Yield what `_configs` needs of the workloads that are in no lock, as `datalad get` may build them."""
    locked = archive.locked
    for each in archive.select():
        if str(each) not in locked:
            yield {
                "trace": each.trace,
                "workload": each.name,
                "table": each.table,
                "path": each.path,
                "hash": f"recipe:{each.digest}",
                "sameRequestsAs": list(each.same_requests_as),
            }


def _configs(archive: Archive, resources: Sequence[Mapping[str, Any]], place: str = "") -> list[dict[str, Any]]:
    """Return a config of all requests with the canonical columns, and one per trace with all columns.

    The first leaves out workloads that have the same requests as others, so that none counts twice. Each workload is a
    split. A table that is not requests is a config of its own, since a config has one schema.
    """
    configs: list[dict[str, Any]] = []
    requests = [each for each in resources if each["table"] == "request" and not each.get("sameRequestsAs")]
    if requests:
        # Patterns, as a path without content breaks the config, while a pattern without a match is skipped.
        paths = [f"{each['path']}*" for each in requests]
        configs.append(
            {
                "config_name": "default",
                "description": _content(requests, place),
                "data_files": [{"split": "train", "path": paths}],
                "columns": [field["name"] for field in archive.canonical["fields"]],
            }
        )
    named: dict[str, list[Mapping[str, Any]]] = {}
    for each in resources:
        name = each["trace"] if each["table"] == "request" else f"{each['trace']}-{each['workload']}"
        named.setdefault(name, []).append(each)
    for name, group in named.items():
        splits = [{"split": _split(each["workload"]), "path": each["path"]} for each in group]
        configs.append({"config_name": name, "description": _content(group, place), "data_files": splits})
    return configs


def _split(workload: str) -> str:
    """Return a workload's name as a split's; `datasets` reserves "all" for the union of all splits."""
    return "train" if workload == "all" else workload.replace("-", "_")


def _content(resources: Sequence[Mapping[str, Any]], place: str) -> str:
    """Return a text that changes when a file does, and with it the key of the cache of `datasets`."""
    digest = hashlib.sha256(place.encode())
    for each in resources:
        digest.update(f"{each['path']} {each['hash']}\n".encode())
    return f"content {digest.hexdigest()[:16]}"


def _yaml(value: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=120))
