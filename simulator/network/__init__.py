"""Where traffic meets links: flows folded by symmetry, shared at max-min fair rates, moved by a fluid server."""

from simulator.network.collectives.library import Libraries, Library
from simulator.network.fluid import FluidNetwork
from simulator.network.fold import Fold

__all__ = ["FluidNetwork", "Fold", "Libraries", "Library"]
