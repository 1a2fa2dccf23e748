"""Options that several commands share, and the values made of them."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ragscale.cli.terminal import escaped
from ragscale.errors import InvalidInput
from ragscale.index.options import Backend, How
from ragscale.words import dollars

if TYPE_CHECKING:
    from ragscale.agent import Agent
    from ragscale.budget import Budget
    from ragscale.index.options import SearchOptions
    from ragscale.llm.store import StoredLLM
    from ragscale.modes import Mode

__all__ = [
    "LANGUAGE_HELP",
    "AsJson",
    "BackendOption",
    "Calls",
    "Device",
    "Folder",
    "HowOption",
    "Llm",
    "MaxCost",
    "Mmr",
    "PassagesK",
    "PricesOption",
    "Queries",
    "Record",
    "Replay",
    "Rerank",
    "Rounds",
    "Seconds",
    "Seed",
    "SerialCalls",
    "SerialTokens",
    "Source",
    "Tokens",
    "Usd",
    "Weight",
    "Where",
    "Yes",
    "amounts",
    "as_measured",
    "budget_of",
    "consent",
    "one_amount",
    "open_agent",
    "piped",
    "planned_cost",
    "print_json",
    "searching_of",
    "with_k",
]

LANGUAGE_HELP = "Stemmer and stop words: german or de, none, or auto (told from a sample)."
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The index.")]
Source = Annotated[str, typer.Argument(metavar="DIR|URL", help="The index, or the URL of one that is served.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
BackendOption = Annotated[Backend, typer.Option(help="What computes the vectors; openvino and onnx on the CPU.")]
Device = Annotated[
    list[str] | None,
    typer.Option(help="Device of a worker process, such as cuda:0; repeat it for several.", show_default=False),
]
Llm = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="openai:URL#MODEL, a service by name (ollama:MODEL), vllm:MODEL (starts a server), with options "
        "(?window=N&...), embedded (the packaged weights) or embedded:PATH (a GGUF file), openvino or openvino:PATH "
        "(the same, faster on CPUs with AVX-512); docs/models.md has them all.",
        envvar="RAGSCALE_LLM",
    ),
]
PricesOption = Annotated[
    str | None,
    typer.Option(
        "--prices",
        metavar="PRICES",
        help="A TOML file of models' prices, 0.80/h for a model of one's own, or PROVIDER:MODEL of the bundled list. "
        "Default: what the list has for the endpoint; docs/costs.md.",
        show_default=False,
        envvar="RAGSCALE_PRICES",
    ),
]


def _retrieval(*names: str, help: str, metavar: str | None = None) -> Any:
    """An option of how passages are searched for; its names are told by the parameter where none are given."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel="Retrieval", show_default=False)


HowOption = Annotated[
    How | None, _retrieval(help="Kind of search. Default: hybrid where the index has vectors, else bm25.")
]
Seed = Annotated[int, typer.Option(help="Of sampled sub-queries.")]
Record = Annotated[
    Path | None,
    typer.Option("--record", metavar="FILE", help="Keep the model's calls here; those that it has are not paid again."),
]
Replay = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="FILE",
        help="Take the model's calls from here, without a model; one that is missing ends it.",
    ),
]
Where = Annotated[
    str | None, _retrieval(help='Search only these, as in: year >= 1990 and lang = "en".', metavar="FILTER")
]
Weight = Annotated[
    float | None, _retrieval(help="Hybrid: share of dense scores, 0 to 1. Default: reciprocal rank fusion.")
]
Rerank = Annotated[
    str | None, _retrieval(help="Cross-encoder that orders the candidates: hub name or folder.", metavar="MODEL")
]
Mmr = Annotated[float | None, _retrieval(help="Maximal marginal relevance, 1 (order stays) to 0 (unlike each other).")]
PassagesK = Annotated[
    int | None, _retrieval("-k", "--k", help="Passages a query, in every mode. Default: the mode's own.")
]
_DEFAULT_LLM = "embedded"
_SCALES = {"": 1, "k": 1_000, "m": 1_000_000}


