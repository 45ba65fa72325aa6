"""Look-alikes of LMSYS-Chat-1M: conversations of filler words in Parquet, and a small tokenizer for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .kit.distributions import lognormal
from .kit.draws import Draws, chunks
from .kit.shape import Shape

TOKENIZER = "tokenizer.json"
_FILES = (
    "train-00000-of-00006-4feeb3f83346a0e9.parquet",
    "train-00001-of-00006-4030672591c2f478.parquet",
    "train-00002-of-00006-1779b7cec9462180.parquet",
    "train-00003-of-00006-2fa862bfed56af1f.parquet",
    "train-00004-of-00006-18f4bdd50c103e71.parquet",
    "train-00005-of-00006-fe1acc5d10a9f0e2.parquet",
)
SHAPES: dict[str, Shape] = {}  # the files have no lines
_ROWS_A_GROUP = 1000
_WORDS = (
    *("lorem", "ipsum", "dolor", "amet", "consetetur", "sadipscing", "elitr", "eirmod", "tempor", "invidunt"),
    *("labore", "magna", "aliquyam", "voluptua", "accusam", "rebum", "gubergren", "takimata", "größe", "слово"),
)
# Models and languages with their shares, which are published only as a figure.
_MODELS = {"vicuna-13b": 49, "koala-13b": 8, "vicuna-33b": 6, "alpaca-13b": 6, "chatglm-6b": 4, "gpt-4": 1}
_LANGUAGES = {"English": 78, "Portuguese": 3, "Russian": 3, "unknown": 2, "Chinese": 2, "Spanish": 2, "German": 1}
# The means of turns and tokens (about two per word) are published; the medians are made up.
_TURNS, _PROMPT, _ANSWER = lognormal(1.3, 2.0, 40), lognormal(10, 36, 1000), lognormal(80, 112, 800)

_MESSAGE = pa.struct([("content", pa.string()), ("role", pa.string())])
_KINDS = ("harassment", "hate", "self-harm", "sexual", "violence")
_MODERATION = pa.struct(
    [
        ("categories", pa.struct([(kind, pa.bool_()) for kind in _KINDS])),
        ("category_scores", pa.struct([(kind, pa.float64()) for kind in _KINDS])),
        ("flagged", pa.bool_()),
    ]
)
SCHEMA = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("model", pa.string()),
        ("conversation", pa.list_(_MESSAGE)),
        ("turn", pa.int64()),
        ("language", pa.string()),
        ("openai_moderation", pa.list_(_MODERATION)),
        ("redacted", pa.bool_()),
    ]
)


def generate(folder: Path, rows: int) -> None:
    """Write the six files with about `rows` answers in all, and the tokenizer."""
    (folder / TOKENIZER).write_text(json.dumps(_tokenizer(), ensure_ascii=False), encoding="utf-8", newline="\n")
    for index, name in enumerate(_FILES):
        draws = Draws("lmsys-chat-1m", name)
        with pq.ParquetWriter(folder / name, SCHEMA) as writer:
            for start, stop in chunks(max(6, rows // 2 // len(_FILES)), _ROWS_A_GROUP):
                made = list(_conversations(draws, stop - start))
                if (index, start) == (0, 0):
                    _add_oddities(made)
                writer.write_table(pa.Table.from_pylist([_row(*each) for each in made], SCHEMA))


def _conversations(draws: Draws, count: int) -> Iterator[tuple[str, str, str, list[list[str]]]]:
    """Yield id, model, language, and messages as [role, content]."""
    turns = _TURNS.draw(draws, count).tolist()
    models, languages = (draws.choose(count, list(each.values())).tolist() for each in (_MODELS, _LANGUAGES))
    ids = draws.words(2 * count).tolist()
    for row in range(count):
        lengths = zip(_PROMPT.draw(draws, turns[row]).tolist(), _ANSWER.draw(draws, turns[row]).tolist(), strict=True)
        messages = []
        for prompt, answer in lengths:
            messages += [["user", _text(draws, prompt)], ["assistant", _text(draws, answer)]]
        name = f"{ids[2 * row]:016x}{ids[2 * row + 1]:016x}"
        yield name, list(_MODELS)[models[row]], list(_LANGUAGES)[languages[row]], messages


def _text(draws: Draws, words: int) -> str:
    return " ".join(_WORDS[index] for index in draws.below(words, len(_WORDS)).tolist())


def _add_oddities(made: list[tuple[str, str, str, list[list[str]]]]) -> None:
    """Change the first conversations so that they have every oddity."""
    messages = [each[-1] for each in made]
    messages[0].append(["user", "lorem ipsum"])  # nothing answers it
    messages[1][0][1] = "NAME_1 dolor NAME_2"  # redacted
    messages[2][-1][1] = ""  # an answer of no tokens
    messages[3].insert(0, ["system", "amet tempor"])
    messages[4].insert(1, ["user", "rebum"])  # two questions, one answer
    messages[5].insert(0, ["assistant", "magna"])  # a greeting


def _row(name: str, model: str, language: str, messages: list[list[str]]) -> dict[str, Any]:
    harmless = {
        "categories": dict.fromkeys(_KINDS, False),
        "category_scores": dict.fromkeys(_KINDS, 0.0),
        "flagged": False,
    }
    return {
        "conversation_id": name,
        "model": model,
        "conversation": [{"content": content, "role": role} for role, content in messages],
        "turn": len(messages) // 2,
        "language": language,
        "openai_moderation": [harmless] * len(messages),
        "redacted": any("NAME_" in content for _, content in messages),
    }


def _tokenizer() -> dict[str, Any]:
    """Return a byte-level BPE like the real one, with a token for each filler word, with and without a space before."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    letter = {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(others)}
    vocabulary = sorted(letter.values())
    merges: list[list[str]] = []
    for word in _WORDS:
        whole, *rest = (letter[byte] for byte in word.encode())
        pairs = []
        for each in rest:
            pairs.append([whole, each])
            whole += each
        merges += [pair for pair in [*pairs, [letter[0x20], whole]] if pair not in merges]
    vocabulary += ["".join(pair) for pair in merges]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: index for index, token in enumerate(vocabulary)},
            "merges": merges,
        },
    }
