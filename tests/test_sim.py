"""The server's core in a simulated world: pulsedb-sim (docs/simulation.md).

    PULSEDB_LONG=1   2000 seeds instead of 50
    PULSEDB_SEED=n   begin with seed n (1)

A seed that fails belongs into sim_seeds.txt, with what it found, once that is mended."""
import os
import pathlib
import subprocess

import pytest

from server import pulsedb_binary

SEEDS = 2000 if os.environ.get("PULSEDB_LONG") else 50
FIRST = int(os.environ.get("PULSEDB_SEED", "1"))
TIMEOUT = 1200


def sim_binary():
    """It is built beside the server."""
    return str(pathlib.Path(pulsedb_binary()).with_name("pulsedb-sim"))


def start(*args):
    if not os.access(sim_binary(), os.X_OK):
        pytest.skip(f"{sim_binary()} is not built")
    return subprocess.Popen([sim_binary(), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def finish(process):
    """What it said; the end of it in the failure's message if it ended badly."""
    said = process.communicate(timeout=TIMEOUT)[0].decode(errors="replace")
    assert process.returncode == 0, "\n".join(said.splitlines()[-120:])
    return said


def kept_seeds():
    """Rows of sim_seeds.txt: seed, steps, what it found."""
    rows = []
    for line in pathlib.Path(__file__).with_name("sim_seeds.txt").read_text().splitlines():
        words, _, found = line.partition("#")
        if words.strip():
            seed, steps = words.split()
            rows.append(pytest.param(seed, steps, id=f"{seed}: {found.strip()}"))
    return rows


def test_no_life_loses_what_was_promised():
    half = SEEDS // 2
    ranges = (f"{FIRST}..{FIRST + half - 1}", f"{FIRST + half}..{FIRST + SEEDS - 1}")
    processes = [start("--seeds", seeds) for seeds in ranges]
    lines = sum((finish(process).splitlines() for process in processes), [])
    assert len([line for line in lines if line.startswith("seed ")]) == SEEDS


@pytest.mark.parametrize("seed, steps", kept_seeds())
def test_what_a_seed_has_found_stays_mended(seed, steps):
    finish(start("--seed", seed, "--steps", steps))


def test_the_same_seed_is_the_same_life():
    one, other = (finish(start("--seeds", f"{FIRST}..{FIRST + 3}", "--steps", "400")) for _ in range(2))
    assert "digest" in one
    assert one == other


@pytest.mark.parametrize("args", [("--seed",), ("--seed", "x"), ("--seeds", "1"), ("--steps", "-"), ("--what", "1")])
def test_words_that_make_no_sense_are_refused(args):
    process = start(*args)
    said = process.communicate(timeout=TIMEOUT)[0].decode()
    assert process.returncode == 2 and said.startswith("Usage: pulsedb-sim"), said
