"""Validate end to end on small cases: answers, refusals and defects all end up in the document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.questions import comparison
from simulator.questions.validate import validate
from simulator.report.validation_page import validation_page
from simulator.report.validation_table import table
from simulator.results import Result
from simulator.scenario import Scenario
from simulator.spec.errors import InputError

CASES = """\
cases:
  - id: small
    stack: llm-foundry
    scenario: &small
      cluster: {system: dgx-h100, chips: 8}
      model: mpt-760m
      training: {sequence_length: 2048, global_batch: 64, micro_batch: 4, precision: bf16}
      plan: {tp: 1, pp: 1, recompute: full}
    measured: {step_time_s: 1.0, model_tflops_per_chip: 300, hfu: 0.5, memory_gib_per_chip: 20}
    derived: {mfu_peak_tflops: 989}
  - id: only-mfu
    stack: llm-foundry
    scenario: *small
    measured: {mfu: 0.4}
    derived: {mfu_peak_tflops: 989}
  - id: impossible
    scenario:
      cluster: {system: dgx-h100, chips: 8}
      model: mpt-760m
      training: {sequence_length: 2048, global_batch: 64, precision: bf16}
      plan: {tp: 3}
    measured: {step_time_s: 1.0}
  - id: nowhere
    scenario:
      cluster: {system: no-such-machine, chips: 8}
      model: mpt-760m
      training: {sequence_length: 2048, global_batch: 64, precision: bf16}
    measured: {step_time_s: 1.0}
  - id: hinted
    scenario: *small
    measured: {step_time_s: 1.0}
    recipe_hint: {offload: [weights]}
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("validate") / "cases.yaml"
    path.write_text(CASES)
    seen: list[tuple[float, str]] = []
    answer = validate(path, jobs=1, progress=lambda share, text: seen.append((share, text)))
    assert seen[-1] == (1.0, "5 of 5: hinted")
    found: dict[str, Any] = json.loads(answer.to_json())
    return found


def by_id(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(case for case in document["cases"] if case["id"] == name)


def test_errors_are_predicted_over_measured_minus_one_for_every_printed_quantity(document: dict[str, Any]) -> None:
    case = by_id(document, "small")
    assert case["covered"]
    assert set(case["error"]) == {"step_time_s", "model_tflops_per_chip", "hfu", "memory_gib_per_chip"}
    for name, error in case["error"].items():
        assert error == pytest.approx(case["predicted"][name] / case["measured"][name] - 1)


def test_full_recomputation_counts_a_third_more_in_hardware_flops_but_for_the_head(document: dict[str, Any]) -> None:
    predicted = by_id(document, "small")["predicted"]
    assert 1.25 < predicted["hfu"] / predicted["mfu"] < 4 / 3


def test_a_row_that_prints_only_mfu_gets_its_step_time_from_the_counter(document: dict[str, Any]) -> None:
    case = by_id(document, "only-mfu")
    assert case["error"]["step_time_s"] == pytest.approx(0.4 / case["predicted"]["mfu"] - 1)


def test_what_cannot_be_expressed_is_counted_with_its_reason(document: dict[str, Any]) -> None:
    assert "tp*pp*cp" in by_id(document, "impossible")["reason"]
    assert "no-such-machine" in by_id(document, "nowhere")["reason"]
    assert document["summary"]["covered"] == 3
    assert document["summary"]["cases"] == 5


def test_a_hint_that_is_not_modelled_is_left_out_and_noted(document: dict[str, Any]) -> None:
    case = by_id(document, "hinted")
    assert case["covered"]
    assert any("offload" in note for note in case["notes"])


def test_the_table_and_the_page_show_every_case(document: dict[str, Any]) -> None:
    text, page = table(document), validation_page(document)
    for case in document["cases"]:
        assert case["id"] in text
        assert case["id"] in page


def test_a_defect_in_one_case_is_reported_as_ours_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text(CASES)
    monkeypatch.setattr("simulator.run.simulate", lambda scenario, **_: 1 / 0)
    outcome = validate(path, limit=1, jobs=1).outcomes[0]
    assert outcome.covered is False
    assert outcome.reason == "defect: ZeroDivisionError: division by zero"
    assert comparison.answer.__doc__


def test_worker_processes_give_the_answers_of_one_process(tmp_path: Path) -> None:
    one = CASES.split("  - id: only-mfu", maxsplit=1)[0].removeprefix("cases:\n").replace("&small", "")
    path = tmp_path / "cases.yaml"
    rows = [
        one.replace("id: small", f"id: small-{n}").replace("global_batch: 64", f"global_batch: {32 * n}") for n in range(1, 9)
    ]
    path.write_text("cases:\n" + "".join(rows))
    alone, together = validate(path, jobs=1), validate(path, jobs=2)
    assert [row.predicted for row in alone.outcomes] == [row.predicted for row in together.outcomes]


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="limit: must be at least 1"):
        validate(tmp_path / "cases.yaml", limit=0)


