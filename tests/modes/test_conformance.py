"""Every registered mode, and small variants of the built-in ones, against the conformance suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance import Conformance

from ragscale import modes
from ragscale.modes import (
    Adaptive,
    Auto,
    Beam,
    BestOfN,
    Bidirectional,
    Chain,
    Evolve,
    IRCoT,
    Mcts,
    Mixture,
    Mode,
    MultiChain,
    Muse,
    Once,
    Parallel,
    React,
    Retry,
    Revise,
    SelfAsk,
    Tot,
    Tree,
    Vote,
    built_in,
)

SMALL = Tree(steps=2, expand=2, samples=3, rollouts=2, rollout_steps=1)

POLICY = Path(__file__).with_name("policy.json")
"""It goes on with two steps of ``chain`` where a question has more than five words: for tests, and of no other use."""

VARIANTS: dict[str, Mode] = {
    **{name: cls() for name, cls in modes.registered().items() if "of" not in cls.__dataclass_fields__},
    "once-k1": Once(k=1, context=1),
    "self-ask-2": SelfAsk(steps=2, k=2),
    "chain-learned": Chain(steps=2, stop="learned", bias=-1.0),
    "chain-judged": Chain(steps=2, stop="judged", question_k=0),
    "revise-1": Revise(rounds=1, k=2, context=3),
    "ircot-2": IRCoT(steps=2, k=2, context=3),
    "chain-2": Chain(steps=2, question_k=0),
    "chain-aware": Chain(steps=2, aware=True),
    "parallel-single": Parallel(max_queries=1),
    "parallel-tags": Parallel(profile="rag-r1", rounds=2),
    "parallel-round": Parallel(aggregate="round", rounds=2),
    "parallel-query": Parallel(aggregate="query", rounds=2, max_queries=2),
    "parallel-hybrid": Parallel(
        profile="hybrid-deep-search", aggregate="query", rounds=2, read_tokens=64, turn_tokens=96
    ),
    "parallel-descending": Parallel(width="descending", rounds=2, max_queries=2),
    "react-small": React(turns=2, width=2),
    "react-json": React(turns=2, tools="json"),
    "adaptive-2": Adaptive(rounds=2),
    "adaptive-1": Adaptive(rounds=2, width=1, k=2),
    "tree-small": SMALL,
    "tree-one": Tree(steps=2, expand=1, samples=1, question_k=0),
    "tree-wide": Tree(steps=1, expand=5, samples=2, rollouts=1, rollout_steps=0),
    "beam-small": Beam(steps=2, beam=2, expand=2, samples=2, rollouts=2, rollout_steps=1, scorer="judge"),
    "tot-vote": Tot(steps=2, expand=2, samples=2, judge="vote", generate="propose"),
    "muse": Muse(of=Chain(steps=2), branches=2),
    "vote": Vote(of=Chain(steps=2), n=3),
    "vote-of-tree": Vote(of=SMALL, n=2),
    "vote-of-parallel": Vote(of=Parallel(rounds=2), n=3),
    "vote-of-vote": Vote(of=Vote(of=Once(), n=2), n=2),
    "vote-of-best": Vote(of=BestOfN(of=Chain(steps=2), n=2), n=2),
    "best-of-n": BestOfN(of=Chain(steps=2), n=3),
    "best-by-judge": BestOfN(of=Chain(steps=2, question_k=0), n=2, scorer="judge"),
    "best-by-agreement": BestOfN(of=Parallel(rounds=1), n=2, scorer="agreement"),
    "vote-decided": Vote(of=Once(), n=4, stop="posterior", weigh="judge"),
    "best-weighted": BestOfN(of=Chain(steps=1), n=2, weighted=True),
    "mixture": Mixture(of=Chain(steps=1, question_k=0), n=2),
    "vote-of-mixture": Vote(of=Mixture(of=Once(), n=2, layers=2), n=2),
    "multi-chain": MultiChain(of=Chain(steps=1), n=2),
    "multi-chain-of-vote": MultiChain(of=Vote(of=Once(), n=2), n=2, reads="passages"),
    "mcts": Mcts(of=Chain(steps=2), rollouts=3, width=2, expand=1, scorer="penalty"),
    "muse-of-tree": Muse(of=SMALL, branches=2),
    "mcts-wide": Mcts(of=SMALL, rollouts=4, width=3),
    "retry": Retry(of=Chain(steps=2, question_k=0), tries=2, carry="summary"),
    "evolve-small": Evolve(generations=2, turns=1, reset=1, elites=2, refill=1, question_k=0),
    "bidirectional": Bidirectional(of=Chain(steps=2), candidates=2, checks=2),
    "retry-excluding": Retry(of=Parallel(rounds=1), tries=3, carry="exclude"),
    "auto-learned": Auto(policy=str(POLICY)),
    "vote-of-auto": Vote(of=Auto(policy=str(POLICY)), n=2),
}
LONG = (
    # of the default size, beside a small one of the same mode
    "adaptive", "auto", "beam", "evolve", "ircot", "react", "revise", "self-ask", "tot",
    # what they add to others is little
    "adaptive-1", "best-by-agreement", "best-by-judge", "best-weighted", "chain-aware", "chain-judged", "mcts-wide",
    "multi-chain-of-vote", "muse-of-tree", "once-k1", "parallel-descending", "parallel-query", "parallel-single",
    "react-json", "retry-excluding", "tree-one", "vote-decided", "vote-of-mixture", "vote-of-parallel", "vote-of-tree",
    "vote-of-auto", "vote-of-vote",
)  # fmt: skip
"""Variants that run with the slow tests: ``pytest tests/modes -m slow --numprocesses auto``."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The marker of slow tests for a variant of `LONG`."""
    return [pytest.mark.slow] if name in LONG else []


def test_every_mode_is_among_the_variants() -> None:
    """Those around another mode are written out above: a new one must be, too."""
    assert {mode.name for mode in VARIANTS.values()} >= set(built_in())


class TestEveryMode(Conformance):
    @pytest.fixture(params=[pytest.param(mode, id=name, marks=marks(name)) for name, mode in VARIANTS.items()])
    def mode(self, request: pytest.FixtureRequest) -> Mode:
        mode: Mode = request.param
        return mode
