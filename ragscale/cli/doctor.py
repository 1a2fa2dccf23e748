"""``ragscale doctor``: checks of the installation and of a model, with a remedy for each problem."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ragscale.cli.common import AsJson, print_json
from ragscale.cli.terminal import plain
from ragscale.extras import pip_install

if TYPE_CHECKING:
    from ragscale.llm import LLM, Capabilities
    from ragscale.llm.openai import EndpointReport

__all__ = [
    "Finding",
    "check_faiss",
    "check_model",
    "check_openvino",
    "check_runtime",
    "check_torch",
    "check_weights",
    "doctor",
    "examine",
]

State = Literal["ok", "warning", "problem"]
_STYLES: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_PATIENCE = 180.0  # seconds for the model to show what it can do


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    subject: str
    state: State
    detail: str
    remedy: str = ""
    """Empty where nothing needs to be done."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same by name, for programs; a model's alone has any."""


def installed(package: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install_faiss() -> str:
    return f"{pip_install('cpu')}, or [gpu] instead of [cpu] with an NVIDIA GPU"


def check_faiss(find: Callable[[str], str | None] = installed, load: Callable[[str], Any] = import_module) -> Finding:
    """Exactly one faiss wheel, that it loads, and that a GPU wheel sees a GPU.

    Args:
        find: Gives the version of a distribution.
        load: Imports a module.
    """
    cpu, gpu = find("faiss-cpu"), find("faiss-gpu")
    if cpu and gpu:
        return Finding(
            "faiss",
            "problem",
            f"faiss-cpu {cpu} and faiss-gpu {gpu} are both installed and overwrite each other",
            f"pip uninstall -y faiss-cpu faiss-gpu, then {_install_faiss()}",
        )
    if not cpu and not gpu:
        return Finding("faiss", "problem", "not installed", _install_faiss())
    try:
        faiss = load("faiss")
        # The gate: the name exists only in the GPU build, and that build also loads where there is no GPU.
        sees_gpu = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    except Exception as error:  # a broken wheel raises anything from ImportError to AttributeError
        return Finding(
            "faiss",
            "problem",
            f"installed, but does not load: {error}",
            f"pip install --force-reinstall --no-deps {'faiss-cpu' if cpu else 'faiss-gpu'}",
        )
    if gpu and not sees_gpu:
        return Finding(
            "faiss",
            "warning",
            f"faiss-gpu {gpu} sees no GPU: searches run on the CPU",
            "Check nvidia-smi and CUDA_VISIBLE_DEVICES; or pip uninstall -y faiss-gpu, then the smaller "
            + pip_install("cpu"),
        )
    return Finding("faiss", "ok", f"faiss-gpu {gpu}, {faiss.get_num_gpus()} GPU" if gpu else f"faiss-cpu {cpu}")


def check_torch(load: Callable[[str], Any] = import_module) -> Finding:
    """That PyTorch, which embedders run on, loads, and on what device."""
    try:
        torch = load("torch")
    except Exception as error:  # missing libraries surface as OSError
        return Finding("torch", "problem", f"does not load: {error}", "pip install --force-reinstall torch")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Finding("torch", "ok", f"{torch.__version__}, " + (f"{gpus} GPU" if gpus else "CPU"))


def check_runtime(needed: bool, find: Callable[[str], str | None] = installed) -> Finding:
    """llama.cpp, the embedded model's runtime; its absence is a problem only where it is needed."""
    found = find("xllamacpp")
    if found:
        return Finding("xllamacpp", "ok", found)
    state: State = "problem" if needed else "warning"
    return Finding("xllamacpp", state, "not installed: no embedded model", pip_install("embedded"))


def cpu_flags() -> frozenset[str] | None:
    """Names of what the CPU can, as Linux gives them; None on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), None)


def check_openvino(
    needed: bool,
    find: Callable[[str], str | None] = installed,
    flags: Callable[[], frozenset[str] | None] = cpu_flags,
) -> Finding:
    """The other runtime of GGUF models, and whether it is the faster one on this CPU."""
    found, can = find("openvino-genai"), flags()
    here = {
        None: "whether it is faster than embedded depends on the CPU: it is on those with AVX-512 VNNI",
        True: "this CPU has AVX-512 VNNI: openvino reads prompts nearly twice as fast as embedded",
        False: "this CPU has no AVX-512 VNNI, so embedded may be as fast",
    }[None if can is None else "avx512_vnni" in can]
    if found:
        return Finding("openvino-genai", "ok", f"{found}; {here}")
    state: State = "problem" if needed else "ok"
    return Finding("openvino-genai", state, f"not installed; {here}", pip_install("openvino"))


def check_weights(name: str, needed: bool) -> Finding:
    """A packaged model's files; absence is a problem only where it is needed, damage always."""
    from ragscale.weights import pinned

    subject = f"weights: {name}"
    problem = pinned.damage(name)
    if not problem:
        return Finding(subject, "ok", str(pinned.path(name)))
    state: State = "problem" if needed or pinned.present(name) else "warning"
    return Finding(subject, state, problem, f"ragscale model fetch --only {name}")


def check_model(spec: str, patience: float = _PATIENCE) -> list[Finding]:
    """That the model answers, and what it was seen to do; a few tiny calls.

    Args:
        spec: As `ragscale.llm.load` takes it.
        patience: Seconds until it counts as not answering.
    """
    from ragscale.errors import RagscaleError
    from ragscale.llm import ModelWarning, load

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)  # the findings say the same
            model = load(spec)  # a server that is started for it has a patience of its own
            return asyncio.run(_try_model(model, patience))
    except RagscaleError as error:
        return [Finding("model", "problem", error.problem, error.remedy)]
    except TimeoutError:
        detail = f"{spec.partition('?')[0]} did not answer within {patience:g} s"
        return [Finding("model", "problem", detail, "See the server's log; it may be busy.")]


