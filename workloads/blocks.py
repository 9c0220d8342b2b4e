"""The blocks of a pipeline stage: its pieces in order, with parameters that arrive and gradients that leave.

ZeRO-0 sums gradients; ZeRO-1 and 2 cut them (reduce-scatter), update a part each and gather parameters once a step; ZeRO-3
gathers parameters for every pass and cuts gradients after every one. ZeRO-2 cuts gradients after every micro-batch where
there is one stage, so that a rank never holds all of them; with more stages they are kept whole until the last micro-batch, or
every one would send them again, unless ``cut_gradients`` says otherwise.

With ``overlap: {grad_reduce: true}`` a layer's gradients leave as soon as the last micro-batch has made them, with
``{param_gather: true}`` parameters arrive layer by layer while the first micro-batch (or, under ZeRO-3, the previous layer)
runs; else both stand in the way.

Activations kept in the host leave when their layer is over, one layer at a time, and come back while the layer before runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workloads.chain import Chain
from workloads.instructions import Block, Communication, HostLane, Instruction, WorkKind
from workloads.pieces import Piece
from workloads.traffic import Traffic

Scripts = dict[tuple[str, tuple[int, ...]], tuple[Instruction, ...]]
"""Instructions of plain blocks, by kind and by the identities of the pieces that they run."""


class StageBlocks:
    """The blocks of one model stage in one direction. ``label`` keeps its tokens apart from those of a rank's other stages.

    ``scripts``: what other stages of the same pieces were found to run, to share with them; it must not outlive the pieces.
    ``ends``: whether it is the first stage, and whether it is the last: nothing arrives there from another.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        traffic: Traffic,
        label: str,
        scripts: Scripts | None = None,
        *,
        ends: tuple[bool, bool] = (False, False),
    ) -> None:
        self.first, self.last = ends
        self.pieces = tuple(pieces)
        self.traffic = traffic
        self.plan = traffic.plan
        self.label = label
        self._parameter_tokens = [f"parameters {label}.{index}" for index in range(len(self.pieces))]
        self.gradient_tokens: list[str] = []
        self.to_host: Callable[[Chain, int, str], None] | None = None
        self._scripts = {} if scripts is None else scripts

    def gather_parameters(self, chain: Chain) -> None:
        """Start every piece's parameters on their way, in the order the forward pass needs them."""
        for index, piece in enumerate(self.pieces):
            for part, communication in enumerate(self.gather(piece)):
                chain.start(communication, f"{self._parameter_tokens[index]}.{part}")

    def gather(self, piece: Piece) -> tuple[Communication, ...]:
        """The gathers of a piece's parameters."""
        return self.traffic.gather_parameters(piece.parameters, piece.name, quantised=piece.quantised)

    def forward(self, variant: str, also_wait: Sequence[str] = ()) -> Block:
        """F; the variant "first" waits for the parameters that the prologue sent for, and for ``also_wait``."""
        name = f"forward {self.label}"
        key = ("F" + "first" * self.first, tuple(id(piece) for piece in self.pieces))
        plain = not variant and not also_wait
        if plain and key in self._scripts:
            return Block(name, self._scripts[key])
        chain = Chain()
        chain.wait(also_wait)
        if not self.first:
            chain.exchange(self.traffic.gather_boundary())
        gathered = _Prefetch(chain, self, self.pieces) if self.plan.zero == 3 else None
        leaving: tuple[str, ...] = ()
        for index, piece in enumerate(self.pieces):
            if gathered:
                gathered.need(index)
            elif variant == "first":
                parts = len(self.gather(piece))
                chain.wait(f"{self._parameter_tokens[index]}.{part}" for part in range(parts))
            piece.layer.forward(chain)
            chain.wait(leaving)
            leaving = chain.begin(piece.name, HostLane.TO, piece.offloaded)
        chain.wait(leaving)
        block = chain.block(name)
        if plain:
            self._scripts[key] = block.instructions
        return block

    def backward(self, kind: WorkKind, variant: str) -> Block:
        """B, I or W; the variant "last" sends each piece's gradients off as soon as they are complete."""
        name = f"{kind} {self.label}"
        key = (str(kind) + "last" * self.last, tuple(id(piece) for piece in self.pieces))
        if not variant and key in self._scripts:
            return Block(name, self._scripts[key])
        chain = Chain()
        inputs, weights = kind is not WorkKind.W, kind is not WorkKind.I
        if inputs and not self.last:
            chain.exchange(self.traffic.gather_boundary())
        backwards = tuple(reversed(self.pieces))
        gathered = _Prefetch(chain, self, backwards) if self.plan.zero == 3 and inputs else None
        returned = _Return(chain, backwards) if inputs else None
        every_time = weights and self.plan.cuts_every_micro_batch
        leaving: list[str] = []
        for index, piece in enumerate(backwards):
            if gathered:
                gathered.need(index)
            if returned:
                returned.need(index)
            piece.layer.backward(chain, inputs=inputs, weights=weights)
            if every_time:
                leaving += self._cut_gradients(chain, piece)
            elif weights and variant == "last":
                self._send_gradients(chain, piece, index)
            if weights and variant == "last" and not self.plan.replicas_last:
                self._sum_replicas(chain, piece, index)
        chain.wait(leaving)
        block = chain.block(name)
        if not variant:
            self._scripts[key] = block.instructions
        return block

    def _cut_gradients(self, chain: Chain, piece: Piece) -> list[str]:
        """Reduce-scatter after this micro-batch; gives the tokens to wait for at the end of the block."""
        made = self.traffic.reduce_gradients(piece.parameters, piece.name)
        if not self.plan.overlap.grad_reduce:
            chain.exchange(*made)
            return []
        return [token for communication in made for token in chain.start(communication)]

    def _send_gradients(self, chain: Chain, piece: Piece, index: int) -> None:
        """Start the reduction of the step's gradients; the epilogue waits for it. ``to_host`` sends them on from there."""
        token = ""
        for part, communication in enumerate(self.traffic.reduce_gradients(piece.parameters, piece.name)):
            token = f"gradients {self.label}.{index}.{part}"
            chain.start(communication, token)
            self.gradient_tokens.append(token)
        if self.to_host:
            self.to_host(chain, len(self.pieces) - 1 - index, token)

    def _sum_replicas(self, chain: Chain, piece: Piece, index: int) -> None:
        """Start summing the piece's cut gradients over the groups that each hold a whole copy, behind their reduction."""
        for part, communication in enumerate(self.traffic.reduce_replicas(piece.parameters, piece.name)):
            token = f"gradients of replicas {self.label}.{index}.{part}"
            chain.start(communication, token)
            self.gradient_tokens.append(token)


