"""Element sizes: what a number costs in memory and on the wire, with its share of a scale."""

from __future__ import annotations

from simulator.spec.errors import InputError

#: Bytes of one element, its share of the scale included: a 4-byte scale per 128 values (fp8), a 1-byte scale per 32
#: (the OCP microscaling formats), a 1-byte scale per 16 (nvfp4).
ELEMENT_BYTES = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0 + 4.0 / 128.0,
    "mxfp8": 1.0 + 1.0 / 32.0,
    "mxfp4": 0.5 + 1.0 / 32.0,
    "nvfp4": 0.5 + 1.0 / 16.0,
}

#: Four-bit training keeps the selection of keys at eight bits: the scores only rank.
_SCORE_PRECISION = {"mxfp4": "mxfp8", "nvfp4": "fp8"}


def element_bytes(precision: str) -> float:
    """Bytes of one element in this precision, scales included.

    >>> element_bytes("bf16"), element_bytes("mxfp8")
    (2.0, 1.03125)
    """
    if precision not in ELEMENT_BYTES:
        raise InputError("must be one of " + ", ".join(ELEMENT_BYTES), got=precision, do="Name one.", path="precision")
    return ELEMENT_BYTES[precision]


def is_quantised(precision: str) -> bool:
    """Whether tensors must be cast from bf16 before a matrix multiplication of this precision."""
    return precision not in ("bf16", "fp16", "fp32")


def same_width(one: str, other: str) -> bool:
    """Whether values of one quantised format can be used as they are where the other is asked for: both 8 bits, or the same.

    >>> same_width("fp8", "mxfp8"), same_width("nvfp4", "mxfp4"), same_width("nvfp4", "fp8")
    (True, False, False)
    """
    return one == other or {one, other} <= {"fp8", "mxfp8"}


def activation_precision(precision: str) -> str:
    """The 16-bit format that activations have between operators: fp16 when training in it, else bf16."""
    return "fp16" if precision == "fp16" else "bf16"


def score_precision(precision: str) -> str:
    """The precision of an indexer's scores: that of the linear layers, but never below eight bits."""
    return _SCORE_PRECISION.get(precision, precision)
