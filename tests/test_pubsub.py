"""Publish/subscribe: answers, messages, counts and refusals as redis-server's, and messages between many loops."""
import random
import threading

import pytest

from resp import Closed, Conn, Push, ReplyError
from waiting import eventually


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def twins(request, pulse_session, redis_session):
    """A function that gives another connection to each of both servers."""
    conns = []
    with pulse_session.conn() as pulse, redis_session.conn() as redis:
        assert eventually(lambda: pulse.call("PUBSUB", "NUMPAT") == 0 == redis.call("PUBSUB", "NUMPAT"))
        pulse.call("FLUSHALL"), redis.call("FLUSHALL")

    def connect(protocol=request.param):
        pair = [Conn(server.port, protocol=protocol) for server in (pulse_session, redis_session)]
        conns.extend(pair)
        return pair

    connect.protocol = request.param
    yield connect
    for conn in conns:
        conn.close()


def same(pair, *words, replies=1):
    """Sends a command to both; what they answer must be the same and is returned."""
    heard = []
    for conn in pair:
        conn.send(*words)
        heard.append([conn.read() for _ in range(replies)])
    assert heard[0] == heard[1], words
    assert [type(reply) for reply in heard[0]] == [type(reply) for reply in heard[1]], words
    return heard[0] if replies > 1 else heard[0][0]


def hear(pair, replies=1):
    heard = [[conn.read() for _ in range(replies)] for conn in pair]
    assert heard[0] == heard[1]
    assert [type(reply) for reply in heard[0]] == [type(reply) for reply in heard[1]]
    return heard[0]


SCRIPT = [
    ("SUBSCRIBE a", 1), ("SUBSCRIBE a b c", 3), ("PSUBSCRIBE a* b? c", 3), ("PSUBSCRIBE a*", 1), ("SSUBSCRIBE s t", 2),
    ("SSUBSCRIBE s", 1), ("PING", 1), ("PING hello", 1), ("UNSUBSCRIBE b nothing b", 3), ("PUNSUBSCRIBE b?", 1),
    ("SUNSUBSCRIBE t t", 2), ("SUBSCRIBE", 1), ("UNSUBSCRIBE a", 1), ("UNSUBSCRIBE", 1), ("UNSUBSCRIBE", 1),
    ("PUNSUBSCRIBE nothing", 1), ("PUNSUBSCRIBE a*", 1), ("PUNSUBSCRIBE", 1), ("PUNSUBSCRIBE", 1), ("SUNSUBSCRIBE", 1),
    ("SUNSUBSCRIBE", 1), ("PING", 1), ("PING hello", 1), ("GET x", 1), ("UNSUBSCRIBE", 1), ("UNSUBSCRIBE a b", 2),
    ("SUNSUBSCRIBE a", 1), ("PSUBSCRIBE", 1), ("SSUBSCRIBE", 1), ("PUBLISH a", 1), ("PUBLISH a b c", 1),
]


def test_answers_and_counts_are_those_of_redis(twins):
    pair = twins()
    for words, replies in SCRIPT:
        same(pair, *words.split(), replies=replies)


def test_messages_reach_names_and_patterns_and_are_counted(twins):
    names, patterns, shards, publisher = twins(), twins(), twins(), twins()
    same(names, "SUBSCRIBE", "news", "", replies=2)
    same(patterns, "PSUBSCRIBE", "n*", "ne?s", "[a-m]*", replies=3)
    same(patterns, "SUBSCRIBE", "news")
    same(shards, "SSUBSCRIBE", "news")
    assert same(publisher, "PUBLISH", "news", "hello") == 4
    assert hear(names) == [[b"message", b"news", b"hello"]]
    messages = [[conn.read() for _ in range(3)] for conn in patterns]
    assert messages[0][0] == messages[1][0] == [b"message", b"news", b"hello"]
    assert sorted(messages[0]) == sorted(messages[1])
    assert same(publisher, "SPUBLISH", "news", "shard") == 1
    assert hear(shards) == [[b"smessage", b"news", b"shard"]]
    assert same(publisher, "PUBLISH", "nobody", "x") == 1
    assert hear(patterns) == [[b"pmessage", b"n*", b"nobody", b"x"]]
    assert same(publisher, "PUBLISH", "", "") == 1
    assert hear(names) == [[b"message", b"", b""]]
    assert same(publisher, "PUBLISH", "other", "x") == 0
    assert same(publisher, "SPUBLISH", "other", "x") == 0


