"""Schedules given as a table: what shipped schedules write, read back; and one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.errors import FileProblem, InputError, PlanError
from simulator.spec.files import make
from workloads import schedules
from workloads.groups import Groups
from workloads.instructions import Slot, Work
from workloads.memory import MemoryBudget
from workloads.model import Model
from workloads.plan import Plan, Training, resolve
from workloads.program import build_program, schedule_order
from workloads.resolved import ResolvedPlan
from workloads.schedules.table import ScheduleTable, read_table

WRITTEN = {
    "1f1b": (schedules.one_f_one_b, 1, "round"),
    "interleaved": (schedules.interleaved, 2, "round"),
    "zb-h1": (schedules.zb_h1, 1, "round"),
    "zb-v": (schedules.zb_v, 2, "v"),
    "dualpipe-v": (schedules.dualpipe_v, 2, "v"),
}
PAIR = ("F0 F1 B0 B1", "F0 B0 F1 B1")


def by_stage(work: Work) -> str:
    return f"{work.stage}{work.kind}{work.micro_batch}"


def cell(slot: Slot) -> str:
    """A slot as PyTorch's tables write it."""
    works = [by_stage(work) for work in slot]
    return works[0] if len(works) == 1 else f"({';'.join(works)})OVERLAP_F_B"


@given(st.sampled_from(sorted(WRITTEN)), st.integers(2, 5), st.integers(2, 4))
def test_a_shipped_order_written_with_stages_reads_back_as_itself(schedule: str, pp: int, times: int) -> None:
    make_order, vpp, _ = WRITTEN[schedule]
    order = make_order(pp, pp * times, vpp)
    rows = tuple(",".join(map(cell, slots)) for slots in order)
    found = read_table(ScheduleTable(rows=rows), pp)
    assert [list(slots) for slots in found.order] == order
    assert (found.owners, found.vpp, found.micro_batches) == (schedules.stage_owners(schedule, pp, vpp), vpp, pp * times)


@given(st.sampled_from(sorted(WRITTEN)), st.integers(2, 5))
def test_a_shipped_order_written_with_chunks_reads_back_as_itself(schedule: str, pp: int) -> None:
    make_order, vpp, layout = WRITTEN[schedule]
    order, (owner,) = make_order(pp, 2 * pp, vpp), schedules.stage_owners(schedule, pp, vpp)
    own = {stage: [s for s, holder in enumerate(owner) if holder == owner[stage]].index(stage) for stage in range(pp * vpp)}
    rows = tuple(
        " ".join("+".join(f"{work.kind}{work.micro_batch}.{own[work.stage]}" for work in slot) for slot in slots)
        for slots in order
    )
    found = read_table(make({"rows": rows, "layout": layout}, ScheduleTable), pp)
    assert [list(slots) for slots in found.order] == order


