"""Figures with range and source."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from simulator.spec.base import Spec
from simulator.spec.errors import InputError
from simulator.spec.files import make
from simulator.spec.sources import Figure, Source, figures, unsourced
from simulator.spec.units import BytesPerSecond, Seconds


class Link(Spec):
    bandwidth: Figure[BytesPerSecond]
    latency: Figure[Seconds] = Figure[Seconds](value="1 us")


class System(Spec):
    ports: Figure[int]
    efficiency: Figure[float]
    links: tuple[Link, ...] = ()
    by_name: dict[str, Link] = {}
    sources: dict[str, Source] = {}


SHEET = {"title": "A data sheet", "url": "https://example.org"}
FULL = {"value": "392 GB/s", "low": "380 GB/s", "high": "400 GB/s", "source": "SHEET", "kind": "official", "check": "read"}


def system(**changes: Any) -> System:
    return make({"ports": 8, "efficiency": 0.9} | changes, System)


def test_a_bare_value_is_an_assumption() -> None:
    figure = system().efficiency
    assert (figure.value, figure.kind, figure.source, figure.check) == (0.9, "assumed", None, None)


def test_a_full_figure_keeps_range_and_provenance() -> None:
    figure = system(links=[{"bandwidth": FULL}]).links[0].bandwidth
    assert (figure.value, figure.low, figure.high) == (392e9, 380e9, 400e9)
    assert (figure.source, figure.kind, figure.check) == ("SHEET", "official", "read")


def test_a_figure_is_shown_with_its_unit_and_range() -> None:
    assert str(system(links=[{"bandwidth": FULL}]).links[0].bandwidth) == "392 GB/s (380 GB/s to 400 GB/s)"
    assert [str(figure) for _, figure in figures(system())] == ["8", "0.9"]


def test_a_figure_in_a_dumped_spec_reads_back() -> None:
    before = system(links=[{"bandwidth": FULL}], sources={"SHEET": SHEET})
    assert System.model_validate(before.model_dump(exclude_unset=True)) == before
    assert System.model_validate_json(before.model_dump_json(exclude_unset=True)) == before


@pytest.mark.parametrize("kind", ["official", "measured", "analyst"])
def test_a_claim_without_a_source_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"a figure of kind {kind} names its source"):
        system(efficiency={"value": 0.9, "kind": kind})


def test_a_source_without_a_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"^efficiency.source: a figure with a source says of what kind it is"):
        system(efficiency={"value": 0.9, "source": "SHEET"})


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"low": "393 GB/s"}, "low must not be above the value (got 393 GB/s > 392 GB/s)"),
        ({"high": "391 GB/s"}, "high must not be below the value (got 391 GB/s < 392 GB/s)"),
        (
            {"kind": "offical"},
            "must be one of official, measured, derived, analyst, assumed (got 'offical'). Did you mean official?",
        ),
        ({"check": "seen"}, "must be one of read, relayed, recalled, computed, none (got 'seen')"),
        ({"value": "392 GB"}, "must be a bandwidth"),
        ({"low": 380}, "needs a unit"),
        ({"sauce": "x"}, "unknown key sauce. Did you mean source?"),
    ],
)
def test_a_figure_that_contradicts_itself_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError) as caught:
        system(links=[{"bandwidth": FULL | changes}])
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("ports", True), ("ports", "8"), ("ports", 8.5), ("efficiency", False), ("efficiency", "0.9")]
)
def test_a_dimensionless_figure_is_a_number(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{field}: must be a (whole )?number"):
        system(**{field: value})


def test_every_figure_is_found_with_its_path() -> None:
    found = system(links=[{"bandwidth": FULL}], by_name={"rail": {"bandwidth": "50 GB/s"}})
    assert [path for path, _ in figures(found)] == [
        "ports",
        "efficiency",
        "links[0].bandwidth",
        "links[0].latency",
        "by_name.rail.bandwidth",
        "by_name.rail.latency",
    ]


def test_figures_without_provenance_are_reported() -> None:
    assumed = {"value": 0.9, "kind": "assumed", "note": "between the two measured"}
    found = system(efficiency=assumed, ports={"value": 8, "source": "SHEET", "kind": "official"})
    assert unsourced(found) == ["ports: source SHEET is not in the file's sources table."]
    found = system(ports={"value": 8, "source": "SHEET", "kind": "official"}, sources={"SHEET": SHEET})
    assert unsourced(found) == ["efficiency: a figure without a source needs a note that says where it comes from."]


def test_a_figure_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        system().ports.value = 9
