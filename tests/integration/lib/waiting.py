"""Polling with a deadline: the way in which tests wait."""
import time


class Late(AssertionError):
    """What was waited for did not come in time."""


def poll_until(check, seconds, what, interval=0.05):
    """Calls check() until it gives something true, and returns that. `what` may be a function that
    tells how things stand, for the message."""
    deadline = time.monotonic() + seconds
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() >= deadline:
            raise Late(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(interval)
