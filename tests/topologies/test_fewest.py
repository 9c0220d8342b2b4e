"""Ways of fewest hops for many pairs at once, held to the router that searches for one pair after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import TopologyError
from tests.topologies.machines import machine, tier
from topologies.adjacency import RUNS, by_end, links_of, spans
from topologies.faults import FEW
from topologies.fewest import Net, distances, fewest, joined
from topologies.naming import link_name
from topologies.routing import Minimal

#: Sources and targets by their number: searches start from whichever side has fewer.
SIDES = ((1, 9), (9, 1), (4, 4))


def random_net(seed):
    """A graph with parallel links, some of which are closed, and nodes that nothing reaches."""
    rng = np.random.default_rng(seed)
    nodes, links = int(rng.integers(4, 16)), int(rng.integers(10, 60))
    tail, head = rng.integers(0, nodes, links), rng.integers(0, nodes, links)
    usable = rng.random(links) < 0.8
    latency = rng.integers(1, 9, links).astype(np.float64)
    return Net(nodes, tail, head, latency, lambda some: usable[some]), usable, rng


@given(st.integers(0, 10_000), st.sampled_from(SIDES))
def test_all_pairs_at_once_have_the_ways_that_one_pair_after_the_other_has(seed, sides):
    net, usable, rng = random_net(seed)
    sources = np.repeat(rng.integers(0, net.nodes, sides[0]), sides[1])
    targets = np.tile(rng.integers(0, net.nodes, sides[1]), sides[0])
    router = Minimal(net.nodes, net.tail, net.head, net.latency, str, usable=usable)
    found, lost = fewest(net, sources, targets)
    for pair, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        one, mine = router.way(source, target), found.flow == pair
        assert lost[pair] == (one is None)
        expected = {} if one is None else dict(zip(one.links.tolist(), one.fraction.tolist(), strict=True))
        assert dict(zip(found.link[mine].tolist(), found.fraction[mine].tolist(), strict=True)) == pytest.approx(expected)
        assert found.latency[pair] == (one.latency if one else 0.0)


@given(st.integers(0, 10_000), st.booleans())
def test_a_search_goes_as_far_as_its_ends_and_is_right_up_to_there(seed, forward):
    net, usable, rng = random_net(seed)
    tail, head = (net.tail, net.head) if forward else (net.head, net.tail)
    router = Minimal(net.nodes, head, tail, net.latency, str, usable=usable)  # hops() counts towards its target
    end = int(rng.integers(0, net.nodes))
    found, whole = distances(net, 0, forward, np.array([end])), router.hops(0)
    np.testing.assert_array_equal(found, np.where(whole <= whole[end], whole, -1) if whole[end] >= 0 else whole)


@pytest.mark.parametrize("count", [2, FEW + 1])
def test_a_chip_that_dead_links_cut_off_is_found_however_many_they_are(count):
    fabric = machine(a=tier("mesh", count + 1, f"{count} B/s")).fabric(count + 1)
    out = [link_name(fabric, link) for link in range(count)]  # all links that leave device 0
    fabric.with_faults([{"link": link, "capacity": 0} for link in out[:-1]])
    with pytest.raises(TopologyError, match="no way is left from"):
        fabric.with_faults([{"link": link, "capacity": 0} for link in out])


@given(st.integers(0, 10_000))
def test_a_way_is_found_from_both_ends_where_a_search_from_one_finds_it(seed):
    net, _, rng = random_net(seed)
    source, target = rng.integers(0, net.nodes, 2).tolist()
    assert joined(net, source, target) == (distances(net, source, True, np.array([target]))[target] >= 0)


@given(st.integers(0, 10_000), st.integers(0, 3 * RUNS))
def test_links_of_neighbouring_nodes_cut_out_together_are_those_of_each(seed, gaps):
    """Few runs and more than are cut out piece by piece, nodes without links, no nodes at all."""
    rng = np.random.default_rng(seed)
    order, start = by_end(rng.integers(0, 500, 900), 500)
    nodes = np.setdiff1d(np.arange(rng.integers(0, 500)), rng.integers(0, 500, gaps))
    np.testing.assert_array_equal(links_of(order, start, nodes), spans(order, start, nodes)[0])
