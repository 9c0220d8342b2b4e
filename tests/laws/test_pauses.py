"""A slot taken up from its last pause goes on as one that is played from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine import repertoire
from simulator.engine.ensemble import Ensemble
from simulator.engine.pause import last_pause
from simulator.engine.repertoire import Rehearsal, Repertoire
from simulator.run import simulate
from simulator.scenario import Scenario
from simulator.spec.files import make
from tests.laws.test_rehearsed_equals_played import SCHEDULED, counting, same
from workloads.instructions import Slot


class Slots:
    """Slots of a step that were taken up from a pause."""

    def __init__(self, found: list[tuple[Repertoire, Rehearsal, Slot]]) -> None:
        self.all = found

    def __repr__(self) -> str:
        return f"{len(self.all)} slots"


def scenario() -> Scenario:
    """Experts and stages share network cards, and one chip is slow: slots are taken up in the middle, and twins part there."""
    case = SCHEDULED["experts and stages share the network cards"]
    changes: dict[str, Any] = {
        "training": {**case["training"], "global_batch": 256},
        "cluster": {**case["cluster"], "faults": [{"chip": 5, "speed": 0.7}]},
    }
    return make({**case, **changes, "name": "late"}, Scenario)


@pytest.fixture(scope="module")
def taken() -> Iterator[Slots]:
    """Those of the scenario, each once."""
    found: dict[int, tuple[Repertoire, Rehearsal, Slot]] = {}
    with pytest.MonkeyPatch.context() as patch:
        plain = Repertoire.ensemble_at

        def at(self: Repertoire, rehearsal: Rehearsal, slot: Slot, offsets: Any, moment: int) -> Ensemble:
            if not offsets and last_pause(rehearsal, slot, self._ranks, moment) is not None:
                found.setdefault(id(rehearsal), (self, rehearsal, slot))
            return plain(self, rehearsal, slot, offsets, moment)

        patch.setattr(Repertoire, "ensemble_at", at)
        simulate(scenario())
        yield Slots(list(found.values()))


def told(ensemble: Ensemble) -> tuple[object, ...]:
    """All that an ensemble says of itself."""
    recorder, history = ensemble.recorder, ensemble.network.history
    columns = (recorder.rank_class, recorder.lane, recorder.micro_batch, recorder.start, recorder.end)
    names = [recorder.names[name] for name in recorder.name]
    return (
        ensemble.clock.now,
        ensemble.state(),
        sorted(zip(names, *columns, strict=True)),
        sorted(zip(history.start, history.end, history.share, strict=True)),
        dict(history.completed),
        dict(history.operations),
        {key: [flight.ended for flight in flights] for key, flights in ensemble._stage.flights.items()},
        ensemble._stage.noted,
        {key: (actor.books.parts, actor.books.waits) for key, actor in ensemble.actors.items()},
        {key: (actor.is_quiet, actor.contention()) for key, actor in ensemble.actors.items()},
    )


@given(which=st.integers(0, 1000), part=st.floats(0.0, 1.0))
def test_what_goes_on_from_a_pause_is_what_is_played_from_the_beginning(taken: Slots, which: int, part: float) -> None:
    """At the moment at which it is taken up, and at the end."""
    played, rehearsal, slot = taken.all[which % len(taken.all)]
    moment = round(part * max(role.end for role in rehearsal.roles.values()))
    resumed = played.ensemble_at(rehearsal, slot, {}, moment)
    begun = played.ensemble(rehearsal.groups, slot)
    pause = last_pause(rehearsal, slot, played._ranks, moment)
    assert resumed.clock.now == (pause.time if pause else 0) < max(moment, 1)
    for ensemble in (resumed, begun):
        ensemble.clock.advance(moment)
    assert told(resumed) == told(begun)
    for ensemble in (resumed, begun):
        ensemble.clock.advance(max(role.end for role in rehearsal.roles.values()))
    assert told(resumed) == told(begun)
    assert resumed.roles() == begun.roles() == rehearsal.roles


def test_slots_have_pauses_and_what_was_rehearsed_stays_as_it_was(taken: Slots) -> None:
    """There is something to hold against each other, and going on from a pause adds nothing to the rehearsal."""
    assert len(taken.all) >= 3
    for played, rehearsal, slot in taken.all:
        before = list(rehearsal.recorder.end), list(rehearsal.course.moments), list(rehearsal.history.end)
        assert len(rehearsal.pauses) > 1
        ensemble = played.ensemble_at(rehearsal, slot, {}, max(role.end for role in rehearsal.roles.values()))
        ensemble.clock.run()
        assert ensemble.course.begun == rehearsal.course.begun
        assert before == (list(rehearsal.recorder.end), list(rehearsal.course.moments), list(rehearsal.history.end))


def test_a_step_whose_slots_go_on_from_pauses_is_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where slots are taken up and twins told apart from the beginning of the slot on: the same, with fewer events."""
    counted = counting(monkeypatch, resume=Ensemble, apart=Ensemble)
    resumed = simulate(scenario())
    assert counted["resume"] > 3 and counted["apart"] > 10
    with monkeypatch.context() as patch:
        patch.setattr(repertoire, "last_pause", lambda *_: None)
        begun = simulate(scenario())
    same(resumed, begun)
    assert resumed.simulation.events < begun.simulation.events
