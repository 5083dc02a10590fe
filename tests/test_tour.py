"""The tour in README.md is what the server really says.

Every ```console block of README.md is a piece of one long redis-cli session. The test types its
commands into a real redis-cli, connected to a real server, and compares what is printed, line for line.

What differs from run to run is replaced on both sides before comparing:

    13 digits        <ms>         a time in Unix milliseconds
    19 digits        <ns>         a stamp in Unix nanoseconds
    127.0.0.1:12345  <address>    a client's address and port

A time that the tour was shown may be typed again further on (GETAT key 1795558198201). The test then
types the time that it was shown at the same place. `<!-- tour: wait 2s -->` before a block says that
the reader is thought to have waited so long; `<!-- tour: pull the plug -->` that the server is killed with
SIGKILL and started again.

    /usr/bin/python3 tests/test_tour.py --update     writes the real answers into README.md
"""
import pathlib
import re
import select
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from server import Server  # noqa: E402

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
REDIS_CLI = "/usr/bin/redis-cli"
PROMPT = re.compile(r"^127\.0\.0\.1:6380(?:\[\d+\])?(?:\(TX\))?> (.*)$")
BLOCK = re.compile(r"(?:<!-- tour: (wait \d+s|pull the plug) -->\n)?```console\n(.*?)```", re.S)
MS = re.compile(r"\b\d{13}\b")
PACE_SECONDS = 0.02  # so that no two commands share a millisecond


class Step:
    """A prompt line, the command on it, and the lines that follow."""

    def __init__(self, line, command):
        self.line, self.command, self.said = line, command, []


def steps_of(block):
    steps = []
    for line in block.splitlines():
        prompt = PROMPT.match(line)
        if prompt:
            steps.append(Step(line, prompt[1]))
        elif steps:
            steps[-1].said.append(line)
        else:
            raise ValueError(f"a tour block begins without a prompt: {line!r}")
    return steps


def normalised(line):
    line = re.sub(r"\b\d{19}\b", "<ns>", line)
    line = MS.sub("<ms>", line)
    return re.sub(r"127\.0\.0\.1:\d{4,5}\b", "<address>", line)


class Session:
    """One redis-cli, fed through a pipe. It writes an answer at once and flushes, so a short silence after
    a whole line is its end."""

    def __init__(self, port, seen=None):
        self.process = subprocess.Popen([REDIS_CLI, "--no-raw", "-p", str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = {} if seen is None else seen  # a time in README.md -> the time at the same place here

    def lines_of(self, step):
        """Types the step's command, with our times for README's; returns the lines printed."""
        command = MS.sub(lambda m: self.seen.get(m[0], m[0]), step.command)
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self):
        out = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.process.stdout], [], [], PACE_SECONDS if out else 1)
            if not ready and (out.endswith(b"\n") or self.process.poll() is not None):
                break
            if ready:
                chunk = self.process.stdout.read1(65536)
                if not chunk:
                    break
                out += chunk
        return out.decode().rstrip("\n").split("\n")

    def learn(self, step, said):
        for ours, theirs in zip(said, step.said):
            for here, there in zip(MS.findall(ours), MS.findall(theirs)):
                self.seen[there] = here

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def walk(text, server):
    """Yields each step of the tour with the lines that the server really gave."""
    session = Session(server.port)
    try:
        for before, block in BLOCK.findall(text):
            if before == "pull the plug":
                session.close()
                server.kill()
                server.start()
                session = Session(server.port, session.seen)
            elif before:
                time.sleep(int(before.removeprefix("wait ").removesuffix("s")))
            for step in steps_of(block):
                said = session.lines_of(step)
                session.learn(step, said)
                yield step, said
    finally:
        session.close()


def fell_with_time(said, shown, seconds):
    """Whether a TTL is smaller than shown by no more than the time since the command before it began."""
    ours, theirs = (re.fullmatch(r"\(integer\) (\d+)", lines[0]) for lines in (said, shown))
    return ours and theirs and int(theirs[1]) - seconds - 0.5 <= int(ours[1]) <= int(theirs[1])


@pytest.mark.skipif(not pathlib.Path(REDIS_CLI).exists(), reason="there is no redis-cli")
def test_the_tour_of_the_readme_is_what_the_server_says(pulse_server):
    server = pulse_server()
    count, times = 0, [time.monotonic()]
    for step, said in walk(README.read_text(), server):
        times.append(time.monotonic())
        expected = [normalised(line) for line in step.said]
        if step.command.startswith("TTL ") and fell_with_time(said, step.said, times[-1] - times[-3:][0]):
            said = step.said
        assert [normalised(line) for line in said] == expected, f"after `{step.command}`"
        count += 1
    assert count > 30, "README.md has lost its tour"


def update():
    """Writes what the server says into README.md's blocks."""
    known = {}
    text = README.read_text()
    with Server("pulsedb") as server:
        answers = iter(list(walk(text, server)))

    def rewritten(match):
        lines = []
        for step in steps_of(match[2]):
            fresh, said = next(answers)
            known.update(zip(MS.findall("\n".join(step.said)), MS.findall("\n".join(said))))
            lines += [MS.sub(lambda m: known.get(m[0], m[0]), fresh.line), *said]
        head = f"<!-- tour: {match[1]} -->\n" if match[1] else ""
        return head + "```console\n" + "\n".join(lines) + "\n```"

    README.write_text(BLOCK.sub(rewritten, text))


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update()
