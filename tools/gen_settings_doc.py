#!/usr/bin/python3
"""Writes docs/configuration.md from src/command/settings.def.

    tools/gen_settings_doc.py            writes the page
    tools/gen_settings_doc.py --check    only says whether it is up to date

A setting that does something has a sentence in MEANING; a new one without a sentence is an error. The
rest of what the page says (name, default, values, when it can change) is the row's own."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEF = 'src/command/settings.def'
PAGE = 'docs/configuration.md'
ROW = re.compile(r'^SETTING\((\w+), "([^"]+)", SETTING_(\w+), "([^"]*)", (-?\d+), (-?\d+), (NULL|"[^"]*"), ([\w| ]+)\)$')

MEANING = {
    'port': 'The TCP port. 0: no TCP.',
    'bind': 'Addresses to listen at. One with `-` before it may be missing on this machine. `*`: all.',
    'tcp-backlog': 'How many connections may wait to be accepted.',
    'timeout': 'Closes a client that was silent for so many seconds. 0: never.',
    'tcp-keepalive': 'After so many silent seconds the kernel asks whether the peer is still there. 0: never.',
    'maxclients': 'Connections at once. Lowered at the start if the limit of open files is too low.',
    'unixsocket': 'Path of a Unix socket to listen at, too.',
    'unixsocketperm': 'Its mode, octal.',
    'protected-mode': 'Without a password, refuses every client that is not on this machine.',
    'requirepass': 'The password of the user `default`: what clients have to give. Empty: none. See [acl.md](acl.md).',
    'aclfile': 'The file of users. Empty: they are lines of the configuration file. See [acl.md](acl.md).',
    'acllog-max-len': 'Entries of `ACL LOG`, at most 65536.',
    'acl-pubsub-default': 'Whether a new user has all channels or none.',
    'client-query-buffer-limit': 'Closes a client whose unfinished command is larger.',
    'client-output-buffer-limit': 'Class, hard limit, soft limit, seconds: closes a client that does not '
        'read what it is sent. `pubsub` is for those that are subscribed to something.',
    'proto-max-bulk-len': 'The longest word of a command, and the longest string.',
    'notify-keyspace-events': 'Which changes are published, and how: `K` and `E` with classes. See [pubsub.md](pubsub.md).',
    'threads': 'Event loops. 0: one for each processor that the process may use.',
    'shards': 'Parts of the keyspace, each with a lock. A power of two. A directory keeps the number it was made with.',
    'databases': 'How many `SELECT` can choose from.',
    'lock-free-reads': 'GET and its like do not take the lock of their shard where that works.',
    'tracking-table-max-keys': 'How many keys `CLIENT TRACKING` remembers. Over it one is forgotten, and told as if it had '
        'changed. 0: no limit.',
    'maxmemory': 'Accepted and shown. **Not enforced yet**: nothing is evicted or refused.',
    'history': '`no`: from now on what is replaced is not kept, and a key that changes loses the past it had.',
    'history-memory': 'What the past may take. `10%` is a tenth of the live data, at least 64 MiB; it is the '
        'only percentage taken. 0 means the same.',
    'history-window': 'What is older goes, even where there is room. 0: kept as long as it fits.',
    'history-max-versions': 'How many versions of one key are answered. 0: no limit. It saves no memory.',
    'history-resolution': 'States that lived and died within the same interval of this length are not kept. '
        'Instants are then read at the end of their interval.',
    'history-exclude': 'Patterns of keys that have no past. Looked at when a key is created.',
    'history-persist': 'Snapshots have the past. `no`: they have not, and after a start it begins with the last one. '
        'See [durability.md](durability.md).',
    'snapshot-log-bytes': 'A snapshot is made when the log since the last one has so many bytes. 0: as many as that '
        'one has, at least 512 MiB.',
    'snapshot-rate': 'How many bytes a second a snapshot writes. 0: no limit.',
    'appendonly': 'Everything is logged. `no`: only snapshots are kept. See [durability.md](durability.md).',
    'appendfsync': 'What an answer promises if the power goes. `always`: nothing is lost. `everysec`: at most the last '
        'second. `no`: what the kernel had not written yet.',
    'save': 'Pairs of seconds and changes: a snapshot after so long, if so much was changed; at most 16. The default '
        'counts only with `appendonly no`; what is set, always.',
    'maxmemory-clients': 'What the buffers of all clients may take together; then the largest are closed. A percentage is '
        'of `maxmemory`, or of the memory of the machine. 0: 25 %. See [observability.md](observability.md).',
    'slowlog-log-slower-than': 'SLOWLOG keeps a command that took so many microseconds. 0: every command. -1: none. '
        'See [observability.md](observability.md).',
    'slowlog-max-len': 'How many of them, the newest; a million at most.',
    'latency-monitor-threshold': 'LATENCY keeps what took so many milliseconds. 0: nothing.',
    'latency-tracking': 'INFO has its section `latencystats`. How long commands take is counted in any case.',
    'latency-tracking-info-percentiles': 'Which percentiles that section has; at most 32.',
    'loglevel': 'What is logged.',
    'logfile': 'Where. Empty: standard output. SIGHUP opens it anew.',
    'log-format': 'Lines as Redis writes them, or `key=value`, or JSON.',
    'log-timestamp-format': 'How their times look.',
    'enable-debug-command': 'Who may use DEBUG: nobody, everybody, clients of this machine.',
    'enable-protected-configs': 'Who may change protected settings by CONFIG SET.',
    'enable-module-command': 'Accepted and shown. There are no modules to load.',
    'dir': 'Where the files of the database are. The server goes there when it starts, and makes it if need be. One '
        'server a directory.',
    # Marked as without effect in settings.def, and yet looked at:
    'pidfile': 'A file for the process id, removed at the end. Empty: none. One that cannot be written is a warning.',
    'shutdown-timeout': 'How many seconds clients get to take their last answers; at most 2.',
}

KINDS = {'BOOL': '`yes` or `no`', 'TEXT': 'text', 'WORDS': 'words', 'OCTAL': 'octal, {}', 'INT': '{}',
         'SIZE': 'a size', 'PERCENT_OR_SIZE': 'a size or a percentage', 'DURATION': 'a duration'}

HEAD = """# Settings