def test_a_file_has_a_line_a_rank(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("# two ranks\n0F0,0F1,,0B0,0B1\n,1F0,1B0,1F1,1B1\n")
    assert read_table(ScheduleTable(file=str(path)), 2).order == read_table(ScheduleTable(rows=PAIR), 2).order
    with pytest.raises(FileProblem, match=r"plan.schedule.file: a schedule's table cannot be read .* No such file"):
        read_table(ScheduleTable(file=str(tmp_path / "none.csv")), 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (PAIR[:1], "plan.schedule: a schedule's table has a row for each of the pp = 2 pipeline ranks (got 1). Add or drop"),
        (("F0 F1 B0 X1", PAIR[1]), "plan.schedule: no such work in a schedule (got X1 on rank 0). Write F, B, I or W with a"),
        (("F0 F1 SEND_F0 B0 B1", PAIR[1]), "plan.schedule: no such work in a schedule (got SEND_F0 on rank 0)."),
        (("F0 F1 B0", PAIR[1]), "plan.schedule: every micro-batch passes every stage forward once, then backward once, as F B or"
         " F I W (got F of micro-batch 1 on stage 0). Correct the works of that micro-batch."),
        (("F0 F1 B0 B1 B1", PAIR[1]), "plan.schedule: every micro-batch passes every stage forward once, then backward once, as F"
         " B or F I W (got F B B of micro-batch 1 on stage 0)."),
        (("F0 F1 W0 I0 B1", PAIR[1]), "plan.schedule: every micro-batch passes every stage forward once, then backward once, as F"
         " B or F I W (got F W I of micro-batch 0 on stage 0)."),
        (("F0 B0 F1 B1", "F1 B1 F0 B0"), "plan.schedule: an order lets every rank go on (got pipeline rank 0 waits for B0 of"
         " stage 1 before B0 of stage 0, its work number 2). Run what it waits for earlier."),
        (("F0+F1 B0 B1", PAIR[1]), "plan.schedule: a forward and a backward can run at once, and no other works (got F0+F1 on"
         " rank 0). Write them one after the other."),
        (("0F0 F1 B0 B1", PAIR[1]), "plan.schedule: words that name a stage and words that name a chunk do not mix."),
        (("0F0 0B0", "0F0 0B0"), "plan.schedule: every stage runs on one pipeline rank (got stage 0 on 2 of them)."),
        (("0F0 0B0", "2F0 2B0"), "plan.schedule: every stage runs on one pipeline rank (got stage 1 on 0 of them)."),
        (("0F0 1F0 1B0 0B0", "2F0 2B0"), "plan.schedule: all pipeline ranks hold equally many stages (got 2 of 3 on rank 0"),
        (("", ""), "plan.schedule: a schedule's table is empty."),
    ],
)  # fmt: skip
def test_a_wrong_table_says_what_to_change(rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlanError) as refused:
        read_table(ScheduleTable(rows=rows), 2)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_the_table_in_the_documentation_is_legal() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text()
    rows = [line.strip()[2:] for line in page.splitlines() if line.startswith("      - F0 ")]
    assert read_table(ScheduleTable(rows=tuple(rows)), 2).micro_batches == 3


def test_rows_or_a_file_but_not_both() -> None:
    for table in (ScheduleTable(), ScheduleTable(rows=PAIR, file="x.csv")):
        with pytest.raises(PlanError, match="given as rows or as a file"):
            read_table(table, 2)


def plan_of(rows: tuple[str, ...], batch: int = 2, **settings: int) -> ResolvedPlan:
    plan = make({"pp": len(rows), "schedule": {"rows": list(rows)}, **settings}, Plan)
    return resolve(plan, Training(sequence_length=2048, global_batch=batch), small(), len(rows))


def small() -> Model:
    return make(
        {
            "name": "small", "layers": 4, "hidden": 1024, "vocab": 32000, "ffn": {"width": 4096}, "tied_embeddings": True,
            "attention": {"kind": "gqa", "heads": 16, "kv_heads": 16, "head_dim": 64},
        },
        Model,
    )  # fmt: skip


def test_a_plan_runs_its_table() -> None:
    """The program of a table is the one that the same order has by name, with the same memory."""
    own, named = plan_of(PAIR), resolve(Plan(pp=2), Training(sequence_length=2048, global_batch=2), small(), 2)
    assert schedule_order(own) == [list(row) for row in read_table(ScheduleTable(rows=PAIR), 2).order]
    ours, theirs = (build_program(small(), plan, Groups.of(plan), MemoryBudget(1e18)) for plan in (own, named))
    assert [rank.memory for rank in ours.ranks] == [rank.memory for rank in theirs.ranks]
    assert ours.ranks[1].slots == theirs.ranks[1].slots


def test_a_table_fits_the_plan_it_is_in() -> None:
    with pytest.raises(PlanError, match=r"has 2 micro-batches, a pipeline of this plan 4\. Use global_batch 2, or another table"):
        plan_of(PAIR, batch=4)
    with pytest.raises(PlanError, match=r"plan.vpp: the schedule's table has 1 stages on a rank \(got 2\)"):
        plan_of(PAIR, vpp=2)
    turned = ("1F0 1B0", "2F0 2B0", "0F0 0B0")
    with pytest.raises(PlanError, match=r"first and the last pipeline rank, or both on one \(got ranks 1 and 2\)"):
        plan_of(turned, batch=1)


def test_a_scenario_that_misspells_its_table_is_told_the_key() -> None:
    for wrong, told in (({"row": ["F0 B0"]}, "unknown key row"), ({"rows": "F0 B0"}, "must be a list"), ("zb-h3", "zb-h1")):
        with pytest.raises(InputError, match=told):
            make({"schedule": wrong}, Plan)
