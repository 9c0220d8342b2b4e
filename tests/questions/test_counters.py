"""FLOP counters against what stacks print: tokens a second times the counter's FLOPs a token is the printed TFLOP/s."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.questions.cases import Case, read_cases
from simulator.questions.counters import FlopCounter, counter_of, model_flops_per_token, recomputed_flops_per_token
from simulator.spec.errors import NotModelled
from workloads import load

ROWS = Path(__file__).parent.parent / "published" / "rows.yaml"
TOLERANCE = 0.012
"""Sources round to three digits, and some pad the vocabulary."""


def printed() -> list[tuple[str, Case, float, float]]:
    """(quantity, case, printed FLOP/s a chip, tokens a second and chip) of every row that prints both."""
    found = []
    for question in read_cases(ROWS):
        case, training, chips = question.case, question.case.scenario["training"], question.case.scenario["cluster"]["chips"]
        step = case.measured.step_time_s or (case.derived.step_time_s if case.measured.tokens_per_s_per_chip else None)
        if step is None:
            continue
        speed = training["global_batch"] * training["sequence_length"] / step / chips
        values = case.measured
        peak = case.derived.mfu_peak_tflops or float("nan")
        units = {"model_tflops_per_chip": 1.0, "hardware_tflops_per_chip": 1.0, "mfu": peak, "hfu": peak}
        found += [(name, case, value * units[name] * 1e12, speed) for name, value in values.values().items() if name in units]
    return found


@pytest.mark.parametrize(("quantity", "case", "flops", "speed"), printed(), ids=lambda value: getattr(value, "id", None))
def test_a_stack_prints_what_its_counter_says(quantity: str, case: Case, flops: float, speed: float) -> None:
    counter, known = counter_of(case.stack, case.system, case.model)
    assert known
    model, length = load(case.scenario["model"]), case.scenario["training"]["sequence_length"]
    expected = model_flops_per_token(model, length, counter)
    if quantity in ("hardware_tflops_per_chip", "hfu"):
        plan = case.scenario["plan"]
        recompute = plan["recompute"]
        if recompute == "selective":
            recompute += f" ({', '.join(plan['recompute_modules'])})"
        expected += recomputed_flops_per_token(model, length, counter, recompute)
    assert flops / speed == pytest.approx(expected, rel=TOLERANCE)


def test_rows_of_many_stacks_were_compared() -> None:
    assert len({case.stack for _, case, _, _ in printed()}) >= 10


def test_square_attention_is_the_causal_mean_twice() -> None:
    model, length = load("llama3.1-8b"), 8192
    causal = model_flops_per_token(model, length)
    square = model_flops_per_token(model, length, FlopCounter(attention="square"))
    one_core = 3 * 32 * 2 * 32 * (128 + 128)
    assert square - causal == pytest.approx(one_core * (8192 - 8193 / 2))


def test_old_megatron_bridge_forgets_windows_and_the_gate_of_gpt_oss() -> None:
    model = load("gpt-oss-120b")
    old, _ = counter_of("megatron-bridge-26.02", "gb200-nvl72", "gpt-oss-120b")
    new, _ = counter_of("megatron-bridge-26.08", "gb200-nvl72", "gpt-oss-120b")
    ratio = model_flops_per_token(model, 4096, old) / model_flops_per_token(model, 4096, new)
    assert ratio == pytest.approx(0.833, abs=0.003)  # 27.16 of 32.60 GFLOP a token, as printed


def test_recomputation_of_other_modules_has_no_published_counter() -> None:
    with pytest.raises(NotModelled, match="no hardware FLOP counter"):
        recomputed_flops_per_token(load("llama3.1-8b"), 4096, FlopCounter(), "selective (mlp)")


def test_the_most_specific_rule_wins_and_an_unknown_stack_has_none() -> None:
    assert counter_of("dgxc-25.05", "dgx-h100", "deepseek-v3")[0].attention == "causal"
    assert counter_of("dgxc-25.05", "dgx-h100", "llama3.1-405b")[0].attention == "square"
    assert counter_of("homegrown", "dgx-h100", "llama3.1-405b")[1] is False
