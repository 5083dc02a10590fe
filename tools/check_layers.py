#!/usr/bin/python3
"""Who may include whom. A folder may include its own files and those of the folders below it.

The table is the architecture; ARCHITECTURE.md draws it. A row names a folder and what it may
reach; nothing else may be included. Run by `meson test --suite tidy`."""
import pathlib, re, sys

STORE = ['base', 'ds', 'metrics', 'store']
COMMAND = ['base', 'ds', 'proto', 'metrics', 'store', 'log', 'command']  # layers 0 to 4
FEATURES = ['types', 'keys', 'history', 'streams', 'pubsub', 'wasm', 'script', 'admin', 'replica']
OUTSIDE = ['server', 'http']

MAY = {
    'base':    [],
    'ds':      ['base'],
    'proto':   ['base'],
    'metrics': ['base'],
    'store':   ['base', 'ds', 'metrics'],
    'log':     STORE,
    'command': STORE + ['proto'],
    **{folder: COMMAND for folder in FEATURES + OUTSIDE},
    'testing': [],
}
EVERYTHING = COMMAND + FEATURES + OUTSIDE + ['testing']

def may_include(path):
    """The folders that the file at `path` (below src/ or cmd/) may include."""
    if path.parts[0] == 'cmd' or path.stem.endswith(('_test', '_fuzz')):
        return EVERYTHING
    layer = path.parts[1]
    return MAY[layer] + [layer] if layer in MAY else None

def main(root):
    root = pathlib.Path(root)
    files = sorted([*root.glob('src/**/*.[ch]'), *root.glob('src/**/*.def'), *root.glob('cmd/**/*.[ch]')])
    wrong = 0
    for path in files:
        name = path.relative_to(root)
        may = may_include(name)
        if may is None:
            print(f'{name}: {name.parts[1]}/ has no row in tools/check_layers.py')
            wrong += 1
            continue
        for n, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not m or '/' not in m[1] and name.parts[0] == 'cmd':  # a program's own header
                continue
            if m[1].split('/')[0] not in may:
                print(f'{name}:{n}: {name.parts[1]}/ may not include {m[1]}')
                wrong += 1
    print(f'{len(files)} files, {wrong} includes out of place')
    return 1 if wrong else 0

if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
