"""Fabrics as graph files that other tools read: GraphML, GEXF and node-link JSON; and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx

from simulator.spec.errors import FileProblem
from topologies.fabric import Fabric
from topologies.graphs import EDGE_ATTRIBUTES, from_networkx, to_networkx

SUFFIXES = (".graphml", ".gexf", ".json")


def write_graph(fabric: Fabric, path: str | Path) -> None:
    """Write the fabric's graph in the format that the file's suffix names."""
    graph = to_networkx(fabric)
    for _, attributes in graph.nodes(data=True):
        # The formats hold plain values only.
        attributes["coordinates"] = " ".join(f"{name}={c}" for name, c in attributes["coordinates"].items())
    target = Path(path)
    writers: dict[str, Callable[[], Any]] = {
        ".graphml": lambda: nx.write_graphml(graph, target),
        ".gexf": lambda: nx.write_gexf(graph, target),
        ".json": lambda: target.write_text(json.dumps(nx.node_link_data(graph, edges="links"), indent=1)),
    }
    try:
        _of_suffix(writers, target)()
    except OSError as error:
        raise FileProblem("cannot be written", got=error.strerror, where=str(target)) from None


def read_graph(path: str | Path, name: str | None = None) -> Fabric:
    """A graph file as a fabric; what a graph must say is in :mod:`topologies.graphs`."""
    source = Path(path)
    if not source.is_file():
        raise FileProblem("there is no such file", got=str(path))
    readers: dict[str, Callable[[], Any]] = {
        ".graphml": lambda: nx.read_graphml(source),
        ".gexf": lambda: nx.read_gexf(source),
        ".json": lambda: nx.node_link_graph(json.loads(source.read_text()), edges="links"),
    }
    reader = _of_suffix(readers, source)
    try:
        graph = reader()
    except Exception as error:  # networkx and its parsers raise whatever the text makes of them
        raise FileProblem("is not a graph of that format", got=str(error) or type(error).__name__, where=str(source)) from None
    for _, _, attributes in graph.edges(data=True):
        for key in [key for key in attributes if key not in EDGE_ATTRIBUTES]:
            del attributes[key]  # formats add attributes of their own (weight, label)
    ranks_per_chip = int(graph.graph.get("ranks_per_chip", 1))
    return from_networkx(graph, name or str(graph.graph.get("name") or source.stem), ranks_per_chip)


def _of_suffix(actions: dict[str, Callable[[], Any]], path: Path) -> Callable[[], Any]:
    action = actions.get(path.suffix.lower())
    if action is None:
        raise FileProblem("is not a graph file", got=path.name, do=f"Call it something{', something'.join(SUFFIXES)}.")
    return action