def amounts(name: str, text: str, kind: type[int] | type[float] = int) -> list[Any]:
    """The numbers of an option, as in ``1k,2k,0.5m``, each once.

    Raises:
        InvalidInput: One is no number, or no whole one where it has to be.
    """
    found: dict[Any, None] = {}
    if re.search(r"\d,0\d\d(?!\d)", text) or ("tokens" in name and re.fullmatch(r"\d{1,2}(,\d{3})+", text)):
        raise InvalidInput(
            f"--{name.replace('_', '-')} {text!r}: a comma stands between two numbers", "Write 4000 or 4k, not 4,000."
        )
    wanted = "a whole number" if kind is int else "a number"
    for item in text.split(","):
        match = re.fullmatch(r"(-?\d{1,300}(?:\.\d{1,300})?)([km]?)", item.strip().lower())
        number = Fraction(match[1]) * _SCALES[match[2]] if match else None  # a float is not exact
        if number is None or (kind is int and number.denominator > 1):
            raise InvalidInput(
                f"--{name.replace('_', '-')} {item!r} is not {wanted}",
                "Give it as in 0,1,2." if name == "seed" else "Give it as in 4000, 4k or 0.5m.",
            )
        found[kind(number)] = None
    return list(found)


def one_amount(name: str) -> Callable[[str], int]:
    """Reads an option that is one whole number, as in ``4000`` or ``4k``."""

    def number(text: str) -> int:
        found = amounts(name, text)
        if len(found) > 1:
            raise InvalidInput(f"--{name} {text!r} is more than one number", "Give one: only a sweep takes several.")
        return int(found[0])

    return number


_LIMITS = "Limits of a question"
Rounds = Annotated[int | None, typer.Option(help="Retrievals one after another.", rich_help_panel=_LIMITS)]
Tokens = Annotated[
    int | None,
    typer.Option(
        parser=one_amount("tokens"),
        metavar="N",
        help="Prompt and completion tokens: 4000, 4k.",
        rich_help_panel=_LIMITS,
    ),
]
Usd = Annotated[
    float | None, typer.Option(help="Dollars; needs a price by the token (--prices).", rich_help_panel=_LIMITS)
]
Queries = Annotated[int | None, typer.Option(help="Sub-queries.", rich_help_panel=_LIMITS)]
Calls = Annotated[int | None, typer.Option(help="Model calls.", rich_help_panel=_LIMITS)]
Seconds = Annotated[float | None, typer.Option(help="Wall-clock time.", rich_help_panel=_LIMITS)]
SerialTokens = Annotated[
    int | None,
    typer.Option(
        parser=one_amount("serial-tokens"),
        metavar="N",
        help="Tokens along the critical path: parallel ones count once.",
        rich_help_panel=_LIMITS,
    ),
]
SerialCalls = Annotated[int | None, typer.Option(help="Model calls along the critical path.", rich_help_panel=_LIMITS)]


