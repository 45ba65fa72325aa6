"""Read a file with GuideLLM's own deserializer, which makes the prompts, and print what it understood.

PyTorch, which GuideLLM imports and this needs nothing of, is replaced by empty modules.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys
import types

os.environ["HF_HUB_OFFLINE"] = "1"


class NoTorch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torch" else None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = self.make
        return module

    def exec_module(self, module):
        pass

    @staticmethod
    def make(name):
        if name.startswith("__"):
            raise AttributeError(name)
        inner = {"Module": type("Module", (), {})}
        return type(name, (), {"__class_getitem__": classmethod(lambda cls, item: cls), **inner})


sys.meta_path.append(NoTorch())
from faker import Faker  # noqa: E402
from guidellm.data.deserializers import DatasetDeserializerFactory  # noqa: E402
from guidellm.data.deserializers.trace_common import TraceFormatRegistry, _handle_column_search  # noqa: E402
from guidellm.schemas.data.deserializers.file import FileDataArgs  # noqa: E402
from guidellm.schemas.data.deserializers.trace_minimal import MinimalTraceFormatArgs  # noqa: E402
from guidellm.schemas.data.deserializers.trace_mooncake import MooncakeTraceFormatArgs  # noqa: E402
from guidellm.schemas.data.deserializers.trace_weka import WEKATraceFormatArgs  # noqa: E402


class Words:
    """A tokenizer that needs no files: a character is a token."""

    def encode(self, text, **_):
        return [ord(each) for each in text]

    def decode(self, tokens, **_):
        return "".join(map(chr, tokens))


kind, path, block = sys.argv[1], sys.argv[2], int(sys.argv[3])
source = FileDataArgs(kind="json_file", path=path)
if kind == "mooncake":
    config = MooncakeTraceFormatArgs(kind=kind, source=source, hash_id_block_size=block)
elif kind == "weka":
    config = WEKATraceFormatArgs(kind=kind, source=source, hash_id_block_size=block)
else:
    config = MinimalTraceFormatArgs(kind="trace_synthetic", source=source)
dataset = DatasetDeserializerFactory.deserialize(config=source, processor_factory=Words, random_seed=1)
format = TraceFormatRegistry.dispatch(config, dataset)
_handle_column_search(config, format)
turns = []
for conversation in format:
    turns += format.build_conversation_graph(conversation, Words(), Faker()).turns
columns = [each.columns for each in turns]
print(
    json.dumps(
        {
            "rows": len(turns),
            "input": sum(each["prompt_tokens_count_column"][0] for each in columns),
            "prompts": sum(len(each["text_column"][0]) for each in columns) if kind != "weka" else None,
            "output": sum(each["output_tokens_count_column"][0] for each in columns),
            "times": [each["relative_timestamp_column"][0] for each in columns],
        }
    )
)
