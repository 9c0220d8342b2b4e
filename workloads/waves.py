"""The routed path of a layer cut into waves: the operators and exchanges of each (loads of unequal ones: expert_waves.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from workloads.accounting.sections import Section
from workloads.instructions import Communication, Kernel, Operator
from workloads.traffic import Traffic

OF_WAVES = ("permute", "experts", "unpermute")
"""The sections of a layer that run in waves."""


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave of a layer on one rank: its part of the routed sections, and of what is exchanged.

    ``parts``: of how many even parts of ``traffic``'s exchanges this is one; 1 where they are made for it alone.
    """

    sections: Mapping[str, Section]
    traffic: Traffic
    parts: int = 1

    def dispatch(self, what: str = "") -> Communication | None:
        """Its tokens, or their output gradients, to its experts."""
        return self._part(self.traffic.dispatch(what))

    def combine(self, what: str = "") -> Communication | None:
        """Its outputs, or input gradients, home."""
        return self._part(self.traffic.combine(what))

    def _part(self, communication: Communication | None) -> Communication | None:
        if communication is None:
            return None
        return replace(communication, name=f"{communication.name} wave", payload=communication.payload / self.parts)


def even_waves(sections: Mapping[str, Section], traffic: Traffic, waves: int) -> tuple[Wave, ...]:
    """Waves of fewer experts of the same shape, all alike."""
    routed = {name: sections[name] for name in OF_WAVES}
    return tuple(
        Wave({name: _of_section(section, waves, first=wave == 0) for name, section in routed.items()}, traffic, waves)
        for wave in range(waves)
    )


def unequal_waves(parts: Iterable[tuple[Mapping[str, Section], Traffic]]) -> tuple[Wave, ...]:
    """Waves made one by one: of each, the sections of its experts and what exchanges its tokens.

    The kernels start with the first that has any, for a rank may hold only experts without tokens in the waves before.
    """
    made = list(parts)
    begins = next((at for at, (sections, _) in enumerate(made) if any(op.flops for op in sections["experts"].forward)), 0)
    return tuple(
        Wave({name: _of_section(sections[name], 1, first=wave == begins) for name in OF_WAVES}, traffic)
        for wave, (sections, traffic) in enumerate(made)
    )


def _of_section(section: Section, waves: int, *, first: bool) -> Section:
    return replace(
        section,
        forward=_operators(section.forward, waves, first=first),
        backward_input=_operators(section.backward_input, waves, first=first),
        backward_weight=_operators(section.backward_weight, waves, first=first),
    )


def _operators(operators: tuple[Operator, ...], waves: int, *, first: bool) -> tuple[Operator, ...]:
    """One wave's part of the products over a rank's experts; all waves are one kernel, which starts once."""
    return tuple(
        replace(
            operator,
            flops=operator.flops / waves,
            bytes_moved=operator.bytes_moved / waves,
            groups=operator.groups / waves if operator.kernel is Kernel.GROUPED_GEMM else operator.groups,
            launches=operator.launches if first else 0,
        )
        for operator in operators
    )
