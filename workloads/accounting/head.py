"""Both ends of a model: the embedding, the head with its loss, and what a multi-token-prediction block adds to them.

The table has vocab x hidden weights, the head another hidden x vocab unless tied; the head takes 2 x hidden x vocab FLOPs a
token in 16 bits. Under tensor parallelism both are cut along the vocabulary, and the loss reduces two numbers a token.
With hyper-connections the embedding fills every stream, and the head first merges them with one more projection
(streams x hidden -> streams, with base values and a scale), whose FLOPs are not counted (2 x 10^-6 of the model's).

A prediction block normalises the hidden state and the next token's embedding, projects the two (2 hidden -> hidden), runs one
layer, and ends in a norm and the model's own head. Leaves out: the reduction of the loss itself (8 bytes a token).
"""

from __future__ import annotations

from workloads.accounting.hyper_connections import COMPONENT, norm_size
from workloads.accounting.ledger import ACTIVATION, Ledger
from workloads.accounting.sections import Section, Shard
from workloads.accounting.unfused import enter_dropout
from workloads.accounting.weights import Linear, Split, Vector, Weight
from workloads.model import Model

SOFTMAX_BYTES = 4.0
"""Bytes of an element of the softmax that the loss keeps for its backward pass: fp32."""


def embedding_weights(model: Model) -> tuple[Weight, ...]:
    """The token table, learned positions and an embedding norm if the model has them."""
    found: list[Weight] = [Vector("embedding", "embedding", model.vocab * model.hidden, Split.COLUMN)]
    if model.learned_positions:
        found.append(Vector("positions", "embedding", model.learned_positions * model.hidden))
    if model.embedding_norm:
        found.append(Vector("embedding_norm", "embedding", norm_size(model)))
    return tuple(found)


def head_weights(model: Model) -> tuple[Weight, ...]:
    """Final norm, the merge of the streams, and the head where it has weights of its own."""
    found: list[Weight] = [Vector("final_norm", "block_norms", norm_size(model))]
    if model.hyper_connections is not None:
        found.append(head_mix(model))
    if not model.tied_embeddings:
        found.append(head_linear(model))
    return tuple(found)


def mtp_weights(model: Model) -> tuple[Weight, ...]:
    """What one prediction block has beside its layer: three norms, the projection, the merge of its streams."""
    found: list[Weight] = [Vector("mtp_norms", "mtp", 3 * norm_size(model)), mtp_projection(model)]
    if model.hyper_connections is not None:
        found.append(head_mix(model))
    return tuple(found)


def head_linear(model: Model) -> Linear:
    return Linear("lm_head", "lm_head", model.hidden, model.vocab, Split.COLUMN, low_precision=False)


def head_mix(model: Model) -> Linear:
    return Linear(
        "head_mix", COMPONENT, model.residual_width, model.streams, Split.REPLICATED, bias=model.streams + 1, low_precision=False
    )


def mtp_projection(model: Model) -> Linear:
    """Hidden state and embedding, side by side, back to the hidden width."""
    return Linear("mtp_projection", "mtp", 2 * model.hidden, model.hidden, Split.REPLICATED)


def embedding_section(model: Model, shard: Shard) -> Section:
    """Look up the tokens of the micro-batch; the gradient adds to fp32 rows of the table.

    Every tensor-parallel rank looks up what falls in its part of the vocabulary and the results are summed.
    """
    ledger = Ledger("embedding", shard)
    wide = shard.tokens * model.hidden
    backward = wide * (ACTIVATION + 2 * 4.0) / shard.tp
    ledger.memory("embedding", "embedding", 2 * wide * ACTIVATION, 0.0, weight_gradient=backward)
    if model.learned_positions or model.embedding_norm:
        extra = shard.local_tokens * model.hidden * ACTIVATION
        ledger.memory("embedding_positions_and_norm", "embedding", 3 * extra, 2 * extra)
    if shard.dropout:
        enter_dropout(ledger, "embedding_dropout", shard.local_tokens * model.hidden)
    if model.streams > 1:
        copies = shard.local_tokens * (model.residual_width + model.hidden) * ACTIVATION
        ledger.memory("fill_streams", COMPONENT, copies, copies)
    return ledger.section(reduce=wide)


def logits(model: Model, shard: Shard) -> float:
    """One rank's logits of a micro-batch, cut along the vocabulary."""
    return shard.tokens * model.vocab / shard.tp


def head_section(model: Model, shard: Shard, name: str = "head") -> Section:
    """Final norm, head and cross-entropy; the softmax is kept in fp32 for the backward pass, which follows at once."""
    ledger = Ledger(name, shard)
    tokens, hidden, streams = shard.local_tokens, model.hidden, model.residual_width
    if model.hyper_connections is not None:
        weight = 4.0 * head_mix(model).matrix
        ledger.memory(
            "head_mix",
            COMPONENT,
            tokens * streams * ACTIVATION + weight,
            tokens * streams * ACTIVATION + weight,
            weight_gradient=tokens * streams * ACTIVATION + 2 * weight,
        )
        ledger.memory(
            "head_merge", COMPONENT, tokens * (streams + hidden) * ACTIVATION, tokens * (2 * streams + hidden) * ACTIVATION
        )
        ledger.save("head_streams", tokens * streams)
    ledger.save("head_residual", tokens * hidden)
    ledger.module = "layernorm"
    ledger.memory("final_norm", "block_norms", 2 * tokens * hidden * ACTIVATION, 3 * tokens * hidden * ACTIVATION)
    ledger.save("head_input", tokens * hidden)
    ledger.module = ""
    ledger.linear(head_linear(model))
    found = logits(model, shard)
    # Forward reads the logits for their maximum, then again for the exponentials, and writes the softmax.
    forward, backward = found * (2 * ACTIVATION + SOFTMAX_BYTES), found * (SOFTMAX_BYTES + ACTIVATION)
    ledger.memory("cross_entropy", "lm_head", forward, backward, launches=3)
    ledger.save("softmax", found, SOFTMAX_BYTES)
    return ledger.section(gather=shard.tokens * hidden)


def mtp_sections(model: Model, shard: Shard) -> dict[str, Section]:
    """What surrounds the layer of one prediction block: mtp_in (embedding, norms, projection) and mtp_head.

    The layer between them is ``layer_sections(model, model.mtp_layer(), shard)``. The head's weights are the model's own.
    """
    ledger = Ledger("mtp_in", shard)
    tokens, hidden = shard.local_tokens, model.hidden
    lookup = 2 * tokens * hidden * ACTIVATION
    ledger.memory("mtp_embedding", "embedding", lookup, 0.0, weight_gradient=tokens * hidden * (ACTIVATION + 2 * 4.0))
    ledger.save("mtp_inputs", 2 * tokens * hidden)
    ledger.module = "layernorm"
    ledger.memory("mtp_norms", "mtp", 4 * tokens * hidden * ACTIVATION, 6 * tokens * hidden * ACTIVATION)
    ledger.cast("mtp_cast", "mtp", 2 * tokens * hidden)
    ledger.save_input("mtp_normalised", 2 * tokens * hidden)
    ledger.module = ""
    ledger.linear(mtp_projection(model))
    if model.streams > 1:
        # Hidden state in, streams out: the incoming streams are merged by the model's final mix, new ones are filled.
        copies = tokens * (model.residual_width + hidden) * ACTIVATION
        ledger.memory("mtp_fill_streams", COMPONENT, copies, copies)
    return {"mtp_in": ledger.section(), "mtp_head": head_section(model, shard, "mtp_head")}
