"""Modes as text: what is read, what is refused, and that labels read back."""

from __future__ import annotations

from typing import Any

import pytest

from ragscale.errors import InvalidInput
from ragscale.modes import BestOfN, Chain, Mcts, Once, Parallel, Tree, Vote
from ragscale.modes.spec import label, parse, parse_list


def test_names_and_parameters() -> None:
    text = " once , parallel(max_queries=1, profile='rag-r1'),tree( expand = 2 , temperature=1 ),chain()"
    assert parse_list(text) == [
        Once(), Parallel(max_queries=1, profile="rag-r1"), Tree(expand=2, temperature=1), Chain(),
    ]  # fmt: skip
    assert parse("parallel(profile=rag-r1)") == Parallel(profile="rag-r1")
    assert parse("tree(expand=2,)") == parse("tree(expand=(2))") == Tree(expand=2)


def test_modes_inside_modes() -> None:
    text = "once, vote(of=best-of-n(of=chain(steps=3), n=2), n=4), parallel(profile=rag-r1), mcts(of=tree(k=2))"
    assert parse_list(text) == [
        Once(), Vote(of=BestOfN(of=Chain(steps=3), n=2), n=4), Parallel(profile="rag-r1"), Mcts(of=Tree(k=2)),
    ]  # fmt: skip
    assert parse("vote(of=once)") == parse("vote(of=once())") == parse("vote(of='once()')") == Vote(of=Once())


@pytest.mark.parametrize("given", ["chain(steps=2)", Chain(steps=2)], ids=str)
@pytest.mark.parametrize("kind", [Vote, BestOfN, Mcts])
def test_the_mode_of_members_is_an_object_or_a_text(kind: Any, given: Any) -> None:
    assert kind(of=given) == kind(of=Chain(steps=2))


@pytest.mark.parametrize("given", ["chian", "vote(of=chain", Chain, 3, None, ["chain"]], ids=str)
@pytest.mark.parametrize("kind", [Vote, BestOfN, Mcts])
def test_members_of_no_mode_are_refused_as_the_ensemble_is_made(kind: Any, given: Any) -> None:
    with pytest.raises(InvalidInput):
        kind(of=given)


def test_true_and_false_as_a_shell_writes_them() -> None:
    assert parse("chain(early=false)") == parse("chain(early=False)") == Chain(early=False)


def test_a_preset_of_another_mode_says_whose_it_is() -> None:
    with pytest.raises(InvalidInput, match=r"It is one of parallel: give that as the mode\. Use corag-paper"):
        Chain.preset("rag-r1-paper")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read from character 1"),
        ("once,", "cannot be read"),
        ("once;tree", "cannot be read"),
        ("once)(tree", "cannot be read"),
        ("once).x(tree", "cannot be read"),
        ("chain(preset=corag-paper, preset=corag-paper)", "chain: preset is given twice"),
        ("tree(expand=2", "cannot be read"),
        ("vote(chain)", "parameters '(chain)' of mode vote cannot be read"),
        ("vote(of=3)", "3 names no mode"),
        ("vote(n=257)", "vote: n is above 256"),
        ("vote(of=chian)", "Did you mean 'chain'?"),
        ("vote(aware=true)", "Give it to the mode inside: vote(of=chain(aware=...))"),
        ("vote(of=chain(stepps=3))", "chain has no parameter 'stepps'. Did you mean 'steps'?"),
        ("vote(of=chain(steps=2)", "cannot be read from character"),
        (
            "best-of-n(scorer=gold)",
            "scorer='gold' does not fit. Accepted: 'penalty' or 'judge' or 'agreement' or 'confidence'.",
        ),
        ("mcts(of=parallel)", "mcts: of=parallel cannot go on from a chain. Use chain, tree, beam or tot."),
        ("vote(" * 500 + ")" * 500, "cannot be read"),
        ("tree(2)", "parameters '(2)' of mode tree cannot be read"),
        ("tree(**{})", "cannot be read"),
        ("tree(expand=1+1)", "cannot be read"),
        ("tree(expand=[x for x in y])", "cannot be read"),
        ("chain(steps={[]:1})", "parameter '{[]: 1}' of mode chain cannot be read"),
        (f"chain(steps={'-' * 20_000}1)", "cannot be read"),
        ("chain(steps=1000000001)", "chain: steps is above 1,000,000,000"),
        ("chain(temperature=1e999)", "chain: temperature is above 1,000,000,000. Use a smaller number."),
        ("tree(expand=2, expand=3)", "expand is given twice"),
        ("tree(expand=2.0)", "expand=2.0 does not fit. Accepted: int."),
        ("tree(expand=True)", "expand=True does not fit"),
        ("tree(temperature=hot)", "temperature='hot' does not fit. Accepted: float."),
        ("parallel(profile=xml)", "profile='xml' does not fit. Accepted: 'auto' or 'generic'"),
        (
            "once(steps=2)",
            "once has no parameter 'steps'. Parameters: k, context, profile, prompts, answer_tokens, logprobs.",
        ),
        ("once,once(k=5)", "'once' is given twice"),
        ("one", "Did you mean 'once'?"),
    ],
)
def test_what_is_refused_and_why(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_list(text)
    assert problem in str(refused.value)


@pytest.mark.parametrize("quoted", [r"'it\'s a-b.toml'", '"it\'s a-b.toml"', "'''it's a-b.toml'''"])
def test_texts_in_quotation_marks_stay_as_they_are(quoted: str) -> None:
    mode = parse(f"vote(of=chain(prompts={quoted}), n=2)")
    assert mode == Vote(of=Chain(prompts="it's a-b.toml"), n=2)
    assert parse(label(mode)) == mode


def test_a_preset_beside_the_text_and_in_it_are_two() -> None:
    assert parse("chain(steps=2)", "corag-paper") == Chain.preset("corag-paper", steps=2)
    with pytest.raises(InvalidInput, match="chain: preset is given twice"):
        parse("chain(preset=corag-paper)", "corag-paper")


def test_one_mode_where_one_is_wanted() -> None:
    with pytest.raises(InvalidInput, match="2 modes"):
        parse("once,tree")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Once(), "once"),
        (Chain(steps=2, k=3), "chain(k=3, steps=2)"),
        (Parallel(profile="rag-r1"), "parallel(profile='rag-r1')"),
        (Tree(temperature=0.5), "tree(temperature=0.5)"),
        (Vote(), "vote"),
        (Vote(of=BestOfN(of=Chain(steps=2), scorer="judge")), "vote(of=best-of-n(of=chain(steps=2), scorer='judge'))"),
    ],
)
def test_a_label_is_the_shortest_text_that_reads_back(mode: Once, expected: str) -> None:
    assert label(mode) == expected
    assert parse(expected) == mode
