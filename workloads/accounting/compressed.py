"""DeepSeek-V4's compressed attention: CSA, HCA and sliding-window layers.

Weights a layer, with d the head dimension: queries hidden x q_lora, a norm, q_lora x heads x d; one key-value head hidden x d
with a norm; a sink a head; output in G groups: (heads x d / G) x rank each, then G x rank x hidden. Compressors project the
input to values and gates: 2 d wide in HCA, 4 d in CSA (two overlapping sets), with learned positions and a norm.
A CSA layer has an indexer: queries q_lora x index heads x di, head weights hidden x index heads, and a compressor of its own.

Core FLOPs a token: 4 x heads x d x (window + attended entries); indexer 2 x index heads x di x entries. The compressors and the
indexer's head weights stay in 16 bits. Source: DeepSeek-V4 technical report, https://arxiv.org/abs/2606.19348.

Leaves out: that a sparse kernel fetches selected entries anew for every query when they do not stay in cache (each entry
counts once); the exchange of selected indices among tensor-parallel ranks.
"""

from __future__ import annotations

from workloads.accounting import hyper_connections
from workloads.accounting.attention_core import enter_core, enter_output_cast
from workloads.accounting.cores import Core, KeySpan
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.mla import enter_indexer
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight, by_name
from workloads.attention_kinds import CompressedAttention
from workloads.model import LayerShape, Model

COMPONENT = "attention_projections"
INDEXER = "indexer_projections"


