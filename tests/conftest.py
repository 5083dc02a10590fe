"""Fixtures for all tests.

    pulse         a raw Conn to a server shared by all tests; the data set is empty at the start of each
    pulse_port    its port, for more connections
    both          a Conn in RESP2, then the same test in RESP3
    other         a second Conn
    pulse_server  a function: pulse_server("--maxclients", "10") starts another, stopped after the test
    redis_ref     a raw Conn to a redis-server, empty as well: the reference
"""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from resp import Conn  # noqa: E402
from server import Server, pulsedb_binary  # noqa: E402


def start_pulsedb(*flags, **kwargs):
    if not os.access(pulsedb_binary(), os.X_OK):
        pytest.skip(f"{pulsedb_binary()} is not built; set PULSEDB_BIN")
    return Server("pulsedb", *flags, **kwargs).start()


@pytest.fixture(scope="session")
def pulse_session():
    server = start_pulsedb()
    yield server
    status = server.stop()
    server.close()
    assert status == 0, f"pulsedb ended with {status}"


@pytest.fixture
def pulse_port(pulse_session):
    return pulse_session.port


@pytest.fixture
def pulse(pulse_session):
    with pulse_session.conn() as conn:
        conn.call("FLUSHALL")
        yield conn


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def both(request, pulse, pulse_port):
    with Conn(pulse_port, protocol=request.param) as conn:
        yield conn


@pytest.fixture
def other(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        yield conn


@pytest.fixture
def pulse_server():
    servers = []

    def start(*flags, **kwargs):
        servers.append(start_pulsedb(*flags, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def redis_session():
    with Server("redis") as server:
        yield server


@pytest.fixture
def redis_ref(redis_session):
    with redis_session.conn() as conn:
        conn.call("FLUSHALL")
        yield conn
