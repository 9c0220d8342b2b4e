"""Multi-head latent attention (DeepSeek-V2 and V3, Kimi K2), with the lightning indexer of DeepSeek-V3.2 where a model has it.

Queries: hidden x q_lora, a norm, q_lora x heads x (nope + rope); or hidden x heads x (nope + rope) without a query latent.
Keys and values: hidden x (kv_lora + rope), a norm, kv_lora x heads x (nope + v). Output: heads x v x hidden. The core takes
2 x heads x (nope + rope + v) FLOPs a token and attended key.

Indexer: queries q_lora x heads x d, keys hidden x d (with a normalisation's weight and bias), head weights hidden x heads;
2 x heads x d FLOPs a token and key, over all keys, of which top_k are attended.

Down-projections are whole on every tensor-parallel rank; the latents, not the hidden states, are gathered. The indexer
scores each rank's own queries.

Leaves out: the exchange of selected indices among tensor-parallel ranks (4 bytes each).
"""

from __future__ import annotations

from workloads.accounting import hyper_connections
from workloads.accounting.attention_core import enter_core, output_section
from workloads.accounting.cores import Core, KeySpan
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight, by_name
from workloads.attention_kinds import Indexer, LatentAttention
from workloads.model import LayerShape, Model

COMPONENT = "attention_projections"


def weights(model: Model, attention: LatentAttention, shape: LayerShape) -> tuple[Weight, ...]:
    """Projections, latent norms, and the indexer where the layer has its own."""
    hidden, heads, key_dim = model.hidden, attention.heads, attention.key_dim
    found: list[Weight] = []
    if attention.q_lora_rank:
        found += [
            Linear("q_down", COMPONENT, hidden, attention.q_lora_rank, Split.REPLICATED),
            Vector("q_norm", COMPONENT, attention.q_lora_rank),
            Linear("q_up", COMPONENT, attention.q_lora_rank, heads * key_dim, Split.COLUMN),
        ]
    else:
        found.append(Linear("q_up", COMPONENT, hidden, heads * key_dim, Split.COLUMN))
    found += [
        Linear("kv_down", COMPONENT, hidden, attention.kv_lora_rank + attention.qk_rope_dim, Split.REPLICATED),
        Vector("kv_norm", COMPONENT, attention.kv_lora_rank),
        Linear("kv_up", COMPONENT, attention.kv_lora_rank, heads * (attention.qk_nope_dim + attention.v_head_dim), Split.COLUMN),
        Linear("output", COMPONENT, heads * attention.v_head_dim, hidden, Split.ROW),
    ]
    if attention.indexer is not None and shape.indexer == "own":
        found += _indexer_weights(model, attention.indexer, attention.q_lora_rank)
    return tuple(found)


def cores(attention: LatentAttention, shape: LayerShape) -> tuple[Core, ...]:
    """The attention core, and the indexer's scores where the layer makes them."""
    limit = attention.indexer.top_k if attention.indexer is not None else 0
    component = "core_attention_selected" if limit else "core_attention"
    found = [Core(component, attention.heads, attention.key_dim, attention.v_head_dim, (KeySpan(limit=limit),))]
    if attention.indexer is not None and shape.indexer == "own":
        found.append(Core("indexer_scores", attention.indexer.heads, attention.indexer.head_dim, 0, (KeySpan(),)))
    return tuple(found)


def sections(model: Model, attention: LatentAttention, shape: LayerShape, shard: Shard) -> dict[str, Section]:
    """attention_pre, attention_in, attention_core, attention_out of one layer on one rank."""
    layer_cores = cores(attention, shape)
    value_width = attention.heads * attention.v_head_dim / shard.tp
    width = attention.heads * attention.key_dim / shard.tp + value_width
    core = Ledger("attention_core", shard)
    enter_core(core, layer_cores[0], width / shard.context_heads)
    if shape.indexer != "none" and attention.indexer is not None:
        core.save("selected_keys", shard.tokens * min(attention.indexer.top_k, shard.sequence_length), 4.0)
    gathered = attention.kv_lora_rank + attention.qk_rope_dim + (attention.q_lora_rank or model.hidden)
    if shape.indexer == "own" and attention.indexer is not None:
        gathered += attention.indexer.head_dim
    linear = by_name(weights(model, attention, shape))
    return {
        "attention_pre": _latent_section(model, attention, shape, shard, linear),
        "attention_in": _head_section(model, attention, shard, linear, layer_cores[1:]).section(gather=shard.tokens * gathered),
        "attention_core": core.section(
            context=shard.tokens * shard.cp * width / shard.context_heads,
            heads=(shard.tokens * (2 * width - value_width), shard.tokens * value_width),
        ),
        "attention_out": output_section(model, shard, linear["output"]),
    }


