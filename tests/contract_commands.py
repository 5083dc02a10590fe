"""COMMAND INFO and COMMAND GETKEYS equal those of Debian's redis-server 7.0.15, for every command that
both know. What differs on purpose stands in EXCEPTIONS with its reason; nothing else may differ, and
an exception that is no longer needed may not stay.

    /usr/bin/python3 -m pytest tests/contract_commands.py      (PULSEDB_BIN names the program)
"""
import pytest

from resp import ReplyError

# (command, field): why. A field is arity, flags, first_last_step, categories, tips or key_specs.
EXCEPTIONS = {
    ("multi", "arity"): "MULTI ROLLBACK undoes all when a command fails",
    ("save", "arity"): "SAVE RDB file writes a file that Redis reads",
    ("restore-asking", "flags"): "no cluster, so nobody is asking",
}

# A call, and why its keys differ from Redis'; None where they may not.
CALLS = {
    "GET a": None,
    "SET a b": None,
    "SET a b GET": None,
    "MGET a b c d e f g h i j": None,
    "MSET a 1 b 2": None,
    "MSET a 1 b": None,
    "MSET a": None,
    "MSETNX a 1 b 2": None,
    "DEL a b a": None,
    "COPY a b REPLACE": None,
    "RENAME a b": None,
    "LCS a b": None,
    "BITOP AND d a b": None,
    "BITFIELD a GET u8 0": None,
    "BITFIELD a SET u8 0 1": None,
    "PFCOUNT a b": None,
    "PFMERGE d a b": None,
    "PFMERGE d": None,
    "PING a": None,
    "CLIENT ID": None,
    "OBJECT HELP": None,
    "OBJECT ENCODING k": None,
    "MEMORY USAGE k": None,
    "MEMORY STATS": None,
    "NOSUCH a": None,
    "EVAL s 0": None,
    "EVAL s 0 a b": None,
    "EVAL s 2 a b c": None,
    "EVAL s 3 a b": None,
    "EVAL s -1 a": None,
    "EVAL s x a": None,
    "EVALSHA s 9223372036854775807 a": None,
    "FCALL f 1 a b": None,
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2": None,
    "ZUNIONSTORE d 3 a b": None,
    "ZUNION 2 a b WITHSCORES": None,
    "ZUNION 0 a": None,
    "ZINTERCARD 2 a b LIMIT 1": None,
    "SINTERCARD 1 a": None,
    "LMPOP 2 a b LEFT": None,
    "LMPOP 3 a LEFT": None,
    "BLMPOP 0 2 a b LEFT": None,
    "BZMPOP 0 1 a MIN": None,
    "BLPOP a b 0": None,
    "LMOVE a b LEFT RIGHT": None,
    "SMOVE a b m": None,
    "XREAD STREAMS a b 0 0": None,
    "XREAD STREAMS a b 0": None,
    "XREAD COUNT 2 BLOCK 0 STREAMS a 0": None,
    "XREAD COUNT streams STREAMS a b 1 2": "Redis takes the count for the keyword and names no key",
    "XREAD a STREAMS": None,
    "XREADGROUP GROUP g c STREAMS a b > >": None,
    "XREADGROUP GROUP streams c STREAMS a b > >": None,
    "XADD a * f v": None,
    "XGROUP CREATE a g 0": None,
    "XINFO STREAM a": None,
    "SORT a": None,
    "SORT a BY store STORE c": None,
    "SORT a BY x LIMIT store b GET store STORE c": None,
    "SORT a STORE b STORE c": "we lock what any STORE names; Redis names the last, which wins",
    "SORT_RO a BY x": None,
    "GEORADIUS k 1 2 3 m STORE a STOREDIST b": None,
    "GEORADIUS k 1 2 3 m COUNT store STORE b": "Redis takes the count for the keyword, then the last",
    "GEORADIUSBYMEMBER k m 3 m STOREDIST b": None,
    "GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 m": None,
    "MIGRATE h 1 a 0 1": None,
    "MIGRATE h 1 '' 0 1 KEYS a b": None,
    "MIGRATE h 1 '' 0 1 AUTH keys KEYS a b": None,
    "MIGRATE h 1 '' 0 1 AUTH2 keys keys KEYS a b": None,
    "SSUBSCRIBE a b": None,
    "SPUBLISH a b": None,
    "WATCH a b": None,
    "GETEX a EX 5": None,
    "EXPIRE a 1": None,
    "RESTORE a 0 x": None,
}


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def plain(value):
    """Bytes as text, without the notes that Redis gives to some key specs: prose, not contract."""
    if isinstance(value, dict):
        return {text(k): plain(v) for k, v in value.items() if text(k) != "notes"}
    if isinstance(value, set):
        return sorted(map(text, value))
    if isinstance(value, list):
        return [plain(v) for v in value]
    return text(value)


def records(reply):
    """Name -> what COMMAND INFO says, subcommands beside their containers."""
    found = {}
    for info in reply:
        name, arity, flags, first, last, step, categories, tips, specs, subcommands = info
        found[text(name)] = {
            "arity": arity,
            "flags": plain(flags),
            "first_last_step": [first, last, step],
            "categories": plain(categories),
            "tips": plain(tips),
            "key_specs": plain(list(specs)),
        }
        found.update(records(list(subcommands)))
    return found


@pytest.fixture(scope="module")
def both(pulse_session, redis_session):
    with pulse_session.conn(protocol=3) as ours, redis_session.conn(protocol=3) as theirs:
        yield ours, theirs


