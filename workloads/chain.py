"""A line of instructions being written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workloads.instructions import (
    Block,
    Communication,
    Compute,
    HostLane,
    HostWork,
    Instruction,
    Kernel,
    Operator,
    Start,
    Wait,
)

PRODUCTS = (Kernel.GEMM, Kernel.GROUPED_GEMM)


class Chain:
    """Instructions in order. Neighbouring operators with no communication between them become one Compute.

    Tokens are numbered within the chain unless the caller names one, to wait for it in another block.
    """

    def __init__(self) -> None:
        self._instructions: list[Instruction] = []
        self._pending: list[Operator] = []
        self._tokens = 0

    def run(self, operators: Iterable[Operator]) -> None:
        """Compute these operators next."""
        self._pending.extend(operators)

    def start(self, communication: Communication | None, token: str = "") -> tuple[str, ...]:
        """Begin a communication and go on; gives the tokens to wait for, none if there is nothing to send."""
        if communication is None:
            return ()
        self._flush()
        if not token:
            token = f"t{self._tokens}"
            self._tokens += 1
        self._instructions.append(Start(communication, token))
        return (token,)

    def begin(self, name: str, lane: HostLane, amount: float, *, after: str = "", token: str = "") -> tuple[str, ...]:
        """Begin work with the host and go on; gives the token to wait for, none if there is nothing to do."""
        if amount <= 0.0:
            return ()
        self._flush()
        if not token:
            token = f"t{self._tokens}"
            self._tokens += 1
        self._instructions.append(HostWork(name, lane, amount, token, after))
        return (token,)

    def wait(self, tokens: Iterable[str]) -> None:
        """Go on only when these are done."""
        for token in tokens:
            self._flush()
            self._instructions.append(Wait(token))

    def exchange(self, *communications: Communication | None) -> None:
        """Communicate, computing nothing meanwhile."""
        for communication in communications:
            self.wait(self.start(communication))

    def run_beside(self, operators: Sequence[Operator], communications: Sequence[Communication | None], *, overlap: bool) -> None:
        """Communicate, then compute; with ``overlap`` both at once."""
        if not overlap:
            self.exchange(*communications)
            self.run(operators)
            return
        tokens = [token for communication in communications for token in self.start(communication)]
        self.run(operators)
        self.wait(tokens)

    def run_pipelined(
        self, operators: Sequence[Operator], gather: Communication | None, reduce: Communication | None = None
    ) -> None:
        """Gather while the products that take what is gathered run, reduce while the last product runs; all else waits.

        What a library overlaps that cuts products and their communication into chunks, without what its first chunk costs.
        Products that follow each other directly take the same input. Without products everything runs beside everything.
        """
        places = [place for place, operator in enumerate(operators) if operator.kernel in PRODUCTS]
        if not places:
            self.run_beside(operators, [gather, reduce], overlap=True)
            return
        first, last = places[0], places[-1]
        after = first + 1
        while after in places:
            after += 1
        self.run(operators[:first])
        if last < after:
            self.run_beside(operators[first:after], [gather, reduce], overlap=True)
        else:
            self.run_beside(operators[first:after], [gather], overlap=True)
            self.run(operators[after:last])
            self.run_beside(operators[last : last + 1], [reduce], overlap=True)
        self.run(operators[max(after, last + 1) :])

    def block(self, name: str) -> Block:
        """The finished line."""
        self._flush()
        return Block(name, tuple(self._instructions))

    def _flush(self) -> None:
        if self._pending:
            self._instructions.append(Compute(tuple(self._pending)))
            self._pending = []
