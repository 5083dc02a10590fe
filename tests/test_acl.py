"""ACL: users, what they may do, and where they are kept. Where redis-server knows the same, it is asked the same
and has to say the same. What Redis 7.2 says otherwise than 7.0 is taken out by `plain`: sanitize-payload, which
7.2 always shows, and three fields of ACL LOG."""
import hashlib
import itertools
import os
import pathlib
import re
import signal

import pytest

from resp import ReplyError
from server import Server

NEWER = {"entry-id", "timestamp-created", "timestamp-last-updated"}
NOWADAYS = {"client-info", "age-seconds"}


def plain(value):
    if isinstance(value, bytes):
        value = value.decode(errors="surrogateescape")
    if isinstance(value, str):
        return value.replace(" sanitize-payload", "")
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items() if plain(k) not in NEWER | NOWADAYS}
    if isinstance(value, set):
        return {plain(v) for v in value} - {"sanitize-payload"}
    if isinstance(value, list):
        words = [plain(v) for v in value]
        for name in NEWER | NOWADAYS:
            if name in words:
                at = words.index(name)
                del words[at:at + 2]
        return [w for w in words if w != "sanitize-payload"]
    return value


@pytest.fixture
def server(pulse_server):
    return pulse_server()


@pytest.fixture
def admin(server):
    with server.conn() as conn:
        yield conn


@pytest.fixture
def login(server):
    """login("name", "rules"): makes a user, and a connection that is he."""
    conns = []

    def make(name, rules, protocol=2):
        conns.append(server.conn(protocol=protocol))
        conns[-1].call("ACL", "SETUSER", name, "reset", "on", ">pw", *rules.split())
        conns[-1].call("AUTH", name, "pw")
        return conns[-1]

    yield make
    for conn in conns:
        conn.close()


def shown(conn, name="u"):
    reply = conn.call("ACL", "GETUSER", name)
    pairs = dict(zip(reply[::2], reply[1::2])) if isinstance(reply, list) else reply
    return plain(pairs)


# ---- the same as Redis ----

SAME = """
ACL
ACL NOSUCH
ACL SETUSER
ACL SETUSER a
ACL GETUSER a
ACL LIST
ACL SETUSER a on >p ~x* %R~r* %W~w* %RW~z &c* +@all -get
ACL GETUSER a
ACL LIST
ACL SETUSER a foo
ACL SETUSER a %X~a
ACL SETUSER a %~k
ACL SETUSER a #zz
ACL SETUSER a <nope
ACL SETUSER a !nope
ACL SETUSER a !e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
ACL SETUSER a +nosuch
ACL SETUSER a +@nosuch
ACL SETUSER a +config|nosuch
ACL SETUSER a +config|get|x
ACL SETUSER a -select|1
ACL SETUSER a +get|
ACL SETUSER a allkeys ~x
ACL SETUSER a allchannels &x
ACL SETUSER a (
ACL SETUSER a )
ACL SETUSER a (~k
ACL SETUSER a (~k +get )
ACL SETUSER a (~k (~z))
ACL SETUSER a (on)
ACL SETUSER a ()
ACL GETUSER a
ACL SETUSER a clearselectors
ACL SETUSER a ON RESET
ACL GETUSER a
ACL SETUSER a reset +@all -config +config|get
ACL GETUSER a
ACL SETUSER a reset nopass on >x
ACL GETUSER a
ACL GETUSER nosuch
ACL DELUSER default
ACL DELUSER a nosuch
ACL USERS
ACL WHOAMI
ACL WHOAMI x
ACL CAT
ACL CAT nosuch
ACL CAT a b
ACL GENPASS 0
ACL GENPASS 4097
ACL GENPASS x
ACL SAVE
ACL LOAD
ACL LOG
ACL LOG x
ACL LOG 1 2
ACL DRYRUN default GET k
ACL DRYRUN nosuch GET k
ACL DRYRUN default nosuch k
ACL DRYRUN default GET
ACL DRYRUN default config
ACL SETUSER u on nopass ~k* %R~r* %W~w* resetchannels +@all -del -config +config|get
ACL DRYRUN u GET k1
ACL DRYRUN u GET j
ACL DRYRUN u GET r1
ACL DRYRUN u GET w1
ACL DRYRUN u SET r1 v
ACL DRYRUN u SET w1 v
ACL DRYRUN u SET w1 v GET
ACL DRYRUN u GETDEL r1
ACL DRYRUN u APPEND w1 x
ACL DRYRUN u INCR w1
ACL DRYRUN u EXISTS w1 r1 k1
ACL DRYRUN u TYPE w1
ACL DRYRUN u STRLEN w1
ACL DRYRUN u COPY r1 w1
ACL DRYRUN u COPY w1 r1
ACL DRYRUN u RENAME k1 w1
ACL DRYRUN u DUMP w1
ACL DRYRUN u DEL k
ACL DRYRUN u UNLINK k
ACL DRYRUN u CONFIG SET x y
ACL DRYRUN u CONFIG GET x
ACL DRYRUN u MGET k1 r1 zz
ACL DRYRUN u MSET k1 v w1 v
AUTH x
AUTH default x
AUTH nosuch x
AUTH u
AUTH a b c
ACL LOG
AUTH u p
ACL WHOAMI
GET j
DEL k
CONFIG SET maxclients 10
NOSUCH
GET
SET k v
SET r v
WATCH j
MULTI
GET j
EXEC
MULTI
SET k1 v
DEL k
EXEC
DISCARD
ACL LOG
ACL LOG RESET
RESET
ACL WHOAMI
ACL LOG
CLIENT KILL USER nosuch
CLIENT KILL USER u
CONFIG SET requirepass sesame
CONFIG GET requirepass
ACL GETUSER default
ACL SETUSER default >other
AUTH other
AUTH default sesame
AUTH wrong
CONFIG SET requirepass ""
ACL GETUSER default
ACL DELUSER u
ACL LIST
"""


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_answers_as_redis_does(server, protocol):
    wrong = []
    with Server("redis") as reference, server.conn(protocol=protocol) as ours, reference.conn(protocol=protocol) as theirs:
        for line in filter(None, SAME.splitlines()):
            words = [w if w != '""' else "" for w in line.split(" ")]
            got, expected = plain(ours.try_call(*words)), plain(theirs.try_call(*words))
            if got != expected and str(got) != str(expected):
                wrong.append(f"{line}: {got!r}, Redis: {expected!r}")
    assert not wrong, "\n".join(wrong)


