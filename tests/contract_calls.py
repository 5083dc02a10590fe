"""Random calls, made from the synopses that COMMAND DOCS tells, answer as Debian's redis-server does.

Every command of the groups below that both know is called in valid forms and in near misses, with nasty
values, by the pipeline; replies (errors to the letter) and what is in the databases afterwards must be the
same. What differs on purpose stands in LEFT_OUT and EXCEPTIONS with its reason. The seed is printed; what
differs is shrunk to a few calls.

    /usr/bin/python3 -m pytest tests/contract_calls.py      PULSEDB_SEED=n PULSEDB_LONG=1 (three minutes, not 15 s)
"""
import os
import random
import time

import pytest

from resp import Closed, ProtocolError, ReplyError, Status

GROUPS = {"string", "generic", "transactions", "connection"}
ALSO = {"dbsize", "flushdb", "flushall", "swapdb"}

LEFT_OUT = {
    "quit": "it closes the connection: test_server.py",
    "client|reply": "it changes how many replies there are: test_client_commands.py",
    "client|pause": "it stops everybody: test_client_commands.py",
    "client|kill": "it may close this connection: test_client_commands.py",
    "client|list": "one line a client, of what Redis has and we have: test_client_commands.py",
    "client|info": "as CLIENT LIST",
    "client|tracking": "it brings pushes between the replies: test_tracking.py",
    "client|caching": "it asks for CLIENT TRACKING before: test_tracking.py",
    "client|help": "we name the subcommands we have, in our words",
    "object|help": "as CLIENT HELP",
    "auth": "an AUTH that fails takes its time, so that passwords cannot be tried: test_server.py",
}

OURS = {"multi"}  # commands of Redis whose words are all our own: MULTI ROLLBACK (test_transactions.py)

SECONDS = "100 100000 0 -1 9223372036854775807 9223372036854775 -9223372036854775808 abc _ 1.5 +100 0100"
MILLIS = "100000 100000000 0 -1 9223372036854775807 -9223372036854775808 abc _ 1.5 +100000"
TIMES = "99999999999 0 1 -5 9223372036854775807 abc _ 1e3"
DATABASES = "0 1 1 15 16 -1 abc _ 9223372036854775807 01"


def words(text):
    return [b"" if word == "_" else word.encode() for word in text.split()]


INTS = words("0 1 -1 2 3 5 -2 10 -100 100 9223372036854775807 -9223372036854775808 9223372036854775808 4294967296 "
             "2147483648 -2147483649 abc _ +1 01 -0 1.0 1e3 0x10 18446744073709551616") + [b" 1", b"1 ", b"1\x00"]
FLOATS = words("0 1 -1 1.5 -2.25 3.14159265358979 1e10 1e308 -1e308 1e-320 inf -inf +inf nan 0x1p3 _ abc 1e400 5e-324 "
               ".5 1. -0 17.000000000000001 infinity 1e 1e+2 0.1") + [b" 1", b"1 "]
VALUES = words("_ 0 1 -1 10 9223372036854775807 -9223372036854775808 9223372036854775808 1.5 1e3 foo bar ohmytext "
               "mynewtext 01 inf a b") + [b"\x00", b"\xff\xfe", b"a\r\nb", b"a" * 44, b"a" * 45, b"x" * 600, b"y" * 70000,
                                          b"\xd0\x96", b" 1"]
KEYS = words("k0 k1 k2 k3 k4") * 3 + [b"", b"K0", b"\x00k", b"k\xff\r\n", b"x" * 300, b"EX"]
# Not so large that one SETRANGE costs 512 MB.
OFFSETS = words("0 1 7 8 100 -1 70000 4294967296 536870912 9223372036854775807 abc _ 01")
PATTERNS = words("* k* k[0-2] k? [^k]* k\\0 k[a _ **k** [0-z]* ?? \\ k[^ [a-]* *0*1*")
NAMES = words("yes no foo a_b _ abc") + [b"a b", b"a\nb", b"caf\xc3\xa9"]
# By the name of the argument where its type does not say enough, else by its type.
BY_NAME = {
    "seconds": words(SECONDS), "milliseconds": words(MILLIS), "timestamp": words(TIMES),
    "unix-time-seconds": words(TIMES), "unix-time-milliseconds": words(TIMES), "db": words(DATABASES),
    "destination-db": words(DATABASES), "index": words(DATABASES), "index1": words(DATABASES),
    "index2": words(DATABASES), "offset": OFFSETS, "cursor": words("0 0 0 _ abc -1 18446744073709551616 +0 0x"),
    "timeout": words("1 2 -1 abc 1.5"), "protover": words("2 3 2 3 1 4 abc _"), "connection-name": NAMES,
    "clientname": NAMES, "type": words("string STRING list hash nosuch _"), "increment-float": FLOATS,
}
BY_TYPE = {"key": KEYS, "string": VALUES, "integer": INTS, "double": FLOATS, "pattern": PATTERNS, "unix-time": words(TIMES)}
TIMED = {"set", "getex", "setex", "psetex", "expire", "pexpire", "expireat", "pexpireat", "wait"}


