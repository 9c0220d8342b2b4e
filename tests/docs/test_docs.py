"""What the documents say holds: links lead somewhere, commands and scenarios are real, quoted numbers are the recorded ones."""

from __future__ import annotations

import csv
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
import yaml

from simulator.cli import app
from simulator.prepare import prepare
from simulator.scenario import Scenario

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def script(path: Path) -> ModuleType:
    """A Python file outside the packages, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quote = script(Path(__file__).with_name("quote.py"))


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


def links(document: Path) -> Iterator[str]:
    """Targets of its links and images, those of the web left out."""
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"", prose):
        found = "".join(target)
        if "://" not in found:
            yield found


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> list[list[str]]:
    """Every `supernode ...` of the blocks marked bash, without comments and redirections."""
    lines = [line for document in DOCUMENTS for block in blocks(document, "bash") for line in block.splitlines()]
    words = [shlex.split(line.split(" > ")[0], comments=True) for line in lines if line.startswith("supernode ")]
    return [command[1:] for command in words]


def scenarios() -> list[tuple[str, str]]:
    """Every block of YAML that is a whole scenario."""
    found = []
    for document in DOCUMENTS:
        for block in blocks(document, "yaml"):
            keys = yaml.safe_load(block)
            if {"cluster", "model", "training"} <= set(keys):
                found.append((f"{named(document)}: {keys['name']}", block))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), f"{named(document)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{named(document)} links to {target}"


def test_commands_are_shown() -> None:
    assert {command[0] for command in commands()} == {"run", "collective", "validate", "presets", "explain", "schema"}


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_parses_and_its_scenario_loads(command: list[str]) -> None:
    group = typer.main.get_command(app)
    verb = group.commands[command[0]]  # type: ignore[attr-defined]
    context = verb.make_context(command[0], command[1:], resilient_parsing=False)
    scenario = context.params.get("scenario") or context.params.get("subject") or context.params.get("cases")
    if scenario and "/" in scenario:
        assert (ROOT / scenario).is_file()
    if command[0] == "run":
        prepare(Scenario.load(ROOT / scenario, context.params["settings"]))


@pytest.mark.parametrize(("name", "text"), scenarios(), ids=[name for name, _ in scenarios()])
def test_every_scenario_in_the_documents_can_be_run(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that it names are the other blocks of its document."""
    for block in blocks(ROOT / name.split(":", maxsplit=1)[0], "yaml"):
        data = yaml.safe_load(block)
        (tmp_path / f"{data['name']}.yaml").write_text(block, encoding="utf-8")
    file = tmp_path / "scenario of the document.yaml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    prepare(Scenario.load(file))


def test_every_example_is_in_the_table_with_its_recorded_answer() -> None:
    """Numbers in the README are those on record; python tests/docs/quote.py writes them."""
    table = quote.quoted(README.read_text(encoding="utf-8"), "examples").splitlines()[2:]
    with (ROOT / "tests" / "fingerprints.csv").open(newline="", encoding="utf-8") as stream:
        recorded = {line["example"]: line for line in csv.DictReader(stream)}
    assert len(table) == len(EXAMPLES)
    for example, shown in zip(EXAMPLES, table, strict=True):
        name, _, _, step, mfu = (cell.strip() for cell in shown.strip("|").split("|"))
        assert name == f"[{example.stem}](examples/{example.name})"
        answer = recorded[example.stem]
        recorded_now = (f"{float(answer['step_time_s']):.2f} s", f"{100 * float(answer['mfu']):.1f}%")
        assert (step, mfu) == recorded_now, f"{example.stem}: run python tests/docs/quote.py"


def test_the_answer_shown_is_the_recorded_one() -> None:
    """The long table at the top of the README agrees with the table of examples."""
    text = README.read_text(encoding="utf-8")
    main = next(line for line in quote.quoted(text, "examples").splitlines() if quote.MAIN in line)
    step = re.search(r"Step time +([\d.]+) s", quote.quoted(text, "answer"))
    assert step
    assert float(step.group(1)) == pytest.approx(float(main.split("|")[4].strip().removesuffix(" s")), rel=1e-3)


@pytest.mark.parametrize("machine", ["Atlas 950 SuperPoD", "GB200 NVL72"])
def test_the_comparison_of_interconnects_asks_legal_questions(machine: str) -> None:
    prepare(script(ROOT / "examples" / "compare_interconnects.py").question(machine))
