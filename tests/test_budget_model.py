"""A family of ledgers under random operations, against a model that is plain arithmetic (hypothesis, stateful)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from ragscale.budget import Budget, Ledger, Reservation
from ragscale.errors import BudgetExceeded
from ragscale.types import Spend

SUMMED = ("tokens", "llm_calls", "queries", "usd")

limits = st.one_of(st.none(), st.integers(0, 400))
dollars = st.integers(0, 300).map(lambda tenths: tenths / 10**7)
budgets = st.builds(
    Budget, tokens=limits, llm_calls=limits, queries=limits, rounds=st.none() | st.integers(0, 4),
    usd=st.none() | dollars,
)  # fmt: skip
amounts = st.builds(
    Spend,
    llm_calls=st.integers(0, 3),
    prompt_tokens=st.integers(0, 120),
    completion_tokens=st.integers(0, 60),
    queries=st.integers(0, 4),
    rounds=st.integers(0, 1),
    usd=dollars,
)


@dataclass(eq=False)
class Member:
    """One ledger, as the model knows it."""

    ledger: Ledger
    budget: Budget
    parent: Member | None
    held: list[Spend] = field(default_factory=list)
    spent: list[Spend] = field(default_factory=list)
    closing: Spend | None = None
    released: bool = False

    def family(self) -> list[Member]:
        return [self, *(self.parent.family() if self.parent else [])]

    def used(self, name: str) -> float:
        return round(sum(getattr(spend, name) for spend in self.held + self.spent), 12)

    def own(self, name: str) -> float:
        return getattr(self.closing, name) if self.closing and self.released else 0

    def fits(self, wanted: Spend) -> bool:
        return all(
            limit is None or not cost or round(member.used(name) - self.own(name) + cost, 12) <= limit
            for member in self.family()
            for name in SUMMED
            for limit, cost in [(getattr(member.budget, name), getattr(wanted, name))]
        )

    def drop(self) -> None:
        if self.closing:
            for member in self.family():
                member.held.remove(self.closing)
            self.closing = None


Grant = tuple[Member, Reservation, Spend]


class Family(RuleBasedStateMachine):
    """Reserve, settle, refund, overrun, hold and release closing shares, in any order, anywhere in a family."""

    members = Bundle("members")
    grants = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Member] = []
        self.overrun = False

    def add(self, ledger: Ledger, budget: Budget, parent: Member | None) -> Member:
        member = Member(ledger, budget, parent)
        self.all.append(member)
        return member

    @initialize(target=members, budget=budgets)
    def start(self, budget: Budget) -> Member:
        return self.add(Ledger(budget), budget, None)

    @precondition(lambda self: len(self.all) < 8)
    @rule(target=members, parent=members, budget=budgets)
    def child(self, parent: Member, budget: Budget) -> Member:
        return self.add(parent.ledger.child(budget), budget, parent)

    @rule(target=grants, member=members, wanted=amounts, clock=st.none() | st.builds(Spend, rounds=st.integers(0, 5)))
    def reserve(self, member: Member, wanted: Spend, clock: Spend | None) -> Grant | Any:
        rounds = [m.budget.rounds for m in member.family() if m.budget.rounds is not None]
        # As in every dimension, what costs nothing of it is allowed beyond the limit.
        too_late = (
            clock is not None and bool(rounds) and bool(wanted.rounds) and clock.rounds + wanted.rounds > min(rounds)
        )
        try:
            granted = member.ledger.reserve(wanted, clock=clock)
        except BudgetExceeded as refused:
            if refused.dimension == "rounds":
                assert too_late
            else:
                assert not member.fits(wanted)
            return (member, None, wanted)
        assert member.fits(wanted)
        assert not too_late
        if member.released:
            member.drop()
        for relative in member.family():
            relative.held.append(wanted)
        return (member, granted, wanted)

    @rule(grant=consumes(grants), actual=st.none() | amounts, refund=st.booleans())
    def settle(self, grant: Grant | Any, actual: Spend | None, refund: bool) -> None:
        member, granted, wanted = grant
        if granted is None:
            return
        cost = Spend() if refund else actual or wanted
        if refund:
            granted.refund()
        else:
            granted.settle(cost)
        granted.settle(wanted)  # no effect
        self.overrun |= any(getattr(cost, name) > getattr(wanted, name) for name in SUMMED)
        for relative in member.family():
            relative.held.remove(wanted)
            relative.spent.append(cost)

    @rule(member=members, wanted=st.builds(Spend, llm_calls=st.just(1), prompt_tokens=st.integers(1, 200), usd=dollars))
    def hold_closing(self, member: Member, wanted: Spend) -> None:
        if member.closing or member.released:
            return
        left = min(m.ledger.left("tokens") for m in member.family())
        usd = max(0.0, min(wanted.usd or 0.0, *(m.ledger.left("usd") for m in member.family())))
        share = Spend(llm_calls=1, prompt_tokens=int(max(0, min(wanted.tokens, left))), usd=usd)
        try:
            member.ledger.hold_closing(wanted)
        except BudgetExceeded:
            assert share.tokens < 1 or member.ledger.left("usd") < 0 or not member.fits(share)
            return
        assert member.fits(share)
        member.closing = share
        for relative in member.family():
            relative.held.append(share)

    @rule(member=members)
    def release_closing(self, member: Member) -> None:
        member.ledger.release_closing()
        member.released = True

    @rule(member=members)
    def drop_closing(self, member: Member) -> None:
        member.ledger.drop_closing()
        member.drop()

    @invariant()
    def agrees_with_the_model(self) -> None:
        for member in self.all:
            assert member.ledger.held == sum(member.held, Spend())
            assert member.ledger.spent == sum(member.spent, Spend())

    @invariant()
    def no_limit_is_passed(self) -> None:
        for member in self.all:
            for name in SUMMED:
                limit = getattr(member.budget, name)
                assert self.overrun or limit is None or member.used(name) <= limit
                left = [
                    round(getattr(m.budget, name) - m.used(name) + member.own(name), 12)
                    for m in member.family()
                    if getattr(m.budget, name) is not None
                ]
                assert member.ledger.left(name) == min(left, default=float("inf"))


TestFamily = Family.TestCase
TestFamily.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