async def _try_model(model: LLM, patience: float) -> list[Finding]:
    from ragscale.endpoint.retry import attempts
    from ragscale.errors import ModelError
    from ragscale.llm.openai import OpenAILLM

    failure: ModelError | None = None
    ends = asyncio.get_running_loop().time() + patience

    async def wait(seconds: float) -> None:
        if failure and asyncio.get_running_loop().time() + seconds >= ends:
            raise failure
        await asyncio.sleep(seconds)

    try:
        async with asyncio.timeout(patience):
            async for attempt in attempts(sleep=wait):
                with attempt:
                    try:
                        can = await model.capabilities(tools=True)
                    except ModelError as error:
                        failure = error
                        raise
            report = await model.report() if isinstance(model, OpenAILLM) else None
        found = [_abilities(model, can, report)]
        if report is not None:
            found += [_window(report), _tokens(report), _thoughts(can.thinking), *_requests(report, can.least)]
        return found
    finally:
        await model.aclose()


def _abilities(model: LLM, can: Capabilities, report: EndpointReport | None) -> Finding:
    from ragscale.types import Spend
    from ragscale.view.trace import cost
    from ragscale.words import counted

    seen = asdict(can)
    spent: Spend = getattr(model, "probe_spend", Spend())
    facts = {
        "name": model.name,
        "window": model.context_window,
        **seen,
        **(asdict(report) if report else {}),
        "probe_spend": spent.to_dict(),
    }
    detail = f"{model.name}, {model.context_window} tokens; can: {_listed(seen, True)}"
    if spent.llm_calls:
        detail += f" (found out by {counted(spent.llm_calls, 'call')}: {cost(spent)})"
    missing = _listed(seen, False)
    if missing == "nothing":
        return Finding("model", "ok", detail, facts=facts)
    if missing == "tools":
        return Finding("model", "ok", f"{detail}; cannot: tools (react asks for JSON instead)", facts=facts)
    remedy = "Modes go on without, but for profiles that continue turns; vLLM and the embedded model can the rest."
    return Finding("model", "warning", f"{detail}; cannot: {missing}", remedy, facts)


