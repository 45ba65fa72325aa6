"""How the fake Hub judges the metadata of a dataset card: by what the Hub documents.

Licences: https://huggingface.co/docs/hub/repositories-licenses; tasks: `packages/tasks/src/pipelines.ts` of
huggingface.js, those that are shown for datasets; sizes and languages: `DatasetCardData` of huggingface_hub; configs:
https://huggingface.co/docs/hub/datasets-manual-configuration. The Hub only warns of some of this; this one refuses it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import yaml

LICENCES = frozenset((
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
    "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl",
    "mpl-2.0", "odc-by", "odbl", "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib",
    "pddl", "lgpl-lr", "deepfloyd-if-license", "llama2", "gemma", "unknown", "other",
))  # fmt: skip
TASKS = frozenset((
    "text-classification", "token-classification", "table-question-answering", "question-answering",
    "zero-shot-classification", "translation", "summarization", "feature-extraction", "text-generation", "fill-mask",
    "sentence-similarity", "text-to-speech", "text-to-audio", "automatic-speech-recognition", "audio-to-audio",
    "audio-classification", "voice-activity-detection", "depth-estimation", "image-classification",
    "object-detection", "image-segmentation", "text-to-image", "image-to-text", "image-to-image", "image-to-video",
    "unconditional-image-generation", "video-classification", "reinforcement-learning", "robotics",
    "tabular-classification", "tabular-regression", "tabular-to-text", "table-to-text", "multiple-choice",
    "text-ranking", "text-retrieval", "time-series-forecasting", "text-to-video", "visual-question-answering",
    "zero-shot-image-classification", "graph-ml", "mask-generation", "zero-shot-object-detection", "text-to-3d",
    "image-to-3d", "image-feature-extraction",
))  # fmt: skip
STEPS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
SIZES = frozenset(["n<1K", "n>1T", "other", *(f"{low}<n<{high}" for low, high in itertools.pairwise(STEPS))])
LANGUAGE = r"[a-z]{2,3}|code|multilingual"
SPLIT = r"\w+(\.\w+)*"


def judge_card(text: str) -> list[str]:
    """Return the errors in the metadata of a README.md."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        card = yaml.safe_load(match[1] if match else "")
    except yaml.YAMLError as error:
        return [f"YAML: {error}"[:80]]
    return list(_judge(card)) if isinstance(card, dict) else ["YAML: it is not a mapping"]


def _judge(card: dict[str, Any]) -> Iterator[str]:
    licences = _as_list(card.get("license", []))
    yield from (f'"license" must be one of the listed, not {each!r}' for each in licences if each not in LICENCES)
    if "other" in licences and not isinstance(card.get("license_name"), str):
        yield '"license_name" is required with "license: other"'
    for key in ("pretty_name", "license_name", "license_link"):
        if key in card and (not isinstance(card[key], str) or not card[key]):
            yield f'"{key}" must be a string'
    for key, known in (("size_categories", SIZES), ("task_categories", TASKS)):
        for each in _as_list(card.get(key, [])):
            if each not in known:
                yield f'"{key}" must be one of the listed, not {each!r}'
    for each in _as_list(card.get("language", [])):
        if not isinstance(each, str) or not re.fullmatch(LANGUAGE, each):
            yield f'"language" must be a code of ISO 639, not {each!r}'
    if not all(isinstance(each, str) for each in _as_list(card.get("tags", []))):
        yield '"tags" must be an array of strings'
    if "configs" in card:
        yield from _judge_configs(card["configs"])


def _judge_configs(configs: Any) -> Iterator[str]:
    if not isinstance(configs, list) or not all(isinstance(each, dict) for each in configs):
        yield '"configs" must be an array of objects'
        return
    names = [each.get("config_name") for each in configs]
    if len(set(map(str, names))) < len(names):
        yield '"configs" has a "config_name" twice'
    for each in configs:
        name = each.get("config_name")
        if not isinstance(name, str) or not name or re.search(r"[<>:/\\|?*]", name):
            yield f'"configs[].config_name" is not valid: {name!r}'
        files = each.get("data_files", [])
        for part in _as_list(files):
            if isinstance(part, str):
                continue
            if not isinstance(part, dict) or part.keys() != {"split", "path"}:
                yield f'"configs[].data_files" needs "split" and "path", not {part!r}'
            elif not re.fullmatch(SPLIT, str(part["split"])):
                yield f'"configs[].data_files[].split" is not valid: {part["split"]!r}'
            elif not _as_list(part["path"]) or not all(isinstance(path, str) for path in _as_list(part["path"])):
                yield f'"configs[].data_files[].path" must be a string or an array of strings, not {part["path"]!r}'


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