class Generator:
    def __init__(self, rng, docs):
        self.rng, self.docs = rng, docs
        self.names = sorted(docs)
        # MULTI is only of use with EXEC, and what is never written is never read.
        self.weighted = self.names + ["multi", "exec", "exec"] * 2 + ["set", "watch"] * 2

    def argument(self, argument):
        rng, flags = self.rng, {text(flag) for flag in argument.get(b"flags", ())}
        kind, token = text(argument[b"type"]), argument.get(b"token")
        if "optional" in flags and rng.random() < 0.6:
            return []
        out = []
        for i in range(rng.choice([1, 1, 2, 2, 3]) if "multiple" in flags else 1):
            if token is not None and (i == 0 or "multiple_token" in flags):
                out += [token]
            if kind == "oneof":
                out += self.argument(rng.choice(argument[b"arguments"]))
            elif kind == "block":
                for inner in argument[b"arguments"]:
                    out += self.argument(inner)
            elif kind != "pure-token":
                values = BY_NAME.get(text(argument[b"name"])) or BY_TYPE[kind]
                out += [rng.choice(values)]
        return out

    def valid(self, name):
        call = [word.upper().encode() for word in name.split("|")]
        for argument in () if name in OURS else self.docs[name].get(b"arguments", ()):
            call += self.argument(argument)
        return call

    def call(self):
        rng, name = self.rng, self.rng.choice(self.weighted)
        call, dice = self.valid(name), self.rng.random()
        timed = name in TIMED
        if dice < 0.03 and len(call) > 1:
            del call[rng.randrange(1, len(call))]
        elif dice < 0.06:  # a number put into a TIMED call might end a key while the test runs
            call.insert(rng.randrange(1, len(call) + 1), rng.choice([b"nonsense", b""] if timed else VALUES + INTS))
        elif dice < 0.08 and len(call) > 2 and not timed:
            i, j = rng.randrange(1, len(call)), rng.randrange(1, len(call))
            call[i], call[j] = call[j], call[i]
        elif dice < 0.10 and len(call) > 1:
            i = rng.randrange(len(call))
            call[i] = call[i].swapcase()
        elif dice < 0.12 and len(call) > 1 and not timed:
            call += call[rng.randrange(1, len(call)):]
        elif dice < 0.125:
            call[0] += b"x"
        elif dice < 0.14:
            call = [b"COMMAND", rng.choice([b"GETKEYS", b"GETKEYSANDFLAGS"])] + call
        return call


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def name_of(call, docs):
    name = text(call[0].lower().decode("latin-1"))
    full = name + "|" + call[1].lower().decode("latin-1") if len(call) > 1 else name
    return full if full in docs else name


def unordered(_, ours, theirs):
    return sorted(ours, key=repr) == sorted(theirs, key=repr)


def scanned(call, ours, theirs):
    if any(len(reply) != 2 for reply in (ours, theirs)):
        return False
    whole = ours[0] == theirs[0] == b"0" and int(call[1] or b"0") == 0
    return not whole or unordered(call, ours[1], theirs[1])


def near(tolerance):
    return lambda _, ours, theirs: ours > 0 < theirs and abs(ours - theirs) <= tolerance


def close_by(_, ours, theirs):
    return type(ours) is int and abs(ours - theirs) <= len(KEYS)


def same_shape(_, ours, theirs):
    return type(ours) is type(theirs)


