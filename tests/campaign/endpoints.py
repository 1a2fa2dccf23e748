"""The kinds of endpoint that docs/models.md names, as their documentation and their users' reports describe them.

Each is a `Kind`: the manners that matter here, no more. The sources were read in stored copies; they are named so that
a change can be looked up.
"""

from __future__ import annotations

from fake_kinds import Kind

__all__ = ["ENDPOINTS"]

_DETAILS = {"completion_tokens_details": {"reasoning_tokens": 0}, "prompt_tokens_details": {"cached_tokens": 0}}
_ONLY_ONE = "Unsupported value: '{name}' does not support {value} with this model. Only the default (1) value is"
_NO_ARGUMENT = (400, "Unrecognized request argument supplied: {name}")
_NO_FIELD = (400, 'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
_NO_PARSER = {
    "tools": (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
}

ENDPOINTS: dict[str, Kind] = {
    # platform.openai.com/docs/api-reference/chat: n, seed, logprobs, json_schema; /models lists ids and no windows;
    # arguments that are unknown are refused ("Unrecognized request argument supplied").
    "openai gpt-4o": Kind(
        name="openai gpt-4o", tools="calls",
        model="gpt-4o", listed=("gpt-4o", "gpt-4o-mini", "gpt-5"), window=128_000, key=True,
        tokenizer="byte pairs", limit_field="any", strict=True, refuses=("reasoning_effort",), extra_usage=_DETAILS,
        said={"reasoning_effort": _NO_ARGUMENT},
        extra={"system_fingerprint": None, "service_tier": "default"},
    ),
    # simonw/llm#724, tmc/langchaingo#1355, cline#7224: max_tokens and any temperature but 1 are refused; the thought is
    # counted in completion_tokens and shown nowhere; 64bit/async-openai#424: content is "" when the limit came first;
    # log-probabilities are refused with 403 ("not allowed to request logprobs").
    "openai gpt-5": Kind(
        name="openai gpt-5", tools="calls",
        model="gpt-5", listed=("gpt-4o", "gpt-4o-mini", "gpt-5"), window=400_000, key=True,
        tokenizer="byte pairs", limit_field="max_completion_tokens", strict=True, refuses=("temperature", "logprobs"),
        said={"temperature": (400, f"{_ONLY_ONE} supported."),
              "logprobs": (403, "You are not allowed to request logprobs from this model")},
        thought=300, thought_in="hidden", cut="", switch="reasoning_effort",
        efforts=("minimal", "low", "medium", "high"),
    ),
    # o-series: as gpt-5, without a way to switch thoughts off (efforts low to high), one sample a call, and
    # "Unsupported parameter" instead of "Unsupported value" (BerriAI/litellm#8192).
    "openai o3-mini": Kind(
        name="openai o3-mini", tools="calls", model="o3-mini", listed=("o3-mini", "gpt-4o"), window=200_000, key=True,
        tokenizer="byte pairs", limit_field="max_completion_tokens", strict=True,
        refuses=("temperature", "logprobs", "n"), said={"n": (400, f"{_ONLY_ONE} supported.")},
        thought=400, thought_in="hidden", cut="", efforts=("low", "medium", "high"),
    ),
    # openai-node docs/azure.md, ai-sdk.dev azure: RESOURCE/openai/v1/, the model is the deployment's name, which
    # /models (base models) does not list; key as a bearer or in api-key; filter results in every reply.
    "azure": Kind(
        name="azure", tools="calls",
        model="my-deployment", listed=("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"), window=128_000,
        key=True, prefix="/openai/v1", tokenizer="byte pairs", limit_field="any", strict=True,
        refuses=("reasoning_effort",), said={"reasoning_effort": _NO_ARGUMENT},
        extra={"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}, extra_usage=_DETAILS,
    ),
    # docs.vllm.ai serving/openai_compatible_server: /tokenize takes messages, max_model_len in /models, structured
    # outputs, n, logprobs, prompt_logprobs of ids.
    # continue_final_message with add_generation_prompt false goes on with the last message.
    # vllm#9986: tools are refused unless it was started with a parser for them.
    "vllm": Kind(name="vllm", refuses=("tools",), said=_NO_PARSER,
                 route="vllm", window=32_768, window_in="max_model_len", limit_field="any",
                 tokenizer="byte pairs", continues="fields"),
    # docs.vllm.ai features/reasoning_outputs: the field is `reasoning` since 0.11, `reasoning_content` before; content
    # is null when the limit came first; a continued turn is taken for a thought by these parsers (vllm#28089, #53284);
    # Qwen3 takes chat_template_kwargs enable_thinking.
    "vllm qwen3": Kind(name="vllm qwen3", refuses=("tools",), said=_NO_PARSER,
                       route="vllm", window=32_768, window_in="max_model_len", limit_field="any",
                       tokenizer="byte pairs", thought=300, thought_in="reasoning", switch="enable_thinking",
                       continues="fields", parses=True),
    "vllm r1": Kind(name="vllm r1", refuses=("tools",), said=_NO_PARSER,
                    route="vllm", window=16_384, window_in="max_model_len", limit_field="any",
                    tokenizer="byte pairs", thought=500, thought_in="reasoning_content", continues="fields",
                    parses=True),
    # the same model served without a reasoning parser: the template opens the thought, so only its end is seen.
    "vllm r1 without a parser": Kind(
        name="vllm r1 without a parser", refuses=("tools",), said=_NO_PARSER,
        route="vllm", window=16_384, window_in="max_model_len", limit_field="any",
        tokenizer="byte pairs", thought=300, thought_in="end_tag", continues="fields",
    ),
    # llama.cpp tools/server/README: /apply-template and /tokenize, n_ctx of a slot in /props, timings, grammars; the
    # usage of n samples is that of one; llama.cpp#13174, #15404: a last assistant message is continued, and refused
    # where the model thinks; the reply repeats it (seen).
    "llama.cpp": Kind(name="llama.cpp", route="llama", window=8_192, window_in="props", usage="first_sample",
                      limit_field="any", tokenizer="byte pairs", extra={"timings": {"prompt_n": 3, "cache_n": 0}}),
    "llama.cpp qwen3": Kind(
        name="llama.cpp qwen3", tools="calls", route="llama", window=16_384, window_in="props", limit_field="any",
        tokenizer="byte pairs", thought=200, thought_in="reasoning_content", cut="", switch="enable_thinking",
        extra={"timings": {"prompt_n": 3, "predicted_n": 9, "cache_n": 0}},
    ),
    # docs.ollama.com/api/openai-compatibility, ollama/ollama openai/openai.go: no n, no tokenizer, log-probabilities
    # since 0.12.11; a window that nothing under /v1 tells (docs/context-length.mdx: 4k below 24 GiB of VRAM), but that
    # of a loaded model in /api/ps, and beyond which prompts are cut without a word (server/prompt.go,
    # TradingAgents#168); unknown fields are ignored, the window among them; ollama#6778: a last assistant message is
    # continued.
    "ollama": Kind(name="ollama", tools="calls",
                   model="llama3.2", listed=("llama3.2:latest",), window=16_384, window_in="ps",
                   truncates=True, tokenizer="byte pairs", ignores=("n",), continues="last",
                   extra={"system_fingerprint": "fp_ollama"}),
    # openai/openai.go: thoughts in `reasoning`, on by default, off by reasoning_effort "none", other efforts are high,
    # medium and low; llm_wiki#348: content is "" when the limit came first.
    "ollama qwen3": Kind(
        name="ollama qwen3", tools="calls",
        model="qwen3:8b", listed=("qwen3:8b", "llama3.2:latest"), window=16_384, window_in="ps",
        truncates=True, tokenizer="byte pairs", ignores=("n",), thought=300, thought_in="reasoning", cut="",
        switch="reasoning_effort", efforts=("none", "low", "medium", "high"),
        extra={"system_fingerprint": "fp_ollama"},
    ),
    # lmstudio-bug-tracker#618, #2085: paths that it does not know are answered with 200 and {"error": "Unexpected
    # endpoint..."}; #2139: no window in /v1/models, but in /api/v0/models; json_schema is honoured.
    "lm studio": Kind(name="lm studio", tools="calls",
                      model="qwen2.5-7b-instruct", window=16_384, window_in="api_v0", unknown=200,
                      errors="text", tokenizer="byte pairs", ignores=("n", "logprobs"), limit_field="any"),
    # lmstudio-bug-tracker#1990: reasoning_content, and content is "" when the limit came first; #2057 (0.4.17):
    # reasoning_effort "none" switches thoughts off, chat_template_kwargs is ignored (#632).
    "lm studio qwen3": Kind(
        name="lm studio qwen3", tools="calls",
        model="qwen/qwen3-8b", window=16_384, window_in="api_v0", unknown=200, errors="text",
        tokenizer="byte pairs", ignores=("n", "logprobs"), limit_field="any", thought=300,
        thought_in="reasoning_content", cut="", switch="reasoning_effort",
    ),
    # docs.sglang.io basic_usage: max_model_len in /models, n, logprobs, json_schema; native /tokenize takes a prompt
    # and no chat; advanced_features/separate_reasoning: `reasoning_content`, enable_thinking.
    # sglang#4226: continue_final_message.
    "sglang": Kind(name="sglang", route="sglang", window=32_768, window_in="max_model_len", limit_field="any",
                   tokenizer="byte pairs", continues="fields"),
    "sglang qwen3": Kind(name="sglang qwen3", route="sglang", window=32_768, window_in="max_model_len",
                         limit_field="any", tokenizer="byte pairs", thought=300, thought_in="reasoning_content",
                         switch="enable_thinking", continues="fields"),
    # openrouter.ai/docs/models, /docs/api/reference/errors-and-debugging: context_length; errors with a number; cost in
    # the usage; what a provider cannot do is dropped; /docs/use-cases/reasoning-tokens: {"reasoning": {"effort":
    # "none"}}.
    "openrouter": Kind(name="openrouter", tools="calls",
                       model="openai/gpt-4o-mini", listed=("openai/gpt-4o-mini", "openai/gpt-4o"),
                       prefix="/api/v1", window=128_000, window_in="context_length", key=True, errors="numbered",
                       tokenizer="byte pairs", ignores=("n", "logprobs"), limit_field="any",
                       extra={"provider": "OpenAI"}, extra_usage={"cost": 0.00014, "is_byok": False}),
    "openrouter thinking": Kind(
        name="openrouter thinking", tools="calls", model="qwen/qwen3-32b", prefix="/api/v1", window=40_960,
        listed=("qwen/qwen3-32b", "openai/gpt-4o"), window_in="context_length", key=True, errors="numbered",
        tokenizer="byte pairs", ignores=("n", "logprobs"), limit_field="any", thought=400, thought_in="reasoning",
        switch="reasoning", extra={"provider": "DeepInfra"}, extra_usage={"cost": 0.00014},
    ),
    # docs.litellm.ai: /models lists aliases or wildcards; completion/drop_params: a parameter that the model does not
    # support is refused in litellm's own words (SWE-smith#155).
    "litellm gpt-5": Kind(
        name="litellm gpt-5", tools="calls",
        model="gpt-5", models="wildcard", window=128_000, key=True, tokenizer="byte pairs",
        limit_field="any", refuses=("temperature", "logprobs"), thought=300, thought_in="hidden", cut=None,
        said={"temperature": (400, "litellm.UnsupportedParamsError: gpt-5 models don't support temperature={value}. "
                                   "Only temperature=1 is supported. To drop unsupported params set "
                                   "`litellm.drop_params = True`"),
              "logprobs": (400, "litellm.UnsupportedParamsError: openai does not support parameters: ['logprobs'], for "
                                "model=gpt-5. To drop these, set `litellm.drop_params=True`")},
        switch="reasoning_effort", efforts=("minimal", "low", "medium", "high"),
    ),
    # completion/prefix: "prefix": true in a last assistant message has Claude go on with it.
    "litellm": Kind(name="litellm", tools="calls",
                    model="claude-sonnet", listed=("claude-sonnet", "gpt-5"), window=128_000, key=True,
                    tokenizer="byte pairs", continues="prefix", limit_field="any", refuses=("n", "logprobs", "seed"),
                    said={"n": (400, "litellm.UnsupportedParamsError: anthropic does not support parameters: ['n']"),
                          "logprobs": (400, "litellm.UnsupportedParamsError: anthropic does not support parameters: "
                                            "['logprobs']"),
                          "seed": (400, "litellm.UnsupportedParamsError: anthropic does not support parameters: "
                                        "['seed'], for model=claude-sonnet")}),
    # ai.google.dev/gemini-api/docs/openai: /v1beta/openai/, names with models/ in the list; ChatterUI#227: unknown
    # names, seed among them, are refused, and the error is a list; CLIProxyAPI#5743: only total_tokens holds thoughts.
    "gemini": Kind(
        name="gemini", tools="calls",
        model="gemini-2.5-flash", listed=("models/gemini-2.5-flash", "models/gemini-2.5-pro"),
        prefix="/v1beta/openai", window=1_048_576, key=True, errors="list", strict=True, limit_field="any",
        refuses=("seed", "logprobs"), said={"seed": _NO_FIELD, "logprobs": _NO_FIELD, "": _NO_FIELD},
        tokenizer="byte pairs", usage="hidden", thought=300, thought_in="hidden", switch="reasoning_effort",
    ),
    # api-docs.deepseek.com: json_object alone, json_schema is refused (llm-exe#662, litellm#31466); cached prompts in
    # fields of their own; one sample; guides/thinking_mode: {"thinking": {"type": "disabled"}} for no thoughts. This is
    # a model that was told so.
    "deepseek": Kind(
        name="deepseek", tools="calls",
        model="deepseek-v4-flash", listed=("deepseek-v4-flash", "deepseek-v4-pro"), window=1_000_000,
        key=True, tokenizer="byte pairs", refuses=("response_format",), ignores=("n",),
        said={"response_format": (400, "This response_format type is unavailable now")},
        extra_usage={"prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 9},
    ),
    # guides/thinking_mode: thoughts by default, in reasoning_content, which must be sent back in turns that call tools
    # (opencode#24722), temperature is taken and ignored; max_tokens
    # holds for thought and answer together (guides/reasoning_model, as the refusal of logprobs).
    "deepseek thinking": Kind(
        name="deepseek thinking", tools="once",
        model="deepseek-v4-flash", listed=("deepseek-v4-flash", "deepseek-v4-pro"), key=True,
        window=1_000_000, tokenizer="byte pairs", refuses=("response_format", "logprobs"), ignores=("n",), thought=500,
        thought_in="reasoning_content", cut="", switch="thinking",
        said={"response_format": (400, "This response_format type is unavailable now"),
              "logprobs": (400, "This model does not support this parameter: logprobs")},
    ),
    # console.groq.com/docs/openai: logprobs and n above 1 are refused with 400; context_window in /models; x_groq, and
    # times in the usage; docs/structured-outputs: json_schema with gpt-oss; docs/reasoning: gpt-oss thinks at efforts
    # low to high, in `reasoning`.
    "groq": Kind(
        name="groq", tools="calls",
        model="openai/gpt-oss-20b", listed=("openai/gpt-oss-20b", "qwen/qwen3-32b"), key=True,
        prefix="/openai/v1", window=131_072, window_in="context_window", tokenizer="byte pairs", limit_field="any",
        refuses=("n", "logprobs"), said={"n": (400, "'n' : number must be at most 1"),
                                         "logprobs": (400, "logprobs is not supported with this model")},
        thought=200, thought_in="reasoning", cut="", efforts=("low", "medium", "high"),
        extra={"x_groq": {"id": "req_1"}, "service_tier": "on_demand"},
        extra_usage={"queue_time": 0.018, "prompt_time": 0.0006, "completion_time": 0.46, "total_time": 0.46},
    ),
    # thoughts raw in <think> by default (reference.langchain.com ChatGroq); efforts none and default
    # (modelparams.dev#114); json_schema is refused, as with the Llama models (TanStack/ai#298).
    "groq qwen3": Kind(
        name="groq qwen3", tools="calls",
        model="qwen/qwen3-32b", listed=("openai/gpt-oss-20b", "qwen/qwen3-32b"), key=True,
        prefix="/openai/v1", window=131_072, window_in="context_window", tokenizer="byte pairs", limit_field="any",
        refuses=("n", "logprobs", "response_format"),
        said={"n": (400, "'n' : number must be at most 1"),
              "logprobs": (400, "logprobs is not supported with this model"),
              "response_format": (400, "This model does not support response format `json_schema`.")},
        thought=300, thought_in="tags", switch="reasoning_effort", efforts=("none", "default"),
        extra={"x_groq": {"id": "req_1"}}, extra_usage={"queue_time": 0.018, "total_time": 0.46},
    ),
}  # fmt: skip