@pytest.fixture(scope="module")
def known(both):
    ours, theirs = (records(conn.call("COMMAND")) for conn in both)
    assert len(theirs) > 350
    return ours, theirs


def test_every_shared_command_is_described_as_redis_does(known):
    ours, theirs = known
    wrong = []
    for name in sorted(ours.keys() & theirs.keys()):
        for field, expected in theirs[name].items():
            got = ours[name][field]
            if got != expected and (name, field) not in EXCEPTIONS:
                wrong.append(f"{name} {field}: {got}, Redis: {expected}")
    print(f"{len(ours.keys() & theirs.keys())} shared, {len(theirs.keys() - ours.keys())} missing: "
          f"{' '.join(sorted(theirs.keys() - ours.keys()))}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_exception_has_outlived_its_reason(known):
    ours, theirs = known
    idle = [key for key in EXCEPTIONS
            if key[0] in ours and ours[key[0]][key[1]] == theirs[key[0]][key[1]]]
    assert not idle


def test_info_without_and_with_names_says_the_same(both):
    ours, _ = both
    everything = records(ours.call("COMMAND"))
    assert records(ours.call("COMMAND", "INFO")) == everything
    some = ours.call("COMMAND", "INFO", "get", "nosuch", "COMMAND|count", "command|nosuch")
    assert some[1] is None and some[3] is None
    assert some[0][0] == b"get" and some[2][0] == b"command|count"
    assert ours.call("COMMAND", "COUNT") == len([n for n in everything if "|" not in n])
    assert {text(n) for n in ours.call("COMMAND", "LIST")} == set(everything)


def test_lists_are_filtered_as_in_redis(known, both):
    ours, theirs = known
    shared = ours.keys() & theirs.keys()
    for words in (["ACLCAT", "hash"], ["ACLCAT", "Slow"], ["ACLCAT", "nosuch"], ["ACLCAT", "@hash"],
                  ["PATTERN", "x*"], ["PATTERN", "CLIENT|*"], ["PATTERN", "[gh]et"], ["MODULE", "m"]):
        lists = [{text(n) for n in conn.call("COMMAND", "LIST", "FILTERBY", *words)} & shared for conn in both]
        excused = {name for name, field in EXCEPTIONS if field == "categories"}
        assert lists[0] - excused == lists[1] - excused, words
    for words in (["FILTERBY"], ["FILTERBY", "X", "y"], ["nonsense"], ["FILTERBY", "MODULE"]):
        assert both[0].try_call("COMMAND", "LIST", *words) == both[1].try_call("COMMAND", "LIST", *words)


@pytest.mark.parametrize("call", CALLS)
def test_keys_are_those_that_redis_names(call, both, known):
    ours, theirs = both
    words = [b"" if word == "''" else word for word in call.split()]
    name, full = words[0].lower(), "|".join(words[:2]).lower() if len(words) > 1 else ""
    if name != "nosuch" and name not in known[0] or full in known[1] and full not in known[0]:
        pytest.skip(f"{name} is not there")
    for subcommand in "GETKEYS", "GETKEYSANDFLAGS":
        got, expected = (conn.try_call("COMMAND", subcommand, *words) for conn in (ours, theirs))
        if CALLS[call] is None:
            assert plain_reply(got) == plain_reply(expected)
        else:
            assert plain_reply(got) != plain_reply(expected), "no exception any more"


def plain_reply(reply):
    return str(reply) if isinstance(reply, ReplyError) else plain(reply)


def test_docs_have_the_shape_that_redis_cli_reads(both):
    ours, theirs = both
    fields = {"summary", "since", "group", "complexity", "doc_flags", "deprecated_since",
              "replaced_by", "history", "arguments", "subcommands"}
    types = {"key", "string", "integer", "double", "pattern", "unix-time", "pure-token", "oneof", "block"}

    def check_arguments(name, arguments):
        for argument in arguments:
            argument = plain(argument)
            assert argument["type"] in types, name
            assert argument["name"], name
            assert ("arguments" in argument) == (argument["type"] in ("oneof", "block")), name
            if argument["type"] == "pure-token":
                assert "token" in argument, name
            assert set(argument.get("flags", [])) <= {"optional", "multiple", "multiple_token"}
            check_arguments(name, argument.get("arguments", []))

    def check(docs):
        for name, doc in docs.items():
            doc = {text(k): v for k, v in doc.items()}
            assert set(doc) <= fields, name
            assert {"summary", "since", "group"} <= set(doc), name
            check_arguments(name, doc.get("arguments", []))
            check(doc.get("subcommands", {}))

    docs = ours.call("COMMAND", "DOCS")
    check(docs)
    assert ours.call("COMMAND", "DOCS", "nosuch") == {}
    groups = {n: text(d[b"group"]) for n, d in theirs.call("COMMAND", "DOCS").items()}
    wrong = {n: text(d[b"group"]) for n, d in docs.items() if n in groups and text(d[b"group"]) != groups[n]}
    assert not wrong


def test_the_resp2_form_is_flat(pulse):
    (info,) = pulse.call("COMMAND", "INFO", "get")
    assert info[0] == b"get" and info[3:6] == [1, 1, 1]
    assert info[8][0][0] == b"flags"
    name, doc = pulse.call("COMMAND", "DOCS", "get")
    assert name == b"get" and doc[0] == b"summary"