def test_cases_that_ask_the_same_question_are_simulated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import simulator.run

    asked: list[str] = []
    real = simulator.run.simulate

    def counted(scenario: Scenario, slots: str, record: bool) -> Result:
        asked.append(scenario.name)
        return real(scenario, slots=slots, record=record)

    monkeypatch.setattr("simulator.run.simulate", counted)
    path = tmp_path / "cases.yaml"
    path.write_text(CASES)
    found = validate(path, limit=2, jobs=1).outcomes
    assert asked == ["small"]
    assert found[0].predicted["step_time_s"] == found[1].predicted["step_time_s"]


PAIRS = """\
pairs:
  - {faster: small, slower: only-mfu, kind: plan, group: g}
  - {faster: impossible, slower: small, kind: system, measured_ratio: 1.2}
"""


def test_pairs_are_answered_beside_the_cases_and_one_without_an_answer_does_not_agree(tmp_path: Path) -> None:
    cases, pairs = tmp_path / "cases.yaml", tmp_path / "pairs.yaml"
    cases.write_text(CASES)
    pairs.write_text(PAIRS)
    found = json.loads(validate(cases, pairs=pairs, jobs=1).to_json())
    same, lost = found["pairs"]
    assert same["predicted_ratio"] == 1.0
    assert (lost["measured_ratio"], lost["predicted_ratio"]) == (1.2, None)
    assert [same["agrees"], lost["agrees"]] == [False, False]
    assert found["summary"]["pair_agreement_by_kind"]["plan"]["agreement"] == 0.0
    assert "pairs in the wrong order" in table(found)
    assert "impossible before small" in validation_page(found)


def test_a_pair_of_a_case_that_is_not_there_is_refused_with_its_line(tmp_path: Path) -> None:
    cases, pairs = tmp_path / "cases.yaml", tmp_path / "pairs.yaml"
    cases.write_text(CASES)
    pairs.write_text(PAIRS.replace("slower: only-mfu", "slower: only-mfo"))
    with pytest.raises(InputError, match=r"pairs.yaml:2:\d+ pairs\[0\].slower: .*only-mfu"):
        validate(cases, pairs=pairs, limit=1)


def test_changed_assumptions_reach_the_cases_they_are_for(tmp_path: Path) -> None:
    """A pace of two makes the step longer, of the named case only; nothing else is run."""
    path = tmp_path / "cases.yaml"
    path.write_text(CASES)
    before = validate(path, jobs=1, only={"small"}).outcomes
    after = validate(path, jobs=1, only={"small"}, change=lambda preset, system: {"pace.compute": 2.0}).outcomes
    assert [row.id for row in after] == ["small"]
    assert after[0].predicted["step_time_s"] > 1.3 * before[0].predicted["step_time_s"]
    same = validate(path, jobs=1, only={"small"}, change=lambda preset, system: {}).outcomes
    assert same[0].predicted == before[0].predicted
