"""Load a file with AIPerf's own loader, build its prompts' tokens, and print what it understood."""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
from aiperf.common import random_generator
from aiperf.dataset.generator.prompt import PromptGenerator
from aiperf.dataset.loader.bailian_trace import BailianTraceDatasetLoader
from aiperf.dataset.loader.burst_gpt import BurstGPTTraceDatasetLoader
from aiperf.dataset.loader.mooncake_trace import MooncakeTraceDatasetLoader
from aiperf.dataset.loader.weka_trace import WekaTraceLoader


class Words:
    """A tokenizer that needs no files: a word is a token."""

    resolved_name = "words"
    bos_token_id = eos_token_id = block_separation_token_id = 0

    def encode(self, text, **_):
        return [1 + hash(word) % 50_000 for word in text.split()]

    def decode(self, tokens, **_):
        return " ".join(map(str, tokens))


LOADERS = {
    "mooncake": MooncakeTraceDatasetLoader,
    "bailian": BailianTraceDatasetLoader,
    "burstgpt": BurstGPTTraceDatasetLoader,
}
kind, path, block = sys.argv[1], sys.argv[2], int(sys.argv[3])
random_generator.init(1)
if kind == "weka":
    loader = WekaTraceLoader(filename=path)
    requests = []

    def walk(entries):
        for each in entries:
            if each.type == "subagent":
                walk(each.requests)
            else:
                requests.append(each)

    conversations = loader.load_dataset()
    for traces in conversations.values():
        for trace in traces:
            walk(trace.requests)
    found = {
        "rows": len(requests),
        "input": sum(each.input_length for each in requests),
        "output": sum(each.output_length for each in requests),
        "sessions": len(conversations),
    }
else:
    prompts = PromptGenerator(prompts=None, prefix_prompts=None, tokenizer=Words())
    loader = LOADERS[kind](filename=path, prompt_generator=prompts, default_block_size=block)
    assert kind != "burstgpt" or LOADERS[kind].can_load(None, path)
    sessions = loader.load_dataset()
    traces = [each for session in sessions.values() for each in session]
    built = [
        len(prompts._build_token_sequence(each.input_length, getattr(each, "hash_ids", None) or [], block))
        for each in traces
    ]
    found = {
        "rows": len(traces),
        "sessions": len(sessions),
        "input": sum(built),
        "output": sum(each.output_length or 0 for each in traces),
        "times": [each.timestamp / 1000 for each in traces],
    }
print(json.dumps(found))
