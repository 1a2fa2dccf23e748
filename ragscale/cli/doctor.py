"""``ragscale doctor``: what this installation has, what is wrong with it, and the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import typer

from ragscale.cli.view import plain

__all__ = [
    "Finding",
    "check_faiss",
    "check_model",
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
    """What one check found."""

    subject: str
    state: State
    detail: str
    remedy: str = ""
    """Empty where nothing needs to be done."""


def installed(package: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
            "pip uninstall -y faiss-cpu faiss-gpu, then pip install 'ragscale[cpu]' or 'ragscale[gpu]'",
        )
    if not cpu and not gpu:
        return Finding(
            "faiss", "problem", "not installed", "pip install 'ragscale[cpu]', or 'ragscale[gpu]' with an NVIDIA GPU"
        )
    try:
        faiss = load("faiss")
        # The gate: the name exists only in the GPU build, and that build also loads where there is no GPU.
        sees_gpu = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    except Exception as error:  # a broken wheel raises anything from ImportError to AttributeError
        return Finding(
            "faiss",
            "problem",
            f"installed, but does not load: {error}",
            "pip install --force-reinstall 'ragscale[cpu]'",
        )
    if gpu and not sees_gpu:
        return Finding(
            "faiss",
            "warning",
            f"faiss-gpu {gpu} sees no GPU: searches run on the CPU",
            "Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the smaller 'ragscale[cpu]'",
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
    """The embedded model's runtime; its absence is a problem only where it is needed."""
    found = find("xllamacpp")
    if found:
        return Finding("xllamacpp", "ok", found)
    state: State = "problem" if needed else "warning"
    return Finding("xllamacpp", state, "not installed: no embedded model", "pip install 'ragscale[embedded]'")


def check_weights(name: str, needed: bool) -> Finding:
    """A packaged model's files; absence is a problem only where it is needed, damage always."""
    from ragscale.llm import weights

    subject = f"weights: {name}"
    problem = weights.damage(name)
    if not problem:
        return Finding(subject, "ok", str(weights.path(name)))
    state: State = "problem" if needed or weights.present(name) else "warning"
    return Finding(subject, state, problem, f"ragscale model fetch --only {name}")


def check_model(spec: str, patience: float = _PATIENCE) -> Finding:
    """That the model answers, and what it was seen to do; a few tiny calls.

    Args:
        spec: As `ragscale.llm.load` takes it.
        patience: Seconds until it counts as not answering.
    """
    from ragscale.errors import RagscaleError

    try:
        return asyncio.run(asyncio.wait_for(_try_model(spec), patience))
    except RagscaleError as error:
        return Finding("model", "problem", error.problem, error.remedy)
    except TimeoutError:
        return Finding(
            "model", "problem", f"{spec} did not answer within {patience:g} s", "See the server's log; it may be busy."
        )


async def _try_model(spec: str) -> Finding:
    from dataclasses import asdict

    from ragscale.llm import load
    from ragscale.render import cost
    from ragscale.words import counted

    model = load(spec)
    try:
        seen = asdict(await model.capabilities())
        detail = f"{model.name}, {model.context_window} tokens; can: " + _listed(seen, True)
        missing = _listed(seen, False)
        spent = getattr(model, "probe_spend", None)
        if spent:
            detail += f" (found out by {counted(spent.llm_calls, 'call')}: {cost(spent)})"
    finally:
        await model.aclose()
    if missing == "nothing":
        return Finding("model", "ok", detail)
    return Finding(
        "model", "warning", f"{detail}; cannot: {missing}", "Modes go on without; vLLM and the embedded model can all."
    )


def _listed(seen: dict[str, bool], value: bool) -> str:
    return ", ".join(name.replace("_", " ") for name, able in seen.items() if able is value) or "nothing"


def examine(llm: str | None = None) -> list[Finding]:
    """Run every check.

    Args:
        llm: Model to try; None for the packaged one if its files are there.
    """
    import_module("ragscale.llm")  # before torch: it sets how threads wait

    embedded = llm is not None and llm.partition(":")[0] == "embedded"
    findings = [
        check_faiss(),
        check_torch(),
        check_weights("embedder", needed=False),
        check_weights("llm", needed=llm == "embedded"),
        check_runtime(needed=embedded),
    ]
    usable = all(finding.state == "ok" for finding in findings[-2:])
    if llm is not None and (llm != "embedded" or usable):
        findings.append(check_model(llm))
    elif usable:
        findings.append(check_model("embedded"))
    return findings


def doctor(
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Model to try: openai:URL#MODEL, embedded or embedded:PATH. Default: the packaged one.",
            envvar="RAGSCALE_LLM",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check faiss, torch, the packaged models and the model endpoint; exit code 1 if there is a problem."""
    from rich.box import ROUNDED
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    findings = examine(llm)
    table = Table(
        "", "state", Column("found", overflow="fold"), Column("remedy", overflow="fold"), show_lines=True, box=ROUNDED
    )
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(finding.subject, state, Text(plain(finding.detail)), Text(plain(finding.remedy)))
    Console().print(table)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)
