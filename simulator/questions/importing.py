"""``supernode import``: another tool's file becomes one of ours, with an account of what was made of every key."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import topologies
from simulator.prepare import prepare
from simulator.scenario import Scenario
from simulator.spec.errors import InputError
from simulator.spec.files import make
from simulator.spec.near import suggest
from simulator.spec.strict_yaml import write_yaml
from workloads.accounting import active_parameters, total_parameters
from workloads.importers.hugging_face import ImportedModel, import_config
from workloads.importers.megatron import ImportedLaunch, import_launch

OPTIONS = {"hf": ("--as",), "megatron": ("--system", "--chips", "--define", "--add")}
"""Kinds of import, and the options that only one of them has."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What an import gives: the file's text, the account for people, and both as data."""

    text: str
    account: str
    data: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(self.data, indent=2) + "\n"


def bring_model(source: str, *, name: str | None = None, family: str | None = None, ignore: Collection[str] = ()) -> Brought:
    """Import a Hugging Face configuration. Raises InputError (file, key, remedy) for what cannot be read without guessing."""
    return _model(import_config(source, name=name, family=family, ignore=ignore))


def bring_launch(
    source: str,
    *,
    system: str | None,
    chips: int | None = None,
    name: str | None = None,
    define: Collection[str] = (),
    added: str = "",
    ignore: Collection[str] = (),
) -> Brought:
    """Import a Megatron-LM launch as a scenario; it is laid out on the machine, so that what cannot run is refused here.

    ``define``: values of the script's variables as NAME=VALUE.
    """
    if system is None:
        raise InputError("a launch does not say on which machine it runs", do="Add --system NAME.", path="--system")
    each = topologies.load(system).chip.ranks_per_chip
    imported = import_launch(
        source,
        system=system,
        chips=chips,
        ranks_per_chip=each,
        name=name,
        define=dict(map(_definition, define)),
        added=added,
        ignore=ignore,
    )
    prepare(make(imported.document, Scenario))
    return _launch(imported)


def check_kind(kind: str, given: Mapping[str, bool]) -> None:
    """Refuse a kind that is not known, and options that belong to the other one."""
    if kind not in OPTIONS:
        raise InputError("import reads hf or megatron", got=kind, do=suggest(kind, OPTIONS, "kinds"))
    others = [option for other, options in OPTIONS.items() if other != kind for option in options]
    for option in others:
        if given.get(option):
            raise InputError(f"belongs to another kind than {kind}", do="Leave it out.", path=option)


def _definition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError("takes NAME=VALUE", got=text, do="Write for example --define NNODES=16.", path="--define")
    return name, value


def _launch(imported: ImportedLaunch) -> Brought:
    cluster, plan = imported.document["cluster"], imported.document["plan"]
    shape = ", ".join(f"{key} {plan[key]}" for key in ("tp", "pp", "cp", "ep") if plan[key] > 1)
    lines = [f"read as a Megatron-LM launch on {cluster['chips']} chips{': ' if shape else ''}{shape}"]
    lines += textwrap.wrap("understood: " + " ".join(imported.understood), 110, subsequent_indent="  ", break_on_hyphens=False)
    lines += _section("set by no one, so the script's default", imported.defaults)
    lines += _section("known and not simulated", imported.not_simulated)
    lines += _section("harmless", imported.harmless)
    lines += _section("ignored as you said", dict.fromkeys(imported.ignored, ""))
    lines += _section("what does it hold? taken as nothing (--define, --add)", dict.fromkeys(imported.questions, ""))
    data = {
        "kind": "scenario",
        "understood": list(imported.understood),
        "defaults": dict(imported.defaults),
        "not_simulated": dict(imported.not_simulated),
        "harmless": dict(imported.harmless),
        "ignored": list(imported.ignored),
        "questions": list(imported.questions),
        "scenario": imported.document,
    }
    return Brought(write_yaml(imported.document), "\n".join(lines), data)


def _model(imported: ImportedModel) -> Brought:
    model = imported.model
    parameters = {
        "total": total_parameters(model),
        "active": active_parameters(model),
        "prediction_blocks": total_parameters(model, mtp=True) - total_parameters(model),
    }
    lines = [f"read as {imported.family}: {parameters['total']:,} parameters, {parameters['active']:,} active a token"]
    lines += textwrap.wrap("understood: " + ", ".join(imported.understood), 110, subsequent_indent="  ", break_on_hyphens=False)
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
