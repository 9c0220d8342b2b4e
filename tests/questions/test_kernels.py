"""Measured kernels: what a row asks, who measured it, and a fit that finds constants again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.assumptions import Assumptions
from simulator.questions.kernel_fit import Constant, Ground, Question, TrialModel, constants, fit, leave_out
from simulator.questions.kernel_libraries import figure_at, kernel_libraries
from simulator.questions.kernel_operators import FAMILIES, matrix_product
from simulator.questions.kernel_rows import Measured, as_row, holds_kernels
from simulator.questions.measured_kernels import validate_kernels
from simulator.spec.errors import InputError, NotModelled
from workloads.instructions import Phase

LIB = "torch.mm (cuBLAS)"


def write(folder: Path, text: str) -> Path:
    file = folder / "rows.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_of_rows_is_known_by_its_keys_and_answered(tmp_path: Path) -> None:
    """Both ways of printing the same time give the same error; a chip nobody knows is a reason, not a failure."""
    rate = 2 * 4096**3 / 200e-6 / 1e12
    shape = f"prec: bf16, lib: {LIB}, M: 4096, N: 4096, K: 4096"
    rows = [f"{{chip: H100, {shape}, tflops: {rate}}}", f"{{chip: H100, {shape}, us: 200}}", f"{{chip: abacus, {shape}, us: 9}}"]
    file = write(tmp_path, "gemm:\n" + "".join(f"  - {row}\n" for row in rows))
    assert holds_kernels(file)
    first, second, third = validate_kernels(file).outcomes
    assert first.measured_s == pytest.approx(200e-6)
    assert first.error == pytest.approx(second.error)
    assert (first.chip, first.library, third.covered) == ("h100-sxm", "inference", False)
    assert third.reason is not None
    assert "abacus" in third.reason


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one row"):
        validate_kernels(write(tmp_path, "gemm: []\n"))


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("gemm", {"N": 4096, "K": 4096, "tflops": 900}),
        ("attention", {"kernel": "attn fwd", "seq": 4096}),
        ("attention", {"kernel": "MLA decode", "head_dim": 128, "seq": 4096}),
        ("grouped_gemm", {"groups": "8/16/32", "m_per_group": 4096, "N": 64, "K": 64}),
        ("memory_bound", {"kernel": "scale rearrange", "shape": "4096x64"}),
    ],
)
def test_what_a_row_leaves_open_is_said(family: str, fields: dict[str, object]) -> None:
    """No shape is made up for a row that prints none."""
    with pytest.raises(NotModelled):
        FAMILIES[family](as_row(chip="H100", lib="any", **fields))


def test_flops_of_attention_are_those_of_its_authors() -> None:
    """4 S^2 d a head forward; backward 2.5 times, of which the model counts 2; a causal mask halves both."""
    fields = {"chip": "H100", "head_dim": 128, "seq": 8192, "B": 2, "H": 16}
    forward, backward, both = (FAMILIES["attention"](as_row(kernel=f"attn {way}", **fields)) for way in ("fwd", "bwd", "fwd+bwd"))
    assert forward.flops == 4 * 8192**2 * 128 * 32 == forward.operators[0].flops
    assert (backward.flops, backward.operators[0].flops) == (2.5 * forward.flops, 2 * forward.flops)
    assert both.flops == 3.5 * forward.flops
    causal = FAMILIES["attention"](as_row(kernel="attn fwd", causal=True, **fields))
    assert (causal.flops, causal.operators[0].n) == (forward.flops / 2, 4096)


def test_a_layer_of_products_is_its_twelve() -> None:
    """6 x tokens x parameters FLOPs: queries, keys and values, output, and two FFN matrices, with both gradients."""
    work = matrix_product(as_row(chip="H100", kernel="gemm x12 (one layer h4096 ffn16384)", M=1024, prec="fp8"))
    assert len(work.operators) == 12
    assert work.flops == 6 * 1024 * (4 * 4096**2 + 2 * 4096 * 16384) == sum(operator.flops for operator in work.operators)
    assert sum(operator.phase is Phase.BACKWARD_WEIGHT for operator in work.operators) == 4


def test_a_library_keeps_its_share_of_the_chip_s_figures() -> None:
    """Shares multiply every precision, figures take the place of the chip's, all else stays."""
    chip = Assumptions.load("default").of_chip("h100-96gb-hbm2e")[0]
    blocks = kernel_libraries().libraries["fbgemm-block"]
    scaled = blocks.applied(chip)
    for precision, figure in chip.gemm.items():
        assert scaled.gemm[precision].value == pytest.approx(figure.value * blocks.shares["gemm"].value)
    assert scaled.sustained == chip.sustained
    whole = kernel_libraries().libraries["deepgemm"].applied(chip)
    assert (whole.gemm_tail.value, whole.weight_gradient["bf16"]) == (1.0, chip.weight_gradient["bf16"])


def planted(values: dict[str, float]) -> tuple[Ground, list[Question]]:
    """Rows of a machine whose constants are these, from two tables that time products on a B200."""
    ground = Ground.of(Assumptions.load("default"))
    model, asked = TrialModel(ground, values), []
    for source in ("one", "two"):
        for m in (64, 512, 4096, 16384):
            for n in (2048, 4096) if source == "one" else (6144, 8192):
                row = as_row(chip="B200", lib=LIB, src=source, M=m, N=n, K=4096)
                work = Measured("row", "gemm", row).work()
                seconds = model.seconds("b200-sxm", "inference", work)
                asked.append(Question(source, "b200-sxm", "inference", work, seconds))
    return ground, asked


def moving_only(ground: Ground, *paths: str) -> list[Constant]:
    return [constant for constant in constants(ground) if constant.path in paths]


def test_a_fit_finds_what_was_planted() -> None:
    """A sustained clock and a start that differ from the files' are read back from the times they make."""
    truth = {"chips.b200-sxm.sustained": 0.80, "any_chip.gemm_start.bf16": 4.5e-6}
    ground, asked = planted(truth)
    moving = moving_only(ground, *truth)
    fit(asked, moving, ground)
    for constant in moving:
        assert constant.value == pytest.approx(truth[constant.path], rel=0.03)
        assert constant.value != constant.start


def test_a_source_left_out_is_predicted_from_the_others() -> None:
    """Both tables come from one machine, so each predicts the other better than the files' figures do."""
    ground, asked = planted({"chips.b200-sxm.sustained": 0.76})
    found = leave_out(asked, ground, paths=("chips.b200-sxm.sustained",))
    assert set(found) == {"one", "two"}
    model = TrialModel(ground, {})
    before = [abs(model.seconds(row.chip, row.library, row.work) / row.seconds - 1) for row in asked]
    assert np.mean(np.abs(found["one"] + found["two"])) < 0.25 * np.mean(before)


def test_constants_stay_in_their_range_and_what_no_row_speaks_of_stays() -> None:
    ground, asked = planted({"chips.b200-sxm.sustained": 0.5})
    moving = moving_only(ground, "chips.b200-sxm.sustained", "chips.a100-80gb.sustained")
    fit(asked, moving, ground)
    by_path = {constant.path: constant for constant in moving}
    assert by_path["chips.b200-sxm.sustained"].value == by_path["chips.b200-sxm.sustained"].low
    assert by_path["chips.a100-80gb.sustained"].value == figure_at(ground.chips["a100-80gb"], ("sustained",)).value