<!-- Made by tools/gen_settings_doc.py from src/command/settings.def. Do not edit: run it again. -->

A setting is a line of the configuration file (`name value ...`), an option (`--name value`), or a
variable (`PULSEDB_NAME`, with `_` for `-`). Options win over variables, variables over the file. `CONFIG
SET` changes what the column *at once* says yes to. `CONFIG REWRITE` writes the present values back into
the file.

- **A size** is bytes, or a number with `k`, `kb`, `m`, `mb`, `g`, `gb`: `kb`, `mb` and `gb` count in 1024, `k`,
  `m` and `g` in 1000.
- **A duration** is milliseconds, or a number with `ms`, `s`, `m`, `h`, `d` or `w`: `250`, `20s`, `5m`, `24h`, `7d`.
- **Words** are separated by spaces; one with a space in it stands in quotes.
- Other names of Redis for the same setting (`slave-...`, `...-ziplist-...`) are taken too.
"""


def rows(root):
    for n, line in enumerate((root / DEF).read_text().splitlines(), 1):
        if line.startswith('/* ') and line.endswith('*/') and 'clang-format' not in line:
            yield None, line[3:-2].strip().rstrip('.')
        elif line.startswith('SETTING('):
            match = ROW.match(line)
            if not match:
                raise ValueError(f'{DEF}:{n}: this row cannot be read')
            yield match.groups(), None


def values(kind, low, high, bounds):
    if kind == 'ENUM':
        return ', '.join(f'`{word}`' for word in bounds.strip('"').split('|'))
    huge = int(high) >= 2**31 - 1
    span = f'{low} or more' if huge else f'{low} to {high}'
    if kind == 'OCTAL':
        span = f'{int(low):o} to {int(high):o}'
    return KINDS[kind].format(span)


def page(root=ROOT):
    """The text of docs/configuration.md; ValueError when the rows and MEANING do not agree."""
    sections, idle, names = [], [], set()
    for row, heading in rows(root):
        if heading:
            sections.append((heading, []))
            continue
        _, name, kind, initial, low, high, bounds, flags = row
        names.add(name)
        default = f'`{initial}`' if initial else 'empty'
        if name not in MEANING:
            if 'SETTING_NOOP' not in flags:
                raise ValueError(f'{DEF}: {name} has no sentence in tools/gen_settings_doc.py')
            idle.append(f'`{name}`')
            continue
        at_once = 'no' if 'FIXED' in flags else 'protected' if 'PROTECTED' in flags else 'yes'
        sections[-1][1].append(f'| `{name}` | {default} | {values(kind, low, high, bounds)} | {at_once} | '
                               f'{MEANING[name]} |')
    if set(MEANING) - names:
        raise ValueError(f'tools/gen_settings_doc.py: no such setting: {sorted(set(MEANING) - names)}')

    out = [HEAD]
    for heading, table in sections:
        if table:
            out += [f'## {heading}\n', '| name | default | values | at once | meaning |', '|---|---|---|---|---|',
                    *table, '']
    out += ['## Without effect in this version\n',
            f'These {len(idle)} are taken, kept and shown by `CONFIG GET`, so that an existing redis.conf loads and '
            'tools that\nset them go on. They do nothing. The server names those that were given a value when it '
            'starts.\n', ', '.join(sorted(idle)) + '.\n']
    return '\n'.join(out)


def main():
    text, path = page(), ROOT / PAGE
    if sys.argv[1:] == ['--check']:
        if path.exists() and path.read_text() == text:
            return 0
        print(f'{PAGE} is out of date: run tools/gen_settings_doc.py')
        return 1
    path.write_text(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
