"""Libraries: what they add to a course, how they choose, and what must not change that."""

from __future__ import annotations

from dataclasses import replace

import pytest

import topologies
from simulator.assumptions import Assumptions
from simulator.network.collectives.library import ANY, Libraries, Library, Protocol
from simulator.network.collectives.stack import libraries_of, library_named
from simulator.network.course import Course, Need, fastest
from simulator.network.drain import isolated_time
from simulator.network.fold import Fold
from simulator.spec.errors import InputError, NotModelled
from tests.network import fabrics
from tests.network.doubles import communication
from workloads.groups import Groups

SLOW, FAST = Protocol("simple", launch=1.0, share=1.0), Protocol("ll", launch=0.5, share=0.25)
ONE_STEP = Course("direct", (), wire=1.0, inside=1, outside=0)


def need(_course: Course) -> Need:
    return Need(1.0, leaves=False)


def test_the_quicker_protocol_changes_where_their_times_meet() -> None:
    """1 + 1 + S against 0.5 + 1 + 4 S: equal at S = 1/6, and the first of equals is taken."""
    library = Library("two", {ANY: (SLOW, FAST)})
    chosen = [fastest((ONE_STEP,), library, "all-gather", size, "", need).protocol for size in (0.1, 1 / 6, 0.2)]
    assert chosen == ["ll", "simple", "simple"]


def test_a_plain_library_asks_for_no_bandwidth() -> None:
    """Bytes and wire alone need no estimate of the busiest link."""

    def never(_course: Course) -> Need:
        raise NotModelled("asked")

    run = fastest((ONE_STEP,), Library.plain(launch=2.0, step=0.5), "all-gather", 1e9, "", never)
    assert (run.latency, run.fill) == (3.5, 0.0)
    with pytest.raises(NotModelled, match="asked"):
        fastest((ONE_STEP,), Library("slow", {ANY: (FAST,)}), "all-gather", 1.0, "", never)


def test_what_a_library_loses_is_told_apart_from_what_it_waits() -> None:
    """ramp = S doubles the seconds, a share of 1/2 doubles them again, a reach of 1/2 once more: 8 - 1 times are lost."""
    library = Library("lossy", {ANY: (Protocol("one", launch=1.0, share=0.5, ramp=4.0),)}, reach=0.5)
    run = fastest((ONE_STEP,), library, "all-gather", 4.0, "", need)
    assert run.fill == pytest.approx(4.0 * (1.5 / 0.5 / 0.5 - 1.0))
    assert run.latency == pytest.approx(1.0 + 1.0 + run.fill)
    outer = fastest((ONE_STEP,), library, "all-gather", 4.0, "", lambda _: Need(1.0, leaves=True))
    assert outer.fill == pytest.approx(4.0 * (1.5 / 0.5 - 1.0))


def test_a_collective_has_its_own_protocols_before_its_algorithm() -> None:
    library = Library("both", {"dispatch": (FAST,), "direct": (SLOW,), ANY: (Protocol("none"),)})
    found = [library.of(*asked)[0].name for asked in (("direct", "dispatch"), ("direct", "combine"), ("rings", "combine"))]
    assert found == ["ll", "simple", "none"]


def test_a_hop_may_be_quicker_than_the_wire_but_takes_no_negative_time() -> None:
    library = Library("quick", {ANY: (Protocol("ll", inside=-0.4),)})
    assert fastest((ONE_STEP,), library, "all-gather", 0.0, "", need).latency == pytest.approx(0.6)
    none = replace(ONE_STEP, wire=0.1)
    assert fastest((none,), library, "all-gather", 0.0, "", need).latency == 0.0


def test_a_network_of_this_name_costs_more_at_each_step_between_domains() -> None:
    library = replace(Library.plain(step=0.5), networks={"efa": 2.0})
    across = Course("rings", (), wire=1.0, inside=3, outside=4)
    times = [fastest((across,), library, "all-gather", 1.0, network, need).latency for network in ("efa", "infiniband")]
    assert times == [1.0 + 3 * 0.5 + 4 * 2.5, 1.0 + 7 * 0.5]


