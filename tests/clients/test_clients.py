"""Transactions, publish and subscribe, tracking and ACLs look the same through client libraries with PulseDB as with
Debian's redis-server: what each library's program here shows of scenarios.txt, step by step.

`make test-all` installs the libraries (scripts/install-deps.sh all, npm ci); one that is not there is skipped by name.
What the server under test does not know yet is skipped too, and counts as soon as it knows it."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from resp import ReplyError
from server import Server
from conftest import start_pulsedb

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_SECONDS = 120

# Library -> (the program, its protocols, how to see that the library is there).
NPM = {"ioredis": "ioredis", "node_redis": "redis", "valkey_glide": "@valkey/valkey-glide"}
PROTOCOLS = {"redis_py": [2], "ioredis": [2, 3], "node_redis": [2, 3], "valkey_glide": [2, 3], "redis_rb": [2], "phpredis": [2],
             "hiredis": [2]}
# A group of scenarios -> the commands that the server must know for it.
GROUPS = {"transactions": ["MULTI"], "pubsub": ["SUBSCRIBE c", "PUBLISH c x"], "tracking": ["CLIENT TRACKING OFF", "SUBSCRIBE c"], "acl": ["ACL WHOAMI"],
          "types": ["SUBSCRIBE c", "CLIENT TRACKING OFF", "LPUSH", "HSET", "SADD", "ZADD"]}
RUNS = [(library, protocol) for library, protocols in PROTOCOLS.items() for protocol in protocols]


def npm_problem(name):
    if not shutil.which("node"):
        return "node is not installed"
    wanted = json.loads((HERE / "package-lock.json").read_text())["packages"]
    there = HERE / "node_modules" / name / "package.json"
    if not there.exists() or json.loads(there.read_text())["version"] != wanted[f"node_modules/{name}"]["version"]:
        return f"npm's {name} is not installed as package-lock.json has it (make test-all runs npm ci)"
    return None


def fails(*words):
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0


def missing(library):
    """Why the library cannot be run here, if so."""
    if library in NPM:
        return npm_problem(NPM[library])
    if library == "redis_rb" and (not shutil.which("ruby") or fails("ruby", "-e", "require 'redis'")):
        return "Debian's ruby-redis is not installed"
    if library == "phpredis" and (not shutil.which("php") or fails("php", "-r", "exit(extension_loaded('redis') ? 0 : 1);")):
        return "Debian's php-redis is not installed"
    if library == "hiredis" and fails("pkg-config", "--exists", "hiredis"):
        return "Debian's libhiredis-dev is not installed"
    return None


@pytest.fixture(scope="module")
def servers():
    """PulseDB and Redis for these tests alone: they end each other's connections and make users."""
    ours = start_pulsedb()
    with Server("redis") as theirs:
        yield ours, theirs
    ours.close()


@pytest.fixture(scope="module")
def hiredis_program(tmp_path_factory):
    program = tmp_path_factory.mktemp("hiredis") / "hiredis_driver"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "hiredis"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-Wall", "-Wextra", "-Wno-format-truncation", "-o", program, HERE / "hiredis_driver.c", *flags], check=True)
    return str(program)


def without_ids(step, shown):
    """Ids, times and addresses say nothing; nor does an order that is chance."""
    if re.search(r" CLIENT (ID|GETREDIR)$", step):
        return "an id" if isinstance(shown, int) and shown > 0 else shown
    if step.endswith("CLIENT TRACKINGINFO"):
        return json.loads(re.sub(r'("redirect"[^\d-]*)[1-9]\d*', r"\1 7", json.dumps(shown)))
    if step.endswith("ACL LOG") or step.endswith("ACL LOG 1"):
        return list(map(log_facts, shown)) if isinstance(shown, list) else shown
    if " invalidated " in step and isinstance(shown, list):  # what one command has changed has no order
        return sorted(shown, key=str)
    if re.search(r" PUBSUB (SHARD)?CHANNELS", step) and isinstance(shown, list):
        return sorted(re.sub(r"(driver:control)\d+", r"\1", str(channel)) for channel in shown)
    return shown


LOG_FIELDS = {"count", "reason", "context", "object", "username"}


