"""A clock that is moved by hand loses no move, whatever its waiters were doing then."""

import threading

from lakewright.kernel.clock import ManualClock


def test_a_move_while_the_waiter_worked_counts_for_its_wait():
    clock, never = ManualClock(), threading.Event()
    looked = clock.now()
    clock.advance(60)
    assert clock.wait(never, 60, since=looked) is False


def test_whoever_waits_is_woken_by_the_move_and_not_before():
    clock, never, woken = ManualClock(), threading.Event(), threading.Event()
    looked = clock.now()
    waiter = threading.Thread(target=lambda: (clock.wait(never, 10, since=looked), woken.set()))
    waiter.start()
    clock.advance(9)
    assert not woken.wait(0.05)
    clock.advance(1)
    assert woken.wait(10)
    waiter.join()
