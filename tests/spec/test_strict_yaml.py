"""YAML without its traps: what is read, what is refused, and where it stood."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec import strict_yaml
from simulator.spec.errors import FileProblem
from simulator.spec.strict_yaml import MOST_VALUES, SHORT, read_scalar, read_yaml

_BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-21", "2026-11-21"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1e9", 1e9),
        ("-.5e+3", -500.0),
        ("5.", 5.0),
        ("24_576", 24576),
        ("-1", -1),
        ("0", 0),
        ("on", True),
        ("NO", False),
        ("true", True),
        ("y", "y"),
        ("'on'", "on"),
        ('"8"', "8"),
        ("~", None),
        ("", None),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("1.2 us", "1.2 us"),
    ],
)
def test_a_scalar_is_read_as_people_mean_it(text: str, value: Any) -> None:
    for read in (read_yaml(f"key: {text}".encode(), "f.yaml").data["key"], read_scalar(text, "--set")):
        assert read == value and type(read) is type(value)


def test_keys_are_text_even_where_yaml_has_another_idea() -> None:
    assert read_yaml(b"on: 1\n8: 2\n~: 3\n<<: 4\n2026-11-21: 5", "f").data == {"on": 1, "8": 2, "~": 3, "<<": 4, "2026-11-21": 5}


@pytest.mark.parametrize(
    ("content", "where", "words"),
    [
        (b"", "f.yaml", "empty"),
        (b"# only a comment\n", "f.yaml", "empty"),
        (b"- a\n- b", "f.yaml:1:1", "top level must be a mapping"),
        (b"just words", "f.yaml:1:1", "top level must be a mapping"),
        (b"a: 1\nb: 2\na: 3", "f.yaml:3:1", "duplicate key a; it is already on line 1"),
        (b"a: {b: 1, b: 2}", "f.yaml:1:11", "duplicate key b"),
        (b"a:\n\tb: 1", "f.yaml:2:1", "spaces, not tabs"),
        (b"a: \xff", "f.yaml:1:4", "not UTF-8"),
        (b"ok: 1\n\xfe\xff", "f.yaml:2:1", "not UTF-8"),
        ("a: 1".encode("utf-16"), "f.yaml", "zero byte"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "f.yaml", "zero byte"),
        (b"a: \x01", "f.yaml:1:4", "U+0001"),
        (b"a: b: c", "f.yaml:1:5", "colon"),
        (b"a: [1, 2", "f.yaml:1:9", "brackets"),
        (b"a: 'open", "f.yaml:1:9", "quotes"),
        (b"a: *nobody", "f.yaml:1:4", "anchor"),
        (b"a: 1\n---\nb: 2", "f.yaml:2:1", "one document"),
        (b"a: !!python/object/apply:os.system [x]", "f.yaml:1:4", "tags are not read"),
        (b"a: !!int abc", "f.yaml:1:4", "tags are not read"),
        (b"? [a]\n: b", "f.yaml:1:3", "a key must be a word"),
        (b"a: .nan", "f.yaml:1:4", "finite"),
        (b"a: -.inf", "f.yaml:1:4", "finite"),
        (b"a: 1e999", "f.yaml:1:4", "too large"),
        (b"a: " + b"9" * 5000, "f.yaml:1:4", "too large"),
        (b'a: "\\ud800"', "f.yaml:1:4", "half a character"),
        (b"a: @x", "f.yaml:1:4", "cannot start"),
        (b"a: &a {b: *a}", "f.yaml:1:4", "contain itself"),
        (b"a: " + b"[" * 70 + b"]" * 70, "f.yaml:1:", "nested too deeply"),
        (b"[" * 20_000, "f.yaml", "nested too deeply"),
        (b"- " * 20_000, "f.yaml", "nested too deeply"),
        (_BOMB, "f.yaml", "aliases"),
    ],
)
def test_a_trap_is_refused_at_its_position(content: bytes, where: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_yaml, "MOST_VALUES", MOST_VALUES // 30)  # a bomb is recognised as well by a small limit
    with pytest.raises(FileProblem) as caught:
        read_yaml(content, "f.yaml")
    assert str(caught.value).startswith(where) and words in str(caught.value)


def test_a_file_beyond_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_yaml, "LARGEST_FILE", 10)
    with pytest.raises(FileProblem, match="too large"):
        read_yaml(b"a: 1 # more than ten", "f.yaml")


def test_every_key_and_value_knows_where_it_stands() -> None:
    document = read_yaml(b"plan:\n  tp: 1\n  stages: [a, {b: c}]\n", "s.yaml")
    assert str(document.mark(("plan", "tp"), key=True)) == "s.yaml:2:3"
    assert str(document.mark(("plan", "tp"))) == "s.yaml:2:7"
    assert str(document.mark(("plan", "stages", 1, "b"))) == "s.yaml:3:19"


def test_what_is_not_in_the_file_stands_at_its_nearest_parent() -> None:
    document = read_yaml(b"a: 1\nplan:\n  tp: 1\n", "s.yaml")
    assert str(document.mark(("plan", "pp"))) == "s.yaml:2:1"
    assert str(document.mark(("training", "precision"))) == "s.yaml:1:1"


@pytest.mark.parametrize("padding", [0, SHORT + 1])
def test_the_quick_reader_and_the_precise_one_agree(padding: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        b"a: &x {b: [1, 1e9, on, '8', ~]}\nc: |\n  two\n  lines\nd: *x\ne: 'it''s'\n"
        b'f: "\\u00b5s"\ng: >-\n  folded\n  text\n# ' + b"p" * padding
    )
    quick = read_yaml(text, "f")
    monkeypatch.setattr(strict_yaml, "_QuickLoader", strict_yaml._Loader)
    precise = read_yaml(text, "f")
    assert quick.data == precise.data
    assert (quick.keys, quick.values) == (precise.keys, precise.values)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), _JSON, max_size=4))
def test_json_is_read_as_itself(data: dict[str, Any]) -> None:
    assert read_yaml(json.dumps(data).encode(), "f.json").data == data


@given(st.binary(max_size=200))
def test_any_bytes_are_a_mapping_or_one_of_our_errors(content: bytes) -> None:
    with suppress(FileProblem):
        assert isinstance(read_yaml(content, "f").data, dict)


@given(st.text(alphabet="ab:-[]{}\"'&*!|>#%@?,~ \n\t0.e", max_size=60))
def test_any_punctuation_is_read_or_refused_in_our_own_words(text: str) -> None:
    with suppress(FileProblem):
        read_yaml(text.encode(), "f")
