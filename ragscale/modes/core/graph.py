"""The graph of a mode: LangGraph's `StateGraph`, compiled so that it can also be run by hand, without an `Agent`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from typing import Any, Self

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.channels import BinaryOperatorAggregate
from langgraph.errors import EmptyInputError, GraphRecursionError
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Overwrite

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.modes.core.calls import Context
from ragscale.modes.core.state import State, initial, outermost
from ragscale.text import is_blank

__all__ = ["AsyncGraph", "ModeGraph", "StepsExceeded"]


class StepsExceeded(RagscaleError, GraphRecursionError):
    """A graph that did not end within the steps that it was given."""


class AsyncGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled graph whose nodes are asynchronous: it says so where it is run without a loop, and names what it is
    run with that is none of its own."""

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any]) -> Self:
        """The same graph as one of this class; made as LangGraph makes its own copies of a graph."""
        return cls(**{name: value for name, value in vars(compiled).items() if name != "__orig_class__"})

    def stream(self, *_: Any, **__: Any) -> Iterator[Any]:
        """Refuse. `invoke` comes here too. Raises `InvalidInput`."""
        raise InvalidInput(
            f"the graph {self.name!r} has asynchronous nodes only", "Use ainvoke or astream; Agent.ask blocks."
        )

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, *, context: Any = None, **options: Any
    ) -> AsyncIterator[Any]:
        """As LangGraph's; `ainvoke` comes here too.

        Raises:
            InvalidInput: `input` is no dictionary with a question; or it is None, and there is no run to go on with.
            StepsExceeded: It did not end within its ``recursion_limit``.
        """
        right = 'Give {"question": "..."}'
        if input is not None and not isinstance(input, dict | Command):
            raise InvalidInput(f"the graph {self.name!r} was run with a {type(input).__name__}", f"{right}.")
        input, context = await self._checked(input, config, context)
        try:
            stream = super().astream(input, config, context=context, **options)
            async with contextlib.aclosing(stream) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk
        except EmptyInputError:
            raise InvalidInput(
                f"the graph {self.name!r} was run with nothing, and has no run to go on with",
                f"{right}, or the thread_id of a run that has not ended, and its checkpointer.",
            ) from None
        except StepsExceeded:
            raise
        except GraphRecursionError as error:
            problem = f"the graph {self.name!r} has not ended: {str(error).partition('. ')[0]}"
            raise StepsExceeded(problem, "Raise recursion_limit in its config.") from error

    async def _checked(self, input: Any, config: RunnableConfig | None, context: Any) -> tuple[Any, Any]:
        """Input and context as the graph takes them."""
        return input, context


class ModeGraph(StateGraph[Any, Context, Any, Any]):
    """Graph of a mode: a `StateGraph` over its state and the `Context` that its nodes share.

    Compiled, it takes ``{"question": "..."}`` for a start and a `Context` for each run::

        graph = Chain().graph().compile()
        context = Context(index=index, llm=llm, ledger=Ledger(budget), capabilities=await llm.capabilities())
        state = await graph.ainvoke({"question": "..."}, context=context)
    """

    def __init__(self, state: type[State], asks: dict[str, Any] | None = None) -> None:
        """`asks`: how its moves ask, which is `Mode.asks`; by default as the model was trained to be asked."""
        super().__init__(state, Context)
        self.asks = asks or {}

    def add_conditional_edges(
        self, source: str, path: Any, path_map: dict[Hashable, str] | list[str] | None = None
    ) -> Self:
        """As LangGraph's, for an asynchronous `path`, which is no run of its own in LangChain's traces: one takes a
        task of the loop and a set of callbacks a step."""
        return super().add_conditional_edges(source, _Router(path), path_map)

    def compile(self, *args: Any, **options: Any) -> CompiledStateGraph[Any, Context, Any, Any]:
        """As `StateGraph.compile`."""
        return _Compiled.of(super().compile(*args, **options))


class _Router(Runnable[Any, Any]):
    """The function of a conditional edge, as LangGraph calls it."""

    def __init__(self, path: Callable[[Any], Awaitable[Any]]) -> None:
        self.name = path.__name__
        self._path = path

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Refuse: it is asynchronous. Raises `NotImplementedError`."""
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """The next node for a state, or what is sent."""
        return await self._path(input)


class _Compiled(AsyncGraph):
    """Checks what a run is given, and begins each question anew, also on a thread that holds another one."""

    async def _checked(self, input: Any, config: RunnableConfig | None, context: Any) -> tuple[Any, Any]:
        """Also raises `InvalidInput` where there is no question, or `context` has other fields than a `Context`."""
        if isinstance(context, dict):
            context = _context(context)
        if isinstance(input, dict):
            input = self._anew(
                initial(_question(input), outermost(getattr(self.builder, "asks", None))), await self._held(config)
            )
        return input, context

    async def _held(self, config: RunnableConfig | None) -> dict[str, Any]:
        """The state that the thread is in; empty where no thread is kept."""
        if not self.checkpointer or not config:
            return {}
        return dict((await self.aget_state(config)).values)

    def _anew(self, start: State, held: dict[str, Any]) -> dict[str, Any]:
        """`start`, so that nothing of what is `held` stays beside it and no reducer adds it to that."""
        anew: dict[str, Any] = {**{name: type(old)() for name, old in held.items()}, **start}
        for name in held:
            if isinstance(self.builder.channels.get(name), BinaryOperatorAggregate):
                anew[name] = Overwrite(anew[name])
        return anew


def _question(given: dict[str, Any]) -> str:
    """The question alone: the rest is an initial state, or values of a parent graph under the same names."""
    question = given.get("question")
    if not isinstance(question, str) or is_blank(question):
        raise InvalidInput(f"The question is {question!r}", 'Ask something: {"question": "..."}.')
    return question


def _context(given: dict[str, Any]) -> Context:
    try:
        return Context(**given)
    except TypeError as error:
        known = ", ".join(Context.__dataclass_fields__)
        raise InvalidInput(f"the context of a mode's graph: {error}", f"There are: {known}. Or use Agent.") from None
