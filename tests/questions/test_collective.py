"""One collective alone through the public function: choices of libraries, sweeps, faults, refusals."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import topologies
from simulator import collective
from simulator.network.collectives.stack import GENERIC, WIRE
from simulator.questions.alone import Bench
from simulator.questions.collective import sizes_up_to, sweep
from simulator.questions.collective_results import table
from simulator.spec.errors import InputError, NotModelled
from tests.network import fabrics

LINK = "server0.chip0->infiniband0.rail0.leaf0"
RING = "z0.y0.x0->z0.y0.x1"

KEYS = [
    "collective",
    "chips",
    "bytes",
    "time_s",
    "algorithm_bandwidth",
    "bus_bandwidth",
    "bound_s",
    "busiest_link",
    "algorithm",
    "rung",
]


def test_the_answer_has_the_keys_of_the_contract() -> None:
    answer = collective("dgx-h100", "all-reduce", chips=8, bytes="1 GiB").to_dict()
    assert set(KEYS) <= set(answer)
    assert answer["bytes"] == 2.0**30 and answer["chips"] == 8 and answer["rung"] == "exact"
    assert answer["bus_bandwidth"] == pytest.approx(answer["algorithm_bandwidth"] * 2 * 7 / 8)


@pytest.mark.parametrize(
    ("system", "chips", "operation", "size", "algorithm", "library"),
    [
        ("dgx-h100", 8, "all-reduce", "1 GiB", "in-switch simple", "nccl"),
        ("dgx-h100", 4, "all-reduce", "1 GiB", "rings simple", "nccl"),
        ("dgx-h100", 8, "all-reduce", "1 KiB", "rings ll", "nccl"),
        ("dgx-a100", 8, "all-reduce", "1 GiB", "rings simple", "nccl"),
        ("dgx-h100", 256, "all-reduce", "64 KiB", "tree ll", "nccl"),
        ("dgx-h100", 32, "all-reduce", "8 GiB", "rings simple", "nccl"),
        ("dgx-h100", 32, "all-gather", "8 GiB", "rings simple", "nccl"),
        ("dgx-h100", 32, "all-to-all", "8 GiB", "direct simple", "nccl"),
        ("dgx-h100", 32, "dispatch", "1 GiB", "direct normal", "deepep"),
        ("atlas-800t-a2", 8, "all-reduce", "1 GiB", "direct simple", "hccl"),
        ("atlas-800t-a2", 32, "all-reduce", "1 GiB", "hierarchical simple", "hccl"),
        ("cloudmatrix384", 32, "dispatch", "1 GiB", "direct direct", "cann-moe"),
    ],
)
def test_the_choice_of_a_library_by_size_and_machine(
    system: str, chips: int, operation: str, size: str, algorithm: str, library: str
) -> None:
    answer = collective(system, operation, chips=chips, bytes=size)
    assert (f"{answer.algorithm} {answer.protocol}", answer.library) == (algorithm, library)


def test_one_copy_per_domain_where_experts_per_token_are_known() -> None:
    once, each = (collective("dgx-h100", "dispatch", chips=32, bytes="1 GiB", top_k=top_k) for top_k in (8, 0))
    assert (once.algorithm, each.algorithm) == ("one-copy-per-domain", "direct")
    assert once.time_s < each.time_s


def test_an_override_is_obeyed_and_not_faster_than_the_choice() -> None:
    chosen = collective("dgx-h100", "all-reduce", chips=32, bytes="1 GiB")
    for algorithm in ("rings", "ring", "tree", "direct", "hierarchical-serial"):
        forced = collective("dgx-h100", "all-reduce", chips=32, bytes="1 GiB", algorithm=algorithm)
        assert forced.algorithm == algorithm
        if algorithm in ("rings", "tree"):
            assert forced.time_s >= chosen.time_s


def test_libraries_cost_what_the_assumptions_say() -> None:
    bare, generic = (collective("dgx-h100", "all-to-all", chips=8, bytes=1024, library=name) for name in (WIRE, GENERIC))
    assert bare.latency_s == pytest.approx(1e-6)
    assert generic.latency_s == pytest.approx(1e-6 + 15e-6 + 2e-6)


def test_groups_run_at_once_and_share_what_they_share() -> None:
    """Neighbouring groups of 8 are servers of their own; strided ones all cross the network cards."""
    near = collective("dgx-h100", "all-to-all", chips=64, bytes="64 MiB", group_size=8)
    far = collective("dgx-h100", "all-to-all", chips=64, bytes="64 MiB", group_size=8, stride=8)
    assert near.time_s == pytest.approx(collective("dgx-h100", "all-to-all", chips=8, bytes="64 MiB").time_s)
    assert (near.busiest_tier, far.busiest_tier) == ("server", "infiniband")
    assert far.time_s > 4 * near.time_s


def test_a_degraded_link_costs_its_load_over_what_is_left() -> None:
    whole = collective("dgx-h100", "all-to-all", chips=32, bytes="1 GiB", library=WIRE)
    fault = {"link": "server0.chip3->infiniband0.rail3.leaf0", "capacity": 0.5}
    hurt = collective("dgx-h100", "all-to-all", chips=32, bytes="1 GiB", library=WIRE, faults=[fault])
    assert whole.busiest_tier == "infiniband"
    assert (hurt.time_s - hurt.latency_s) == pytest.approx(2 * (whole.time_s - whole.latency_s), rel=1e-9)


def test_a_sweep_grows_and_approaches_its_bandwidth() -> None:
    rows = sweep("dgx-h100", "all-reduce", chips=8).rows
    assert len(rows) == 13 and rows[0].bytes == 1024 and rows[-1].bytes == 2.0**34
    assert all(one.time_s <= other.time_s for one, other in pairwise(rows))
    assert all(one.bus_bandwidth <= other.bus_bandwidth for one, other in pairwise(rows))
    text = table(rows)
    assert "16 GiB" in text and "in-switch" in text
    assert sizes_up_to("3 KiB") == [1024.0, 3072.0]


def test_a_skewed_matrix_takes_as_long_as_its_fullest_port() -> None:
    matrix = np.full((8, 8), 1e6)
    matrix[:, 3] = 4e6
    answer = collective("dgx-h100", "all-to-all-v", chips=8, matrix=matrix, library=WIRE)
    assert answer.busiest_link.endswith("->chip3")
    assert answer.time_s - answer.latency_s == pytest.approx(7 * 4e6 / (450e9 * 0.82), rel=1e-9)


def test_a_large_matrix_says_that_only_its_end_is_known() -> None:
    fabric = fabrics.clos(8, 5, 1.0, 2.5)
    matrix = np.random.default_rng(1).random((40, 40))
    assert collective(fabric, "all-to-all-v", matrix=matrix).rung == "makespan-only"


def test_strings_and_numbers_are_sizes() -> None:
    times = {collective("dgx-h100", "all-to-all", chips=8, bytes=size).time_s for size in (2**20, 2.0**20, "1048576", "1 MiB")}
    assert len(times) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operation": "alltoall"}, "Did you mean all-to-all"),
        ({"algorithm": "rnig"}, "Did you mean ring"),
        ({"library": "ncll"}, "Did you mean nccl"),
        ({"bytes": 0}, "bytes must be above 0"),
        ({"bytes": "5 parsecs"}, "unit"),
        ({"bytes": None}, "takes bytes"),
        ({"group_size": 7}, "must divide"),
        ({"group_size": 1}, "at least 2 ranks"),
        ({"chips": 13}, "chips"),
        ({"faults": ["x"]}, "a fault is a mapping"),
        ({"faults": [[1, 2]]}, "a fault is a mapping"),
        ({"faults": "chip 3"}, "must be a list of faults"),
        ({"faults": [{"chip": 3, "speed": 2}]}, "faults.speed: must be less than or equal to 1"),
        ({"bytes": [3]}, "bytes must be above 0"),
        ({"chips": "16"}, "chips: must be a whole number"),
        ({"group_size": 0}, "group_size: must be a whole number, 1 or more"),
        ({"stride": 0}, "stride: must be a whole number, 1 or more"),
        ({"routing": "shortest"}, "this routing is not known"),
        ({"routing": {"hash": {"paths": 0}}}, "paths: must be greater"),
        ({"top_k": 8}, "is for a dispatch or a combine"),
        ({"operation": "dispatch", "max_domains": 4}, "needs the experts a token"),
        ({"operation": "dispatch", "top_k": 8, "max_domains": -1}, "max_domains: must be a whole number, 0 or more"),
        ({"operation": "all-to-all-v", "bytes": None, "matrix": [[0.0, 1.0], [1.0]]}, "rows of as many numbers"),
        ({"operation": "all-to-all-v", "bytes": None, "matrix": [[1.0]]}, "a row and a column"),
        ({"operation": "all-to-all-v"}, "takes a matrix"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], message: str) -> None:
    asked = {"system": "dgx-h100", "operation": "all-to-all", "chips": 16, "bytes": "1 MiB"} | change
    with pytest.raises(InputError, match=message):
        collective(asked.pop("system"), asked.pop("operation"), **asked)  # type: ignore[arg-type]


def test_flows_collide_where_switches_hash_them_and_a_fabric_keeps_its_own_routes() -> None:
    """By name, as a system and as a fabric alike; more paths a flow come nearer to spraying."""
    asked = partial(collective, operation="all-to-all", bytes="64 MiB", library="nccl")
    one, sixteen = ({"hash": {"paths": paths, "seed": 1}} for paths in (1, 16))
    times = [asked("dgx-h100", chips=64, routing=routing).time_s for routing in ("spray", sixteen, one)]
    assert times == sorted(times) and times[-1] > 1.2 * times[0]
    fabric = topologies.load("dgx-h100").fabric(64)
    assert asked(fabric, routing=one).time_s == asked(fabric.with_routing(one)).time_s == times[-1]
    assert asked(fabric).time_s == times[0]
    with pytest.raises(InputError, match="a fabric is used whole"):
        asked(fabric, chips_per_domain=4)


@pytest.mark.parametrize("operation", ["dispatch", "combine"])
def test_experts_by_rails_move_what_an_all_to_all_by_rails_moves(operation: str) -> None:
    """In two levels everybody's share is another's, not one slice for all as in an all-gather."""
    asked = partial(collective, "dgx-h100", bytes="64 MiB", chips=64, algorithm="hierarchical", library="wire")
    assert asked(operation=operation).bound_s == asked(operation="all-to-all").bound_s > 7 * asked(operation="all-gather").bound_s


@pytest.mark.parametrize(
    ("operation", "algorithm", "words"),
    [
        ("send-recv", "direct", "Choose ring"),
        ("send-recv", "hierarchical", "Choose ring"),
        ("broadcast", "direct", "Choose ring or binomial-tree"),
        ("dispatch", "tree", "not dispatch. Choose direct"),
        ("all-to-all", "dimensions", "Choose direct"),
    ],
)
def test_an_algorithm_that_does_not_do_it_names_one_that_does(operation: str, algorithm: str, words: str) -> None:
    """A send-recv by an exchange of all with all was answered, with the bytes of that."""
    asked = partial(collective, "dgx-h100", operation, bytes="1 MiB", chips=16)
    with pytest.raises(NotModelled, match=words):
        asked(algorithm=algorithm)
    assert asked(algorithm=words.rpartition(" ")[2]).time_s > 0


@pytest.mark.parametrize("chip", [3, 33])
def test_a_broadcast_goes_round_one_ring_where_a_chip_is_dead(chip: int) -> None:
    """It was refused for every group of unequal domains; whichever group the dead chip is in."""
    dead = [{"chip": chip, "speed": 0}]
    whole = collective("dgx-h100", "broadcast", bytes="64 MiB", chips=64, group_size=32, algorithm="ring", library="wire")
    broken = collective("dgx-h100", "broadcast", bytes="64 MiB", chips=64, group_size=32, faults=dead, library="wire")
    assert broken.bound_s == pytest.approx(whole.bound_s) and broken.rung == "exact"


def test_many_sizes_are_not_of_one_matrix() -> None:
    with pytest.raises(InputError, match="one matrix, not many sizes"):
        sweep("dgx-h100", "all-to-all-v", chips=8)


def test_what_is_not_modelled_is_refused() -> None:
    with pytest.raises(NotModelled, match="one by one"):
        collective("atlas-950-superpod-8192", "all-reduce", chips=8192, bytes="1 MiB", algorithm="halving-doubling")
    with pytest.raises(NotModelled, match="switches reduce for an all-reduce"):
        collective("dgx-h100", "all-gather", chips=8, bytes="1 MiB", algorithm="in-switch")


def test_two_ranks_do_not_pass_for_a_tree_with_a_root() -> None:
    """Folded, both ranks of a pair are one class; a tree's root and leaf are not alike."""
    from simulator.network.fold import Fold
    from tests.network.doubles import communication
    from workloads.groups import Groups

    fold = Fold(fabrics.star(4), Groups(2, 1, 2, 1), algorithms={"all-reduce": "binomial-tree"})
    with pytest.raises(NotModelled, match="tree with a root"):
        fold.collective(0, communication("all-reduce", "tp", 1.0))


