"""The command line: ``supernode VERB ...``.

Exit codes: 0 answered; 1 a fault of ours; 2 the input is wrong (one line on stderr); 3 with ``--strict`` when the job does not
fit in memory or something asked for is not modelled. Answers go to stdout, progress and errors to stderr; ``--json -``
prints one JSON document and nothing else. Heavy libraries load inside the verbs, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from simulator.console import print_facts, progress_bar, typed
from simulator.spec.errors import InputError, NotModelled, SupernodeError

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(
    name="supernode",
    help="Simulate a training step of a large model on a supernode: how long, what fills it, how sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Scenario = Annotated[str, typer.Argument(help="A scenario file (YAML).", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Set a field of the scenario, as plan.ep=128.")
]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the answer as JSON.")]
ANSWER_IS_WRONG = 3


@app.command()
def run(
    scenario: Scenario,
    settings: Settings = None,
    as_json: Json = None,
    report: Annotated[str | None, typer.Option(metavar="FILE.html", help="Write a report to open in a browser.")] = None,
    trace: Annotated[str | None, typer.Option(metavar="FILE.json.gz", help="Write a trace for ui.perfetto.dev.")] = None,
    link: Annotated[str | None, typer.Option(metavar="TAIL->HEAD", help="Show what one link carries over the step.")] = None,
    as_csv: Annotated[str | None, typer.Option("--csv", metavar="FILE|-", help="Write that link's timeline as CSV.")] = None,
    memory_file: Annotated[str | None, typer.Option("--memory", metavar="FILE.csv|json", help="Write memory over time.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit 3 if it does not fit or something asked for is not modelled.")] = False,
) -> None:
    """Simulate one training step."""
    from simulator.questions.remedies import simulate_and_advise
    from simulator.scenario import Scenario as Question

    for path in (as_json, report, trace, as_csv, memory_file):
        _require_folder(path)
    if as_csv is not None and link is None:
        raise InputError("a CSV file is of one link", do="Name it: --link TAIL->HEAD.", path="--csv")
    if as_csv == as_json == "-":
        raise InputError("one document goes to stdout", got="--csv - --json -", do="Write one of them to a file.", path="--csv")
    quiet = "-" in (as_json, as_csv)
    try:
        with progress_bar() as progress:
            result = simulate_and_advise(Question.load(scenario, settings), progress)
    except NotModelled as error:
        _fail(str(error), ANSWER_IS_WRONG if strict else InputError.exit_code)
    timeline = None if link is None else result.link(link)
    if not quiet:
        print(result.summary())
        if timeline is not None:
            print(timeline.summary())
    _write(result.to_json, as_json)
    if as_json is not None and not quiet:
        print(f"result   {as_json}")
    if timeline is not None:
        _write(timeline.to_csv, as_csv)
    written = (("report", report, result.report), ("trace", trace, result.trace), ("memory", memory_file, result.save_memory))
    for kind, path, write in written:
        if path is not None:
            write(path)
            if not quiet:
                print(f"{kind:8s} {path}")
    if strict and result.warnings:
        _fail(result.warnings[0], ANSWER_IS_WRONG)


@app.command()
def validate(
    cases: Annotated[str, typer.Argument(help="A file of measured cases (YAML).", show_default=False)],
    pairs: Annotated[
        str | None, typer.Option(metavar="PAIRS.yaml", help="Pairs of these cases whose order was measured.")
    ] = None,
    as_json: Json = None,
    report: Annotated[str | None, typer.Option(metavar="FILE.html", help="Write the page of the comparison.")] = None,
    limit: Annotated[int | None, typer.Option(help="Run only the first so many cases.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; all cores if left out.")] = None,
) -> None:
    """Predict measured training steps (cases), collectives or kernels and show the signed errors."""
    from simulator.questions.measured_collectives import holds_collectives, validate_collectives
    from simulator.questions.measured_kernels import holds_kernels, validate_kernels
    from simulator.questions.validate import validate as run_cases
    from simulator.report.validation_page import write_validation_page
    from simulator.report.validation_table import table

    for path in (as_json, report):
        _require_folder(path)
    if holds_collectives(cases) or holds_kernels(cases):
        for option, given in (("--report", report), ("--pairs", pairs)):
            if given is not None:
                raise InputError("is for training steps, not for their parts", got=given, do="Leave it out.", path=option)
        predict = validate_collectives if holds_collectives(cases) else validate_kernels
        with progress_bar() as progress:
            rows = predict(cases, limit=limit, progress=progress)
        if as_json != "-":
            print(rows.table(), end="")
        _write(rows.to_json, as_json)
        return
    with progress_bar() as progress:
        answer = run_cases(cases, pairs=pairs, limit=limit, jobs=jobs, progress=progress)
    if as_json != "-":
        print(table(answer.to_dict()))
    _write(answer.to_json, as_json)
    if report is not None:
        write_validation_page(answer.to_dict(), Path(report))


@app.command()
def memory(scenario: Scenario, settings: Settings = None, as_json: Json = None) -> None:
    """Show what each pipeline rank holds, and whether it fits; nothing is simulated."""
    from simulator.questions.remedies import footprint_and_advice
    from simulator.report.memory_table import memory_table
    from simulator.scenario import Scenario as Question

    _require_folder(as_json)
    found, told = footprint_and_advice(Question.load(scenario, settings))
    if as_json != "-":
        print(memory_table(found) + told, end="")
    _write(lambda: found.model_dump_json(indent=2) + "\n", as_json)


@app.command()
def collective(
    operation: Annotated[str, typer.Argument(metavar="OP", help="all-reduce, all-gather, all-to-all ...", show_default=False)],
    system: Annotated[str, typer.Option(help="A system: a preset or a file.")],
    size: Annotated[
        str | None, typer.Option("--bytes", metavar="SIZE", help="Per-rank buffer: 64 MiB, or a number of bytes.")
    ] = None,
    chips: Annotated[int | None, typer.Option(help="Chips used; one scale-up domain if left out.")] = None,
    group_size: Annotated[
        int | None, typer.Option(help="Ranks of a group; all groups run at once. All ranks if left out.")
    ] = None,
    stride: Annotated[int, typer.Option(help="Ranks between neighbours of a group.")] = 1,
    algorithm: Annotated[str | None, typer.Option(help="Instead of what the library would take: rings, ring, tree ...")] = None,
    library: Annotated[str | None, typer.Option(help="Instead of the usual one of the chip: nccl, hccl, deepep ...")] = None,
    assumptions: Annotated[str, typer.Option(help="A preset of assumptions, or a file.")] = "default",
    chips_per_domain: Annotated[int | None, typer.Option(help="Chips used of each scale-up domain.")] = None,
    routing: Annotated[str, typer.Option(help="spray, dimension-order, up-down, minimal, {hash: {paths: 4}}.")] = "spray",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULT", help="{link: a->b, capacity: 0.5}, {chip: 17, speed: 0}; as in a scenario."),
    ] = None,
    top_k: Annotated[int, typer.Option(help="Experts a token, for dispatch and combine with one copy per domain.")] = 0,
    max_domains: Annotated[int, typer.Option(help="Domains at most that a token goes to, for the same; 0: all.")] = 0,
    matrix: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="For all-to-all-v: row i column j, the bytes from rank i to rank j.")
    ] = None,
    sweeps: Annotated[bool, typer.Option("--sweep", help="At sizes from 1 KiB to 16 GiB, or up to --bytes.")] = False,
    as_json: Json = None,
) -> None:
    """Time one collective alone: time, algorithm and bus bandwidth, and the bound of the links."""
    from simulator.questions.collective import collective as ask
    from simulator.questions.collective import read_matrix, sizes_up_to, sweep
    from simulator.questions.collective_results import table
    from simulator.spec.strict_yaml import read_scalar

    _require_folder(as_json)
    ranks = {"chips": chips, "chips_per_domain": chips_per_domain, "group_size": group_size, "stride": stride}
    software = {"algorithm": algorithm, "library": library, "assumptions": assumptions}
    routes = {"routing": read_scalar(routing, "--routing"), "faults": [read_scalar(text, "--fault") for text in fault or ()]}
    options: dict[str, Any] = {**ranks, **software, **routes, "top_k": top_k, "max_domains": max_domains}
    if sweeps and matrix is not None:
        raise InputError("a matrix is of one size", got=matrix, do="Leave --sweep or --matrix out.", path="--matrix")
    if sweeps:
        answers = sweep(system, operation, sizes=sizes_up_to(size), **options)
        text, rows = answers.to_json, answers.rows
    elif size is None and matrix is None:
        raise InputError("a collective needs the bytes of a rank's buffer", do="Add --bytes 64MiB, or --sweep.", path="--bytes")
    else:
        table_of_bytes = None if matrix is None else read_matrix(matrix)
        answer = ask(system, operation, bytes=size, matrix=table_of_bytes, **options)
        text, rows = answer.to_json, (answer,)
    if as_json != "-":
        print(table(rows))
    _write(text, as_json)


@app.command()
def presets(
    action: Annotated[str, typer.Argument(metavar="[list|show]", help="list all, or show one.")] = "list",
    name: Annotated[str | None, typer.Argument(help="The preset to show.", show_default=False)] = None,
    as_json: Json = None,
) -> None:
    """List the systems, chips, models and assumptions that ship, or show one."""
    from simulator.questions.explain import FOLDERS, catalog, find_preset

    if action == "show" and name is not None:
        kind, spec = find_preset(name)
        document = {"kind": kind, "name": name, "preset": spec.model_dump(mode="json", exclude_none=True)}
        if as_json != "-":
            print((FOLDERS[kind] / f"{name}.yaml").read_text(encoding="utf-8"), end="")
        _write(lambda: _dump(document), as_json)
    elif action == "list" and name is None:
        names = catalog()
        if as_json != "-":
            for kind, known in names.items():
                print(f"{kind}\n" + "\n".join(f"  {preset}" for preset in known))
        _write(lambda: _dump(names), as_json)
    else:
        raise InputError("presets takes list, or show and a name", got=action, do="Try supernode presets show h100-sxm.")


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(metavar="SCENARIO|NAME", help="A scenario file or a preset.", show_default=False)],
    settings: Settings = None,
    as_json: Json = None,
) -> None:
    """Show every number with its range, how it is known, and its source."""
    from simulator.questions.explain import catalog, explain_scenario, explain_spec, find_preset
    from simulator.scenario import Scenario as Question

    if any(subject in names for names in catalog().values()):
        facts = explain_spec(find_preset(subject)[1])
    else:
        facts = explain_scenario(Question.load(subject, settings))
    if as_json != "-":
        print_facts(facts)
    _write(lambda: _dump([fact.to_dict() for fact in facts]), as_json)


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep file (YAML).", show_default=False)],
    settings: Settings = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; all cores if left out.")] = None,
    all_plans: Annotated[bool, typer.Option("--all", help="Simulate plans that do not fit too.")] = False,
    as_json: Json = None,
) -> None:
    """Simulate every combination of the values that a sweep file names, and rank them."""
    from simulator.questions.sweep import read_sweep
    from simulator.questions.sweep import sweep as run_sweep
    from simulator.report.sweep_table import sweep_table

    _require_folder(as_json)
    name, base, over = read_sweep(file, settings or ())
    with progress_bar() as progress:
        answer = run_sweep(base, over, name=name, jobs=jobs, simulate_all=all_plans, progress=progress)
    if as_json != "-":
        print(sweep_table(answer.to_dict()))
    _write(answer.to_json, as_json)


@app.command("import")
def import_file(
    kind: Annotated[str, typer.Argument(metavar="hf|megatron", help="What kind of file.", show_default=False)],
    source: Annotated[str, typer.Argument(metavar="FILE", help="config.json; script, dump or flags.", show_default=False)],
    output: Annotated[str | None, typer.Option(metavar="FILE.yaml", help="Write our file here, not to stdout.")] = None,
    name: Annotated[str | None, typer.Option(help="The name it gets.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="KEY", help="A key or flag that changes nothing.")] = None,
    family: Annotated[str | None, typer.Option("--as", metavar="FAMILY", help="hf: read it as this model_type.")] = None,
    system: Annotated[str | None, typer.Option(help="megatron: the machine, a preset or a file.")] = None,
    chips: Annotated[int | None, typer.Option(help="megatron: chips, where the launch does not say.")] = None,
    define: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="megatron: a variable of the script.")] = None,
    add: Annotated[str, typer.Option(metavar="FLAGS", help="megatron: more flags, as if at the end of the launch.")] = "",
    as_json: Json = None,
) -> None:
    """Turn another tool's file into one of ours, and say what was made of each of its keys or flags."""
    from simulator.questions.importing import bring_launch, bring_model, check_kind

    for path in (output, as_json):
        _require_folder(path)
    given = {"--as": family, "--system": system, "--chips": chips, "--define": define, "--add": add}
    check_kind(kind, {option: bool(value) for option, value in given.items()})
    if kind == "hf":
        brought = bring_model(source, name=name, family=family, ignore=ignore or ())
    else:
        brought = bring_launch(source, system=system, chips=chips, name=name, define=define or (), added=add, ignore=ignore or ())
    if as_json != "-":
        print(brought.account, file=sys.stderr if output is None else sys.stdout)
        if output is None:
            print(brought.text, end="")
    _write(lambda: brought.text, output)
    _write(brought.to_json, as_json)


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="scenario, system, chip, model or assumptions.")] = "scenario",
    as_json: Json = None,
) -> None:
    """Print the JSON Schema of a file, for editors that complete and check."""
    from simulator.assumptions import Assumptions
    from simulator.scenario import Scenario as Question
    from simulator.spec.base import json_schema
    from simulator.spec.near import suggest
    from topologies.parts import Chip
    from topologies.system import System
    from workloads.model import Model

    specs: dict[str, type[BaseModel]] = {
        "scenario": Question,
        "system": System,
        "chip": Chip,
        "model": Model,
        "assumptions": Assumptions,
    }
    if what not in specs:
        raise InputError("there is no schema of this name", got=what, do=suggest(what, list(specs), "schemas"))
    document = _dump(json_schema(specs[what]))
    if as_json in (None, "-"):
        print(document, end="")
    else:
        _write(lambda: document, as_json)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Read the options that come before a verb."""
    if version:
        import simulator

        print(simulator.__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; every way out is an exit code and at most one line on stderr."""
    try:
        code = app(typed(), standalone_mode=False)
    except SupernodeError as error:
        if error.exit_code == 1:
            _report_fault(error)
        _fail(str(error), InputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        verb = context.command_path if context is not None else "supernode"
        _fail(f"{error.format_message().rstrip('.?')}. Try {verb} --help.", InputError.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has what it wanted
        sys.exit(0)
    except Exception as error:
        _report_fault(error)
    sys.exit(code if isinstance(code, int) else 0)


def _dump(data: Any) -> str:
    return json.dumps(data, indent=2) + "\n"


def _write(text: Callable[[], str], target: str | None) -> None:
    """Write a document to a file or to stdout."""
    if target == "-":
        sys.stdout.write(text())
    elif target is not None:
        Path(target).write_text(text(), encoding="utf-8")


def _require_folder(path: str | None) -> None:
    """Before long work: is there a folder to write into?"""
    if path in (None, "-"):
        return
    target = Path(str(path))
    if target.is_dir() or not target.parent.is_dir():
        raise InputError("is no place to write a file", got=path, do="Name a file in a folder that exists.")


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _report_fault(error: Exception) -> NoReturn:
    """Something is wrong with the simulator itself."""
    if os.environ.get("SUPERNODE_DEBUG"):
        raise error
    _fail(
        f"{type(error).__name__}: {' '.join(str(error).split())} This is a fault of the simulator: please report it with the"
        " scenario. SUPERNODE_DEBUG=1 shows where.",
        1,
    )
