"""The command as people run it: exit codes, clean stdout, one line on stderr."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = """\
name: small
cluster: {system: dgx-h100, chips: 8}
model: {preset: llama3.1-8b, layers: 4}
training: {sequence_length: 2048, global_batch: 8, micro_batch: 1, precision: bf16}
plan: {tp: 2}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def supernode(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "simulator", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd
    )


def one_error_line(answer: subprocess.CompletedProcess[str]) -> str:
    """The only line on stderr."""
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_run_writes_everything_it_is_asked_for(scenario: Path, tmp_path: Path) -> None:
    """The table on stdout; result, report and trace as files that can be read back."""
    answer = supernode(
        "run", scenario, "--json", tmp_path / "r.json", "--report", tmp_path / "r.html", "--trace", tmp_path / "t.json.gz"
    )
    assert answer.returncode == 0, answer.stderr
    assert "Step time" in answer.stdout
    document = json.loads((tmp_path / "r.json").read_text())
    assert list(document)[:3] == ["schema", "name", "step_time_s"]
    assert sum(document["breakdown_s"].values()) == pytest.approx(document["step_time_s"], rel=1e-6)
    assert "plotly" in (tmp_path / "r.html").read_text().lower()
    assert json.loads(gzip.decompress((tmp_path / "t.json.gz").read_bytes()))["traceEvents"]


def test_json_on_stdout_is_the_only_thing_there(scenario: Path) -> None:
    """`--json -` prints one document and nothing else."""
    answer = supernode("run", scenario, "--json", "-")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["name"] == "small"
    assert answer.stderr == ""


def test_one_link_is_exported_by_name(scenario: Path, tmp_path: Path) -> None:
    """`--link NAME --csv -` prints its timeline and nothing else; without a file the summary ends with the link."""
    name = "server0.chip0->server0.switch0"
    answer = supernode("run", scenario, "--link", name, "--csv", "-")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0].startswith("start_s,end_s,utilisation,") and "tp" in lines[0]
    assert all(len(line.split(",")) == len(lines[0].split(",")) for line in lines)
    answer = supernode("run", scenario, "--link", name, "--csv", tmp_path / "link.csv")
    assert f"link {name}" in answer.stdout
    assert (tmp_path / "link.csv").read_text().splitlines() == lines


def test_set_changes_the_answer(scenario: Path) -> None:
    """A field set on the command line counts like one in the file."""
    base = json.loads(supernode("run", scenario, "--json", "-").stdout)
    more = json.loads(supernode("run", scenario, "--set", "training.global_batch=16", "--json", "-").stdout)
    assert more["tokens_per_s"] * more["step_time_s"] == pytest.approx(2 * base["tokens_per_s"] * base["step_time_s"])


