"""redis-py does the scenarios: /usr/bin/python3 redis_py.py PORT PROTOCOL GROUP, JSON lines."""
import json
import pathlib
import re
import sys
import time

import redis

LIMIT_SECONDS = 20
SCENARIOS = pathlib.Path(__file__).resolve().parent / "scenarios.txt"


def word_of(text):
    text = "" if text == "''" else text
    return re.sub(rb"\\x(..)", lambda hexed: bytes.fromhex(hexed[1].decode()), text.encode())


def show(value):
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        return text if re.fullmatch(r"[^\x00-\x08\x0b-\x1f\ufffd]*", text) else "hex:" + value.hex()
    if isinstance(value, Exception):
        return {"error": str(value), "kind": type(value).__name__}
    if isinstance(value, dict):
        return {str(show(key)): show(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(item) for item in value]
    return value


def wait_for(condition):
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (said := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.002)
    return said


class NoCall(Exception):
    """The library offers nothing for such a step: the scenario ends."""


class Connection:
    def __init__(self, port, **login):
        self.port = port
        self.connect(**login)
        self.pubsub = self.pipe = self.listener = None

    def connect(self, **login):
        self.redis = redis.Redis(port=self.port, single_connection_client=True, **login)

    def command(self, *words):
        return self.redis.execute_command(*words)

    def user(self, name, password):
        self.connect(username=name, password=password)
        return self.redis.ping()

    # Transactions.
    def watch(self, *keys):
        self.pipe = self.redis.pipeline()
        return self.pipe.watch(*keys)

    def begin(self):
        self.pipe = self.pipe or self.redis.pipeline()
        self.pipe.multi()

    def queue(self, name, *args):
        self.pipe.execute_command(name, *args)

    def exec(self):
        try:
            return self.pipe.execute(raise_on_error=False)
        finally:
            self.pipe = None

    def discard(self):
        self.pipe = self.pipe.reset()

    # Publish and subscribe.
    def _subscriber(self):
        self.pubsub = self.pubsub or self.redis.pubsub()
        return self.pubsub

    def _confirmed(self, kind, channels):
        getattr(self._subscriber(), kind)(*channels)
        return [self.next_of([kind]) for _ in channels]

    def next_of(self, kinds):
        message = wait_for(lambda: self._subscriber().get_message(timeout=LIMIT_SECONDS))
        assert message["type"] in kinds, message
        return message

    def subscribe(self, *channels):
        return self._confirmed("subscribe", channels)

    def psubscribe(self, *patterns):
        return self._confirmed("psubscribe", patterns)

    def unsubscribe(self, *channels):
        return self._confirmed("unsubscribe", channels)

    def punsubscribe(self, *patterns):
        return self._confirmed("punsubscribe", patterns)

    def heard(self, count):
        return [self.next_of(["message", "pmessage"]) for _ in range(int(count))]

    def ping(self):
        self.pubsub.ping()
        return self.next_of(["pong"])

    def refused(self, *words):
        self.pubsub.execute_command(*words)
        return self.pubsub.parse_response()

    def flood(self, channel, count):
        pipe = self.redis.pipeline(transaction=False)
        for i in range(int(count)):
            pipe.publish(channel, i)
        return pipe.execute()

    # Tracking.
    def listen(self):
        self.listener = Connection(self.port)
        return self.listener.subscribe("__redis__:invalidate")

    def invalidated(self, count):
        return [message["data"] for message in self.listener.heard(count)]


class Scenario:
    def __init__(self, port):
        self.port, self.connections = port, {}

    def get(self, name):
        if name not in self.connections:
            self.connections[name] = Connection(self.port)
        return self.connections[name]

    def words(self, connection, text):
        for word in text:
            if word == "@track":
                yield from [b"REDIRECT", str(listener_id(connection)).encode()]
            elif word.startswith("@id:"):
                yield str(self.get(word[4:]).redis.client_id()).encode()
            else:
                yield word_of(word)

    def step(self, line):
        name, verb, *rest = line.split(" ")
        connection = self.get(name)
        words = list(self.words(connection, rest))
        try:
            if verb.isupper():
                return show(connection.command(verb, *words))
            if verb == "until":
                wait_for(lambda: str(show(connection.command(*words[1:]))) == rest[0])
                return rest[0]
            if verb == "fails":
                return not isinstance(attempt(connection.command, *words), (bytes, int, bool))
            if not hasattr(connection, verb):
                raise NoCall
            return show(getattr(connection, verb)(*words))
        except (redis.RedisError, TimeoutError) as error:
            return show(error)


def attempt(call, *args):
    try:
        return call(*args)
    except redis.RedisError as error:
        return error


def listener_id(connection):
    """The id of the connection that a subscriber uses, found by its channel."""
    lines = connection.redis.client_list(_type="pubsub")
    return max(int(line["id"]) for line in lines)


def scenarios():
    """(name, steps) in turn; setup first."""
    found = []
    for line in SCENARIOS.read_text().splitlines():
        if line.startswith("== "):
            found.append((line[3:], []))
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return found


def main(port, group):
    (_, setup), *others = scenarios()
    for name, steps in others:
        if not name.startswith(group):
            continue
        scenario = Scenario(port)
        for line in setup:
            scenario.step(line)
        for line in steps:
            try:
                shown = scenario.step(line)
            except NoCall:
                break
            print(json.dumps({"scenario": name, "step": line, "shown": shown}), flush=True)
        for connection in scenario.connections.values():
            for one in (connection.pubsub, connection.listener and connection.listener.pubsub, connection.redis):
                if one:
                    one.close()


main(int(sys.argv[1]), sys.argv[3])