def hello(_, ours, theirs):
    if type(ours) is not type(theirs) or len(ours) != len(theirs):
        return False
    ours, theirs = ([*x.items()] if isinstance(x, dict) else [*zip(x[::2], x[1::2])] for x in (ours, theirs))
    return all(a[0] == b[0] and (a == b or a[0] in (b"id", b"version")) for a, b in zip(ours, theirs))


# Command: (what must hold of two replies that are not equal, neither an error; why they may differ).
EXCEPTIONS = {
    "keys": (unordered, "there is no order"),
    "scan": (scanned, "there is no order, and a cursor is ours"),
    "randomkey": (same_shape, "random"),
    "ttl": (near(2), "time passes"),
    "pttl": (near(2000), "time passes"),
    "expiretime": (near(2), "time passed before"),
    "pexpiretime": (near(2000), "time passed before"),
    "object|idletime": (same_shape, "time passes, and Redis shares small numbers between keys, and so their clock"),
    "object|refcount": (same_shape, "Redis shares small numbers, but not of INCRBYFLOAT, and counts what EXEC borrows"),
    "dbsize": (close_by, "a key whose end is past counts until it is met: by more commands of Redis, by our wheel"),
    "client|id": (same_shape, "another server"),
    "hello": (hello, "another version, another id"),
    "object|encoding": (lambda _, ours, theirs: ours == b"int" and theirs in (b"raw", b"embstr"),
                        "a number is kept as one, whichever command made it; in Redis INCRBYFLOAT and APPEND do not"),
}


def agree(call, ours, theirs, docs):
    if type(ours) is type(theirs) and ours == theirs:
        return True
    if isinstance(ours, ReplyError) and isinstance(theirs, ReplyError):
        return name_of(call, docs) == "hello" and len(call) > 3  # see ends_here
    if isinstance(ours, ReplyError) or isinstance(theirs, ReplyError):
        return False
    rule = EXCEPTIONS.get(name_of(call, docs))
    return rule is not None and type(ours) is type(theirs) and rule[0](call, ours, theirs)


def contents(conn):
    """What is in some databases, comparable."""
    found = {}
    for call in ("DISCARD",), ("RESET",):
        conn.try_call(*call)
    for db in 0, 1, 15:
        conn.call("SELECT", db)
        for key in conn.call("KEYS", "*"):
            ttl = conn.call("PTTL", key)
            if ttl != -2:
                found[db, key] = (conn.call("TYPE", key), conn.call("GET", key), ttl > 0)
    return found