def test_a_message_is_any_bytes_of_any_length(twins):
    subscriber, publisher = twins(), twins()
    channel = bytes(range(256))
    same(subscriber, "SUBSCRIBE", channel)
    same(subscriber, "PSUBSCRIBE", b"\x00*")
    for payload in (b"", b"\r\n+OK\r\n", bytes(range(256)), b"x" * 16300, b"y" * 100_000, b"z" * 3_000_000):
        assert same(publisher, "PUBLISH", channel, payload) == 2
        assert hear(subscriber, 2) == [[b"message", channel, payload], [b"pmessage", b"\x00*", channel, payload]]


REFUSED = ["GET a", "SET a b", "PUBLISH a b", "MULTI", "EXEC", "HELLO", "HELLO 3", "CLIENT ID", "client no-such", "AUTH x",
           "SELECT 1", "WATCH a", "ECHO a", "COMMAND", "CONFIG GET port", "PUBSUB NUMPAT", "SPUBLISH a b", "NOSUCH a",
           "GET", "OBJECT HELP", "PING a b"]


def test_resp2_runs_little_while_it_listens(twins):
    if twins.protocol == 3:
        pytest.skip("RESP3 runs everything")
    pair = twins(protocol=2)
    for kind in ("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"):
        same(pair, kind, "a")
        for words in REFUSED:
            assert isinstance(same(pair, *words.split()), ReplyError)
        same(pair, kind.replace("SUB", "UNSUB"))
        assert same(pair, "ECHO", "free") == b"free"


def test_resp3_runs_everything_while_it_listens(twins):
    if twins.protocol == 2:
        pytest.skip("RESP2 does not")
    pair = twins(protocol=3)
    same(pair, "SUBSCRIBE", "a")
    for words in ("SET k v", "GET k", "PING", "PING x", "MULTI", "SET k w", "PUBLISH no b", "EXEC", "DEL k"):
        same(pair, *words.split())
    assert isinstance(same(pair, "PUBSUB", "CHANNELS"), list)


