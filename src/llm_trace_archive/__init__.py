"""The LLM Trace Archive: request traces of LLM serving in one schema, each with its proof."""

__version__ = "0.1.0"
