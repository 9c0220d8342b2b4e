"""From the word a scenario says about its model to a :class:`Model`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.spec.document import Document
from simulator.spec.errors import ModelError
from simulator.spec.files import build, make, preset_names, read_document
from simulator.spec.files import override as override_document
from workloads.importers.hugging_face import import_document, is_configuration
from workloads.model import Model

PRESETS = Path(__file__).parent / "presets"

#: Short words for the changes people make most, and the field each one sets.
SHORT_NAMES = {"mtp_depth": "mtp.depth", "sliding_window": "attention.window"}


def model_presets() -> list[str]:
    """Names of the models the project ships."""
    return preset_names(PRESETS)


def load_model(model: str | Path | Mapping[str, Any]) -> Model:
    """A model by the name of a preset, by the path of a file (of ours, or a Hugging Face config.json), or as a mapping.

    A mapping with ``preset`` starts from that preset or file and changes fields of it: ``layers`` keeps the first so many,
    ``mtp_depth`` sets the number of multi-token-prediction blocks trained, ``sliding_window`` makes every grouped-query
    layer see that many tokens; any other field, or the path of one (``moe.top_k``), is replaced. A mapping
    without ``preset`` is a whole model. Raises :class:`InputError` for what is wrong in the file or the changes.
    """
    if not isinstance(model, Mapping):
        return build(_read(model), Model)
    if "preset" not in model:
        return make(model, Model)
    name = model["preset"]
    if not isinstance(name, str | Path):
        raise ModelError("must be the name of a preset or the path of a file", got=name, do="Name one.", path="preset")
    document = _read(name)
    for key, value in model.items():
        if key != "preset":
            document = _change(document, str(key), value)
    return build(document, Model)


def _read(name: str | Path) -> Document:
    """The plain data of a preset or file; a Hugging Face configuration is imported."""
    document = read_document(name, PRESETS)
    return Document(data=import_document(document, file=str(name)).document) if is_configuration(document) else document


def _change(document: Document, key: str, value: Any, prefix: str = "") -> Document:
    """``document`` with one field set; mappings are merged into what is there, field by field."""
    path = prefix + SHORT_NAMES.get(key, key) if not prefix else f"{prefix}.{key}"
    if key == "sliding_window" and not prefix:
        attention = document.data.get("attention")
        if not isinstance(attention, dict) or attention.get("kind") != "gqa":
            raise ModelError(
                "sliding_window belongs to grouped-query attention",
                got=value,
                do="Leave it out, or change attention.",
                path="model.sliding_window",
            )
        document = override_document(document, "attention.window_pattern", ["local"], where="model")
    present = _field(document, path)
    # Another kind of attention shares no fields with the one it replaces.
    if isinstance(value, Mapping) and isinstance(present, dict) and value.get("kind") in (None, present.get("kind")):
        for inner, item in value.items():
            document = _change(document, str(inner), item, path)
        return document
    return override_document(document, path, value, where="model")


def _field(document: Document, path: str) -> Any:
    data: Any = document.data
    for step in path.split("."):
        data = data.get(step) if isinstance(data, dict) else None
    return data
