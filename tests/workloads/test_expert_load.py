"""Loads of ranks: what is sent arrives or is dropped, and every kind of imbalance is what its name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import FileProblem, InputError, NotModelled, PlanError
from workloads.attention_kinds import GroupedQueryAttention
from workloads.expert_load import Loads, balanced, loads, sparse_layers
from workloads.model import FeedForward, MixtureOfExperts, Model, MultiTokenPrediction
from workloads.router import PARAMETERS, RouterLoad, router_load

MODEL = Model(
    name="sparse", layers=4, hidden=64, vocab=100,
    attention=GroupedQueryAttention(kind="gqa", heads=4, kv_heads=4, head_dim=16),
    ffn=FeedForward(width=64),
    moe=MixtureOfExperts(experts=32, top_k=4, width=64, first_dense=1),
    mtp=MultiTokenPrediction(depth=1),
)  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {"kind": "balanced"},
    {"kind": "zipf", "exponent": 0.7},
    {"kind": "zipf", "exponent": 1.2, "placement": "dealt"},
    {"kind": "hot-expert", "factor": 6.0},
    {"kind": "hot-rank", "factor": 2.5},
    {"kind": "spread", "factor": 1.5, "ranks": 4},
    {"kind": "zero-load-rank"},
    {"kind": "ragged", "least": 0.25},
    {"kind": "rotating", "factor": 3.0},
    {"kind": "burst", "factor": 2.0, "every": 4},
]


def made(ep: int = 8, micro_batches: int = 12, pp: int = 1, **router: Any) -> Loads:
    return loads(RouterLoad(**router), MODEL, ep, pp, micro_batches)


@given(st.sampled_from(KINDS), st.sampled_from([8, 16, 32]), st.none() | st.floats(0.1, 4))
def test_every_copy_that_is_sent_is_processed_or_dropped(router: dict[str, Any], ep: int, capacity: float | None) -> None:
    """Sum over ranks of what they process = tokens routed x top-k x (1 - dropped); each position belongs to one class."""
    found = made(ep, **router, capacity_factor=capacity)
    for load in found.cases:
        sent = 1000.0 * sum(load.send) * 4
        processed = sum(load.tokens(position, 1000.0, 4) for position in range(ep))
        assert processed == pytest.approx(sent * (1 - load.dropped), rel=1e-9)
        assert load.served == pytest.approx(load.routed * (1 - load.dropped), rel=1e-9)
        assert 0 <= load.dropped < 1 and min(load.receive) >= 0
        assert max(load.active) <= 32 / ep
    assert [found.classes[position] for position in found.positions] == list(range(len(found.positions)))
    assert sum(found.share(label) for label in range(len(found.positions))) == pytest.approx(1.0)


def test_balanced_is_balanced_whatever_the_word() -> None:
    """A word, nothing and a mapping mean the same, and leave one class of ranks."""
    one = loads(router_load(None), MODEL, 8, 1, 12)
    assert one == loads(router_load("balanced"), MODEL, 8, 1, 12) == made(kind="balanced") == balanced(8, 32)
    assert one.classes == (0,) * 8 and one.cases[0].even and one.cases[0].skew() is None
    assert made(kind="hot-rank", factor=1.0).classes == one.classes


@pytest.mark.parametrize(
    ("router", "classes", "factor"),
    [
        ({"kind": "hot-rank", "factor": 2.5}, (0, 1, 1, 1, 1, 1, 1, 1), 2.5),
        ({"kind": "spread", "factor": 2.0, "ranks": 2}, (0, 1, 1, 1, 0, 1, 1, 1), 2.0),
        ({"kind": "zero-load-rank", "ranks": 4}, (0, 1, 0, 1, 0, 1, 0, 1), 2.0),
        ({"kind": "hot-expert", "factor": 5.0}, (0, 1, 1, 1, 1, 1, 1, 1), (5 + 3 * 27 / 31) / 4),
        ({"kind": "ragged", "least": 0.5, "ranks": 2}, (0, 1, 1, 1, 0, 1, 1, 1), 1.0),
    ],
)
def test_who_differs_and_by_how_much(router: dict[str, Any], classes: tuple[int, ...], factor: float) -> None:
    found = made(**router)
    assert found.classes == classes
    assert found.cases[0].factor == pytest.approx(factor, rel=1e-12)


def test_a_rotating_hot_rank_is_hot_in_its_turn() -> None:
    """Micro-batch b finds rank (b mod 4) x 2 of 8 hot; over a cycle those four get the same."""
    found = made(kind="rotating", factor=2.0, ranks=4, micro_batches=12)
    hot = [int(np.argmax(found.at(0, found.pattern(micro)).receive)) for micro in range(12)]
    assert hot == [0, 2, 4, 6] * 3
    assert found.classes == (0, 1, 2, 1, 3, 1, 4, 1) and found.counts == (3, 3, 3, 3)


def test_a_burst_comes_and_goes() -> None:
    found = made(kind="burst", factor=3.0, every=5, length=2, micro_batches=12)
    assert [found.at(1, found.pattern(micro)).factor > 1 + 1e-9 for micro in range(12)] == [
        True,
        True,
        False,
        False,
        False,
    ] * 2 + [True] * 2
    assert found.mean([1], lambda load: load.factor) == pytest.approx((6 * 3 + 6) / 12)


def test_a_capacity_drops_what_is_above_it() -> None:
    """One expert at 5 times the mean and room for 1.25: it drops 3.75 of 32 means; nothing is dropped at a capacity of 5."""
    assert made(kind="hot-expert", factor=5.0, capacity_factor=1.25).cases[0].dropped == pytest.approx(3.75 / 32, rel=1e-12)
    assert made(kind="hot-expert", factor=5.0, capacity_factor=5.0).cases[0].dropped == pytest.approx(0.0, abs=1e-15)
    assert made(kind="balanced", capacity_factor=0.75).cases[0].dropped == pytest.approx(0.25, rel=1e-12)


def test_a_ragged_source_routes_fewer_tokens_and_everybody_gets_fewer() -> None:
    load = made(kind="ragged", least=0.0, ranks=4).cases[0]
    assert load.routed == 0.5 and load.tokens(0, 100.0, 4) == load.tokens(1, 100.0, 4) == 200.0


def test_a_table_is_read_by_layer_and_micro_batch(tmp_path: Path) -> None:
    """Three sparse layers and a prediction block, two micro-batches; counts of any unit; YAML says the same as an array."""
    assert sparse_layers(MODEL) == (1, 2, 3, 4)
    counts = np.random.default_rng(1).integers(1, 20, (4, 2, 32)).astype(float)
    np.save(tmp_path / "loads.npy", counts)
    (tmp_path / "loads.yaml").write_text(f"tokens: {counts.tolist()}\n")
    found = made(kind="table", file=str(tmp_path / "loads.npy"), micro_batches=2)
    assert found.cases == made(kind="table", file=str(tmp_path / "loads.yaml"), micro_batches=2).cases
    for row, layer in enumerate(sparse_layers(MODEL)):
        for micro in range(2):
            shares = counts[row, micro].reshape(8, 4).sum(axis=1) / counts[row, micro].sum()
            assert found.at(layer, found.pattern(micro)).receive == pytest.approx(shares.tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (np.ones((3, 2, 32)), "has 1 or 4 layers"),
        (np.ones((4, 3, 32)), "has 1 or 2 micro-batches"),
        (np.ones((1, 1, 31)), "has 32 experts"),
        (np.ones((2, 32)), "layers, micro-batches and experts"),
        (np.zeros((1, 1, 32)), "above 0 in every row"),
        (np.eye(32)[None, :1], "a share is at most 0.25"),
        (np.full((1, 1, 32), np.nan), "0 or more"),
    ],
)
def test_a_table_of_another_job_is_refused(tmp_path: Path, counts: Any, says: str) -> None:
    np.save(tmp_path / "loads.npy", counts)
    with pytest.raises(PlanError, match=says):
        made(kind="table", file=str(tmp_path / "loads.npy"), micro_batches=2)


def test_no_table_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loads.npy").write_text("no array")
    with pytest.raises(FileProblem, match=r"numpy\.save"):
        made(kind="table", file=str(tmp_path / "loads.npy"))
    with pytest.raises(InputError):
        made(kind="table", file=str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize("kind", PARAMETERS)
def test_what_a_kind_needs_it_must_be_given_and_nothing_else(kind: str) -> None:
    values: dict[str, Any] = {"factor": 2.0, "exponent": 1.0, "ranks": 2, "least": 0.5, "every": 2, "file": "x.npy"}
    needed, allowed = PARAMETERS[kind]
    router_load(RouterLoad(kind=kind, **{name: values[name] for name in needed}))  # type: ignore[arg-type]
    for name in needed:
        with pytest.raises(PlanError, match=f"needs {name}"):
            router_load(RouterLoad(kind=kind, **{other: values[other] for other in needed if other != name}))  # type: ignore[arg-type]
    for name in values.keys() - {*needed, *allowed}:
        with pytest.raises(PlanError, match=f"has no {name}"):
            router_load(RouterLoad(kind=kind, **{part: values[part] for part in {*needed, name}}))  # type: ignore[arg-type]


def test_more_different_ranks_than_are_simulated_are_refused() -> None:
    """All of 32 ranks differ under a rotating hot rank; in 64 pipeline ranks that is 2,048 programs."""
    with pytest.raises(NotModelled, match="makes 32 different ranks in each of 64 pipeline ranks"):
        made(ep=32, pp=64, micro_batches=64, kind="rotating", factor=2.0)
    assert len(made(ep=32, pp=64, micro_batches=64, kind="rotating", factor=2.0, ranks=4).positions) == 5
