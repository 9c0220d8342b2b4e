"""Which layers the stages of a Megatron-LM launch hold, and how many stages there are.

By default all hold equally many. Flags give the first and the last pipeline rank a length of their own, count embedding and
loss as a layer each, or write every stage down: ``Ett|(ttt|)*6ttmL`` is an embedding with two layers, six stages of three, and
two layers with a prediction block and the loss. Source: Megatron-LM megatron/core/transformer/pipeline_parallel_layer_layout.py
and megatron/training/arguments.py.
"""

from __future__ import annotations

import re

from simulator.spec.errors import NotModelled
from workloads.importers.attention_readers import Fields
from workloads.importers.launch import Flags
from workloads.importers.mindspeed import idle_layers, layers_of_stages

_WRITTEN = "pipeline_model_parallel_layout"
_UNWRITTEN = (
    "num_virtual_stages_per_pipeline_rank", "num_layers_per_virtual_pipeline_stage", "virtual_pipeline_model_parallel_size",
    "decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers",
    "account_for_embedding_in_pipeline_split", "account_for_loss_in_pipeline_split",
)  # fmt: skip
_COUNTED = ("account_for_embedding_in_pipeline_split", "account_for_loss_in_pipeline_split")


def virtual_stages(flags: Flags, layers: int, pp: int) -> int:
    """Stages that a pipeline rank holds."""
    if flags.has(_WRITTEN):
        beside = next((name for name in _UNWRITTEN if flags.has(name) and not flags.dumped), None)
        if beside:
            raise flags.refuse(beside, f"stands beside {flags.flag(_WRITTEN)}, which says it already", "Remove one of them.")
        stages = len(_written(flags))
        if stages % pp:
            raise flags.refuse(_WRITTEN, f"writes {stages} stages, which {pp} pipeline ranks cannot share evenly", "Correct it.")
        return stages // pp
    if flags.has("num_virtual_stages_per_pipeline_rank"):
        return flags.whole("num_virtual_stages_per_pipeline_rank")
    counted = layers + len(idle_layers(flags)) + sum(map(flags.has, _COUNTED))
    for name in ("num_layers_per_virtual_pipeline_stage", "virtual_pipeline_model_parallel_size"):
        if flags.has(name):
            number = flags.whole(name)
            if name.startswith("virtual"):
                return number
            if counted % (pp * number):
                raise flags.refuse(name, f"must divide the {counted} layers over {pp} pipeline ranks", "Correct it.")
            return counted // pp // number
    return 1


def layout(flags: Flags, layers: int, pp: int, vpp: int) -> Fields:
    """``layout`` of a plan, in the order that data visits the stages; nothing where all stages are alike."""
    listed = layers_of_stages(flags, pp * vpp)
    if listed is not None:
        return {"layout": listed}
    if flags.has(_WRITTEN):
        return {"layout": _layers_written(flags, layers)}
    embedding, loss = map(flags.has, _COUNTED)
    if embedding or loss:
        return {"layout": _counting_ends(flags, layers, pp * vpp, embedding, loss)}
    return _ends_of_their_own(flags, layers, pp, vpp)


def _written(flags: Flags) -> list[str]:
    """The letters of each stage: E, a t for each layer, an m for each prediction block, L."""
    text = flags.text(_WRITTEN).replace(",", "")
    for repeated in (r"\(([^()]+)\)\*(\d{1,3})", r"(.)\*(\d{1,3})"):
        text = re.sub(repeated, lambda found: found.group(1) * int(found.group(2)), text)
    if not re.fullmatch(r"E[t|]*m*[m|]*L", text):
        raise flags.refuse(
            _WRITTEN, "must be stages parted by |: an E, a t for each layer, an m for each prediction block, an L", "Correct it."
        )
    return text.split("|")


def _layers_written(flags: Flags, layers: int) -> list[int]:
    stages = _written(flags)
    counts = [stage.count("t") for stage in stages]
    if sum(counts) != layers:
        raise flags.refuse(_WRITTEN, f"writes {sum(counts)} layers, and the model has {layers}", "Correct one of them.")
    blocks = flags.whole("mtp_num_layers") if flags.has("mtp_num_layers") else 0
    if sum(stage.count("m") for stage in stages) != blocks:
        raise flags.refuse(_WRITTEN, f"must write an m for each of the {blocks} prediction blocks", "Correct one of them.")
    if any("m" in stage for stage in stages[:-1]):
        raise NotModelled(
            f"{flags.flag(_WRITTEN)}: prediction blocks on a stage before the loss are not simulated;"
            " write the m in the last stage, before the L."
        )
    return counts


def _counting_ends(flags: Flags, layers: int, stages: int, embedding: bool, loss: bool) -> list[int]:
    """Embedding and loss each take the place of a layer on the first and the last stage."""
    counted = layers + embedding + loss
    if counted % stages:
        name = _COUNTED[0] if embedding else _COUNTED[1]
        raise flags.refuse(name, f"makes {counted} layers, which {stages} stages cannot share evenly", "Correct it.")
    counts = [counted // stages] * stages
    counts[0] -= embedding
    counts[-1] -= loss
    return counts


def _ends_of_their_own(flags: Flags, layers: int, pp: int, vpp: int) -> Fields:
    """First and last pipeline rank of their own length, the others alike; each rank's layers go evenly to its chunks."""
    names = ("decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers")
    given = {rank: flags.whole(name) for rank, name in zip((0, pp - 1), names, strict=True) if flags.has(name)}
    if not given:
        return {}
    others = pp - len(given)
    rest = layers - sum(given.values())
    if pp == 1 or (others and (rest < others or rest % others)) or (not others and rest):
        name = names[0] if 0 in given else names[1]
        raise flags.refuse(name, f"leaves {rest} layers, which {others} pipeline ranks cannot share evenly", "Correct it.")
    ranks = [given.get(rank, rest // others if others else 0) for rank in range(pp)]
    if any(count % vpp for count in ranks):
        raise NotModelled(f"pipeline ranks of {ranks} layers do not go evenly into {vpp} chunks; that cannot be imported.")
    return {"layout": [ranks[stage % pp] // vpp for stage in range(pp * vpp)]}