def weights(model: Model, attention: CompressedAttention, shape: LayerShape) -> tuple[Weight, ...]:
    """Projections, and what the layer's kind adds: a compressor, and an indexer in CSA."""
    hidden, d, inner = model.hidden, attention.head_dim, attention.heads * attention.head_dim
    groups, rank = attention.output_groups, attention.output_rank
    found: list[Weight] = [
        Linear("q_down", COMPONENT, hidden, attention.q_lora_rank, Split.REPLICATED),
        Vector("q_norm", COMPONENT, attention.q_lora_rank),
        Linear("q_up", COMPONENT, attention.q_lora_rank, inner, Split.COLUMN),
        Linear("kv", COMPONENT, hidden, d, Split.REPLICATED),
        Vector("kv_norm", COMPONENT, d),
        Vector("sink", COMPONENT, attention.heads, Split.COLUMN),
        Linear("output_down", COMPONENT, inner // groups, rank, Split.GROUPS, groups=groups),
        Linear("output_up", COMPONENT, groups * rank, hidden, Split.ROW),
    ]
    if shape.attention == "csa":
        indexer = attention.indexer
        found += _compressor(model, "compressor", "compressor_csa", d, attention.csa_ratio, overlap=True)
        found += [
            Linear("indexer_query", INDEXER, attention.q_lora_rank, indexer.heads * indexer.head_dim, Split.REPLICATED),
            Linear("indexer_weights", INDEXER, hidden, indexer.heads, Split.REPLICATED, low_precision=False),
        ]
        found += _compressor(model, "indexer_compressor", INDEXER, indexer.head_dim, attention.csa_ratio, overlap=True)
    elif shape.attention == "hca":
        found += _compressor(model, "compressor", "compressor_hca", d, attention.hca_ratio, overlap=False)
    return tuple(found)


def cores(attention: CompressedAttention, shape: LayerShape) -> tuple[Core, ...]:
    """The attention core over window and entries, and the indexer's scores in CSA."""
    heads, d = attention.heads, attention.head_dim
    window = KeySpan(limit=attention.window)
    if shape.attention == "csa":
        indexer = attention.indexer
        entries = KeySpan(attention.csa_ratio, indexer.top_k)
        return (
            Core("core_attention_csa", heads, d, d, (window, entries)),
            Core("indexer_scores", indexer.heads, indexer.head_dim, 0, (KeySpan(attention.csa_ratio),)),
        )
    if shape.attention == "hca":
        return (Core("core_attention_hca", heads, d, d, (window, KeySpan(attention.hca_ratio))),)
    return (Core("core_attention_swa", heads, d, d, (window,)),)


def sections(model: Model, attention: CompressedAttention, shape: LayerShape, shard: Shard) -> dict[str, Section]:
    """attention_pre, attention_in, attention_core, attention_out of one layer on one rank."""
    linear = by_name(weights(model, attention, shape))
    ratio = {"csa": attention.csa_ratio, "hca": attention.hca_ratio}.get(shape.attention)
    entry = attention.head_dim + (attention.indexer.head_dim if shape.attention == "csa" else 0)
    entries_width = entry / ratio if ratio else 0.0
    core = Ledger("attention_core", shard)
    enter_core(core, cores(attention, shape)[0], attention.head_dim)
    if shape.attention == "csa":
        available = shard.sequence_length / attention.csa_ratio
        core.save("selected_entries", shard.tokens * min(attention.indexer.top_k, available), 4.0)
    # Context parallelism brings every entry together, but of the raw keys only a window before each rank's first token.
    context = shard.tokens * shard.cp * entries_width + shard.cp * shard.sequences * attention.window * attention.head_dim
    gathered = attention.q_lora_rank + attention.head_dim + entries_width
    return {
        "attention_pre": _latent_section(model, attention, shape, shard, linear),
        "attention_in": _head_section(attention, shape, shard, linear).section(gather=shard.tokens * gathered),
        "attention_core": core.section(context=context),
        "attention_out": _output_section(model, attention, shard, linear),
    }


def _compressor(model: Model, name: str, component: str, width: int, ratio: int, *, overlap: bool) -> list[Weight]:
    """Values and gates of ``width``, twice with overlap; learned positions inside a group; a norm of the entry."""
    sets = 2 if overlap else 1
    return [
        Linear(name, component, model.hidden, 2 * sets * width, Split.REPLICATED, low_precision=False),
        Vector(f"{name}_positions", component, ratio * sets * width),
        Vector(f"{name}_norm", component, width),
    ]


def _latent_section(
    model: Model, attention: CompressedAttention, shape: LayerShape, shard: Shard, linear: dict[str, Linear]
) -> Section:
    """From the residual streams to the query latent, the key-value head and the entries, on the rank's own tokens."""
    tokens, ledger = shard.local_tokens, Ledger("attention_pre", shard)
    hyper_connections.enter_before(ledger, model, "attention", keep_16_bits=shape.attention != "swa")
    ledger.cast("attention_input_cast", COMPONENT, tokens * model.hidden, module="layernorm")
    ledger.linear(linear["q_down"])
    ledger.linear(linear["kv"], reads_the_same=True)
    latents = attention.q_lora_rank + attention.head_dim
    ledger.module = "layernorm"
    ledger.memory("latent_norms_and_rope", COMPONENT, 2 * tokens * latents * ACTIVATION, 3 * tokens * latents * ACTIVATION)
    ledger.save_input("normalised_query_latent", tokens * attention.q_lora_rank)
    ledger.module = ""
    ledger.save("latents", tokens * latents)
    ledger.save("keys_values", tokens * attention.head_dim)
    if shape.attention == "csa":
        ledger.linear(linear["indexer_weights"], reads_the_same=True)
        _enter_compression(ledger, linear["compressor"], attention.head_dim / attention.csa_ratio)
        _enter_compression(ledger, linear["indexer_compressor"], attention.indexer.head_dim / attention.csa_ratio)
    elif shape.attention == "hca":
        _enter_compression(ledger, linear["compressor"], attention.head_dim / attention.hca_ratio)
    return ledger.section()


def _enter_compression(ledger: Ledger, linear: Linear, entry: float) -> None:
    """Enter a compressor: a projection of the layer's input, gated sums over groups of tokens, of ``entry`` elements a token."""
    tokens = ledger.shard.local_tokens
    ledger.linear(linear, reads_the_same=True)
    forward = tokens * (linear.outputs + entry) * ACTIVATION
    backward = tokens * (2 * linear.outputs + entry) * ACTIVATION
    ledger.memory(f"{linear.name}_pooling", linear.component, forward, backward)
    ledger.save(f"{linear.name}_gates", tokens * linear.outputs)
    ledger.save(f"{linear.name}_entries", tokens * entry)


def _head_section(attention: CompressedAttention, shape: LayerShape, shard: Shard, linear: dict[str, Linear]) -> Ledger:
    """From the gathered latents to the queries of the rank's heads, and the indexer's selection."""
    queries = shard.tokens * attention.heads * attention.head_dim / shard.tp
    ledger = Ledger("attention_in", shard, module="mla_up_proj")
    ledger.cast("query_latent_cast", COMPONENT, shard.tokens * attention.q_lora_rank, module="layernorm", gathered=True)
    ledger.linear(linear["q_up"])
    ledger.memory("query_norm_and_rope", COMPONENT, 2 * queries * ACTIVATION, 3 * queries * ACTIVATION)
    ledger.save("queries", queries)
    ledger.module = ""
    if shape.attention == "csa":
        scores = cores(attention, shape)[1]
        keys_seen = shard.tokens * shard.cp / attention.csa_ratio * scores.key_dim
        enter_indexer(ledger, linear["indexer_query"], scores, keys_seen=keys_seen)
    return ledger


def _output_section(model: Model, attention: CompressedAttention, shard: Shard, linear: dict[str, Linear]) -> Section:
    """Inverse rotation, the grouped projection to the output rank, and the projection back to the hidden width."""
    heads = attention.heads / shard.tp
    ledger = Ledger("attention_out", shard)
    rotated = 2 * shard.tokens * heads * attention.rope_dim * ACTIVATION
    ledger.memory("output_rope", COMPONENT, rotated, rotated)
    enter_output_cast(ledger, shard.tokens * heads * attention.head_dim)
    ledger.linear(linear["output_down"])
    middle = shard.tokens * linear["output_up"].inputs / shard.tp
    ledger.cast("output_rank_cast", COMPONENT, middle)
    ledger.save_input("output_rank", middle)
    ledger.linear(linear["output_up"])
    return ledger.section(reduce=shard.tokens * model.hidden)