def test_a_subscriber_of_resp3_hears_itself_after_the_answer(both):
    if not isinstance(both.call("SUBSCRIBE", "a"), Push):
        pytest.skip("RESP2 cannot publish while it listens")
    both.send_raw(b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$4\r\nMGET\r\n$1\r\nx\r\n$1\r\ny\r\n"
                  b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$1\r\n2\r\n")
    heard = [both.read() for _ in range(5)]
    assert [r for r in heard if not isinstance(r, Push)] == [1, [None, None], 1]
    assert [r for r in heard if isinstance(r, Push)] == [[b"message", b"a", b"1"], [b"message", b"a", b"2"]]
    assert heard.index(1) < heard.index([b"message", b"a", b"1"])


def test_in_multi_both_ways(twins):
    pair, publisher = twins(), twins()
    same(pair, "MULTI")
    same(pair, "SUBSCRIBE", "a")
    same(pair, "PSUBSCRIBE", "b*")
    for conn in pair:
        conn.send("EXEC")
    assert pair[0].read() == pair[1].read()
    assert same(publisher, "PUBLISH", "a", "1") == 1
    hear(pair)
    same(publisher, "MULTI")
    same(publisher, "PUBLISH", "a", "2")
    same(publisher, "PUBLISH", "bb", "3")
    same(publisher, "PUBLISH", "none", "4")
    assert same(publisher, "EXEC") == [1, 1, 0]
    assert [reply[-1] for reply in hear(pair, 2)] == [b"2", b"3"]


def test_a_transaction_that_fails_to_begin_says_nothing(pulse, other, pulse_port):
    other.call("SUBSCRIBE", "a")
    pulse.call("MULTI")
    pulse.call("PUBLISH", "a", "lost")
    pulse.try_call("NOSUCH")
    assert pulse.try_call("EXEC").code == "EXECABORT"
    pulse.call("WATCH", "k")
    with Conn(pulse_port) as third:
        third.call("SET", "k", "1")
    pulse.call("MULTI")
    pulse.call("PUBLISH", "a", "lost")
    assert pulse.call("EXEC") is None
    pulse.call("PUBLISH", "a", "heard")
    assert other.read() == [b"message", b"a", b"heard"]


def test_reset_ends_all_subscriptions(twins):
    pair, publisher = twins(), twins()
    same(pair, "SUBSCRIBE", "reset-a")
    same(pair, "PSUBSCRIBE", "reset-*")
    same(pair, "SSUBSCRIBE", "reset-a")
    assert same(pair, "RESET") == "RESET"
    assert same(publisher, "PUBLISH", "reset-a", "x") == 0
    assert same(publisher, "SPUBLISH", "reset-a", "x") == 0
    assert same(pair, "ECHO", "x") == b"x"
    assert same(pair, "UNSUBSCRIBE") == [b"unsubscribe", None, 0]


def test_hello_changes_the_protocol_of_messages(twins):
    pair, publisher = twins(protocol=3), twins(protocol=2)
    same(pair, "SUBSCRIBE", "a")
    for conn in pair:
        conn.call("HELLO", "2")
    same(publisher, "PUBLISH", "a", "x")
    assert not isinstance(hear(pair)[0], Push)
    assert isinstance(same(pair, "GET", "x"), ReplyError)


def test_client_reply_off_keeps_answers_back_but_no_messages(twins):
    pair, publisher = twins(), twins(protocol=2)
    for conn in pair:
        conn.send("CLIENT", "REPLY", "OFF")
        conn.send("ECHO", "unheard")
        conn.send("SUBSCRIBE", "a")
    assert hear(pair) == [[b"subscribe", b"a", 1]]
    assert same(publisher, "PUBLISH", "a", "x") == 1
    assert hear(pair) == [[b"message", b"a", b"x"]]
    for conn in pair:
        conn.send("UNSUBSCRIBE")
    assert hear(pair) == [[b"unsubscribe", b"a", 0]]


def test_pubsub_tells_who_listens(twins):
    first, second, pair = twins(), twins(), twins()
    same(first, "SUBSCRIBE", "pubsub-a", "pubsub-b", replies=2)
    same(second, "SUBSCRIBE", "pubsub-a")
    same(first, "PSUBSCRIBE", "pubsub-*")
    same(second, "PSUBSCRIBE", "pubsub-*", "pubsub-?", replies=2)
    same(first, "SSUBSCRIBE", "pubsub-s")
    for conn in pair:
        assert sorted(conn.call("PUBSUB", "CHANNELS")) == [b"pubsub-a", b"pubsub-b"]
        assert conn.call("PUBSUB", "CHANNELS", "*b") == [b"pubsub-b"]
    for words in ("NUMSUB", "NUMSUB pubsub-a x pubsub-b pubsub-a pubsub-s", "NUMPAT", "SHARDCHANNELS", "SHARDCHANNELS x*",
                  "SHARDNUMSUB pubsub-s pubsub-a", "SHARDNUMSUB", "CHANNELS a b", "NUMPAT a", "NOSUCH", "", "HELP x"):
        same(pair, "PUBSUB", *words.split())
    assert pair[0].call("PUBSUB", "HELP")[0] == pair[1].call("PUBSUB", "HELP")[0]
    for conn in pair:
        stats = conn.call("INFO", "stats").decode()
        for line in ("pubsub_channels:2", "pubsub_patterns:2", "pubsubshard_channels:1"):
            assert line + "\r\n" in stats
    assert b"pubsub_clients:2\r\n" in pair[0].call("INFO", "clients")


def field(line, name):
    return dict(word.partition("=")[::2] for word in line.split())[name]


def test_client_list_shows_and_kills_subscribers(pulse_server):
    server = pulse_server("--threads", "2")
    with server.conn() as one, server.conn(protocol=3) as two, server.conn() as pulse:
        one.call("SUBSCRIBE", "a")
        one.send("PSUBSCRIBE", "a*", "b*")
        assert one.read() and one.read()
        two.call("SSUBSCRIBE", "s")
        lines = pulse.call("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
        shown = sorted([field(line, name) for name in ("flags", "sub", "psub", "ssub")] for line in lines)
        assert shown == [["P", "0", "0", "1"], ["P", "1", "2", "0"]]
        assert pulse.call("CLIENT", "LIST", "TYPE", "normal").count(b"\n") == 1
        assert pulse.call("CLIENT", "KILL", "TYPE", "pubsub") == 2
        for conn in (one, two):
            with pytest.raises(Closed):
                conn.read()
        assert eventually(lambda: pulse.call("PUBSUB", "CHANNELS") == [] and pulse.call("PUBSUB", "NUMPAT") == 0)
        assert pulse.call("PUBLISH", "a", "x") == 0
        assert b"pubsub_clients:0" in pulse.call("INFO", "clients")


def test_a_disconnected_subscriber_is_forgotten(pulse, pulse_port):
    with Conn(pulse_port) as conn:
        conn.call("SUBSCRIBE", "gone")
        assert pulse.call("PUBLISH", "gone", "x") == 1
    assert eventually(lambda: pulse.call("PUBLISH", "gone", "x") == 0)


def test_a_subscriber_that_is_silent_is_not_timed_out(pulse_server):
    server = pulse_server("--timeout", "1")
    with server.conn() as subscriber, server.conn() as idle:
        subscriber.call("SUBSCRIBE", "a")
        with pytest.raises(Closed):
            idle.read()
        with server.conn() as publisher:
            assert publisher.call("PUBLISH", "a", "x") == 1
        assert subscriber.read() == [b"message", b"a", b"x"]


# ---- slow subscribers ----

def closed_for_output(conn):
    stats = conn.call("INFO", "stats").decode()
    return int(stats.split("client_output_buffer_limit_disconnections:")[1].split("\r\n")[0])


@pytest.mark.parametrize("size", [100, 50_000])
def test_a_subscriber_that_does_not_read_is_closed_at_the_hard_limit(pulse_server, size):
    server = pulse_server("--threads", "2", "--client-output-buffer-limit", "pubsub 2mb 0 0")
    with server.conn() as stuck, server.conn() as reader, server.conn() as publisher:
        stuck.call("SUBSCRIBE", "flood")
        reader.call("SUBSCRIBE", "flood")
        sent = 0
        while closed_for_output(publisher) == 0:
            publisher.pipeline(*[("PUBLISH", "flood", "x" * size)] * 20)
            for _ in range(20):
                assert reader.read()[0] == b"message"
            sent += 20 * size
            assert sent < 200_000_000
        assert publisher.call("PUBLISH", "flood", "last") == 1
        assert reader.read() == [b"message", b"flood", b"last"]
        assert b"client-output-buffer-limit allows" in server.log.read_bytes()


def test_a_subscriber_that_does_not_read_is_closed_at_the_soft_limit(pulse_server):
    server = pulse_server("--threads", "2", "--client-output-buffer-limit", "pubsub 0 1mb 1")
    with server.conn() as stuck, server.conn() as publisher:
        stuck.call("SUBSCRIBE", "flood")
        for _ in range(30):
            publisher.call("PUBLISH", "flood", b"x" * 1_000_000)
        assert eventually(lambda: closed_for_output(publisher) == 1)
        assert eventually(lambda: publisher.call("PUBSUB", "NUMSUB", "flood") == [b"flood", 0])


def test_a_flood_past_a_stuck_subscriber_leaves_memory_bounded(pulse_server):
    server = pulse_server("--threads", "4")
    with server.conn() as stuck, server.conn() as publisher, server.conn() as second:
        stuck.call("SUBSCRIBE", "flood")
        call = b"*3\r\n$7\r\nPUBLISH\r\n$5\r\nflood\r\n$10000\r\n" + b"x" * 10_000 + b"\r\n"

        def flood(conn):
            for _ in range(100):
                conn.send_raw(call * 100)
                for _ in range(100):
                    conn.read()

        threads = [threading.Thread(target=flood, args=(conn,)) for conn in (publisher, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert closed_for_output(publisher) == 1
        peak = int(publisher.call("INFO", "memory").decode().split("used_memory_peak:")[1].split("\r\n")[0])
        assert peak < 256 * 1024 * 1024


# ---- many loops ----

def test_each_publisher_is_heard_in_its_order_by_all(pulse_server):
    server = pulse_server("--threads", "4")
    subscribers = [server.conn(protocol=2 + i % 2) for i in range(8)]
    publishers = [server.conn() for _ in range(4)]
    count = 300
    for i, conn in enumerate(subscribers):
        conn.call(*(("SUBSCRIBE", "all") if i % 4 else ("PSUBSCRIBE", "a*")))

    def publish(number):
        for start in range(0, count, 10):
            calls = [("PUBLISH", "all", f"{number}:{n}") for n in range(start, start + 10)]
            assert publishers[number].pipeline(*calls) == [len(subscribers)] * 10

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(len(publishers))]
    for thread in threads:
        thread.start()
    for conn in subscribers:
        heard = {}
        for _ in range(count * len(publishers)):
            number, n = conn.read()[-1].split(b":")
            heard.setdefault(number, []).append(int(n))
        assert all(order == list(range(count)) for order in heard.values())
    for thread in threads:
        thread.join()
    for conn in subscribers + publishers:
        conn.close()


def test_nothing_is_heard_from_before_the_subscription_or_after_its_end(pulse_server):
    server = pulse_server("--threads", "4")
    with server.conn() as always, server.conn(protocol=3) as now_and_then, server.conn() as publisher:
        always.call("SUBSCRIBE", "c")
        for i in range(200):
            publisher.pipeline(*[("PUBLISH", "c", f"before {i}")] * 5)
            now_and_then.send("SUBSCRIBE", "c")
            assert now_and_then.read() == [b"subscribe", b"c", 1]
            assert publisher.call("PUBLISH", "c", f"while {i}") == 2
            now_and_then.send("UNSUBSCRIBE", "c")
            heard = [now_and_then.read(), now_and_then.read()]
            assert heard == [[b"message", b"c", b"while %d" % i], [b"unsubscribe", b"c", 0]]


def test_churn(pulse_server):
    """Subscribing, unsubscribing, disconnecting and being killed while others publish: for the sanitizers."""
    server = pulse_server("--threads", "4", "--notify-keyspace-events", "KEAmn")
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    stop = threading.Event()
    failures = []

    def publish(number):
        chance = random.Random(seed + number)
        with server.conn() as conn:
            while not stop.is_set():
                name = f"c{chance.randrange(8)}"
                conn.pipeline(("PUBLISH", name, "x" * chance.choice((1, 100, 20_000))), ("SPUBLISH", name, "s"),
                              ("SET", name, "v"), ("GET", "missing"), ("PUBSUB", "CHANNELS"), ("PUBSUB", "NUMSUB", name))
                if chance.randrange(20) == 0:
                    conn.call("CLIENT", "KILL", "TYPE", "pubsub")

    def subscribe(number):
        chance = random.Random(seed + 100 + number)
        for _ in range(60):
            try:
                with server.conn(protocol=chance.choice((2, 3))) as conn:
                    for _ in range(chance.randrange(1, 12)):
                        name = f"c{chance.randrange(8)}"
                        conn.send(chance.choice(("SUBSCRIBE", "UNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE")), name)
                        conn.send(chance.choice(("PSUBSCRIBE", "PUNSUBSCRIBE")), chance.choice(("c*", "c[0-3]", "*")))
                        conn.read()
                        if chance.randrange(6) == 0:
                            conn.send(chance.choice(("RESET", "UNSUBSCRIBE", "QUIT")))
            except (Closed, OSError):
                pass  # killed
            except Exception as e:  # noqa: BLE001
                failures.append(e)

    publishers = [threading.Thread(target=publish, args=(i,)) for i in range(2)]
    subscribers = [threading.Thread(target=subscribe, args=(i,)) for i in range(4)]
    for thread in publishers + subscribers:
        thread.start()
    for thread in subscribers:
        thread.join()
    stop.set()
    for thread in publishers:
        thread.join()
    assert not failures, (seed, failures)
    with server.conn() as conn:
        assert eventually(lambda: conn.call("PUBSUB", "CHANNELS") == [] and conn.call("PUBSUB", "SHARDCHANNELS") == []
                          and conn.call("PUBSUB", "NUMPAT") == 0)
        assert b"pubsub_clients:0" in conn.call("INFO", "clients")
    assert server.stop() == 0