class Pair:
    def __init__(self, servers, docs):
        self.servers, self.docs = servers, docs
        self.answered = set()

    def replies(self, server, sequence, protocol):
        with server.conn() as conn:
            conn.call("FLUSHALL")
            if protocol == 3:
                conn.call("HELLO", 3)
            try:
                return conn.pipeline(*sequence), contents(conn)
            except (Closed, ProtocolError, OSError) as end:
                return [f"{type(end).__name__}: {end}"] * len(sequence), {}

    def difference(self, sequence, protocol):
        """None, or (index, ours, theirs) of the first; index len(sequence): the contents."""
        (ours, ours_after), (theirs, theirs_after) = (self.replies(s, sequence, protocol) for s in self.servers)
        queue = []
        for i, call in enumerate(sequence):
            name = name_of(call, self.docs)
            if self.ends_here(sequence[:i + 1], ours[i], theirs[i]):
                return None
            if name == "exec" and isinstance(ours[i], list) and isinstance(theirs[i], list):
                if len(ours[i]) != len(theirs[i]) or len(queue) != len(ours[i]):
                    return i, ours[i], theirs[i]
                for queued, a, b in zip(queue, ours[i], theirs[i]):
                    self.note(queued, a)
                    if not agree(queued, a, b, self.docs):
                        return i, (queued, a), (queued, b)
            elif not agree(call, ours[i], theirs[i], self.docs):
                return i, ours[i], theirs[i]
            if name == "exec" or name in ("discard", "reset") and not isinstance(ours[i], ReplyError):
                queue = []
            if theirs[i] == "QUEUED" and isinstance(theirs[i], Status):
                queue.append(call)
            else:
                self.note(call, ours[i])
        if ours_after != theirs_after:
            differ = [k for k in ours_after.keys() | theirs_after.keys() if ours_after.get(k) != theirs_after.get(k)]
            return len(sequence), {k: ours_after.get(k) for k in differ}, {k: theirs_after.get(k) for k in differ}
        return None

    def note(self, call, reply):
        if not isinstance(reply, ReplyError):
            self.answered.add(name_of(call, self.docs))

    @staticmethod
    def ends_here(sequence, ours, theirs):
        """What differs on purpose, and leads elsewhere from there on: the rest is not compared."""
        names = {call[0].lower() for call in sequence}
        # WATCH of a missing key: a flush counts as a change of it, since the table it is missed in goes.
        if sequence[-1][0].lower() == b"exec" and ours is None and theirs is not None:
            return bool(names & {b"flushall", b"flushdb", b"swapdb"}) and b"watch" in names
        # As in Redis 7.2, HELLO looks at all its words before any of them counts. 7.0 takes them in turn.
        return sequence[-1][0].lower() == b"hello" and len(sequence[-1]) > 3 and isinstance(ours, ReplyError)

    def shrink(self, sequence, protocol, difference, until):
        def still(shorter):
            return shorter and time.monotonic() < until and self.difference(shorter, protocol)

        sequence = sequence[:difference[0] + 1]
        step = max(1, len(sequence) // 2)
        while step:
            at = 0
            while at < len(sequence):
                shorter = sequence[:at] + sequence[at + step:]
                found = still(shorter)
                if found:
                    sequence, difference = shorter[:found[0] + 1], found
                else:
                    at += step
            step //= 2
        return sequence, difference


def script(sequence, protocol):
    return "\n".join([f"    RESP{protocol}"] + ["    " + " ".join(repr(w)[1:] for w in call) for call in sequence])


@pytest.fixture(scope="module")
def docs(pulse_session, redis_session):
    with pulse_session.conn(protocol=3) as ours, redis_session.conn(protocol=3) as theirs:
        known = {text(name) for name in theirs.call("COMMAND", "LIST")}
        found = {}
        for name, doc in ours.call("COMMAND", "DOCS").items():
            if text(doc[b"group"]) in GROUPS or text(name) in ALSO:
                found.update({text(name): doc} if b"subcommands" not in doc else
                             {text(sub): sub_doc for sub, sub_doc in doc[b"subcommands"].items()})
        assert not LEFT_OUT.keys() - found.keys(), "left out, but not there"
        return {name: doc for name, doc in found.items() if name in known and name not in LEFT_OUT}


def test_random_calls_answer_as_redis_does(pulse_session, redis_session, docs):
    seed = int(os.environ.get("PULSEDB_SEED", random.SystemRandom().randrange(1 << 32)))
    long = os.environ.get("PULSEDB_LONG") == "1"
    seconds = 180 if long else 15
    print(f"seed {seed}: {len(docs)} commands")
    generator = Generator(random.Random(seed), docs)
    pair = Pair((pulse_session, redis_session), docs)
    until, sequences, found = time.monotonic() + seconds, 0, {}

    def unanswered():
        return docs.keys() - pair.answered - {
            "object|freq",  # asks for an LFU policy
            "restore",      # asks for a payload with the right checksum
            "restore-asking",
        }

    # On a slow machine, until all had their turn as well.
    while (time.monotonic() < until or unanswered() and time.monotonic() < until + 120) and len(found) < 10:
        sequence = [generator.call() for _ in range(40)]
        protocol = generator.rng.choice([2, 3])
        sequences += 1
        difference = pair.difference(sequence, protocol)
        # EXPIRE k 100 GT on a key that ends in 100 s depends on whether a millisecond has passed: not again.
        if difference and all(pair.difference(sequence, protocol) for _ in range(3)):
            small, difference = pair.shrink(sequence, protocol, difference, time.monotonic() + 10)
            found.setdefault((name_of(small[-1], docs), len(small)), (
                f"{script(small, protocol)}\n    ours   {difference[1]!r:.500}\n    Redis  {difference[2]!r:.500}"))
    print(f"{sequences} sequences, {sequences * 40} calls, {len(found)} differences")
    assert not found, f"seed {seed}\n" + "\n\n".join(found.values())
    assert not unanswered(), f"never answered but by an error: {sorted(unanswered())}"