def _listed(seen: dict[str, Any], value: bool) -> str:
    return ", ".join(name.replace("_", " ") for name, able in seen.items() if able is value) or "nothing"


def _window(report: EndpointReport) -> Finding:
    if report.window_from == "assumed":
        detail = f"{report.window} tokens are assumed: the server does not tell"
        return Finding("window", "warning", detail, "Give it: ?window=N in the specification.")
    who = "as the server tells" if report.window_from == "told" else "as given"
    return Finding("window", "ok", f"{report.window} tokens, {who}")


def _tokens(report: EndpointReport) -> Finding:
    counts = {
        "exact": "prompts are counted by the server's tokenizer",
        "named": "prompts are counted by the tokenizer that was named, corrected by the server's usage",
        "estimated": "prompts are estimated" + (", calibrated by the server's usage" if report.usage else ""),
    }[report.counts]
    if report.usage:
        return Finding("tokens", "ok", f"{counts}; calls are charged what it reports")
    charged = "counted by it, too" if report.counts == "exact" else "charged by an estimate: limits are not hard"
    remedy = "?tokenizer= names one that counts." if report.counts == "estimated" else "Answers say so (caveat)."
    state: State = "ok" if report.counts == "exact" else "warning"
    detail = f"{counts}; the server reports no usage that can be true, so calls are {charged}"
    return Finding("tokens", state, detail, "" if state == "ok" else remedy)


def _thoughts(allowance: int) -> Finding:
    if not allowance:
        return Finding("thoughts", "ok", "none before a reply")
    return Finding(
        "thoughts",
        "warning",
        f"it thinks before it replies: each call may have {allowance:,} tokens more for that, which the budget pays",
        "?thinking=N sets how many; ?reasoning_effort= or ?chat_template_kwargs= may switch thoughts off: "
        "docs/models.md has the switch of each service.",
    )


def _requests(report: EndpointReport, least: int) -> list[Finding]:
    """Differences of calls from the default: parameters that the server refuses, no system role, a shortest reply."""
    parts = []
    if least > 1:
        parts.append(f"it takes no limit of a reply below {least} tokens")
    if report.refused:
        parts.append(f"it refuses {', '.join(report.refused)}: calls go on without")
    if report.folds_system:
        parts.append("its chat template has no system role: instructions go into the user's turn")
    return [Finding("requests", "ok", "; ".join(parts))] if parts else []


def examine(llm: str | None = None) -> list[Finding]:
    """Run every check.

    Args:
        llm: Model to try; None for the packaged one if its files are there.
    """
    import_module("ragscale.weights")  # before torch: it sets how threads wait

    kind = (llm or "").partition(":")[0]
    weights = check_weights("llm", needed=llm in ("embedded", "openvino"))
    runtimes = {
        "embedded": check_runtime(needed=kind == "embedded"), "openvino": check_openvino(needed=kind == "openvino"),
    }  # fmt: skip
    findings = [check_faiss(), check_torch(), check_weights("embedder", needed=False), weights, *runtimes.values()]
    tried = llm or "embedded"
    if tried not in runtimes or weights.state == runtimes[tried].state == "ok":
        findings += check_model(tried)
    return findings


def doctor(
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Model to try, as any --llm takes it: what it can, how it is charged. Default: the packaged one.",
            envvar="RAGSCALE_LLM",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check faiss, torch, the packaged models and the model endpoint; exit code 1 if there is a problem.

    --json prints {"findings": [{"subject", "state", "detail", "remedy", "facts"}]}.
    """
    findings = examine(llm)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    from rich.box import ROUNDED
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        "", "state", Column("found", overflow="fold"), Column("remedy", overflow="fold"), show_lines=True, box=ROUNDED
    )
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(finding.subject, state, Text(plain(finding.detail)), Text(plain(finding.remedy)))
    Console().print(table)
