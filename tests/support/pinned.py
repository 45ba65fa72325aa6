"""Archives with one upstream file of any content, and a true pin."""

from __future__ import annotations

import hashlib

import tomlkit

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.upstream.sources import Sources

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
AZURE_ROW = "2023-11-16 18:17:03.9799600,4808,10\r\n"
MOONCAKE_ROW = '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n'


def pinned(archive: Archive, name: str, content: bytes, rows: int | None = None) -> Sources:
    """Make `content` the upstream file of workload `name`: recipe, pin and mirror agree, expectations are removed."""
    trace, _, wanted = name.partition("/")
    path = archive.root / "recipes" / f"{trace}.toml"
    recipe = tomlkit.parse(path.read_text())
    mirror = archive.root.parent / "mirror"
    for key in ("expect", "published", "views"):
        recipe.pop(key, None)
    for workload in recipe["workloads"]:  # type: ignore[union-attr]
        if workload["name"] == wanted:
            file = workload["files"][0]
            file["sha256"], file["bytes"] = hashlib.sha256(content).hexdigest(), len(content) or 1
            workload["expect"] = {} if rows is None else {"rows": rows}
            workload.pop("published", None)
            workload.pop("views", None)
            target = mirror / trace / file["name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    path.write_text(tomlkit.dumps(recipe))
    archive.__dict__.pop("recipes", None)  # read it again
    return Sources(cache=archive.root.parent / "cache", mirror=str(mirror), offline=True)
