"""What a slot waits for and leaves behind, whatever its tokens are called."""

from __future__ import annotations

from simulator.engine.itinerary import Scene
from workloads.instructions import Block, Communication, Compute, HostLane, HostWork, Instruction, Start, Wait

SEND = Communication("gradients", "dp", "reduce-scatter", "dp", 1.0)
WORK = Compute(())


def scene(*steps: Instruction) -> Scene:
    return Scene(Block("block", steps))


def test_a_block_that_waits_for_all_that_it_starts_is_closed() -> None:
    closed = scene(Start(SEND, "a"), WORK, Wait("a"))
    assert closed.is_closed and closed.awaits == [] and closed.leaves == []


def test_what_is_left_under_way_and_what_was_begun_before_is_told_by_its_tokens() -> None:
    open_one = scene(Wait("before"), Start(SEND, "a"), WORK, Start(SEND, "b"), Wait("a"))
    assert not open_one.is_closed
    assert open_one.awaits == ["before"] and open_one.leaves == ["b"]


def test_blocks_that_call_their_tokens_otherwise_have_one_script() -> None:
    """Stages that do the same are alike, but not those that wait for something else or in another order."""

    def gradients(stage: int, waits: bool = False) -> Scene:
        token = f"gradients stage {stage}"
        first = [Wait(f"parameters stage {stage}")] if waits else []
        return scene(*first, WORK, Start(SEND, f"{token}.0"), WORK, Start(SEND, f"{token}.1"))

    assert gradients(3).scripts == gradients(5).scripts
    assert gradients(3, waits=True).scripts == gradients(3).scripts
    assert gradients(3, waits=True).pauses == ((0, 0, "parameters stage 3"),) and gradients(3).pauses == ()
    one, other = Start(SEND, "a"), Start(SEND, "b")
    assert scene(one, other, Wait("a"), WORK).scripts != scene(one, other, Wait("b"), WORK).scripts


def test_work_of_the_host_that_follows_what_was_begun_before_is_a_pause() -> None:
    copy = HostWork("gradients", HostLane.TO, 1.0, "copy", after="gradients 0")
    assert scene(copy).awaits == ["gradients 0"] and scene(copy).pauses == ((0, 0, "gradients 0"),)
    within = scene(Start(SEND, "gradients 0"), copy)
    assert within.awaits == [] and within.leaves == ["gradients 0", "copy"]
    assert isinstance(within.scripts[0][1], HostWork) and within.scripts[0][1].after == "0"