def test_strict_refuses_what_does_not_fit(scenario: Path) -> None:
    """Without --strict a job that does not fit is answered with a warning, with it the exit code is 3."""
    tight = ("run", scenario, "--set", "cluster.set={chip.memory_capacity: 6 GB}")
    assert supernode(*tight).returncode == 0
    answer = supernode(*tight, "--strict")
    assert answer.returncode == 3
    assert "does not fit" in one_error_line(answer)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("run", "nowhere.yaml"), "no such file"),
        (("rnu",), "run"),
        (("run",), "scenario"),
        (("run", "small.yaml", "--frobnicate"), "--frobnicate"),
        (("run", "small.yaml", "--set", "plan.tq=2"), "plan.tq"),
        (("run", "small.yaml", "--set", "plan.tp"), "PATH=VALUE"),
        (("run", "small.yaml", "--set", "cluster.chips=7"), "7"),
        (("run", "small.yaml", "--set", "training.precision=mxfp4"), "bf16"),
        (("run", "small.yaml", "--report", "no/such/folder/r.html"), "folder"),
        (("run", "small.yaml", "--csv", "-"), "--link"),
        (("run", "small.yaml", "--link", "server0.chip0->server0.chip1"), "no such link"),
        (("run", "small.yaml", "--link", "server0.chip0->server0.switch0", "--csv", "-", "--json", "-"), "stdout"),
        (("presets", "show", "h10-sxm"), "h100-sxm"),
        (("presets", "shwo", "h100-sxm"), "presets"),
        (("explain", "dgx-h10"), "no preset"),
        (("schema", "scenery"), "scenario"),
        (("validate", "small.yaml"), "cases"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(arguments: tuple[str, ...], wanted: str, scenario: Path) -> None:
    """Whatever is typed wrongly: exit 2, one line, nothing on stdout."""
    answer = supernode(*arguments, cwd=scenario.parent)
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert wanted in one_error_line(answer)
    assert answer.stdout == ""


def test_not_modelled_is_refused(scenario: Path) -> None:
    """Asked for, legal, not simulated: refused with its sentence; 3 under --strict."""
    asked = ("run", scenario, "--set", "plan.offload=[optimizer]", "--set", "training.optimizer=muon")
    answer = supernode(*asked)
    assert answer.returncode == 2
    assert "offload" in one_error_line(answer)
    assert supernode(*asked, "--strict").returncode == 3


def test_explain_names_a_source_for_every_figure_of_the_machine(scenario: Path) -> None:
    """Each number of system and assumptions has a source or says that it is assumed and why."""
    facts = json.loads(supernode("explain", scenario, "--json", "-").stdout)
    machine = [fact for fact in facts if fact["path"].startswith(("system", "assumptions"))]
    assert len(machine) > 30
    assert all(fact["source"] or fact["note"] for fact in machine)
    assert {fact["path"].split(".")[0] for fact in facts} == {"scenario", "system", "model", "assumptions"}


def test_presets_and_schema() -> None:
    """What ships is listed by kind; the schema knows the scenario's keys."""
    names = json.loads(supernode("presets", "list", "--json", "-").stdout)
    assert "atlas-950-superpod-8192" in names["systems"]
    assert "deepseek-v4-pro" in names["models"]
    schema = json.loads(supernode("schema").stdout)
    assert {"cluster", "model", "training", "plan"} <= set(schema["properties"])


def test_a_collective_is_one_json_document_with_the_keys_of_the_contract() -> None:
    answer = supernode("collective", "all-to-all", "--system", "dgx-h100", "--chips", "16", "--bytes", "64MiB", "--json", "-")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    keys = ("collective", "chips", "bytes", "time_s", "algorithm_bandwidth", "bus_bandwidth", "bound_s", "busiest_link")
    assert {*keys, "algorithm", "rung"} <= set(document)
    assert document["bound_s"] < document["time_s"]


def test_a_sweep_is_a_table_and_a_fault_slows_it() -> None:
    asked = ("collective", "all-gather", "--system", "dgx-h100", "--chips", "16", "--sweep", "--bytes", "1 GiB")
    whole = supernode(*asked)
    assert whole.returncode == 0, whole.stderr
    assert "1 GiB" in whole.stdout and "of bound" in whole.stdout
    hurt = supernode(*asked, "--fault", '{plane: "infiniband0.rail0", capacity: 0.5}', "--json", "-")
    assert hurt.returncode == 0, hurt.stderr
    rows = json.loads(hurt.stdout)["sweep"]
    assert rows[-1]["bytes"] == 2**30 and rows[-1]["time_s"] > 0


def test_a_matrix_file_is_an_all_to_all_v(tmp_path: Path) -> None:
    path = tmp_path / "bytes.csv"
    path.write_text("\n".join(",".join("1e6" for _ in range(8)) for _ in range(8)))
    answer = supernode("collective", "all-to-all-v", "--system", "dgx-h100", "--chips", "8", "--matrix", path, "--json", "-")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["bytes"] == 8e6
    path.write_text("a,b\n")
    wrong = supernode("collective", "all-to-all-v", "--system", "dgx-h100", "--chips", "8", "--matrix", path)
    assert wrong.returncode == 2 and "table of numbers" in one_error_line(wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("all-reduce", "--system", "dgx-h100"), "bytes of a rank's buffer"),
        (("all-reduce", "--system", "dgx-h1000", "--bytes", "1MiB"), "dgx-h100"),
        (("allreduce", "--system", "dgx-h100", "--bytes", "1MiB"), "Did you mean all-reduce"),
        (("all-reduce", "--system", "dgx-h100", "--bytes", "1MiB", "--fault", "broken"), "a fault is a mapping"),
        (("all-reduce", "--system", "dgx-h100", "--bytes", "-5"), "--bytes"),
        (("all-reduce", "--system", "dgx-h100", "--bytes", "1MiB", "--fault", "[1, 2]"), "a fault is a mapping"),
        (("all-reduce", "--system", "dgx-h100", "--bytes", "1MiB", "--chips", "abc"), "'--chips'"),
        (("all-reduce", "--system", "dgx-h100", "--bytes", "1MiB", "--routing", "{hash: {pats: 4}}"), "paths"),
        (("dispatch", "--system", "dgx-h100", "--bytes", "1MiB", "--max-domains", "4"), "top_k"),
        (("all-to-all", "--system", "dgx-h100", "--sweep", "--matrix", "m.csv"), "a matrix is of one size"),
    ],
)
def test_a_collective_asked_wrongly_is_one_line_and_exit_2(arguments: tuple[str, ...], words: str) -> None:
    answer = supernode("collective", *arguments)
    assert answer.returncode == 2
    assert words in one_error_line(answer) or "bytes" in words


def test_validate_reads_collectives_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(
        "collectives:\n  - {id: one, system: dgx-h200, chips: 8, collective: all-reduce, library: nccl,"
        " bytes_per_chip: 8589934592, measured: {busbw_GBps: 473.1}}\n"
        "  - {id: again, system: dgx-h200, chips: 8, collective: all-reduce, library: nccl, near_duplicate_of: one,"
        " bytes_per_chip: 8589934592, measured: {busbw_GBps: 473.2}}\n"
    )
    answer = supernode("validate", path)
    assert answer.returncode == 0, answer.stderr
    assert "by library" in answer.stdout and "in-switch" in answer.stdout
    assert "not scored: 1 of these rows" in answer.stdout


def test_memory_shows_every_rank_and_whether_it_fits(scenario: Path) -> None:
    """As JSON every part adds up to the peak; as a table there is a line for each pipeline rank."""
    answer = supernode("memory", scenario, "--set", "plan.pp=2", "--json", "-")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert [stage["pp_rank"] for stage in found["stages"]] == [0, 1]
    assert found["peak_gib_per_chip"] == max(stage["total_gib"] for stage in found["stages"])
    assert sum(found["parts"].values()) == pytest.approx(found["peak_gib_per_chip"])
    table = supernode("memory", scenario, "--set", "plan.pp=2").stdout
    assert table.splitlines()[0].split() == [
        "pipeline", "rank", "total", "weights", "gradients", "optimizer", "activations", "buffers", "in", "flight",
    ]  # fmt: skip
    assert "fits: " in table
