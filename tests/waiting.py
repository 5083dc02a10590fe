"""Waiting for what must come true, however slow the machine: the limit is there to end a test that has failed."""
import time

LIMIT_SECONDS = 60


def eventually(condition, seconds=LIMIT_SECONDS):
    """What `condition` says once that is true; else what it says at the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = condition()
        if said:
            return said
        time.sleep(0.01)
    return condition()


def pass_instant(conn, ms):
    """Returns when the server's time is past that instant, in Unix milliseconds."""
    def is_past():
        seconds, micros = map(int, conn.call("TIME"))
        return seconds * 1000 + micros // 1000 > ms
    assert eventually(is_past), "its clock stands still"