@pytest.mark.parametrize("faults", [(), ({"link": LINK, "capacity": 0.5},), ({"link": LINK, "capacity": 0},)], ids=str)
@pytest.mark.parametrize("operation", ["all-to-all", "all-reduce"])
def test_counted_link_by_link_is_what_folding_says(
    operation: str, faults: tuple[dict[str, Any], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both can answer: whole, with a degraded link, with a dead one; what the library adds included."""
    fabric = topologies.load("dgx-h100").fabric(64)
    ask = partial(collective, fabric, operation, bytes="64 MiB", faults=faults, algorithm="direct", library="nccl")
    folded = ask()

    def refused(*_: Any) -> None:
        raise NotModelled("too many classes")

    monkeypatch.setattr(Bench, "_run", refused)
    counted = ask()
    assert counted.rung == "makespan-only"
    for field in ("time_s", "bound_s", "latency_s"):
        assert getattr(counted, field) == pytest.approx(getattr(folded, field), rel=1e-12)
    for field in ("busiest_link", "busiest_tier", "algorithm", "library", "protocol"):
        assert getattr(counted, field) == getattr(folded, field)


def test_a_torus_with_a_fault_is_answered_to_its_last_byte() -> None:
    """No two chips of it are alike: half a link doubles the time of its bytes, a dead one costs a detour; others are refused."""
    whole, half, dead = (
        collective("tpu-v4", "all-to-all", chips=4096, bytes="1 GiB", library="wire", faults=faults)
        for faults in ((), [{"link": RING, "capacity": 0.5}], [{"link": RING, "capacity": 0}])
    )
    assert [each.rung for each in (whole, half, dead)] == ["exact", "makespan-only", "makespan-only"]
    assert half.time_s - half.latency_s == pytest.approx(2.0 * (whole.time_s - whole.latency_s), rel=1e-12)
    assert 1.0 < dead.time_s / whole.time_s < 1.5
    with pytest.raises(NotModelled):
        collective("tpu-v4", "all-reduce", chips=4096, bytes="1 GiB", algorithm="rings", faults=[{"link": RING, "capacity": 0}])


def test_a_ring_of_a_large_torus_is_told_apart_to_the_chip() -> None:
    """8,960 chips, none like another for a dead link: neighbours alone are few enough. It was refused, and approximate at half.

    What crossed the dead link goes the other way round, beside as much on each link there: the same twice as at half.
    """
    asked = partial(collective, "tpu-v5p", "all-reduce", chips=8960, bytes="1 GiB", library="wire", algorithm="dimensions")
    whole, half, dead = (asked(faults=[{"link": RING, "capacity": left}] if left < 1 else ()) for left in (1.0, 0.5, 0.0))
    assert [each.rung for each in (whole, half, dead)] == ["exact"] * 3
    assert 1.8 < half.bound_s / whole.bound_s <= 2.0
    assert dead.bound_s == pytest.approx(half.bound_s, rel=1e-9)


def test_a_dragonfly_of_many_classes_is_counted() -> None:
    found = collective("mi250x-frontier", "all-to-all", chips=4096, bytes="64 MiB")
    assert found.rung == "makespan-only"
    assert found.bound_s < found.time_s
