"""How the ranks that share a sequence work together: keys and values go round a ring or come first, or heads are exchanged.

Under all-to-all (DeepSpeed Ulysses, arXiv 2309.14509) a rank trades all heads of its own tokens for all tokens of some heads,
before the attention core, and back after it; ``context_heads`` of the cp ranks do so. With fewer than cp of them the groups
exchange keys and values of their heads in a ring (all-to-all+ring: Transformer Engine's ``a2a+p2p``; USP, arXiv 2405.07719): what
travels round is ``context_heads`` times less for each rank than in a ring of all.

Fewer key-value heads than ranks that exchange heads are repeated before the exchange until every rank gets one, as DeepSpeed does
(arXiv 2506.13996, 3.2: replicated where the group is larger) and verl (``repeat_kv`` by group over heads): the repeated ones
travel, are kept and read like others, and their gradients are summed when they are back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from simulator.spec.errors import NotModelled, PlanError
from workloads.attention_kinds import CompressedAttention, GroupedQueryAttention, LatentAttention

if TYPE_CHECKING:
    from workloads.model import Model

ContextExchange = Literal["ring", "all-gather", "all-to-all", "all-to-all+ring"]


def ranks_exchanging_heads(exchange: ContextExchange, given: int | None, cp: int) -> int:
    """``context_heads`` as the plan or the kind of exchange says it. Raises PlanError where they do not go together."""
    heads = {"ring": 1, "all-gather": 1, "all-to-all": cp}.get(exchange, given)
    if heads is None:
        raise PlanError(
            "all-to-all+ring needs context_heads, how many of the cp ranks exchange heads", do=f"Set it to a divisor of {cp}.",
            path="plan.context_heads",
        )  # fmt: skip
    if given not in (None, heads):
        raise PlanError(
            f"{exchange} makes context_heads {heads}", got=given, do="Leave it out, or set context_exchange to all-to-all+ring.",
            path="plan.context_heads",
        )  # fmt: skip
    if cp % heads:
        fitting = max(size for size in range(1, heads) if cp % size == 0)
        raise PlanError(
            f"context_heads must divide cp = {cp}", got=heads, do=f"Lower context_heads from {heads} to {fitting}.",
            path="plan.context_heads",
        )  # fmt: skip
    return heads


def times_repeated(kv_heads: int, tp: int, context_heads: int) -> int:
    """How often each key-value head is sent so that each rank of the exchange gets a whole one.

    >>> times_repeated(8, 1, 4), times_repeated(8, 1, 16), times_repeated(8, 4, 8)
    (1, 2, 4)
    """
    return max(1, tp * context_heads // kv_heads)


def check_heads(model: Model, tp: int, cp: int, context_heads: int) -> None:
    """Heads that are exchanged are whole: tp x context_heads ranks share them out, and key-value heads too or each for several.

    Raises PlanError with the largest number that fits, NotModelled for attention that selects or compresses keys of the whole
    sequence.
    """
    if context_heads == 1:
        return
    attention = model.attention
    if isinstance(attention, CompressedAttention) or (isinstance(attention, LatentAttention) and attention.indexer is not None):
        raise NotModelled(
            f"all-to-all of heads is not simulated for {model.name}: its attention selects keys for all heads together."
            " Set plan.context_exchange to ring."
        )
    counts: dict[int, str] = {}
    if isinstance(attention, GroupedQueryAttention):
        windows = {shape.window for shape in (*model.layer_shapes(), model.mtp_layer())}
        counts |= {attention.head_shape(window)[0]: "key-value heads" for window in windows}
    counts[attention.heads] = "attention heads"
    for count, what in sorted(counts.items()):
        if not _shared_out(count, tp, context_heads, whole=count == attention.heads):
            fits = (size for size in range(1, context_heads) if cp % size == 0 and count % (tp * size) == 0)
            fitting = max(fits, default=1)
            remedy = f"all-to-all+ring with context_heads {fitting}" if fitting > 1 else "ring"
            raise PlanError(
                f"tp*context_heads = {tp}*{context_heads} ranks must divide the {count} {what}, whose heads they share out"
                + ("" if count == attention.heads else ", or be a multiple of them"),
                got=tp * context_heads, do=f"Set context_exchange to {remedy}, or lower tp.", path="plan.context_exchange",
            )  # fmt: skip


def _shared_out(count: int, tp: int, context_heads: int, *, whole: bool) -> bool:
    """Whether each rank gets as many heads as the others; key-value heads (not ``whole``) may be repeated for that."""
    ranks = tp * context_heads
    return count % ranks == 0 or (not whole and count % tp == 0 and ranks % count == 0)
