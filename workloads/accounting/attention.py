"""Attention: grouped-query here, latent in mla.py, compressed in compressed.py, what keeps a state in its place in delta.py and
state_space.py; one face for all.

Grouped-query: queries hidden x heads x d, keys and values hidden x kv_heads x d each, output heads x d x hidden. The core takes
4 x heads x d FLOPs a token and attended key. Under tensor parallelism heads are cut; key-value heads fewer than tp are refused,
for then ranks would compute the same ones. An output gate widens the query projection by as much again, is kept, and multiplies
the core's output in a pass of its own.
"""

from __future__ import annotations

from simulator.spec.errors import PlanError
from workloads.accounting import compressed, delta, hyper_connections, mla, state_space
from workloads.accounting.attention_core import enter_core, output_section
from workloads.accounting.cores import Core, KeySpan
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.precision import is_quantised
from workloads.accounting.sections import Section, Shard
from workloads.accounting.weights import Linear, Split, Vector, Weight, by_name
from workloads.attention_kinds import CompressedAttention, GroupedQueryAttention, LatentAttention
from workloads.context import times_repeated
from workloads.model import LayerShape, Model
from workloads.state_kinds import GatedDelta

STATES = ("delta", "ssm")
"""Kinds of layers that keep a state in the place of keys and values."""


def weights(model: Model, shape: LayerShape) -> tuple[Weight, ...]:
    """Every weight of a layer's attention, or of what stands in its place."""
    if shape.attention in STATES:
        return _state_weights(model)
    if shape.attention == "none":
        return ()
    match model.attention:
        case GroupedQueryAttention() as attention:
            return _grouped_query_weights(model, attention, shape)
        case LatentAttention() as attention:
            return mla.weights(model, attention, shape)
        case CompressedAttention() as attention:
            return compressed.weights(model, attention, shape)


def cores(model: Model, shape: LayerShape) -> tuple[Core, ...]:
    """The parts of a layer's attention that grow with the sequence."""
    if shape.attention in (*STATES, "none"):
        return ()
    match model.attention:
        case GroupedQueryAttention() as attention:
            return (_grouped_query_core(attention, shape),)
        case LatentAttention() as attention:
            return mla.cores(attention, shape)
        case CompressedAttention() as attention:
            return compressed.cores(attention, shape)


def sections(model: Model, shape: LayerShape, shard: Shard) -> dict[str, Section]:
    """attention_pre, attention_in, attention_core, attention_out of one layer on one rank; nothing where it has none."""
    if shape.attention == "none":
        return {}
    check_heads(model, shape, shard)
    if shape.attention in STATES:
        return _state_sections(model, shard)
    match model.attention:
        case GroupedQueryAttention() as attention:
            return _grouped_query_sections(model, attention, shape, shard)
        case LatentAttention() as attention:
            return mla.sections(model, attention, shape, shard)
        case CompressedAttention() as attention:
            return compressed.sections(model, attention, shape, shard)


def check_heads(model: Model, shape: LayerShape, shard: Shard) -> None:
    """Refuse a tensor-parallel degree that does not cut the heads (or the output groups) evenly."""
    if shape.attention in STATES:
        assert model.hybrid is not None
        check_pieces(model.name, model.hybrid.mixer.pieces, shard.core_cut)
        return
    attention = model.attention
    pieces = {"heads": attention.heads}
    if isinstance(attention, GroupedQueryAttention):
        pieces["kv_heads"] = attention.head_shape(shape.window)[0]
    if isinstance(attention, CompressedAttention):
        pieces["output_groups"] = attention.output_groups
    for name, count in pieces.items():
        if count % shard.tp:
            raise PlanError(
                f"tp must divide the {count} {name} of {model.name}",
                got=shard.tp,
                path="plan.tp",
                do=f"Choose a divisor of {count}.",
            )


def check_pieces(name: str, pieces: int, cut: int) -> None:
    """Refuse ranks (tp x those that exchange heads) that do not share out the key heads, or groups of heads, of a state."""
    if pieces % cut:
        raise PlanError(
            f"tp (times ranks that exchange heads) must divide the {pieces} key heads or groups of {name}'s layers with a state",
            got=cut, path="plan.tp", do=f"Choose a divisor of {pieces}." if pieces > 1 else "Set tp and cp to 1.",
        )  # fmt: skip


def state_flops(model: Model, shape: LayerShape) -> float:
    """Forward FLOPs a token of the recurrence that a layer with a state runs; 0 for any other [FLOP]."""
    if shape.attention not in STATES or model.hybrid is None:
        return 0.0
    mixer = model.hybrid.mixer
    return delta.flops_per_token(mixer) if isinstance(mixer, GatedDelta) else state_space.flops_per_token(mixer)


