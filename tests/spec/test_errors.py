"""The error tree and the one line that a user sees."""

from __future__ import annotations

import pickle
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec import errors
from simulator.spec.errors import (
    DoesNotFit,
    FileProblem,
    IdentityBroken,
    InputError,
    MissingPreset,
    ModelError,
    NotModelled,
    PlanError,
    SupernodeError,
    TopologyError,
    UnitError,
    Words,
)


@pytest.mark.parametrize(
    ("kind", "builtin", "exit_code"),
    [
        (InputError, ValueError, 2),
        (UnitError, ValueError, 2),
        (FileProblem, ValueError, 2),
        (MissingPreset, LookupError, 2),
        (PlanError, ValueError, 2),
        (TopologyError, ValueError, 2),
        (ModelError, ValueError, 2),
        (NotModelled, NotImplementedError, 3),
        (DoesNotFit, RuntimeError, 3),
        (IdentityBroken, AssertionError, 1),
    ],
)
def test_every_error_is_a_builtin_and_knows_its_exit_code(
    kind: type[SupernodeError], builtin: type[Exception], exit_code: int
) -> None:
    assert issubclass(kind, SupernodeError) and issubclass(kind, builtin)
    assert kind.exit_code == exit_code


def test_the_tree_drawn_at_the_top_names_every_error() -> None:
    drawn = errors.__doc__ or ""
    classes = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) == 11
    assert [name for name in classes if name not in drawn] == []


def test_a_full_message_has_place_rule_value_and_remedy() -> None:
    error = PlanError("must divide 1024 chips", got=96, do="Lower pp from 12 to 8.", path="plan.pp", where="a.yaml:3:7")
    assert str(error) == "a.yaml:3:7 plan.pp: must divide 1024 chips (got 96). Lower pp from 12 to 8."


@pytest.mark.parametrize(
    ("where", "path", "got", "do"), list(product((None, "f:1:2"), (None, "a.b"), (None, 3), (None, "Do it.")))
)
def test_unknown_parts_are_left_out(where: str | None, path: str | None, got: int | None, do: str | None) -> None:
    line = str(InputError("must be odd", got=got, do=do, path=path, where=where))
    place = " ".join(part for part in (where, path) if part)
    value = " (got 3)" if got else ""
    remedy = " Do it." if do else ""
    assert line == f"{place + ': ' if place else ''}must be odd{value}.{remedy}"


@pytest.mark.parametrize(
    ("got", "shown"),
    [
        (True, "true"),
        ("on", "'on'"),
        (Words("nothing"), "nothing"),
        ({}, "an empty mapping"),
        ({"tp": 1, "pp": 2}, "a mapping with tp, pp"),
        ([1, 2], "a list of 2"),
        (0, "0"),
    ],
)
def test_the_refused_value_is_shown_as_it_would_be_written(got: object, shown: str) -> None:
    assert f"(got {shown})" in str(InputError("no", got=got))


@given(st.text(), st.text(), st.text(), st.text())
def test_a_message_is_one_printable_line_whatever_was_typed(rule: str, got: str, path: str, where: str) -> None:
    line = str(InputError(rule, got=got, path=path, where=where))
    assert "\n" not in line and line.isprintable()


def test_a_long_value_is_cut() -> None:
    assert len(str(InputError("no", got="x" * 10_000))) < 200


def test_an_error_keeps_its_parts_between_processes() -> None:
    error = MissingPreset("there is no preset", got="x", do="Did you mean y?", path="model", where="a.yaml:1:1")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is MissingPreset
    assert str(copy) == str(error)


def test_a_position_is_filled_in_but_never_overwritten() -> None:
    error = InputError("no", path="inner").at(where="a.yaml:1:1", path="outer")
    assert str(error) == "a.yaml:1:1 inner: no."
