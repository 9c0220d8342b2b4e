"""``supernode import`` as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "rope_theta": 500000.0,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG, indent=2))
    return path


def test_a_configuration_becomes_a_file_that_a_scenario_can_name(config: Path, tmp_path: Path) -> None:
    """The file is written, the account is on stdout, and the model it holds is simulated."""
    answer = _run("import", "hf", "config.json", "--name", "mine", "--output", "mine.yaml", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "8,030,261,248 parameters" in answer.stdout
    (tmp_path / "scenario.yaml").write_text(
        "cluster: {system: dgx-h100}\nmodel: {preset: mine.yaml, layers: 2}\n"
        "training: {sequence_length: 2048, global_batch: 8}\nplan: {tp: 2}\n"
    )
    assert json.loads(_run("run", "scenario.yaml", "--json", "-", cwd=tmp_path).stdout)["step_time_s"] > 0


def test_without_output_stdout_is_the_file(config: Path, tmp_path: Path) -> None:
    """The account goes to stderr, so that stdout can be redirected; --json - prints one document."""
    answer = _run("import", "hf", "config.json", cwd=tmp_path)
    assert answer.stdout.startswith("name:")
    assert "harmless" in answer.stderr
    document = json.loads(_run("import", "hf", "config.json", "--json", "-", cwd=tmp_path).stdout)
    assert document["parameters"]["total"] == 8_030_261_248
    assert document["harmless"].keys() == {"rope_theta"}


def test_a_key_that_is_not_known_ends_in_one_line(config: Path, tmp_path: Path) -> None:
    """Exit 2, one line with the place and the remedy; the remedy works."""
    config.write_text(json.dumps(CONFIG | {"twist": 2}, indent=2))
    answer = _run("import", "hf", "config.json", cwd=tmp_path)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "config.json:11:3 twist" in answer.stderr
    assert _run("import", "hf", "config.json", "--ignore", "twist", cwd=tmp_path).returncode == 0


def test_flags_as_one_text_are_no_options_of_ours(tmp_path: Path) -> None:
    """They begin with -- and are read as a launch, as are those that are added."""
    flags = (
        "--num-layers 4 --hidden-size 512 --ffn-hidden-size 2048 --num-attention-heads 8 --seq-length 512 --vocab-size 32000"
        " --max-position-embeddings 512 --micro-batch-size 1"
    )
    more = ("--add", "--global-batch-size 64 --bf16", "--system", "dgx-h100", "--chips", "8", "--json", "-")
    answer = _run("import", "megatron", flags, *more, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["scenario"]["training"]["global_batch"] == 64
