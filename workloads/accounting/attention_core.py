"""The attention kernel and the projection behind it, as the variants share them."""

from __future__ import annotations

from workloads.accounting.cores import Core
from workloads.accounting.ledger import Ledger
from workloads.accounting.precision import is_quantised
from workloads.accounting.sections import Section, Shard
from workloads.accounting.unfused import enter_unfused
from workloads.accounting.weights import Linear
from workloads.model import Model

CAST = 3.0
"""Bytes read and written of an element that is cast from 16 to 8 bits."""


def enter_core(ledger: Ledger, core: Core, key_value_width: float) -> None:
    """Enter the attention kernel, and what it keeps: its output, and (a flash kernel) an fp32 log-sum-exp a query and head.

    ``key_value_width``: elements of one key and value in the kernel. It reads those of the whole sequence once; a
    window shorter than the part of the sequence that the kernel sees needs little more than its own.
    """
    shard = ledger.shard
    heads, tokens = core.heads / shard.core_cut, shard.core_tokens
    ledger.module = "core_attn"
    if shard.attention == "unfused":
        enter_unfused(ledger, core)
        _save_output(ledger, tokens * heads * core.value_dim)
        return
    seen = 0.0
    for span in core.spans:
        entries = shard.tokens * shard.cp / span.ratio
        own = tokens / span.ratio + span.limit * shard.sequences
        seen += min(entries, own) if span.limit and span.ratio == 1 else entries
    if shard.attention == "flash-fp8":
        # Queries, keys and values are cast for the kernel, output gradients for its backward pass: 16 bits read, 8 written.
        gradient = tokens * heads * core.value_dim * CAST
        ledger.memory("attention_cast", core.component, (tokens * heads * core.key_dim + seen * key_value_width) * CAST, gradient)
    ledger.core("attention", core, heads, tokens, keys=core.keys(shard.sequence_length), keys_seen=seen * key_value_width)
    ledger.save("log_sum_exp", tokens * heads, 4.0)
    _save_output(ledger, tokens * heads * core.value_dim)


def _save_output(ledger: Ledger, elements: float) -> None:
    """In 16 bits the output is the very tensor that the output projection keeps; quantised, the projection keeps its own.

    Where heads are exchanged the projection gets another tensor than the kernel made, and both are kept.
    """
    quantised, exchanged = is_quantised(ledger.shard.precision), ledger.shard.context_heads > 1
    ledger.save("attention_output", elements, module="core_attn" if quantised or exchanged else "context")
    if exchanged and not quantised:
        ledger.save("exchanged_output", elements, module="context")


def output_section(model: Model, shard: Shard, linear: Linear) -> Section:
    """The output projection, back to the hidden width."""
    ledger = Ledger("attention_out", shard)
    enter_output_cast(ledger, shard.tokens * linear.inputs / shard.tp)
    ledger.module = "out_proj"
    ledger.linear(linear)
    return ledger.section(reduce=shard.tokens * model.hidden)


def enter_output_cast(ledger: Ledger, elements: float) -> None:
    """Enter the cast of the kernel's output, kept for the projection's weight gradient."""
    if is_quantised(ledger.shard.precision):
        ledger.cast("attention_output_cast", "attention_projections", elements)
        ledger.save_input("attention_output_cast", elements, module="out_proj")
