"""``supernode import``: another tool's file becomes one of ours, with an account of what was made of every key."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.spec.errors import InputError
from simulator.spec.near import suggest
from simulator.spec.strict_yaml import write_yaml
from workloads.accounting import active_parameters, total_parameters
from workloads.importers.hugging_face import ImportedModel, import_config

KINDS = ("hf", "megatron")


@dataclass(frozen=True, slots=True)
class Brought:
    """What an import gives: the file's text, the account for people, and both as data."""

    text: str
    account: str
    data: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.data, indent=2) + "\n"


def bring(
    kind: str,
    source: str,
    *,
    name: str | None = None,
    family: str | None = None,
    ignore: Collection[str] = (),
) -> Brought:
    """Import ``source``. Raises InputError with file, key and remedy for whatever cannot be read without guessing."""
    if kind not in KINDS:
        raise InputError("import reads hf or megatron", got=kind, do=suggest(kind, KINDS, "kinds"), path="import")
    return _model(import_config(source, name=name, family=family, ignore=ignore))


def _model(imported: ImportedModel) -> Brought:
    model = imported.model
    parameters = {
        "total": total_parameters(model),
        "active": active_parameters(model),
        "prediction_blocks": total_parameters(model, mtp=True) - total_parameters(model),
    }
    lines = [f"read as {imported.family}: {parameters['total']:,} parameters, {parameters['active']:,} active a token"]
    lines += textwrap.wrap("understood: " + ", ".join(imported.understood), 110, subsequent_indent="  ")
    lines += _section("not in the file, so the family's default", imported.defaults)
    lines += _section("harmless", imported.harmless)
    lines += _section("ignored as you said", dict.fromkeys(imported.ignored, ""))
    data = {
        "kind": "model",
        "family": imported.family,
        "parameters": parameters,
        "understood": dict(imported.understood),
        "defaults": dict(imported.defaults),
        "harmless": dict(imported.harmless),
        "ignored": list(imported.ignored),
        "model": imported.document,
    }
    return Brought(write_yaml(imported.document), "\n".join(lines), data)


def _section(title: str, rows: Mapping[str, Any]) -> list[str]:
    if not rows:
        return []
    width = max(map(len, rows))
    return [f"{title}:", *(f"  {key:{width}s}  {value}".rstrip() for key, value in rows.items())]
