"""Client libraries show the same with PulseDB as with Debian's redis-server, scenario by scenario: redis-py,
and from npm node-redis and ioredis, in RESP2 and in RESP3 (redis-py 4.3 has none).

The scenarios are in tests/smoke_clients. `make test-all` installs the npm packages (npm ci); without
them, or without node, those tests are skipped.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent / "smoke_clients"
NODE = shutil.which("node")
RUNS = [("redis_py", 2), ("node_redis", 2), ("node_redis", 3), ("ioredis", 2), ("ioredis", 3)]


def missing(client):
    """Why the client cannot be run here, if so."""
    if client == "redis_py":
        return None
    if not NODE:
        return "node is not installed (make test-all installs it)"
    wanted = json.loads((HERE / "package-lock.json").read_text())["packages"]
    for name in json.loads((HERE / "package.json").read_text())["dependencies"]:
        there = HERE / "node_modules" / name / "package.json"
        if not there.exists() or json.loads(there.read_text())["version"] != wanted[f"node_modules/{name}"]["version"]:
            return f"npm's {name} is not installed as package-lock.json has it (make test-all runs npm ci)"
    return None


def results(client, protocol, port):
    """Scenario -> what it showed."""
    program = ["/usr/bin/python3", "redis_py.py"] if client == "redis_py" else [NODE, f"{client}.js"]
    done = subprocess.run([*program, str(port), str(protocol)], cwd=HERE, check=True, stdout=subprocess.PIPE, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.parametrize("client, protocol", RUNS)
def test_a_client_shows_the_same_as_with_redis(pulse_session, redis_session, client, protocol):
    if missing(client):
        pytest.skip(missing(client))
    theirs = results(client, protocol, redis_session.port)
    assert len(theirs) >= 15 and not any("thrown" in result for result in theirs.values()), theirs
    ours = results(client, protocol, pulse_session.port)
    differing = [f"{scenario}:\n  PulseDB: {ours.get(scenario)}\n  Redis:   {expected}"
                 for scenario, expected in theirs.items() if ours.get(scenario) != expected]
    assert not differing, "\n".join(differing)[:8000]


@pytest.mark.parametrize("client, protocol, library", [("node_redis", 2, "node-redis"), ("node_redis", 3, "node-redis"),
                                                       ("ioredis", 2, "ioredis"), ("ioredis", 3, "ioredis")])
def test_the_handshake_tells_the_library_and_the_protocol(pulse, pulse_port, client, protocol, library):
    """Redis 7.0 knows no CLIENT SETINFO; 7.2 and PulseDB do."""
    if missing(client):
        pytest.skip(missing(client))
    create = {"node_redis": "const c = require('redis').createClient({ RESP, socket: { port } }); c.connect()",
              "ioredis": "const c = new (require('ioredis'))({ port, protocol: RESP, lazyConnect: true }); c.connect()"}[client]
    ask = {"node_redis": "c.sendCommand(['CLIENT', 'INFO'])", "ioredis": "c.call('CLIENT', 'INFO')"}[client]
    program = (f"const port = {pulse_port}, RESP = {protocol};"
               f"{create}.then(async () => {{ console.log(String(await {ask})); process.exit(0); }})")
    done = subprocess.run([NODE, "-e", program], cwd=HERE, stdout=subprocess.PIPE, check=True, timeout=30, env=os.environ)
    fields = dict(word.split("=", 1) for word in done.stdout.decode().split())
    assert fields["lib-name"].startswith(library) and re.match(r"\d+\.", fields["lib-ver"])
    assert fields["resp"] == str(protocol)
