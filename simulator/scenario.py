"""One question: which machine, which model, how it is trained, how it is laid out, under which assumptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr

from simulator.spec.base import Spec
from simulator.spec.document import Document
from simulator.spec.errors import InputError
from simulator.spec.files import build, make, override, read_document
from simulator.spec.problems import locate
from simulator.spec.strict_yaml import read_scalar
from topologies.faults import ChipFault, LinkFault, PlaneFault, SwitchFault
from workloads.plan import Plan, Training


class Cluster(Spec):
    """Which machine, and how much of it."""

    system: str
    chips: int | None = Field(default=None, ge=1)
    chips_per_domain: int | None = Field(default=None, ge=1)
    slices: int | None = Field(default=None, ge=1)
    set: dict[str, str | bool | int | float] = {}
    faults: tuple[LinkFault | ChipFault | SwitchFault | PlaneFault, ...] = ()


class AssumptionChoice(Spec):
    """A named set of assumptions with some of its figures replaced."""

    preset: str
    set: dict[str, str | bool | int | float] = {}


class HashRouting(Spec):
    """Flows pinned to ``paths`` hashed paths each."""

    paths: int = Field(ge=1)
    seed: int = 0


class HashChoice(Spec):
    """``{hash: {paths: 4, seed: 1}}``."""

    hash: HashRouting


class NetworkChoice(Spec):
    """How flows find their links, and which collective algorithms are forced."""

    routing: str | HashChoice = "spray"
    algorithms: dict[str, str] = {}


class Scenario(Spec):
    """A scenario file. Keys left out take the defaults of the software stack in ``assumptions``."""

    name: str = "unnamed scenario"
    cluster: Cluster
    model: str | dict[str, Any]
    training: Training
    plan: Plan = Plan()
    assumptions: str | AssumptionChoice = "default"
    network: NetworkChoice = NetworkChoice()
    seed: int = 0
    _document: Document | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | Path, overrides: list[str] | None = None) -> Self:
        """Read a scenario file; ``overrides`` are ``path=value`` texts as of ``--set``.

        Raises InputError with file, line and column for anything the file says wrongly.
        """
        document = read_document(path)
        for text in overrides or []:
            document = override(document, *assignment(text))
        scenario = build(document, cls)
        scenario._document = document
        return scenario

    @contextmanager
    def blamed(self, section: str, at: str | None = None) -> Iterator[None]:
        """Errors raised inside are about ``section`` of this scenario (at field ``at``): say where that stands in its file."""
        try:
            yield
        except InputError as error:
            if error.where is not None and ":" in error.where:
                raise
            path = error.path if error.path is not None and not at else at
            if path is None or path.split(".")[0].split("[")[0] not in type(self).model_fields:
                path = f"{section}.{path}" if path else section
            told = type(error)(error.rule, got=error.got, do=error.do, path=path)
            raise (locate(told, self._document) if self._document is not None else told) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; nested ones by a double underscore: ``plan__ep=128``."""
        data = self.model_dump(exclude_unset=True)
        for key, value in changes.items():
            target, parts = data, key.split("__")
            for part in parts[:-1]:
                target = target.setdefault(part, {})
            target[parts[-1]] = value
        return make(data, type(self))


def assignment(text: str) -> tuple[str, Any]:
    """``plan.ep=128`` -> its path and its value, read as YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InputError("--set takes PATH=VALUE", got=text, do="Write for example --set plan.ep=128.")
    return path.strip(), read_scalar(value, f"--set {path.strip()}")