def _state_weights(model: Model) -> tuple[Weight, ...]:
    assert model.hybrid is not None
    mixer = model.hybrid.mixer
    return delta.weights(model, mixer) if isinstance(mixer, GatedDelta) else state_space.weights(model, mixer)


def _state_sections(model: Model, shard: Shard) -> dict[str, Section]:
    assert model.hybrid is not None
    mixer = model.hybrid.mixer
    if isinstance(mixer, GatedDelta):
        return delta.sections(model, mixer, shard)
    return state_space.sections(model, mixer, shard)


def _grouped_query_weights(model: Model, attention: GroupedQueryAttention, shape: LayerShape) -> tuple[Weight, ...]:
    kv_heads, head_dim, shared_kv = attention.head_shape(shape.window)
    queries = attention.heads * head_dim
    keys = kv_heads * head_dim * (1 if shared_kv else 2)
    made = queries * (2 if attention.output_gate else 1) + keys
    component = "attention_projections"
    found: list[Weight] = [
        Linear("qkv", component, model.hidden, made, Split.COLUMN, bias=made if attention.qkv_bias else 0),
        Linear("output", component, queries, model.hidden, Split.ROW, bias=model.hidden if attention.output_bias else 0),
    ]
    if attention.qk_norm != "none":
        size = 2 * head_dim if attention.qk_norm == "head" else (attention.heads + kv_heads) * head_dim
        found.append(Vector("qk_norm", component, size))
    if attention.sink:
        found.append(Vector("sink", component, attention.heads, Split.COLUMN))
    return tuple(found)


def _grouped_query_core(attention: GroupedQueryAttention, shape: LayerShape) -> Core:
    _, head_dim, _ = attention.head_shape(shape.window)
    span = KeySpan(limit=shape.window, chunked=attention.local == "chunked")
    component = "core_attention_local" if shape.window else "core_attention"
    return Core(component, attention.heads, head_dim, head_dim, (span,))


def _grouped_query_sections(
    model: Model, attention: GroupedQueryAttention, shape: LayerShape, shard: Shard
) -> dict[str, Section]:
    linear = by_name(_grouped_query_weights(model, attention, shape))
    kv_heads, head_dim, _ = attention.head_shape(shape.window)
    queries, keys = attention.heads * head_dim / shard.tp, 2 * kv_heads * head_dim / shard.tp
    repeats = times_repeated(kv_heads, shard.tp, shard.context_heads) if shard.context_heads > 1 else 1
    sent = keys * repeats
    before = Ledger("attention_pre", shard)
    hyper_connections.enter_before(before, model, "attention")

    inside = Ledger("attention_in", shard)
    inside.cast("qkv_cast", "attention_projections", shard.tokens * model.hidden, module="layernorm", gathered=True)
    inside.module = "qkv_proj"
    inside.linear(linear["qkv"])
    inside.module = "qkv_proj/rope"
    rotated = shard.tokens * (queries + keys / 2) * ACTIVATION
    if attention.qk_norm != "none":
        inside.memory("qk_norm", "attention_projections", 2 * rotated, 3 * rotated)
        inside.save("unnormalised_qk", shard.tokens * (queries + keys / 2))
    if attention.rope:
        inside.memory("rope", "attention_projections", 2 * rotated, 2 * rotated)
    if repeats > 1:
        copies = shard.tokens * (keys + sent) * ACTIVATION
        inside.memory("repeated_keys", "attention_projections", copies, copies)
    inside.module = ""
    for name, module, heads, times in (
        ("queries", "query_proj", attention.heads, 1),
        ("keys", "key_proj", kv_heads, repeats),
        ("values", "value_proj", kv_heads, repeats),
    ):
        inside.save(name, shard.tokens * heads * times * head_dim / shard.tp, module=f"qkv_proj/{module}")
        inside.part(Linear(name, "attention_projections", model.hidden, heads * head_dim, Split.COLUMN), f"qkv_proj/{module}")

    core = Ledger("attention_core", shard)
    enter_core(core, _grouped_query_core(attention, shape), sent / shard.context_heads)
    if attention.output_gate:  # kept beside the kernel's own output, which its gradient needs
        core.module = ""
        gated = shard.tokens * queries * ACTIVATION
        core.memory("output_gate", "attention_projections", 3 * gated, 5 * gated)
        core.save("output_gate", shard.tokens * queries)
        if not is_quantised(shard.precision):
            core.save("gated_output", shard.tokens * queries)
    return {
        "attention_pre": before.section(),
        "attention_in": inside.section(gather=shard.tokens * model.hidden),
        "attention_core": core.section(
            context=shard.tokens * shard.cp * sent / shard.context_heads,
            heads=(shard.tokens * (queries + sent), shard.tokens * queries),
        ),
        "attention_out": output_section(model, shard, linear["output"]),
    }
