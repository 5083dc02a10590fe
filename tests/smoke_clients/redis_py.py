"""What redis-py (Debian's python3-redis) shows: python3 redis_py.py PORT prints JSON, scenario -> result."""
import hashlib
import json
import re
import select
import sys
import time

import redis

BYTES = bytes([0, 255, 13, 10, 128, 0])
BIG = b"pulse\0\xff" * (10 * 1024 * 1024 // 7)
WRONG = ["NOSUCH a b", "GET", "SET a", "SET a b NONSENSE", "CLIENT NOSUCH", "EXPIRE a x", "SELECT 99", "EXEC", "DISCARD",
         "OBJECT ENCODING", "SET a b EX 0", "GETRANGE a x 1", "SCAN x", "CONFIG SET nosuch 1", "RENAME none x"]


def show(value):
    if isinstance(value, bytes):
        return {"bytes": value.hex() if len(value) <= 64 else hashlib.sha1(value).hexdigest(), "size": len(value)}
    if isinstance(value, Exception):
        return {"error": str(value), "kind": type(value).__name__}
    if isinstance(value, dict):
        return {str(key): show(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return value


def caught(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except redis.RedisError as error:
        return error


class Scenarios:
    def __init__(self, port):
        self.port = port

    def client(self, **kwargs):
        return redis.Redis(port=self.port, **kwargs)

    def handshake(self, r):
        named = self.client(client_name="smoke", db=3)
        me = [line for line in named.client_list() if line["name"] == "smoke"]
        info = r.info()
        return [named.ping(), named.client_getname(), [(line["name"], line["db"], line["cmd"]) for line in me],
                named.client_id() > 0, bool(re.match(r"7\.", info["redis_version"])), info["redis_mode"], info["role"],
                info["loading"], r.echo("x"), r.ping()]

    def set_and_get(self, r):
        return [r.set("k", "v"), r.get("k"), r.get("none"), r.set("k", "w", nx=True), r.set("k", "w", get=True), r.delete("k", "none"),
                r.exists("k"), r.getdel("k"), r["k"] if "k" in r else None, r.setnx("k", 1), r.getset("k", 2), r.strlen("k"), r.type("k")]

    def binary_safe(self, r):
        return [r.set(BYTES, BYTES), r.get(BYTES), r.getrange(BYTES, 1, 2), r.keys("*"), r.set("ü", "ünïcode"),
                self.client(decode_responses=True).get("ü"), r.setrange("ü", 3, b"\0"), r.get("ü")]

    def mset_and_mget(self, r):
        return [r.mset({"a": 1, "b": 2}), r.mget("a", "none", "b"), r.msetnx({"a": 3, "c": 4}), r.mget(["a", "c"])]

    def counters(self, r):
        return [r.incr("n"), r.incrby("n", 41), r.decr("n"), r.incrbyfloat("n", 0.5), r.append("n", "x"), caught(r.incr, "n")]

    def expiry(self, r):
        r.set("k", "v", ex=100)
        left = r.pttl("k")
        seen = [99_000 < left <= 100_000, r.ttl("k"), r.expire("k", 50), r.ttl("k"), r.persist("k"), r.ttl("k"), r.ttl("none"),
                r.expire("none", 1), r.setex("s", 100, "v"), r.psetex("p", 100_000, "v"), r.expire("s", 10, gt=True), r.pexpire("k", 1)]
        time.sleep(0.02)
        return seen + [r.get("k"), r.expiretime("k") if hasattr(r, "expiretime") else r.execute_command("EXPIRETIME", "k")]

    def scan_iteration(self, r):
        r.mset({f"scan:{i}": "x" for i in range(500)})
        return [len(set(r.scan_iter("scan:*", count=50))), sorted(r.scan_iter("scan:49*", _type="string")),
                sorted(r.keys("scan:1?")), r.dbsize(), r.randomkey().startswith(b"scan:")]

    def large_value(self, r):
        return [r.set("big", BIG), r.get("big"), r.strlen("big"), r.getrange("big", -7, -1)]

    def pipeline_of_a_thousand(self, r):
        pipe = r.pipeline(transaction=False)
        for i in range(1000):
            pipe.incr("n") if i % 3 else pipe.set(f"k{i}", f"v{i}")
        return [pipe.execute(), r.get("n"), r.dbsize()]

    def multi_exec(self, r):
        pipe = r.pipeline().set("a", 1).incr("a").get("a").mget("a", "none")
        broken = r.pipeline().set("w", "x").incr("w").get("w")
        refused = r.pipeline().set("q", "x").execute_command("NOSUCH")
        return [pipe.execute(), r.pipeline().execute(), broken.execute(raise_on_error=False), r.get("w"), caught(refused.execute), r.get("q"),
                r.transaction(lambda p: (p.multi(), p.set("t", "1")), "t")]

    def watch_conflict(self, r):
        def attempt(interfere):
            with r.pipeline() as pipe:
                pipe.watch("k")
                before = pipe.get("k")
                if interfere:
                    self.client().set("k", "theirs")
                pipe.multi()
                pipe.set("k", "mine")
                return [before, caught(pipe.execute)]
        return [attempt(True), attempt(False), r.get("k")]

    def errors(self, r):
        return [caught(r.execute_command, *words.split()) for words in WRONG]

    def databases(self, r):
        five, six = self.client(db=5), self.client(db=6)
        return [r.set("k", "zero"), five.get("k"), five.set("k", "five"), five.move("k", 6), six.get("k"), five.get("k"),
                r.info("keyspace").keys() == {"db0", "db6"}, r.flushdb(), r.dbsize(), six.dbsize(), r.swapdb(0, 6), r.get("k")]

    def client_list(self, r):
        second = self.client()
        second.client_setname("second")
        names = sorted(line["name"] for line in r.client_list(_type="normal") if line["name"])
        return [names, set(second.client_info()) >= {"id", "addr", "name", "age", "db", "flags", "multi", "cmd"},
                second.client_no_evict("on"), r.client_kill_filter(_id=second.client_id())]

    def reconnect(self, r):
        one = self.client(db=3, single_connection_client=True)
        one.set("k", "before")
        self.client().client_kill_filter(_id=one.client_id(), skipme=False)
        select.select([one.connection._sock], [], [], 30)  # until the connection has ended
        first = caught(one.get, "k")
        return [first if not isinstance(first, redis.ConnectionError) else "lost", one.get("k"), one.connection.db]

    def locks(self, r):
        """redis-py's Lock is a Lua script: only its acquisition is shown until there are scripts."""
        return [r.lock("lock", timeout=10).acquire(blocking=False), r.lock("lock").acquire(blocking=False), 0 < r.ttl("lock") <= 10]


def main():
    scenarios = Scenarios(int(sys.argv[1]))
    results = {}
    for name, scenario in vars(Scenarios).items():
        if name.startswith("_") or name == "client":
            continue
        client = scenarios.client()
        client.flushall()
        try:
            results[name] = show(scenario(scenarios, client))
        except Exception as error:  # told as the scenario's result, so that the others are still run
            results[name] = {"thrown": repr(error)}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
