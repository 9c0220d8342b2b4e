"""One link by name: what it carried when, and for whom."""

from __future__ import annotations

import csv
import io
import pickle
from typing import Any

import numpy as np
import pytest

from simulator.link_timelines import LinkBook
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold
from simulator.network.usage import Usage
from simulator.results import Result
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.errors import FileProblem, TopologyError
from simulator.spec.files import make
from tests.network import fabrics
from tests.network.doubles import Clock, communication, run_at
from tests.network.faulty import weakened
from topologies.fabric import Defect
from workloads.groups import Groups

SECOND = 10**12


def story(ports: float = float("inf")) -> LinkBook:
    """Two stages of two ranks: a send of 6 bytes from 1 s, an all-to-all of 1 byte a peer from 3 s, a step of 10 s."""
    fabric = fabrics.star(4) if ports == float("inf") else fabrics.mesh((4,), (1.0,), ports=ports)
    fold = Fold(fabric, Groups(1, 1, 2, 2))
    clock = Clock()
    network = FluidNetwork(clock, fold)
    later = fold.collective(0, communication("all-to-all", "dp", 2.0, "ep"))
    run_at(clock, network, [(SECOND, fold.send(0, 1, 6.0)), (3 * SECOND, later)])
    return LinkBook((fold, Usage(network)), 10.0)


def test_utilisation_is_split_by_who_sends_over_the_whole_step() -> None:
    """Alone at full rate from 1 s, half each from 3 s to 5 s, alone again until 8 s, then nothing."""
    link = story().link("device0->switch4")
    assert link.time_s.tolist() == [0.0, 1.0, 3.0, 5.0, 8.0]
    assert link.by_kind["pp"].tolist() == pytest.approx([0.0, 1.0, 0.5, 1.0, 0.0])
    assert link.by_kind["ep"].tolist() == pytest.approx([0.0, 0.0, 0.5, 0.0, 0.0])
    assert link.utilisation.tolist() == pytest.approx([0.0, 1.0, 1.0, 1.0, 0.0])
    assert (link.mean, link.peak, link.saturated_s, link.first_saturated_s) == pytest.approx((0.7, 1.0, 7.0, 1.0))
    assert link.wire_bytes == pytest.approx({"pp": 6.0, "ep": 1.0})
    assert link.alike == 2


def test_a_link_that_symmetry_moves_onto_another_has_the_same_timeline() -> None:
    book = story()
    assert book.link("device1->switch4").rows() == book.link("device0->switch4").rows()
    down = book.link("switch4->device2")
    assert down.saturated_s == pytest.approx(5.0) and down.peak == pytest.approx(1.0)


def test_a_link_that_nothing_crosses_is_idle_and_one_that_does_not_exist_is_refused() -> None:
    book = story()
    idle = book.link("device3->switch4")
    assert (idle.alike, idle.mean, idle.peak, idle.saturated_s, idle.first_saturated_s) == (0, 0.0, 0.0, 0.0, None)
    assert idle.rows() == [{"start_s": 0.0, "end_s": 10.0, "utilisation": 0.0}]
    for name in ("device0->device1", "device0", "device0 ports out"):
        with pytest.raises((TopologyError, ValueError)):
            book.link(name)


def test_the_pooled_ports_of_a_device_have_a_timeline_of_their_own() -> None:
    book = story(ports=0.5)
    link = book.link("device0 ports out")
    assert (link.tier, link.capacity) == ("ports", 0.5)
    assert link.wire_bytes == pytest.approx({"pp": 6.0, "ep": 1.0})


def test_a_link_that_is_not_the_weakest_of_a_relaxed_class_is_held_against_its_own_capacity() -> None:
    star = fabrics.star(4)
    weak = Defect("link", (1, 4), 0.5)
    fabric = weakened(star, [weak])
    fold = Fold(fabric, Groups(1, 1, 4, 1), relaxed=[weak])
    clock = Clock()
    network = FluidNetwork(clock, fold)
    run_at(clock, network, [(0, fold.collective(0, communication("all-to-all", "dp", 4.0)))])
    book = LinkBook((fold, Usage(network)), 6.0)
    assert book.link("device1->switch4").peak == pytest.approx(1.0)
    assert book.link("device0->switch4").peak == pytest.approx(0.5)


def test_csv_has_a_row_a_value_and_a_column_a_kind() -> None:
    link = story().link("device0->switch4")
    rows = list(csv.DictReader(io.StringIO(link.to_csv())))
    assert list(rows[0]) == ["start_s", "end_s", "utilisation", "ep", "pp"]
    assert [float(row["end_s"]) for row in rows] == pytest.approx([1.0, 3.0, 5.0, 8.0, 10.0])
    assert float(rows[2]["ep"]) == pytest.approx(0.5)


SMALL: dict[str, Any] = {
    "name": "small",
    "cluster": {"system": "dgx-h100", "chips": 16},
    "model": {"preset": "llama3.1-8b", "layers": 4},
    "training": {"sequence_length": 2048, "global_batch": 16},
    "plan": {"tp": 2, "pp": 2},
}


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(make(SMALL, Scenario))


def test_the_links_of_a_step_add_up_to_its_tiers(result: Result) -> None:
    """Bytes by kind, mean and peak utilisation and seconds above 95% of each tier, from one link of every class."""
    for tier, use in result.network.tiers.items():
        links = [link for link in result.links() if link.tier == tier]
        sent: dict[str, float] = {}
        for link in links:
            for kind, amount in link.wire_bytes.items():
                sent[kind] = sent.get(kind, 0.0) + amount * link.alike
        assert sent == pytest.approx(use.wire_bytes, rel=1e-8)  # ends are whole ticks
        assert max(link.peak for link in links) == pytest.approx(use.peak_utilisation)
        assert max(link.saturated_s for link in links) == pytest.approx(use.saturated_s)
        for link in links:
            assert np.sum(list(link.by_kind.values()), axis=0) == pytest.approx(link.utilisation)
            assert link.time_s[0] == 0.0 and link.utilisation.max() <= 1.0 + 1e-9


def test_the_first_to_saturate_is_named_so_that_it_can_be_asked_for(result: Result) -> None:
    name = result.network.first_to_saturate
    assert name is not None
    assert result.link(name).first_saturated_s == pytest.approx(result.network.first_saturation_s)


def test_timelines_stay_with_the_run(result: Result, tmp_path: Any) -> None:
    """A saved result, and one from another process, say so; a result with timelines can still be pickled."""
    result.save(tmp_path / "r.json")
    for other in (Result.load(tmp_path / "r.json"), pickle.loads(pickle.dumps(result))):
        with pytest.raises(FileProblem, match="timelines of links"):
            other.link(result.network.busiest_link or "")
