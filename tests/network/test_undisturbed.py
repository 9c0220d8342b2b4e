"""Parts of collectives that nothing slows run undisturbed: what comes of it is what comes of solving them with all others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.clock import Clock
from simulator.network.contract import OperationClass
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.shares import Share, Shares
from simulator.network.undisturbed import Leg, Legs, Undisturbed
from simulator.network.usage import Usage
from tests.network import fabrics
from tests.network.doubles import communication
from workloads.groups import Groups


class Settled(FluidNetwork):
    """Solves all that is under way: nothing runs undisturbed."""

    def _takes_up(self, one: Undisturbed, leg: Leg, now: int) -> bool:
        return False


def fold() -> Fold:
    return Fold(fabrics.clos(4, 4, 1e9, 2e9, latencies=(1e-7, 3e-7)), Groups(1, 1, 4, 4, 1, 2))


def choices(on: Fold) -> list[OperationClass]:
    """Collectives of several groups and sizes, some of which share links; and sends between stages."""
    calls = [
        communication("all-to-all", "ep", 4e3),
        communication("all-to-all", "ep", 9e3),
        communication("all-reduce", "dp", 9e3),
        communication("all-gather", "expert_dp", 3e3),
    ]
    found = {
        operation.key: operation
        for key in range(len(on.rank_classes))
        for call in calls
        for operation in (on.collective(key, call),)
    }
    sends = [on.send(each.key, (each.pp_rank + 1) % 4, 7e3) for each in on.rank_classes]
    return [operation for operation in (*found.values(), *sends) if operation.phases]


def told(
    kind: type[FluidNetwork], launches: list[tuple[int, int]], alone: bool
) -> tuple[list[int], list[tuple[int, int, float]], FluidNetwork]:
    """When each launch ended, every change of a rank's payload rate, and the network afterwards."""
    on, clock = fold(), Clock()
    rates: list[tuple[int, int, float]] = []
    network = kind(clock, on)
    network.on_rates = lambda keys: rates.extend((clock.now, key, network.memory_rate(key)) for key in sorted(keys))
    available, ends = choices(on), [-1] * len(launches)

    def start(place: int) -> None:
        operation = available[launches[place][1] % len(available)]
        if operation.kind == "pp" and alone:
            network.launch_together([operation], lambda _places: ends.__setitem__(place, clock.now))
        else:
            network.launch(operation).callbacks.append(lambda _event: ends.__setitem__(place, clock.now))

    for place, (when, _) in enumerate(launches):
        clock.call_at(when, lambda place=place: start(place))  # type: ignore[misc]
    clock.run()
    assert network.running == 0 and not network._undisturbed
    return ends, rates, network


LAUNCHES = st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(0, 10**6)), min_size=1, max_size=20)


@settings(max_examples=50, deadline=None)
@given(LAUNCHES, st.booleans())
def test_what_runs_undisturbed_ends_and_loads_links_as_what_is_solved_with_all(
    launches: list[tuple[int, int]], alone: bool
) -> None:
    """Ends to the tick, payload rates of ranks, and the use of every link over time, whoever meets whom."""
    (one, rates, by_itself), (other, expected, solved) = told(FluidNetwork, launches, alone), told(Settled, launches, alone)
    assert one == other and -1 not in one
    assert [row[:2] for row in rates] == [row[:2] for row in expected]
    assert [row[2] for row in rates] == pytest.approx([row[2] for row in expected], rel=1e-12)
    first, second = Usage(by_itself), Usage(solved)
    first.check()
    assert first.wire_bytes == second.wire_bytes
    for link in by_itself.folding.link_classes:
        for here, there in zip(first.steps(link.key), second.steps(link.key), strict=True):
            assert here.tolist() == pytest.approx(there.tolist(), rel=1e-9, abs=1e-12)
    assert all(abs(by_itself.use(link.key)) < 1e-3 for link in by_itself.folding.link_classes)


def test_parts_that_meet_nobody_form_no_contest_and_those_on_a_full_link_do() -> None:
    """One all-to-all is solved for itself; a second one beside it over the same ports is a rival of it."""
    _, _, network = told(FluidNetwork, [(0, 0)], alone=True)
    assert network.history.share and not network._coupled
    _, _, network = told(FluidNetwork, [(0, 0), (1_000_000, 0)], alone=True)
    assert network._coupled


def legs(on: Fold, operation: OperationClass) -> tuple[Iterator[Leg], Shares]:
    """The legs of the first part of an operation."""
    shares = Shares()
    plan = shares.plan(operation, on.link_classes)
    way = Legs(shares, *plan.phases[0][0])

    def all_of() -> Iterator[Leg]:
        leg: Leg | None = way.first
        number = 0
        while leg is not None:
            yield leg
            leg, number = way.after(number), number + 1

    return all_of(), shares


def test_legs_go_from_end_to_end_until_all_has_arrived() -> None:
    """Flows of an uneven exchange leave one after the other; their ticks sum to what the network takes; what is left falls."""
    on = Fold(fabrics.clos(2, 2, 1.0, 2.0), Groups(1, 1, 4, 1), symmetric=False)
    operation = on.collective(0, communication("all-to-all", "dp", 12.0))
    found, _ = legs(on, operation)
    ticks = 0
    before: Share | None = None
    for leg in found:
        assert len(leg.sizes) > len(leg.keep) == len(set(leg.keep))
        carried = dict(before.use) if before else {}
        more = {link for link, amount in leg.share.use if amount > carried.get(link, 0.0)}
        assert more == (set() if leg.more is None else set(leg.more.tolist()))
        ticks, before = ticks + leg.ticks, leg.share
    clock = Clock()
    network = Settled(clock, on)
    network.launch(operation)
    clock.run()
    assert ticks == clock.now - round(operation.latency * 1e12)
