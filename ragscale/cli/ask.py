"""``ragscale ask``: one question, the steps as they happen, then the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from ragscale.answer import TraceForm
from ragscale.cli.common import (
    AsJson,
    Calls,
    HowOption,
    Llm,
    Mmr,
    PassagesK,
    PricesOption,
    Queries,
    Record,
    Replay,
    Rerank,
    Rounds,
    Seconds,
    Seed,
    SerialCalls,
    SerialTokens,
    Source,
    Tokens,
    Usd,
    Weight,
    Where,
    budget_of,
    open_agent,
    piped,
    print_json,
    searching_of,
    with_k,
)
from ragscale.errors import InvalidInput
from ragscale.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from ragscale.agent import Agent
    from ragscale.answer import Answer
    from ragscale.modes import Mode

__all__ = ["ask"]


def ask(
    source: Source,
    question: Annotated[str, typer.Argument(help="In natural language; - reads it from standard input.")],
    mode: Annotated[
        str,
        typer.Option(
            help="A mode, with parameters where needed: tree(expand=2); or several, side by side: once,chain."
        ),
    ] = "chain",
    preset: Annotated[str, typer.Option(help="A published configuration of the mode: corag-paper, search-r1.")] = "",
    about: Annotated[
        str | None, typer.Option(help="The corpus in words, for planners: pages of a manual; default: the index's own.")
    ] = None,
    llm: Llm = "embedded",
    rounds: Rounds = None,
    tokens: Tokens = None,
    usd: Usd = None,
    queries: Queries = None,
    calls: Calls = None,
    seconds: Seconds = None,
    serial_tokens: SerialTokens = None,
    serial_calls: SerialCalls = None,
    prices: PricesOption = None,
    seed: Seed = 0,
    how: HowOption = None,
    k: PassagesK = None,
    where: Where = None,
    weight: Weight = None,
    rerank: Rerank = None,
    mmr: Mmr = None,
    record: Record = None,
    replay: Replay = None,
    gold: Annotated[
        list[str] | None,
        typer.Option(help="A right answer, to compare with; repeat it for several forms.", show_default=False),
    ] = None,
    show_trace: Annotated[bool, typer.Option("--show-trace", help="Print the whole trace after the answer.")] = False,
    as_json: AsJson = False,
    trace: Annotated[
        TraceForm | None, typer.Option(help="With --json: whole events (default), events without texts, or none.")
    ] = None,
) -> None:
    """Answer a question over an index.

    The steps are shown on standard error, the answer goes to standard output. Exit code 1 where there is no answer.
    Of several modes a table shows answers and costs side by side; --json prints {"answers": [...]}, a value a mode.
    """
    from rich.console import Console

    from ragscale.cli import terminal
    from ragscale.modes import spec

    if trace and not as_json:
        raise InvalidInput(f"--trace {trace} without --json", "Add --json, or use --show-trace for text.")
    if gold and as_json:
        raise InvalidInput("--gold with --json", "Compare the answer of the JSON, or leave one of them out.")
    if gold and not all(one.strip() for one in gold):
        raise InvalidInput("--gold is blank", "Give a right answer, or leave it out.")
    question = piped(question)
    chosen = [with_k(one, k) for one in ([spec.parse(mode, preset)] if preset else spec.parse_list(mode))]
    budget = budget_of(
        rounds=rounds, tokens=tokens, usd=usd, queries=queries, calls=calls, seconds=seconds,
        serial_tokens=serial_tokens, serial_calls=serial_calls,
    )  # fmt: skip
    errors = Console(stderr=True, quiet=as_json)
    with open_agent(
        source, llm, budget, seed=seed, how=how, about=about, prices=prices, record=record, replay=replay,
        searching=searching_of(where=where, weight=weight, rerank=rerank, mmr=mmr),
    ) as agent:  # fmt: skip
        several = len(chosen) > 1
        answers = [_watch(errors, agent, question, one, brief=several) for one in chosen]
        _tell_probes(errors, agent)
    if as_json:
        told = [answer.to_dict(trace=trace or "full") for answer in answers]
        print_json({"answers": told} if several else told[0])
    elif several:
        Console().print(terminal.side_by_side(answers, _right(answers, gold)))
    else:
        terminal.show_answer(Console(), answers[0])
        if gold:
            Console().print(
                f"{'right' if _right(answers, gold)[0] else 'wrong'}: {' or '.join(gold)}", markup=False, soft_wrap=True
            )
    for answer in answers if show_trace and not as_json else ():
        terminal.show_trace(Console(), answer)
    for answer in answers:
        if not answer.text:
            why = f"{f'{answer.mode}: no' if several else 'No'} answer ({answer.stop_reason}): {answer.reason}"
            Console(stderr=True).print(terminal.plain(why), markup=False)
    if not any(answer.text for answer in answers):
        raise typer.Exit(1)


def _right(answers: list[Answer], gold: list[str] | None) -> list[bool]:
    """Whether each answer is an exact match of a right one; empty where none is known."""
    from ragscale.measure.metrics import exact_match

    return [bool(exact_match(answer.text, gold)) for answer in answers] if gold else []


def _watch(console: Console, agent: Agent, question: str, mode: Mode, *, brief: bool) -> Answer:
    """Run the question, a line a step (or one in all) and the running cost below; the answer."""
    from ragscale.cli import terminal
    from ragscale.modes.spec import label
    from ragscale.types import Event, Spend
    from ragscale.view.trace import cost

    spent, name = Spend(), label(mode)
    with console.status("Opening the index, starting the model") as status:
        for item in agent.stream(question, mode=mode):
            if isinstance(item, Event):
                spent += item.spend
                move = terminal.event_text(item, width=console.width)
                if not brief:
                    console.print(move, no_wrap=True, overflow="ellipsis")
                status.update(f"{name}: {counted(spent.llm_calls, 'call')}, {cost(spent)}")
    answer = cast("Answer", item)  # a stream always ends with its answer
    if brief:
        console.print(f"{name}: {counted(spent.llm_calls, 'call')}, {cost(spent)}", highlight=False, markup=False)
    return answer


def _tell_probes(console: Console, agent: Agent) -> None:
    from ragscale.view.trace import cost

    probes = agent.probe_spend
    if probes.llm_calls:
        tried = f"not charged: {counted(probes.llm_calls, 'call')} to try the model out, {cost(probes)}"
        console.print(tried, style="dim", highlight=False)
