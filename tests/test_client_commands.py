"""CLIENT, HELLO, AUTH and the other commands of a connection."""
import pytest

from resp import ReplyError, Status

TOO_MANY_WORDS = "ERR unknown subcommand or wrong number of arguments for '%s'. Try CLIENT HELP."
NAMES = "ERR Client names cannot contain spaces, newlines or special characters."


def fields(line):
    return dict(part.split("=", 1) for part in line.strip().decode().split(" "))


@pytest.mark.parametrize("words, text", [
    (("HELLO", "4"), "NOPROTO unsupported protocol version"),
    (("HELLO", "x"), "ERR Protocol version is not an integer or out of range"),
    (("HELLO", "3", "foo"), "ERR Syntax error in HELLO option 'foo'"),
    (("HELLO", "3", "auth"), "ERR Syntax error in HELLO option 'auth'"),
    (("HELLO", "2", "SETNAME", "a b"), NAMES),
    (("AUTH", "x"), "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?"),
    (("AUTH", "a", "b"), "WRONGPASS invalid username-password pair or user is disabled."),
    (("PING", "a", "b"), "ERR wrong number of arguments for 'ping' command"),
    (("SELECT", "x"), "ERR value is not an integer or out of range"),
    (("SELECT", "16"), "ERR DB index is out of range"),
    (("SELECT", "-1"), "ERR DB index is out of range"),
    (("CLIENT", "KILL", "foo"), "ERR No such client"),
    (("CLIENT", "KILL", "ID", "0"), "ERR client-id should be greater than 0"),
    (("CLIENT", "KILL", "TYPE", "foo"), "ERR Unknown client type 'foo'"),
    (("CLIENT", "KILL", "USER", "nosuch"), "ERR No such user 'nosuch'"),
    (("CLIENT", "KILL", "SKIPME", "foo"), "ERR syntax error"),
    (("CLIENT", "LIST", "TYPE", "foo"), "ERR Unknown client type 'foo'"),
    (("CLIENT", "LIST", "ID", "x"), "ERR Invalid client ID"),
    (("CLIENT", "SETNAME", "a b"), NAMES),
    (("CLIENT", "REPLY", "foo"), "ERR syntax error"),
    (("CLIENT", "UNBLOCK", "1", "foo"), "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    (("CLIENT", "UNBLOCK", "1", "ERROR", "x"), TOO_MANY_WORDS % "UNBLOCK"),
    (("CLIENT", "PAUSE", "1", "WRITE", "x"), TOO_MANY_WORDS % "PAUSE"),
    (("CLIENT", "PAUSE", "x"), "ERR timeout is not an integer or out of range"),
    (("CLIENT", "PAUSE", "-1"), "ERR timeout is negative"),
    (("CLIENT", "NOSUCH"), "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
])
def test_errors_are_redis_own(pulse, redis_ref, words, text):
    assert str(pulse.try_call(*words)) == text
    assert str(redis_ref.try_call(*words)) == text


def test_maintenance_notifications_are_refused_as_anything_unknown(pulse):
    reply = pulse.try_call("CLIENT", "MAINT_NOTIFICATIONS", "ON")
    assert isinstance(reply, ReplyError) and reply.code == "ERR"


def test_hello_chooses_the_protocol(pulse):
    reply = pulse.call("HELLO", 3)
    assert list(reply) == [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
    assert (reply[b"server"], reply[b"proto"]) == (b"redis", 3)
    assert (reply[b"mode"], reply[b"role"], reply[b"modules"]) == (b"standalone", b"master", [])
    flat = pulse.call("HELLO", 2, "SETNAME", "bob")
    assert flat[4:6] == [b"proto", 2]
    assert pulse.call("CLIENT", "GETNAME") == b"bob"
    assert pulse.call("HELLO")[4:6] == [b"proto", 2]


def test_a_failed_hello_changes_nothing(pulse):
    pulse.try_call("HELLO", 3, "AUTH", "nobody", "x", "SETNAME", "eve")
    assert pulse.call("CLIENT", "GETNAME") is None
    assert pulse.call("HELLO")[4:6] == [b"proto", 2]


def test_a_password_is_asked_for(pulse_server):
    server = pulse_server("--requirepass", "secret")
    with server.conn() as conn:
        assert str(conn.try_call("PING")) == "NOAUTH Authentication required."
        assert conn.try_call("HELLO", 3).code == "NOAUTH"
        for wrong in ("x", "secre", "secrets", "", "secretsecret"):
            assert conn.try_call("AUTH", wrong).code == "WRONGPASS"
        assert conn.try_call("AUTH", "default", "x").code == "WRONGPASS"
        assert conn.call("AUTH", "default", "secret") == "OK"
        assert conn.call("PING") == "PONG"
        assert conn.call("RESET") == "RESET"
        assert conn.try_call("PING").code == "NOAUTH"
        assert conn.call("HELLO", 3, "AUTH", "default", "secret")[b"proto"] == 3
        assert conn.call("QUIT") == "OK"
        assert conn.closed()


def test_ping_and_echo(pulse):
    assert pulse.call("PING") == Status("PONG")
    assert pulse.call("PING", "hi") == b"hi"
    assert pulse.call("ECHO", b"\0\r\n") == b"\0\r\n"


def test_databases_are_apart(pulse):
    pulse.call("SET", "a", 1)
    assert pulse.call("SELECT", 15) == "OK"
    assert pulse.call("GET", "a") is None
    assert fields(pulse.call("CLIENT", "INFO"))["db"] == "15"
    pulse.call("SELECT", 0)


def test_reset_forgets_what_the_connection_was(pulse):
    pulse.call("HELLO", 3, "SETNAME", "bob")
    pulse.call("SELECT", 3)
    pulse.call("MULTI")
    assert pulse.call("RESET") == "RESET"
    assert pulse.call("CLIENT", "GETNAME") is None
    assert fields(pulse.call("CLIENT", "INFO"))["db"] == "0"
    assert str(pulse.try_call("EXEC")) == "ERR EXEC without MULTI"


def test_a_line_of_list_has_redis_fields_in_order(pulse):
    pulse.call("CLIENT", "SETNAME", "me")
    line = pulse.call("CLIENT", "INFO")
    assert list(fields(line)) == (
        "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem "
        "multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name "
        "lib-ver").split()
    mine = fields(line)
    assert mine["name"] == "me" and mine["cmd"] == "client|info" and mine["user"] == "default"
    assert mine["id"] == str(pulse.call("CLIENT", "ID"))
    assert mine["addr"] == "127.0.0.1:%d" % pulse.socket.getsockname()[1]


def test_libraries_introduce_themselves(pulse):
    assert pulse.call("CLIENT", "SETINFO", "LIB-NAME", "redis-py") == "OK"
    assert pulse.call("CLIENT", "SETINFO", "lib-ver", "5.0") == "OK"
    mine = fields(pulse.call("CLIENT", "INFO"))
    assert (mine["lib-name"], mine["lib-ver"]) == ("redis-py", "5.0")
    assert str(pulse.try_call("CLIENT", "SETINFO", "lib-ver", "a b")) == \
        "ERR lib-ver cannot contain spaces, newlines or special characters."
    assert str(pulse.try_call("CLIENT", "SETINFO", "x", "y")) == "ERR Unrecognized option 'x'"
    assert pulse.call("CLIENT", "CAPA", "redirect") == "OK"


def test_list_can_be_asked_for_some(pulse, pulse_session):
    with pulse_session.conn() as other:
        me, it = pulse.call("CLIENT", "ID"), other.call("CLIENT", "ID")
        lines = pulse.call("CLIENT", "LIST", "ID", it, 999999999, me).splitlines()
        assert [int(fields(line)["id"]) for line in lines] == [it, me]
        everybody = pulse.call("CLIENT", "LIST", "TYPE", "normal").splitlines()
        assert {it, me} <= {int(fields(line)["id"]) for line in everybody}
        assert pulse.call("CLIENT", "LIST", "TYPE", "pubsub") == b""


def test_others_can_be_killed(pulse, pulse_session):
    with pulse_session.conn() as other:
        assert pulse.call("CLIENT", "KILL", "ID", other.call("CLIENT", "ID")) == 1
        assert other.closed()
    with pulse_session.conn() as other:
        addr = "127.0.0.1:%d" % other.socket.getsockname()[1]
        other.call("PING")
        assert pulse.call("CLIENT", "KILL", addr) == "OK"
        assert other.closed()
    assert pulse.call("CLIENT", "KILL", "ID", pulse.call("CLIENT", "ID")) == 0, "not itself"


def test_one_can_kill_itself_and_gets_the_answer(pulse_session):
    with pulse_session.conn() as conn:
        me = conn.call("CLIENT", "ID")
        assert conn.call("CLIENT", "KILL", "ID", me, "SKIPME", "no") == 1
        assert conn.closed()


def test_replies_can_be_switched_off(pulse):
    pulse.send_raw(b"CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n")
    assert pulse.read() == b"a"
    pulse.send_raw(b"CLIENT REPLY OFF\r\nCLIENT NOSUCH\r\nPING\r\nCLIENT REPLY SKIP\r\nPING\r\n"
                   b"CLIENT REPLY ON\r\nECHO b\r\n")
    assert (pulse.read(), pulse.read()) == ("OK", b"b")


def test_a_pause_holds_writes_until_it_ends(pulse, pulse_session):
    with pulse_session.conn() as other:
        assert pulse.call("CLIENT", "PAUSE", 10000, "WRITE") == "OK"
        try:
            assert other.call("GET", "a") is None
            other.send("SET", "a", 1)
            assert other.quiet(0.2)
        finally:
            assert pulse.call("CLIENT", "UNPAUSE") == "OK"
        assert other.read() == "OK"


def test_quit_answers_then_closes(pulse_session):
    with pulse_session.conn() as conn:
        conn.send_raw(b"PING\r\nQUIT\r\nPING\r\n")
        assert (conn.read(), conn.read()) == ("PONG", "OK")
        assert conn.closed()