MaxCost = Annotated[
    float | None,
    typer.Option(
        metavar="USD", help="Ask first where the plan costs more dollars, or unknown ones.", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Spend more than --max-cost without asking.")]


def searching_of(**options: Any) -> SearchOptions:
    """Settings of searches that the options of a command name; those that are None are not named."""
    return cast("SearchOptions", {name: value for name, value in options.items() if value is not None})


def with_k(mode: Mode, k: int | None) -> Mode:
    """The mode with `k` passages a query, and the modes within it likewise; None changes nothing."""
    from ragscale.modes import Mode

    if k is None:
        return mode
    values = {field.name: getattr(mode, field.name) for field in fields(mode)}
    inner: dict[str, Any] = {name: with_k(value, k) for name, value in values.items() if isinstance(value, Mode)}
    return replace(mode, k=k, **inner)


def piped(text: str) -> str:
    """The text, or standard input in its place where it is ``-``.

    It is UTF-8, or what a byte order mark says, which is no part of it.

    Raises:
        InvalidInput: Nothing is on standard input, or no text is.
    """
    from ragscale.corpus.encoding import encoding_remedy, marked

    if text != "-":
        return text
    data = sys.stdin.buffer.read()
    name, length = marked(data)
    try:
        found = data[length:].decode(name or "utf-8").strip()
    except UnicodeDecodeError as error:
        told = (
            f"standard input is no {name or 'utf-8'}, byte 0x{error.object[error.start]:02x} at {length + error.start}"
        )
        raise InvalidInput(told, encoding_remedy(data, "it")) from error
    if "\0" in found:
        raise InvalidInput("standard input has a NUL, which is no text", encoding_remedy(data, "it"))
    if not found:
        raise InvalidInput("- stands for standard input, and nothing is there", "Pipe a text into it, or write it.")
    return found


def budget_of(*, calls: int | None, **limits: Any) -> Budget:
    """The budget that the options of a command describe: fields of `Budget`, with ``calls`` for ``llm_calls``."""
    from ragscale.budget import Budget

    return Budget(llm_calls=calls, **limits)


@contextmanager
def open_agent(
    source: str,
    llm: str,
    budget: Budget,
    *,
    seed: int,
    how: How | None,
    about: str | None = None,
    prices: str | None = None,
    record: Path | None = None,
    replay: Path | None = None,
    searching: SearchOptions | None = None,
) -> Iterator[Agent]:
    """An agent over the index, closed at the end; its model keeps its calls in `record`, or is read from `replay`."""
    from ragscale.agent import Agent
    from ragscale.index import Index
    from ragscale.llm import LLM, load

    model: str | LLM = llm
    if record and replay:
        raise InvalidInput("--record and --replay together", "Give one: a replay makes no calls.")
    if record or replay:
        from ragscale.llm.store import StoredLLM

        model = stored = StoredLLM(record, load(llm)) if record else StoredLLM(cast(Path, replay))
        if replay:
            _warn_of_another(llm, stored)
    index = source if not searching else Index.open(source).searching(how, **searching)
    agent = Agent(index, model, budget=budget, seed=seed, how=how, about=about, prices=prices)
    try:
        yield agent
    finally:
        agent.close()


def _warn_of_another(llm: str, replay: StoredLLM) -> None:
    """Warn where the user named another model than the one whose calls are replayed, as nothing else would show it."""
    from ragscale.llm import ModelWarning
    from ragscale.llm.spec import named

    then, now = (replay.name, replay.runtime), named(llm)
    if llm == _DEFAULT_LLM or all(mine == theirs or not theirs for mine, theirs in zip(then, now, strict=True)):
        return  # a replay needs no --llm, so that the default need not be meant
    recorded, asked = (f"{name} by {by}" if by else name for name, by in (then, now))
    warnings.warn(
        f"{replay.path} holds calls of {recorded}, which are replayed: {asked}, which --llm or RAGSCALE_LLM names, is "
        "not asked.",
        ModelWarning,
        stacklevel=2,
    )


def print_json(value: Any) -> None:
    """JSON on standard output; half a surrogate pair that a model wrote becomes a question mark.

    Characters that steer a terminal, or hide or turn what is read, are written ``\\uXXXX``: the value is the same.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    typer.echo(escaped(text.encode("utf-8", "replace").decode("utf-8")), file=sys.stdout)


def planned_cost(seconds: float | None, usd: float | None) -> list[str]:
    """Minutes and dollars of a plan, as its table shows them: a dash for what is not known."""
    return ["-" if seconds is None else f"{seconds / 60:,.1f}", "-" if usd is None else dollars(usd)]


def as_measured(concurrency: int) -> str:
    """Words on minutes that come from a run, whose rows do not say how many questions were in flight."""
    return (
        f"Minutes are for --concurrency {concurrency}, by seconds measured at the concurrency of the run: "
        "an upper bound where that was higher, a lower bound where it was lower."
    )


def consent(usd: float | None, most: float | None, *, yes: bool) -> None:
    """Ask before more is spent than `most` dollars, or an amount that nobody knows; nothing without a `most`.

    Args:
        usd: Planned; None where it is unknown.
        most: ``--max-cost``.
        yes: ``--yes``: do not ask.

    Raises:
        InvalidInput: `most` is below 0 or no number; or nobody can be asked: standard input is no terminal.
        typer.Abort: The answer is no.
    """
    if most is not None and not most >= 0:
        raise InvalidInput(f"--max-cost {most} is no number of dollars", "Give 0 or more.")
    if most is None or yes or (usd is not None and usd <= most):
        return
    planned = "unknown dollars are" if usd is None else f"{dollars(usd)} are"
    if not sys.stdin.isatty():
        remedy = "Give --yes, or --prices." if usd is None else "Give --yes, or a higher --max-cost."
        raise InvalidInput(f"{planned} planned, --max-cost is {dollars(most)}", remedy)
    typer.confirm(f"{planned} planned, more than {dollars(most)}. Go on?", abort=True, err=True)
