"""From a file to a checked spec: finding, extending, and refusing in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import FileProblem, InputError, MissingPreset
from simulator.spec.files import find, make, preset_names, read_document, read_spec
from simulator.spec.sources import Source
from tests.spec.machines import WHOLE, Machine

Read = Callable[[str], Any]
Refusal = Callable[[str], str]

GOOD = """\
chip:
  memory: 96 GB
  memory_bandwidth: 3.2 TB/s
"""


def test_a_good_file_is_read(read: Read) -> None:
    machine = read(GOOD + "plan: {tp: 8, pp: 4, schedule: dualpipe}\n")
    assert machine.chip.memory.value == 96e9
    assert (machine.plan.tp, machine.plan.schedule) == (8, "dualpipe")


def test_a_preset_is_read_by_its_name(presets: Path) -> None:
    assert preset_names(presets) == ["large", "small"]
    assert find("small", presets) == presets / "small.yaml"


def test_a_preset_is_checked_once_and_again_when_a_file_of_its_chain_changes(tmp_path: Path) -> None:
    """The same object for the same text, and never the old one for a new text, its own or that of what it extends."""
    base, preset = tmp_path / "base.yaml", tmp_path / "preset.yaml"
    base.write_text(GOOD, encoding="utf-8")
    preset.write_text("extends: base\nplan: {tp: 8}\n", encoding="utf-8")
    first = read_spec("preset", Machine, tmp_path)
    assert read_spec("preset", Machine, tmp_path) is first
    preset.write_text("extends: base\nplan: {tp: 4}\n", encoding="utf-8")
    assert read_spec("preset", Machine, tmp_path).plan.tp == 4
    base.write_text(GOOD.replace("96", "97"), encoding="utf-8")
    assert read_spec("preset", Machine, tmp_path).chip.memory.value == 97e9
    assert (first.plan.tp, first.chip.memory.value) == (8, 96e9)


def test_what_a_caller_does_to_the_data_of_a_document_stays_with_that_caller(tmp_path: Path) -> None:
    """Readers of one file share its text, not its data."""
    path = tmp_path / "machine.yaml"
    path.write_text(GOOD + "plan: {tp: 8}\n", encoding="utf-8")
    document = read_document(path)
    document.data["plan"]["tp"] = 1
    document.data["chip"] = None
    assert read_document(path).data == {"chip": {"memory": "96 GB", "memory_bandwidth": "3.2 TB/s"}, "plan": {"tp": 8}}


MALFORMED = [
    ("plan: {tpp: 8}", "machine.yaml:4:8 plan.tpp: unknown key tpp. Did you mean tp?"),
    ("plan: {tp:8}", "machine.yaml:4:8 plan.tp:8: unknown key tp:8. Write a space after the colon."),
    ("plam: {tp: 8}", "machine.yaml:4:1 plam: unknown key plam. Did you mean plan?"),
    ("tiers: [{name: a, latancy: 1 us}]", "machine.yaml:4:9 tiers[0].latency: is missing. Add latency: to tiers[0]."),
    ("plan: {tp: on}", "machine.yaml:4:12 plan.tp: must be a whole number (got true). YAML reads on"),
    ("plan: {tp: '8'}", "machine.yaml:4:12 plan.tp: must be a whole number (got '8')."),
    ("plan: {tp: 1.5}", "machine.yaml:4:12 plan.tp: must be a whole number (got 1.5)."),
    ("plan: {tp: 8 GB}", "machine.yaml:4:12 plan.tp: must be a whole number (got '8 GB')."),
    ("plan: {tp: 010}", "machine.yaml:4:12 plan.tp: must be a whole number (got '010')."),
    ("plan: {tp: }", "machine.yaml:4:12 plan.tp: must be a whole number (got nothing). Give it a value, or leave the key out."),
    ("plan: {tp: [8]}", "machine.yaml:4:12 plan.tp: must be a whole number (got a list of 1)."),
    ("plan: {note: no}", "machine.yaml:4:14 plan.note: must be text (got false). YAML reads on"),
    ("plan: {note: 8}", "machine.yaml:4:14 plan.note: must be text (got 8)."),
    ("name: [a]", "machine.yaml:4:7 name: must be text (got a list of 1)."),
    ("efficiency: yes", "machine.yaml:4:13 efficiency: must be a number (got true). YAML reads on"),
    ("efficiency: high", "machine.yaml:4:13 efficiency: must be a number (got 'high')."),
    (
        "plan: {schedule: dualpip}",
        "machine.yaml:4:18 plan.schedule: must be one of 1f1b, dualpipe (got 'dualpip'). Did you mean dualpipe?",
    ),
    (
        "plan: {recompute: ful}",
        "machine.yaml:4:19 plan.recompute: must be one of none, selective, full (got 'ful'). Did you mean full?",
    ),
    (
        "plan: {schedule: dualpipe, pp: 3}",
        "machine.yaml:4:32 plan.pp: dualpipe needs an even number of stages (got 3). Change pp.",
    ),
    ("plan: 8", "machine.yaml:4:7 plan: must be a mapping of keys to values (got 8)."),
    ("plan:", "machine.yaml:4:6 plan: must be a mapping of keys to values (got nothing). Give it a value, or leave the key out."),
    ("plan: {overlap: {ep: 1}}", "machine.yaml:4:22 plan.overlap.ep: must be true or false (got 1)."),
    ("tiers: {name: a}", "machine.yaml:4:8 tiers: must be a list (got a mapping with name)."),
    ("tiers: [{name: a, latency: 1 us}, 3]", "machine.yaml:4:35 tiers[1]: must be a mapping of keys to values (got 3)."),
    (
        "tiers: [{name: a, latency: 1 us, size: all}]",
        "machine.yaml:4:40 tiers[0].size: must be a whole number or rest (got 'all').",
    ),
    ("tiers: [{name: a, latency: 1}]", 'machine.yaml:4:28 tiers[0].latency: needs a unit (got 1). Write "1.2 us" or "90 days".'),
    (
        "tiers: [{name: a, latency: 1 GB}]",
        "machine.yaml:4:28 tiers[0].latency: must be a time, and GB measures a number of bytes",
    ),
    ("tiers: [{name: a, latency: -1 us}]", "machine.yaml:4:28 tiers[0].latency: a time cannot be negative (got '-1 us')."),
    ("model: {tpp: 8}", "machine.yaml:4:9 model.tpp: unknown key tpp. Did you mean tp?"),
    ("model: 8", "machine.yaml:4:8 model: must be text or a mapping of keys to values (got 8)."),
    ("set: {chip.memory: on}", 'machine.yaml:4:20 set."chip.memory": must be a number or text (got true).'),
    ("sources: {A: {title: t}}", "machine.yaml:4:14 sources.A.url: is missing. Add url: to sources.A."),
    ("chip: {}", "machine.yaml:4:1: duplicate key chip; it is already on line 1. Keep one of them."),
    ("extends: smal", "machine.yaml:4:10 extends: there is no preset and no file of this name (got 'smal'). Did you mean small?"),
    ("extends: 3", "machine.yaml:4:10 extends: must be the name of a preset or the path of a file (got 3). Name one."),
    ("extends:", "machine.yaml:4:9 extends: must be the name of a preset or the path of a file (got nothing). Name one."),
    ("extends: ./none.yaml", "machine.yaml:4:10 extends: there is no such file (got './none.yaml')."),
    ("extends: machine.yaml", "machine.yaml:4:10 extends: a file may not extend itself: machine.yaml -> machine.yaml."),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_mistake_is_told_at_its_place_with_its_remedy(refusal: Refusal, text: str, message: str) -> None:
    assert refusal(GOOD + text).startswith(message)


@pytest.mark.parametrize(
    ("chip", "message"),
    [
        ("{}", "machine.yaml:1:7 chip.memory: is missing. Add memory: to chip. (1 more problem)"),
        ("{memory: 96, memory_bandwidth: 1 TB/s}", "machine.yaml:1:16 chip.memory: needs a unit (got 96)."),
        (
            "{memory: 96 GB, memory_bandwidth: 1 TBs}",
            "machine.yaml:1:41 chip.memory_bandwidth: unknown unit 'TBs' for a bandwidth",
        ),
        ("{memory: 96 GB, memory_bandwidth: {low: 1 TB/s}}", "machine.yaml:1:41 chip.memory_bandwidth.value: is missing."),
        (
            "{memory: 96 GB, memory_bandwidth: {value: 1 TB}}",
            "machine.yaml:1:49 chip.memory_bandwidth.value: must be a bandwidth",
        ),
        (
            "{memory: 96 GB, memory_bandwidth: 1 TB/s, cores: on}",
            "machine.yaml:1:56 chip.cores: must be a whole number (got true).",
        ),
        (
            "{memory: {value: 9 GB, low: 10 GB}, memory_bandwidth: 1 TB/s}",
            "machine.yaml:1:35 chip.memory.low: low must not be above",
        ),
        (
            "{memory: {value: 9 GB, kind: official}, memory_bandwidth: 1 TB/s}",
            "machine.yaml:1:16 chip.memory: a figure of kind official",
        ),
        (
            "{memory: {value: 9 GB, source: X}, memory_bandwidth: 1 TB/s}",
            "machine.yaml:1:38 chip.memory.source: a figure with a source",
        ),
        (
            "{memory: {value: 9 GB, knid: official}, memory_bandwidth: 1 TB/s}",
            "machine.yaml:1:30 chip.memory.knid: unknown key knid. Did",
        ),
    ],
)
def test_a_mistake_in_a_figure_is_told_at_its_place(refusal: Refusal, chip: str, message: str) -> None:
    assert refusal(f"chip: {chip}").startswith(message)


def test_of_several_mistakes_the_first_in_the_file_is_told_and_the_rest_counted(refusal: Refusal) -> None:
    message = refusal(GOOD + "tiers: [{name: a, latency: 1}, {latency: 1 us}]\nplam: 1\nplan: {tp: x, pp: y}\n")
    assert message.startswith("machine.yaml:4:28 tiers[0].latency: needs a unit")
    assert message.endswith("(4 more problems)")


def test_a_file_that_extends_is_merged_key_by_key(presets: Path) -> None:
    data = read_document("large", presets).data
    assert data["plan"] == {"tp": 16, "pp": 4}
    assert (data["name"], len(data["tiers"])) == ("large", 2)


def test_a_new_value_never_keeps_the_old_ones_source(presets: Path) -> None:
    assert read_document("large", presets).data["chip"]["memory"] == {"value": "192 GB"}


def test_a_mistake_in_an_extended_file_is_told_in_that_file(refusal: Refusal, presets: Path) -> None:
    (presets / "broken.yaml").write_text(GOOD + "plan:\n  tp: many\n")
    assert refusal("extends: broken\nplan: {pp: 2}\n").startswith(
        f"{Path('presets') / 'broken.yaml'}:5:7 plan.tp: must be a whole number (got 'many')."
    )


def test_a_mistake_laid_over_a_good_file_is_told_in_the_upper_file(refusal: Refusal) -> None:
    assert refusal("extends: small\nplan:\n  tp: many\n").startswith("machine.yaml:3:7 plan.tp: must be a whole number")


def test_a_chain_of_extends_that_closes_is_shown(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("extends: c.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: machine.yaml\n")
    message = refusal("extends: b.yaml\n")
    assert "machine.yaml -> b.yaml -> c.yaml -> machine.yaml" in message and message.startswith("c.yaml:1:10 extends:")


def test_extends_is_relative_to_the_file_that_says_it(tmp_path: Path, presets: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text("a: 1\n")
    (tmp_path / "sub" / "top.yaml").write_text("extends: ../base.yaml\nb: 2\n")
    assert read_document(tmp_path / "sub" / "top.yaml", presets).data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("smalll", MissingPreset, "Did you mean small?"),
        ("zzzzz", MissingPreset, "Known presets: large, small."),
        ("smal.yaml", FileProblem, "Did you mean small?"),
        ("machin.yaml", FileProblem, "Did you mean machine.yaml?"),
        ("no/such/file.yaml", FileProblem, "there is no such file"),
        ("presets", FileProblem, "is a directory, not a file"),
        ("", FileProblem, "needs the name"),
        ("a\0b", FileProblem, "needs the name"),
        ("x" * 5000, InputError, "xxx"),
        ("\ud800", InputError, "?"),
    ],
)
def test_a_name_that_is_nothing_is_refused(name: str, kind: type[InputError], words: str, presets: Path, read: Read) -> None:
    read(GOOD)
    with pytest.raises(kind) as caught:
        find(name, presets)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("a: 1")
    secret.chmod(0)
    with pytest.raises(FileProblem, match="cannot be read"):
        read_document(secret)


def test_plain_data_is_checked_with_the_same_words() -> None:
    with pytest.raises(InputError, match=r"^titel: unknown key titel\. Did you mean title\?"):
        make({"title": "x", "url": "y", "titel": "z"}, Source)


_WORDS = r"""~ : - [ ] { } ' " # & * ! | > on 1e999 value: &a *a 0 -"""
_PIECES = ["", " ", "\n", "\t", "\u00b5", "extends: small\n", *_WORDS.split()]


@given(cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), st.sampled_from(_PIECES)), min_size=1, max_size=4))
def test_however_a_file_is_spoiled_it_is_read_or_refused_in_one_line(cuts: list[tuple[int, int, str]]) -> None:
    text = WHOLE
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "machine.yaml"
        file.write_text(text, encoding="utf-8")
        (Path(folder) / "small.yaml").write_text(WHOLE)
        try:
            read_spec(file, Machine, Path(folder))
        except InputError as error:
            line = str(error)
            assert line.startswith(folder) and "\n" not in line


def test_overrides_are_checked_like_the_file(presets: Path) -> None:
    machine = read_spec("small", Machine, presets, overrides={"chip.memory_bandwidth": "1 TB/s", "tiers[1].latency": "2 us"})
    assert (machine.chip.memory_bandwidth.value, machine.tiers[1].latency) == (1e12, 2e-6)
    with pytest.raises(InputError) as caught:
        read_spec("small", Machine, presets, overrides={"chip.memory_bandwith": "1 TB/s"})
    assert str(caught.value).startswith("--set chip.memory_bandwith: unknown key memory_bandwith. Did you mean memory_bandwidth?")
