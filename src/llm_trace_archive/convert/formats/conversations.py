"""Parquet files of conversations, as LMSYS-Chat-1M has them: their tokens are counted, their text is dropped.

Each answer of the model is a row: a message of the assistant after the user's first one. Its fields are the
conversation's own, and three that are counted from `conversation`:

conversation.answer         the answer's place among the answers of its conversation, from 1
conversation.input_tokens   tokens of all messages before it: the system's, the user's, and the assistant's
conversation.output_tokens  tokens of the answer

The tokens of a message are those of its content alone: no chat template, no role, nothing between messages; a special
token spelled out in a content counts as one. Several user messages in a row are all input of the next answer; several
assistant messages in a row are one answer each. What the assistant says before the user does is only input. A message
without an answer is in no row, and a conversation without an answer has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...core.errors import BadUpstream, BadUse
from ...core.recipe import UpstreamFile, Workload
from .layout import FieldTexts, Layout, OpenFile, check_fields, file_error

Ints = NDArray[np.int64]

ROLES = ("user", "assistant", "system")
COLUMNS = {
    "conversation_id": pa.string(),
    "model": pa.string(),
    "conversation": pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())])),
    "turn": pa.int64(),
    "language": pa.string(),
    "openai_moderation": None,  # never read
    "redacted": pa.bool_(),
}
COPIED = ("conversation_id", "model", "language", "redacted")
COUNTED = ("conversation.answer", "conversation.input_tokens", "conversation.output_tokens")
# Few, because an encoding takes a hundred times the memory of its count.
ROWS_AT_ONCE = 512


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the names of the fields. Raises BadUpstream unless the file has exactly the columns of conversations."""
    with _errors_as_bad_upstream(workload, file):
        schema = pq.read_schema(path)
    kinds = dict(zip(schema.names, schema.types, strict=True))
    wrong = {name: kind for name, kind in COLUMNS.items() if kinds.get(name) is None or kind not in (None, kinds[name])}
    unknown = [name for name in kinds if name not in COLUMNS]
    if wrong or unknown or len(kinds) < len(schema):
        raise file_error(
            workload,
            file,
            "does not have the columns of a file of conversations",
            expected="\n".join(f"{name}: {kind or 'any type'}" for name, kind in wrong.items()),
            got="\n".join(f"{name}: {kinds[name]}" if name in kinds else f"no {name}" for name in wrong),
            unknown=", ".join(unknown)[:500],
            repeated=", ".join(sorted({name for name in schema.names if schema.names.count(name) > 1})),
        )
    check_fields(workload, file, [*COPIED, *COUNTED])
    return Layout("conversations", fields=[*COPIED, *COUNTED])


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield a row for each answer, in order. Raises BadUpstream that names the first bad row, from 1."""
    count = _counter(source.workload, source.helpers)
    start = 1
    with _errors_as_bad_upstream(source.workload, source.file), pq.ParquetFile(source.stream) as content:
        for batch in content.iter_batches(ROWS_AT_ONCE, columns=[*COPIED, "conversation"]):
            batch.validate(full=True)  # UTF-8, too
            _check(source, batch, start)
            yield _answers(batch, count)
            start += batch.num_rows


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Never called: recipes of this format say `restores = false`."""
    raise NotImplementedError("the text of conversations is not kept")


def _counter(workload: Workload, helpers: Mapping[str, Path]) -> Callable[[list[str]], Ints]:
    """Return a function that counts the tokens of each text. Raises BadUse without a readable tokenizer."""
    from tokenizers import Tokenizer

    if "tokenizer" not in helpers:
        raise BadUse(
            str(workload),
            "the recipe names no tokenizer",
            expected=f'a file with role = "tokenizer" in recipes/{workload.trace}.toml',
        )
    try:
        tokenizer = Tokenizer.from_file(str(helpers["tokenizer"]))
    except Exception as error:  # the library raises nothing narrower
        raise BadUse(
            str(workload),
            "the tokenizer can't be read",
            file=str(helpers["tokenizer"]),
            reason=str(error)[:300],
            next="pip install --upgrade tokenizers, or compare the file with its source",
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: list[str]) -> Ints:
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return np.fromiter(map(len, encoded), np.int64, len(texts))

    return count


def _answers(batch: pa.RecordBatch, count: Callable[[list[str]], Ints]) -> pa.RecordBatch:
    conversations = batch.column("conversation")
    messages = conversations.flatten()
    roles = messages.field("role")
    lengths = pc.list_value_length(conversations).to_numpy()
    owner = np.repeat(np.arange(len(lengths)), lengths)
    first = (np.cumsum(lengths) - lengths)[owner]

    def so_far(values: NDArray[np.int64] | NDArray[np.bool_]) -> Ints:
        """Return the sum over a message's conversation, up to and including the message."""
        sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        found: Ints = sums[1:] - sums[first]
        return found

    tokens = count(messages.field("content").to_pylist())
    asked = so_far(pc.equal(roles, "user").to_numpy(zero_copy_only=False)) > 0
    answers = pc.equal(roles, "assistant").to_numpy(zero_copy_only=False) & asked
    counted = (so_far(answers), so_far(tokens) - tokens, tokens)
    copied = batch.select(COPIED).take(pa.array(owner[answers]))
    return pa.RecordBatch.from_arrays(
        [*copied.columns, *(pa.array(each[answers]) for each in counted)], names=[*COPIED, *COUNTED]
    )


def _check(source: OpenFile, batch: pa.RecordBatch, start: int) -> None:
    """Raise BadUpstream for the first missing value or unknown role; the batch's first row is number `start`."""

    def error(row: int, where: str, expected: str, got: str) -> BadUpstream:
        message = "has a value that can't be converted"
        return source.error(message, where=f"row {start + row:,}, {where}", expected=expected, got=got)

    for name in (*COPIED, "conversation"):
        if batch.column(name).null_count:
            row = pc.index(batch.column(name).is_null(), True).as_py()
            raise error(row, f"column '{name}'", "a value", "null")
    conversations = batch.column("conversation")
    lengths = pc.list_value_length(conversations)
    if (row := pc.index(lengths, 0).as_py()) >= 0:
        raise error(row, "column 'conversation'", "messages", "an empty list")
    messages = conversations.flatten()
    texts = {name: pc.struct_field(messages, name) for name in ("content", "role")}
    known = pc.is_in(texts["role"], pa.array(ROLES))
    for name, fault, expected in (
        ("content", texts["content"].is_null(), "text"),
        ("role", pc.invert(known), f"one of {', '.join(ROLES)}"),
    ):
        if (index := pc.index(fault, True).as_py()) >= 0:
            ends = np.cumsum(lengths.to_numpy())
            row = int(np.searchsorted(ends, index, side="right"))
            message = index - int(ends[row] - lengths[row].as_py()) + 1
            got = texts[name][index].as_py()
            where = f"message {message} of its conversation, '{name}'"
            raise error(row, where, expected, "null" if got is None else repr(got)[:60])


@contextmanager
def _errors_as_bad_upstream(workload: Workload, file: UpstreamFile) -> Iterator[None]:
    """Raise BadUpstream for what Arrow can't read; errors of the disk, which have a number, pass."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise file_error(workload, file, "can't be read as Parquet", reason=str(error)[:300]) from None