def test_a_users_file_of_ours_is_redis_and_theirs_is_ours(pulse_server, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user default on nopass ~* &* +@all\n")
    ours = pulse_server("--aclfile", str(path))
    with ours.conn() as conn:
        conn.call("ACL", "SETUSER", "u", "on", ">p", "~a*", "%R~b*", "+@all", "-@dangerous", "&x", "(~c", "+get)")
        assert conn.call("ACL", "SAVE") == "OK"
    with Server("redis", "--aclfile", str(path)) as theirs, theirs.conn() as conn:
        assert conn.call("AUTH", "u", "p") == "OK"
        conn.call("AUTH", "default", "")
        assert conn.call("ACL", "DRYRUN", "u", "GET", "b1") == "OK"
        conn.call("ACL", "SETUSER", "v", "nopass", "+ping", "on")
        assert conn.call("ACL", "SAVE") == "OK"
    with ours.conn() as conn:
        assert conn.call("ACL", "LOAD") == "OK"
        assert plain(conn.call("ACL", "LIST"))[2] == "user v on nopass resetchannels -@all +ping"


# ---- taking effect ----

def test_what_changes_holds_from_the_next_command_on(admin, login):
    users = [login(f"u{i}", "+@all ~*") for i in range(8)]  # on several threads
    for conn in users:
        assert conn.call("SET", "k", "v") == "OK"
    for i, conn in enumerate(users):
        admin.call("ACL", "SETUSER", f"u{i}", "-set")
        assert conn.try_call("SET", "k", "w") == ReplyError("NOPERM this user has no permissions to run the 'set' command")
        admin.call("ACL", "SETUSER", f"u{i}", "+@all", "allchannels")
        assert conn.call("SET", "k", "v") == "OK"
    assert admin.call("GET", "k") == b"v"


def test_default_is_a_user_like_others(admin, server):
    with server.conn() as other:
        assert other.call("SET", "k", "v") == "OK"
        admin.call("ACL", "SETUSER", "default", "-get")
        assert other.try_call("GET", "k").code == "NOPERM"
        assert other.call("SET", "k", "w") == "OK"
        admin.call("ACL", "SETUSER", "default", "+@all")
        assert other.call("GET", "k") == b"w"


def test_the_connections_of_a_deleted_user_are_closed_and_no_others(admin, login):
    gone, stays = login("gone", "+@all"), login("stays", "+@all")
    assert admin.call("ACL", "DELUSER", "gone", "nobody") == 1
    with pytest.raises(ConnectionError):
        gone.call("PING")
    assert stays.call("PING") == "PONG"
    assert stays.call("ACL", "DELUSER", "stays") == 1
    with pytest.raises(ConnectionError):
        stays.call("PING")


def test_a_user_that_is_switched_off_stays_and_does_not_come_back(admin, login, server):
    conn = login("u", "+@all")
    admin.call("ACL", "SETUSER", "u", "off")
    assert conn.call("PING") == "PONG"
    with server.conn() as other:
        assert other.try_call("AUTH", "u", "pw").code == "WRONGPASS"


def test_exec_asks_again(admin, login):
    conn = login("u", "+@all ~*")
    conn.call("MULTI")
    conn.call("SET", "a", "b")
    conn.call("STRLEN", "b")
    admin.call("ACL", "SETUSER", "u", "resetkeys", "~b", "-strlen")
    why = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. " \
          "This command is no longer allowed for the following reason: "
    assert conn.call("EXEC") == [ReplyError(why + "no permission to touch the specified keys"),
                                 ReplyError(why + "no permission to execute the command or subcommand")]
    assert admin.call("EXISTS", "a") == 0


def test_exec_that_is_denied_drops_the_transaction(admin, login):
    conn = login("u", "+@all ~*")
    conn.call("MULTI")
    conn.call("SET", "a", "b")
    admin.call("ACL", "SETUSER", "u", "-exec")
    assert str(conn.try_call("EXEC")) == "EXECABORT Transaction discarded because of: NOPERM this user has no " \
                                         "permissions to run the 'exec' command"
    admin.call("ACL", "SETUSER", "u", "+exec")
    assert str(conn.try_call("EXEC")) == "ERR EXEC without MULTI"
    assert admin.call("EXISTS", "a") == 0


def test_a_command_in_the_past_needs_all_of_it(admin, login):
    admin.call("SET", "a", "1")
    admin.call("SET", "b", "1")
    conn = login("u", "+at +get +multi +exec ~a")
    assert conn.call("AT", "-0s", "GET", "a") in (b"1", None)
    assert conn.try_call("AT", "-0s", "GET", "b").code == "NOPERM"
    assert str(conn.try_call("AT", "-0s", "STRLEN", "a")) == "NOPERM this user has no permissions to run the 'strlen' command"
    conn.call("MULTI")
    assert conn.try_call("AT", "-0s", "GET", "b").code == "NOPERM"
    assert conn.try_call("EXEC").code == "EXECABORT"
    conn.call("AT", "-0s")
    assert conn.try_call("GET", "b").code == "NOPERM"


# ---- who one is ----

def test_hello_logs_in_and_clients_show_their_user(admin, server):
    admin.call("ACL", "SETUSER", "u", "on", ">p", "+@all")
    with server.conn() as conn:
        assert conn.try_call("HELLO", 3, "AUTH", "u", "wrong").code == "WRONGPASS"
        assert conn.call("HELLO", 3, "AUTH", "u", "p")[b"proto"] == 3
        assert b"user=u " in conn.call("CLIENT", "INFO")
        assert admin.call("CLIENT", "LIST").count(b"user=u ") == 1
        assert admin.call("CLIENT", "KILL", "USER", "u") == 1
        with pytest.raises(ConnectionError):
            conn.call("PING")


def test_default_switched_off_asks_everybody(admin, server):
    admin.call("ACL", "SETUSER", "u", "on", ">p", "+@all")
    admin.call("ACL", "SETUSER", "default", "off")
    with server.conn() as conn:
        assert conn.try_call("PING").code == "NOAUTH"
        assert conn.try_call("AUTH", "default", "").code == "WRONGPASS"
        assert conn.call("AUTH", "u", "p") == "OK"
        assert conn.call("ACL", "WHOAMI") == b"u"
        assert conn.call("RESET") == "RESET"
        assert conn.try_call("PING").code == "NOAUTH"
        admin.call("ACL", "SETUSER", "default", "on")
        assert conn.call("PING") == "PONG"


def test_who_guesses_waits_and_nobody_else_does(admin, server):
    with server.conn(timeout=60) as guesser:
        for _ in range(22):
            guesser.send("AUTH", "default-not", "x")
        guesser.send("PING")
        assert admin.call("PING") == "PONG"
        replies = [guesser.read() for _ in range(23)]
        assert {r.code for r in replies[:22]} == {"WRONGPASS"}
        assert replies[22] == "PONG"
        admin.call("ACL", "SETUSER", "u", "on", ">p")
        assert guesser.call("AUTH", "u", "p") == "OK"  # late, and not locked out


# ---- ACL LOG ----

def denied(conn):
    lines = conn.call("INFO", "stats").decode().split("\r\n")
    return {name: int(next(line for line in lines if line.startswith(f"acl_access_denied_{name}:")).split(":")[1])
            for name in ("auth", "cmd", "key", "channel")}


def test_refusals_are_logged_and_counted(admin, login, both):
    admin.call("ACL", "LOG", "RESET")
    before = denied(admin)
    conn = login("u", "+get +multi ~a")
    for words in (["SET", "a", "1"], ["GET", "b"], ["GET", "b"]):
        conn.try_call(*words)
    conn.try_call("AUTH", "u", "secret-word")
    log = admin.call("ACL", "LOG")
    log = [dict(zip(e[::2], e[1::2])) for e in log]
    assert [(e[b"reason"], e[b"object"], e[b"count"], e[b"username"], e[b"context"]) for e in log] == [
        (b"auth", b"AUTH", 1, b"u", b"toplevel"), (b"key", b"b", 2, b"u", b"toplevel"),
        (b"command", b"set", 1, b"u", b"toplevel")]
    newest = log[0][b"entry-id"]
    assert [e[b"entry-id"] for e in log] == [newest, newest - 1, newest - 2]
    assert all(0 < e[b"timestamp-created"] <= e[b"timestamp-last-updated"] for e in log)
    assert b"user=u " in log[0][b"client-info"] and b"secret-word" not in repr(log).encode()
    admin.call("CONFIG", "SET", "acllog-max-len", "2")
    conn.try_call("DEL", "a")
    assert len(admin.call("ACL", "LOG", "10")) == 2 and len(admin.call("ACL", "LOG", "1")) == 1
    after = denied(admin)
    assert {name: after[name] - before[name] for name in after} == {"auth": 1, "cmd": 2, "key": 2, "channel": 0}
    assert admin.call("ACL", "LOG", "RESET") == "OK" and admin.call("ACL", "LOG") == []
    assert both.call("ACL", "LOG", "RESET") == "OK" and both.call("ACL", "LOG") == []


def test_secrets_are_nowhere_to_be_read(pulse_server, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("")
    server = pulse_server("--aclfile", str(path), "--loglevel", "debug")
    with server.conn() as conn:
        conn.call("ACL", "SETUSER", "u", "on", ">hidden-word", "+@all", "~*")
        conn.try_call("AUTH", "u", "hidden-wrong")
        conn.call("AUTH", "u", "hidden-word")
        conn.call("ACL", "SAVE")
        conn.call("ACL", "LOAD")
        seen = repr([conn.call("CLIENT", "LIST"), conn.call("ACL", "LOG"), conn.call("ACL", "LIST"), conn.call("INFO")])
    assert "hidden" not in seen and "hidden" not in path.read_text()
    assert b"hidden" not in server.log.read_bytes()
    assert hashlib.sha256(b"hidden-word").hexdigest() in path.read_text()


# ---- files ----

def test_a_bad_file_changes_nothing_and_says_where(pulse_server, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user default on nopass ~* &* +@all\nuser a on >p +@all\n")
    server = pulse_server("--aclfile", str(path))
    with server.conn() as conn, server.conn() as a:
        a.call("AUTH", "a", "p")
        before = conn.call("ACL", "LIST")
        path.write_text("user default on\nfoo\nuser b +nosuch\n")
        assert str(conn.try_call("ACL", "LOAD")) == \
            f"ERR {path}:2 should start with user keyword followed by the username. {path}:3: Error in applying " \
            "operation '+nosuch': Unknown command or category name in ACL. WARNING: ACL errors detected, no change " \
            "to the previously active ACL rules was performed"
        assert conn.call("ACL", "LIST") == before
        path.write_text("user x (~a")
        assert "Unmatched parenthesis" in str(conn.try_call("ACL", "LOAD"))
        os.remove(path)
        assert "No such file" in str(conn.try_call("ACL", "LOAD"))
        assert a.call("PING") == "PONG"
        path.write_text("user b on nopass +@all\n")
        assert conn.call("ACL", "LOAD") == "OK"
        assert conn.call("ACL", "USERS") == [b"b", b"default"]
        with pytest.raises(ConnectionError):
            a.call("PING")


def test_sighup_loads_the_file_again(pulse_server, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user a on nopass\n")
    server = pulse_server("--aclfile", str(path))
    path.write_text("user b on nopass\n")
    server.process.send_signal(signal.SIGHUP)
    with server.conn() as conn:
        for _ in range(10000):
            if conn.call("ACL", "USERS") == [b"b", b"default"]:
                return
    pytest.fail("SIGHUP was not heard")


@pytest.mark.parametrize("text, why", [
    ("user a on +nosuch\n", "Error in applying operation '+nosuch'"),
    ("user a (~k\n", "Unmatched parenthesis"),
    ("user a\nuser a\n", "Duplicate user 'a'"),
    ("user a on\naclfile x\n", "aclfile"),
    ("aclfile nosuch\n", "aclfile"),
])
def test_a_server_does_not_start_with_users_it_does_not_understand(pulse_server, tmp_path, text, why):
    config = tmp_path / "pulse.conf"
    config.write_text(text)
    with pytest.raises(RuntimeError, match=re.escape(why)):
        start_with(config)


def start_with(config):
    """A server whose first argument is a configuration file."""
    server = Server("pulsedb")
    launcher = pathlib.Path(server.dir, "launch.sh")
    launcher.write_text(f'#!/bin/sh\nexec "{server.binary}" "{config}" "$@"\n')
    launcher.chmod(0o755)
    server.binary = str(launcher)
    try:
        return server.start()
    except RuntimeError:
        server.close()
        raise


def test_users_live_in_the_configuration_file(tmp_path):
    config = tmp_path / "pulse.conf"
    config.write_text('# mine\nuser a on >"x y" ~a* +get (+set ~k)\nrequirepass z\n')
    server = start_with(config)
    try:
        with server.conn() as conn:
            assert conn.call("AUTH", "a", "x y") == "OK"
            assert conn.call("AUTH", "z") == "OK"
            conn.call("ACL", "SETUSER", "b", "on", "nopass", '~q"uo\'te', "+@all")
            conn.call("ACL", "DELUSER", "a")
            before = conn.call("ACL", "LIST")
            assert conn.call("CONFIG", "REWRITE") == "OK"
    finally:
        server.close()
    text = config.read_text()
    assert "# mine\n" in text and "user a " not in text and "user b " in text and "user default" not in text
    server = start_with(config)
    try:
        with server.conn() as conn:
            conn.call("AUTH", "z")
            assert conn.call("ACL", "LIST") == before
    finally:
        server.close()


def test_a_new_user_has_channels_as_the_setting_says(admin):
    admin.call("CONFIG", "SET", "acl-pubsub-default", "allchannels")
    admin.call("ACL", "SETUSER", "u")
    assert shown(admin)["channels"] == "&*"
    admin.call("CONFIG", "SET", "acl-pubsub-default", "resetchannels")
    admin.call("ACL", "SETUSER", "v")
    assert shown(admin, "v")["channels"] == ""


# ---- hostile words ----

def test_hostile_rules_are_refused_or_do_no_harm(admin):
    assert admin.try_call("ACL", "SETUSER", "u", *["(~a)"] * 200).code == "ERR"
    assert admin.try_call("ACL", "SETUSER", "u", "(" * 10000).code == "ERR"
    assert admin.try_call("ACL", "SETUSER", "u", "(" * 10000 + ")" * 10000).code == "ERR"
    assert admin.try_call("ACL", "SETUSER", "u", "~" + "a" * (2 << 20)).code == "ERR"
    assert admin.try_call("ACL", "SETUSER", "u", *[f"~{i}" for i in range(20000)]).code == "ERR"
    assert admin.call("ACL", "USERS") == [b"default"]
    admin.call("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~" + "a*" * 1000 + "b")
    assert b"permissions" in admin.call("ACL", "DRYRUN", "u", "GET", "a" * 10000)


# ---- every command ----

ALWAYS_ALLOWED = {"auth", "hello", "quit", "reset"}  # how else to log in?


def commands(conn):
    """name, words of a call, number of its keys: from COMMAND, subcommands as well."""
    found = []

    def add(info):
        name, arity, children = info[0].decode(), info[1], list(info[9])
        for child in children:
            add(child)
        if children:
            return
        found.append((name, arity, {plain(f) for f in info[2]}, info))
    for info in conn.call("COMMAND"):
        add(info)
    return found


def a_call(conn, name, arity, key="denied"):
    """A call with as many words as the arity asks for, and what COMMAND GETKEYS says of it. Words are tried until
    keys come out, if any do."""
    head = name.split("|")
    for extra, fill in itertools.product(range(6), (key, "1", "2")):
        count = abs(arity) - len(head)
        if arity > 0 and extra:
            break
        words = head + [fill] * (count + extra)
        keys = conn.try_call("COMMAND", "GETKEYS", *words)
        if isinstance(keys, list) and keys:
            return words, keys
    return head + [key] * (abs(arity) - len(head)), []


def everything(conn):
    keys = sorted(conn.call("KEYS", "*"))
    return [(k, conn.try_call("DUMP", k), conn.call("PEXPIRETIME", k)) for k in keys] + \
        [conn.call("DBSIZE"), conn.call("CLIENT", "GETNAME")] + \
        [v for v in conn.call("CONFIG", "GET", "*")]


def test_every_command_is_refused_to_whom_it_is_not_allowed(admin, server):
    admin.call("SET", "denied", "1")
    admin.call("ACL", "SETUSER", "u", "on", ">pw", "+@all", "~*", "&*")
    tried = 0
    for name, arity, flags, _ in commands(admin):
        words, _ = a_call(admin, name, arity)
        admin.call("ACL", "SETUSER", "u", "+@all", f"-{name}")
        before = everything(admin)
        with server.conn() as conn:
            conn.call("AUTH", "u", "pw")
            if name in ALWAYS_ALLOWED:
                continue
            reply = conn.try_call(*words)
            said = str(reply)
            expected = f"NOPERM this user has no permissions to run the '{name}' command"
            if name == "exec":
                expected = expected if said.startswith("NOPERM") else f"EXECABORT Transaction discarded because of: {expected}"
            assert said == expected, (words, reply)
            conn.send("PING")
            assert conn.read() == "PONG" or name == "ping", words
        assert everything(admin) == before, words
        tried += 1
    assert tried > 100


def test_every_command_with_keys_is_refused_a_key_that_is_not_allowed(admin, server):
    admin.call("SET", "denied", "1")
    admin.call("SET", "1", "1")
    admin.call("SET", "2", "1")
    admin.call("ACL", "SETUSER", "u", "on", ">pw", "+@all", "~allowed")
    tried = 0
    with server.conn() as conn:
        conn.call("AUTH", "u", "pw")
        for name, arity, flags, _ in commands(admin):
            words, keys = a_call(admin, name, arity)
            if not keys or name.startswith("command|"):
                continue
            before = everything(admin)
            said = str(conn.try_call(*words))
            assert said == "NOPERM this user has no permissions to access one of the keys used as arguments", (words, said)
            for i, word in enumerate(words):  # any one of them is enough
                if word != "denied" or str(word).encode() not in keys or keys.count(b"denied") < 2:
                    continue
                some = ["allowed" if w == "denied" and j != i else w for j, w in enumerate(words)]
                if b"denied" in (admin.try_call("COMMAND", "GETKEYS", *some) or []):
                    assert conn.try_call(*some).code == "NOPERM", some
            assert everything(admin) == before, words
            tried += 1
    assert tried > 40


def test_every_command_with_channels_is_refused_a_channel_that_is_not_allowed(admin, server):
    """None is known by its name here: those of category @pubsub that take a channel."""
    known = {n for n, *_ in commands(admin)}
    tried = [n for n in ("publish", "subscribe", "psubscribe", "spublish", "ssubscribe") if n in known]
    admin.call("ACL", "SETUSER", "u", "on", ">pw", "+@all", "~*", "&allowed*")
    with server.conn() as conn:
        conn.call("AUTH", "u", "pw")
        for name in tried:
            for channel in ["denied"] + (["allowed1"] if name == "psubscribe" else []):
                words = [name, channel] + ["x"] * name.endswith("publish")
                assert str(conn.try_call(*words)) == \
                    "NOPERM this user has no permissions to access one of the channels used as arguments", words
        assert conn.call("PING") == "PONG"
