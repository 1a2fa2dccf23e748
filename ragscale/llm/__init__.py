"""Language models: one protocol, and `load`, which makes a model from a line of text."""

from __future__ import annotations

from typing import Any, cast

from ragscale import weights as _weights  # noqa: F401  before anything imports torch: it sets how threads wait
from ragscale.errors import InvalidInput
from ragscale.llm.base import LLM, Capabilities, Generation, Score
from ragscale.llm.notices import ModelWarning
from ragscale.llm.spec import FORMS, parse
from ragscale.llm.special import special_tokens
from ragscale.types import Usage

__all__ = ["LLM", "Capabilities", "Generation", "ModelWarning", "Score", "Usage", "load", "special_tokens"]

_METHODS = ("name", "context_window", "capabilities", "generate", "score", "count_tokens", "aclose")


def load(spec: str | LLM | Any) -> LLM:
    """Make a model from its specification.

    Args:
        spec: ``"openai:URL#MODEL"``, ``"openai:URL"``, ``"openai:MODEL"``, a provider's name before its model
            (``"ollama:qwen3"``), each with options (``"...?window=32768&thinking=2048"``); ``"vllm:MODEL"``, which
            starts a server; ``"embedded"``, ``"embedded:PATH"``; a LangChain chat model; or a model, which is returned
            as it is. `docs/models.md` has them all.

    Raises:
        InvalidInput: `spec` has none of these forms, or an option is unknown.
        EndpointError: A server that is started for it does not come up.
        ModelFileError: The weights are absent or damaged.
        MissingDependency: The form needs an extra that is not installed.
    """
    return parse(spec) if isinstance(spec, str) else _from_object(spec)


def _from_object(model: Any) -> LLM:
    # By the class: `isinstance` with a protocol reads the properties, and a name may have to be asked for.
    if all(hasattr(type(model), name) for name in _METHODS):
        return cast(LLM, model)
    if hasattr(model, "ainvoke") and hasattr(model, "bind"):
        from ragscale.llm.langchain import LangChainLLM

        return cast(LLM, LangChainLLM(model))
    raise InvalidInput(f"A {type(model).__name__} is no model", FORMS)