def test_every_size_is_the_first_one_scaled() -> None:
    """A course laid out once: bytes and time of another payload are those of a fold that meets it first."""
    fabric, groups = fabrics.clos(4, 4, 1.0, 2.0, scale_out=True), Groups(1, 1, 16, 1)
    library = Libraries(Library("rings", {ANY: (Protocol("p", share=0.5, ramp=7.0),)}, "rings"))
    warm = Fold(fabric, groups, libraries=library)
    for size in (3.0, 700.0, 11.0):
        cold = Fold(fabric, groups, libraries=library)
        one, other = (fold.collective(0, communication("all-reduce", "dp", size)) for fold in (warm, cold))
        assert isolated_time(one, warm.link_classes) == pytest.approx(isolated_time(other, cold.link_classes), rel=1e-12)
        assert one.bytes_sent == pytest.approx(size * 2 * 15, rel=1e-12)


def test_groups_at_once_share_what_the_library_reckons_with() -> None:
    """Two groups over one link each lose what both together do, folded or every rank by itself."""
    fabric = fabrics.clos(2, 4, 1.0, 1.0, scale_out=True)
    libraries = Libraries(Library("half", {ANY: (Protocol("p", share=0.5),)}))
    groups = Groups(2, 1, 4, 1)
    folds = [Fold(fabric, groups, symmetric=symmetric, libraries=libraries) for symmetric in (True, False)]
    lost = [fold.collective(0, communication("all-to-all", "dp", 8.0)).fill for fold in folds]
    assert lost[0] == pytest.approx(lost[1], rel=1e-12) and lost[0] > 0.0


def test_a_weak_link_changes_no_choice_and_no_loss() -> None:
    """The library reckons with links that are whole: only the transfer itself is longer."""
    fabric = topologies.load("dgx-h100").fabric(16)
    weak = fabric.with_faults([{"link": "server0.chip3->infiniband0.rail3.leaf0", "capacity": 0.5}])
    libraries = libraries_of(Assumptions.load("default"), "h100-sxm", "NVIDIA")
    call = communication("all-reduce", "dp", 2.0**26)
    whole, hurt = (Fold(each, Groups(1, 1, 16, 1), libraries=libraries) for each in (fabric, weak))
    one, other = whole.collective(0, call), hurt.collective(0, call)
    assert (one.algorithm, one.protocol) == (other.algorithm, other.protocol)
    assert one.fill == pytest.approx(other.fill, rel=1e-9)
    assert isolated_time(other, hurt.link_classes) > isolated_time(one, whole.link_classes) * 1.01


def test_a_stack_names_its_libraries() -> None:
    """`runs` goes before the vendor's usual ones; one copy per domain is run by the vendor's kernels; others are generic."""
    stack = Assumptions.load("default")
    nvidia, google = libraries_of(stack, "h100-sxm", "NVIDIA"), libraries_of(stack, "tpu-v5p", "Google")
    assert nvidia.usual.name == "nccl" and nvidia.of("dispatch").name == "nccl"
    assert nvidia.of("dispatch", deduplicate=True).name == "deepep"
    assert google.names == ("xla",)
    assert libraries_of(stack, "ours", "nobody").names == ("generic",)
    other = libraries_of(stack.with_overrides({"runs.all-reduce": "hccl", "runs.dispatch": "generic"}), "h100-sxm", "NVIDIA")
    assert [other.of(name, deduplicate=True).name for name in ("all-reduce", "all-gather", "dispatch")] == [
        "hccl",
        "nccl",
        "generic",
    ]
    with pytest.raises(InputError, match="no library of this name"):
        stack.with_overrides({"runs.any": "ncll"})
    with pytest.raises(InputError, match="runs names collectives"):
        stack.with_overrides({"runs.allreduce": "nccl"})
    with pytest.raises(InputError, match="Did you mean nccl"):
        library_named(stack, "ncll", "h100-sxm")