def log_facts(entry):
    """What does not change from run to run, of an entry as the libraries show it: a map, pairs or a flat list."""
    if isinstance(entry, dict):
        pairs = entry.items()
    elif entry and isinstance(entry[0], dict):
        pairs = [(pair["key"], pair["value"]) for pair in entry]
    elif entry and isinstance(entry[0], list):
        pairs = entry
    else:
        pairs = zip(entry[::2], entry[1::2])
    return {name: value for name, value in pairs if name in LOG_FIELDS}


# What Redis 7.2 says otherwise than 7.0, which is what Debian has: (7.2's words, 7.0's words).
SAID_ANEW = [(r"\b[Uu]ser \w+ has no permissions to run", "this user has no permissions to run"),
             (r"\bThis user has no permissions", "this user has no permissions"),
             (r"\b[Uu]ser \w+ has no permissions to access", "this user has no permissions to access"),
             (r"\bNo permissions to access a (key|channel)", r"this user has no permissions to access one of the \1s used as arguments"),
             (r"sanitize-payload ", ""), (r', "sanitize-payload"', ""), (r'"sanitize-payload", ', ""),
             (r"'A[A-Za-z$]*'\.", "'A'.")]


def in_order(shown):
    """GLIDE shows a map as pairs, in the order of a hash."""
    if isinstance(shown, dict):
        return {name: in_order(value) for name, value in shown.items()}
    if not isinstance(shown, list):
        return shown
    items = [in_order(item) for item in shown]
    return sorted(items, key=lambda pair: str(pair["key"])) if all(isinstance(item, dict) and item.keys() == {"key", "value"} for item in items) else items


def normalised(step, shown):
    text = re.sub(r"127\.0\.0\.1:\d+", "the address", json.dumps(in_order(without_ids(step, shown)), ensure_ascii=False))
    for new, old in SAID_ANEW:
        text = re.sub(new, old, text)
    if re.search(r" ACL (GETUSER|LIST)", step):  # 7.2 shows rules in the order in which they were given, 7.0 in its own
        text = re.sub(r"[-+]@all(?: [-+][@\w|-]+)+", lambda rules: " ".join(sorted(rules[0].split())), text)
    return text


def transcript(command, port, protocol, group):
    """[scenario: step, what it showed] in order."""
    done = subprocess.run([*command, str(port), str(protocol), group], cwd=HERE, stdout=subprocess.PIPE, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, f"{command} ended with {done.returncode} after {done.stdout[-500:]!r}"
    lines = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
    # GLIDE goes on in the background to be a user whom it was refused to be: its log says how often, which is chance.
    return [(f"{line['scenario']}: {line['step']}", normalised(line["step"], line["shown"])) for line in lines
            if not ("valkey_glide.js" in command and line["step"].startswith("admin ACL LOG"))]


def unknown(server, probe):
    """Whether the server has no such command."""
    with server.conn() as conn:
        reply = conn.try_call(*probe.split())
    return isinstance(reply, ReplyError) and re.match("ERR unknown (sub)?command", str(reply)) is not None


def differences(ours, theirs):
    if [step for step, _ in ours] != [step for step, _ in theirs]:
        yield f"PulseDB's run ended after {ours[-1:]}, Redis' after {theirs[-1:]}"
    for (step, our), (_, their) in zip(ours, theirs):
        if our != their:
            yield f"{step}\n  PulseDB: {our[:1500]}\n  Redis:   {their[:1500]}"


@pytest.mark.parametrize("library, protocol", RUNS)
@pytest.mark.parametrize("group", GROUPS)
def test_a_library_shows_the_same_as_with_redis(servers, request, library, protocol, group):
    if missing(library):
        pytest.skip(f"{library}: {missing(library)}")
    ours, theirs = servers
    not_yet = [probe for probe in GROUPS[group] if unknown(ours, probe)]
    if not_yet:
        pytest.skip(f"{group}: the server under test does not know {', '.join(not_yet)} yet")
    command = {"redis_py": ["/usr/bin/python3", "redis_py.py"], "redis_rb": ["ruby", "redis_rb.rb"], "phpredis": ["php", "phpredis.php"]}.get(
        library, [shutil.which("node"), f"{library}.js"])
    if library == "hiredis":
        command = [request.getfixturevalue("hiredis_program")]
    expected = transcript(command, theirs.port, protocol, group)
    assert len(expected) >= 5 and not any("in vain" in shown for _, shown in expected), expected
    differing = list(differences(transcript(command, ours.port, protocol, group), expected))
    assert not differing, "\n".join(differing)[:8000]