def _indexer_weights(model: Model, indexer: Indexer, q_lora_rank: int) -> list[Weight]:
    found: list[Weight] = [
        Linear("indexer_query", "indexer_projections", q_lora_rank, indexer.heads * indexer.head_dim, Split.REPLICATED),
        Linear("indexer_key", "indexer_projections", model.hidden, indexer.head_dim, Split.REPLICATED),
        Linear("indexer_weights", "indexer_projections", model.hidden, indexer.heads, Split.REPLICATED, low_precision=False),
    ]
    if indexer.key_norm:
        found.append(Vector("indexer_key_norm", "indexer_projections", 2 * indexer.head_dim))
    return found


def _latent_section(
    model: Model, attention: LatentAttention, shape: LayerShape, shard: Shard, linear: dict[str, Linear]
) -> Section:
    """From the residual stream to the latents, on the rank's own tokens."""
    tokens, ledger = shard.local_tokens, Ledger("attention_pre", shard)
    hyper_connections.enter_before(ledger, model, "attention", keep_16_bits=shape.indexer == "own")
    ledger.cast("attention_input_cast", COMPONENT, tokens * model.hidden, module="layernorm")
    latents = attention.kv_lora_rank + attention.q_lora_rank
    if attention.q_lora_rank:
        ledger.linear(linear["q_down"])
    ledger.linear(linear["kv_down"], reads_the_same=attention.q_lora_rank > 0)
    if shape.indexer == "own":
        ledger.linear(linear["indexer_key"], reads_the_same=True)
        ledger.linear(linear["indexer_weights"], reads_the_same=True)
    ledger.module = "layernorm"
    ledger.memory("latent_norms", COMPONENT, 2 * tokens * latents * ACTIVATION, 3 * tokens * latents * ACTIVATION)
    ledger.save_input("normalised_latents", tokens * latents)
    ledger.save("latents", tokens * (latents + attention.qk_rope_dim), module="")
    return ledger.section()


def _head_section(
    model: Model, attention: LatentAttention, shard: Shard, linear: dict[str, Linear], scores: tuple[Core, ...]
) -> Ledger:
    """From the gathered latents to queries, keys and values of the rank's heads, and the indexer's selection."""
    tokens, heads = shard.tokens, attention.heads / shard.tp
    ledger = Ledger("attention_in", shard, module="mla_up_proj")
    latents = attention.kv_lora_rank + (attention.q_lora_rank or model.hidden)
    ledger.cast("latents_cast", COMPONENT, tokens * latents, module="layernorm", gathered=True)
    ledger.linear(linear["q_up"])
    ledger.linear(linear["kv_up"])
    rotated = tokens * (heads + 1) * attention.qk_rope_dim * ACTIVATION
    # The shared rotary part of the key is copied beside every head's own part.
    copied = tokens * heads * attention.key_dim * ACTIVATION
    ledger.memory("rope", COMPONENT, 2 * rotated + 2 * copied, 2 * rotated + 2 * copied)
    ledger.save("qkv", tokens * heads * (2 * attention.key_dim + attention.v_head_dim))
    ledger.module = ""
    for core in scores:
        enter_indexer(ledger, linear["indexer_query"], core, keys_seen=tokens * shard.cp * core.key_dim)
    return ledger


def enter_indexer(ledger: Ledger, query: Linear, core: Core, *, keys_seen: float) -> None:
    """Enter an indexer: its queries, their rotation, the scores, and the selection of the best keys.

    Every rank scores its own tokens. The selection reads all scores of a query once and has no gradient; scores are kept as
    nothing, they are computed again from queries and keys.
    """
    tokens = ledger.shard.local_tokens
    keys = core.keys(ledger.shard.sequence_length)
    ledger.linear(query)
    rotated = tokens * query.outputs * ACTIVATION
    ledger.memory("indexer_rope", "indexer_projections", 2 * rotated, 2 * rotated)
    ledger.save("indexer_queries", tokens * query.outputs)
    ledger.core("indexer_scores", core, core.heads, tokens, keys=keys, keys_seen=keys_seen)
    ledger.memory("indexer_selection", "indexer_scores", tokens * keys * 4.0, 0.0)
