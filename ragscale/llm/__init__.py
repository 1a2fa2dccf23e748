"""Language models: one protocol, and `load`, which makes a model from a line of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ragscale.errors import InvalidInput
from ragscale.llm import threads as _threads  # noqa: F401  before anything imports torch
from ragscale.llm.base import LLM, Capabilities, Generation, Score, Usage
from ragscale.llm.notices import ModelWarning

__all__ = ["LLM", "Capabilities", "Generation", "ModelWarning", "Score", "Usage", "load"]

_FORMS = (
    "Accepted: openai:URL#MODEL (as in openai:http://localhost:8000/v1#Qwen/Qwen3-8B; without #MODEL the only model "
    "that the endpoint lists), embedded (the packaged weights), embedded:PATH (a GGUF file), or a model object."
)
_METHODS = ("name", "context_window", "capabilities", "generate", "score", "count_tokens", "aclose")


def load(spec: str | LLM | Any) -> LLM:
    """Make a model from its specification.

    Args:
        spec: ``"openai:URL#MODEL"``, ``"openai:URL"``, ``"embedded"``, ``"embedded:PATH"``, a LangChain chat model, or
            a model, which is returned as it is.

    Raises:
        InvalidInput: `spec` has none of these forms.
        ModelFileError: The weights are absent or damaged.
        MissingDependency: The form needs an extra that is not installed.
    """
    if not isinstance(spec, str):
        return _from_object(spec)
    kind, _, rest = spec.strip().partition(":")
    if kind == "openai" and rest:
        from ragscale.llm.openai import OpenAILLM

        url, _, model = rest.partition("#")
        return OpenAILLM(url, model or None)
    if kind == "embedded":
        from ragscale.llm import weights
        from ragscale.llm.embedded import EmbeddedLLM

        return EmbeddedLLM(Path(rest) if rest else weights.path("llm"))
    raise InvalidInput(f"Unknown model {spec!r}", _FORMS)


def _from_object(model: Any) -> LLM:
    # By the class: `isinstance` with a protocol reads the properties, and a name may have to be asked for.
    if all(hasattr(type(model), name) for name in _METHODS):
        return cast(LLM, model)
    if hasattr(model, "ainvoke") and hasattr(model, "bind"):
        from ragscale.llm.langchain import LangChainLLM

        return cast(LLM, LangChainLLM(model))
    raise InvalidInput(f"A {type(model).__name__} is no model", _FORMS)
