"""A small, exact RESP client: what the server wrote is what the test sees.

    conn = Conn(port)                 RESP2 until HELLO 3 is called
    conn.call("SET", "k", b"v")       -> Status("OK"); an error reply raises ReplyError
    conn.call("GET", "k")             -> b"v", or None
    conn.try_call("NOSUCH")           -> the ReplyError itself, not raised
    conn.pipeline(("PING",), ("TIME",)) -> list of replies, errors as values
    conn.send_raw(b"*1\\r\\n..."); conn.read()

Types stay distinguishable: Status (a str), bytes for bulk strings, Verbatim (bytes with .format),
int, float, bool, Big (an int from RESP3's "("), None, list, Push (a list), dict for maps, set for
sets of plain values (Set, a list, when an element cannot be hashed), ReplyError. RESP2's null array
and null bulk are both None: `read_header` tells them apart. Map keys that are bytes stay bytes.
"""
import socket


class Status(str):
    """A simple string: +OK."""


class ReplyError(Exception):
    """An error reply, with its code: str(e) is "ERR no such key". Comparable, so lists of replies are."""

    def __eq__(self, other):
        return isinstance(other, ReplyError) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Push(list):
    """A RESP3 push, e.g. a message of pub/sub."""


class Set(list):
    """A RESP3 set with elements that Python cannot put into one, in the order received."""


class Verbatim(bytes):
    """A RESP3 verbatim string; `format` is "txt" or "mkd"."""
    format = "txt"


class Big(int):
    """A RESP3 big number."""


class ProtocolError(Exception):
    """What came is not RESP."""


class Closed(ConnectionError):
    """The server has closed the connection."""


def encode_word(word):
    if isinstance(word, (bytes, bytearray)):
        return bytes(word)
    if isinstance(word, float):
        return repr(word).encode()
    return str(word).encode("utf-8", "surrogateescape")


def encode(*args):
    """One command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for word in map(encode_word, args):
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Conn:
    """One connection. Not for two threads at once."""

    def __init__(self, port=None, host="127.0.0.1", path=None, timeout=10.0, protocol=2):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.at = 0
        if protocol == 3:
            self.call("HELLO", 3)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # Sending
    def send(self, *args):
        self.socket.sendall(encode(*args))

    def send_raw(self, data):
        self.socket.sendall(data)

    # Receiving
    def _fill(self):
        if self.at > 1 << 20:
            del self.buffer[:self.at]
            self.at = 0
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError as e:
            raise Closed("connection reset") from e
        if not data:
            raise Closed("connection closed by the server")
        self.buffer += data

    def _line(self):
        while (end := self.buffer.find(b"\r\n", self.at)) < 0:
            self._fill()
        line = bytes(self.buffer[self.at:end])
        self.at = end + 2
        return line

    def _take(self, size):
        while len(self.buffer) - self.at < size + 2:
            self._fill()
        data = bytes(self.buffer[self.at:self.at + size])
        if self.buffer[self.at + size:self.at + size + 2] != b"\r\n":
            raise ProtocolError("a bulk string without its CRLF")
        self.at += size + 2
        return data

    def read_header(self):
        """The next line as it came, e.g. b"$-1" or b"*-1"."""
        return self._line()

    def read(self):
        """The next reply; an error is returned, not raised (nested ones too)."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest.decode("utf-8", "surrogateescape"))
        if kind == b"-":
            return ReplyError(rest.decode("utf-8", "surrogateescape"))
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b"#":
            return {b"t": True, b"f": False}[rest]
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return Big(rest)
        if kind not in b"$!=*~>%|":
            raise ProtocolError(f"not a reply: {line!r}")
        count = int(rest)
        if count < 0:
            return None
        if kind == b"$":
            return self._take(count)
        if kind == b"!":
            return ReplyError(self._take(count).decode("utf-8", "surrogateescape"))
        if kind == b"=":
            data = self._take(count)
            text = Verbatim(data[4:])
            text.format = data[:3].decode()
            return text
        if kind in b"%|":
            pairs = [(self.read(), self.read()) for _ in range(count)]
            return self.read() if kind == b"|" else dict(pairs)
        items = [self.read() for _ in range(count)]
        if kind == b">":
            return Push(items)
        if kind == b"~":
            try:
                return set(items)
            except TypeError:
                return Set(items)
        return items

    def try_call(self, *args):
        """Sends one command and returns its reply, an error too."""
        self.send(*args)
        return self.read()

    def call(self, *args):
        """Sends one command and returns its reply; raises ReplyError."""
        reply = self.try_call(*args)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self, *commands):
        """Sends all commands at once, then reads as many replies; errors are values."""
        self.socket.sendall(b"".join(encode(*command) for command in commands))
        return [self.read() for _ in commands]

    def quiet(self, seconds=0.1):
        """Whether nothing arrives for so long (and nothing waits)."""
        if self.at < len(self.buffer):
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self._fill()
            return False
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(before)

    def closed(self, seconds=30.0):
        """Whether the server closes the connection within so long; what still comes is dropped."""
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            while True:
                self._fill()
        except Closed:
            return True
        except socket.timeout:
            return False
        finally:
            self.socket.settimeout(before)