class _Return:
    """Activations of a piece brought back from the host while the one before it runs."""

    def __init__(self, chain: Chain, pieces: Sequence[Piece]) -> None:
        self.chain = chain
        self.pieces = [piece for piece in pieces if piece.offloaded > 0.0]
        self.all = pieces
        self._under_way: list[tuple[str, ...]] = []
        self._needed = 0
        self._send()

    def need(self, index: int) -> None:
        """Wait for what a piece kept in the host, and send for the next of those."""
        if self.all[index].offloaded <= 0.0:
            return
        self.chain.wait(self._under_way[self._needed])
        self._needed += 1
        self._send()

    def _send(self) -> None:
        if self._needed < len(self.pieces):
            piece = self.pieces[self._needed]
            self._under_way.append(self.chain.begin(piece.name, HostLane.FROM, piece.offloaded))


class _Prefetch:
    """Parameters of a piece gathered while the one before it runs (ZeRO-3); without overlap, when they are needed."""

    def __init__(self, chain: Chain, stage: StageBlocks, pieces: Sequence[Piece]) -> None:
        self.chain = chain
        self.stage = stage
        self.ahead = stage.plan.overlap.param_gather
        self.pieces = pieces
        self._started: list[list[str]] = []

    def need(self, index: int) -> None:
        """Wait for the parameters of one piece, and send for those of the next."""
        self._start_until(index)
        if self.ahead:
            self._start_until(min(index + 1, len(self.pieces) - 1))
        self.chain.wait(self._started[index])

    def _start_until(self, index: int) -> None:
        for piece in self.pieces[len(self._started) : index + 1]:
            made = self.stage.gather(piece)
            self._started.append([token for communication in made for token in self.chain.start(communication)])
