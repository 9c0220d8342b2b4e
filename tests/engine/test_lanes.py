"""Lanes of several ranks: who waits for whom when chains ask in different orders."""

from __future__ import annotations

from simulator.engine.accounts import Accounts
from simulator.engine.clock import Clock
from simulator.engine.lanes import CommunicationLane, Rendezvous
from simulator.engine.recorder import Recorder
from tests.engine.doubles import TimedNetwork, operation

BOTH = (0, 1)


def lanes() -> tuple[Clock, Rendezvous, list[CommunicationLane]]:
    """The expert lanes of two ranks."""
    clock, recorder = Clock(), Recorder()
    rendezvous = Rendezvous(clock, TimedNetwork(clock))
    made = [
        CommunicationLane(clock, rendezvous, Accounts(rank, recorder), recorder, "ep", lambda kind, change: None) for rank in BOTH
    ]
    return clock, rendezvous, made


def test_chains_that_ask_in_opposite_orders_do_not_block_each_other() -> None:
    """Rank 0 wants the forward's collective first, rank 1 the backward's: both run, one after the other."""
    clock, rendezvous, (first, second) = lanes()
    forward, backward = operation(0, "ep", BOTH, 0, 1e-9), operation(1, "ep", BOTH, 0, 1e-9)
    tickets = [first.submit(forward, "forward", 0), first.submit(backward, "backward", 1)]
    tickets += [second.submit(backward, "backward", 1), second.submit(forward, "forward", 0)]
    clock.run()
    assert all(ticket.done.processed for ticket in tickets)
    assert sorted(ticket.arrived for ticket in tickets) == [0, 0, 1000, 1000]
    assert clock.now == 2000 and rendezvous.unmet == 0


def test_the_same_collective_of_two_chains_is_matched_chain_by_chain() -> None:
    """A dispatch and its like in a recomputation are two: a forward on one rank never meets a backward on the other."""
    clock, rendezvous, (first, second) = lanes()
    dispatch = operation(0, "ep", BOTH, 0, 1e-9)
    ahead = first.submit(dispatch, "forward", 0)
    behind = second.submit(dispatch, "recomputed", 1)
    clock.run()
    assert not ahead.done.triggered and not behind.done.triggered
    assert rendezvous.unmet == 2


def test_a_chain_keeps_its_order() -> None:
    """What one chain asked for later does not overtake, though everybody else is ready for it."""
    clock, _, (first, second) = lanes()
    early, late = operation(0, "ep", BOTH, 0, 1e-9), operation(1, "ep", (0,), 0, 1e-9)
    waits = first.submit(early, "early"), first.submit(late, "late")

    def come() -> None:
        second.submit(early, "early")

    clock.call_at(5000, come)
    clock.run()
    assert [ticket.arrived for ticket in waits] == [5000, 6000]
    assert [ticket.joined for ticket in waits] == [0, 6000]
