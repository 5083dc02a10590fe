#!/usr/bin/python3
"""Style as a test: what a reviewer should not have to look for. Run by `meson test --suite tidy`.

    tools/tidy.py [ROOT]

    calls        functions that are not used here, with the word to use instead
    length       of functions and files
    marks        TODO and FIXME without an issue's number
    headers      a header opens by saying what it is, under its name, and somebody includes it
    dead files   every C file is in a meson.build
    documents    every file, link and `file.c:function` that a document or a comment names is there
    generated    what is made from the code is up to date

Who may include whom is tools/check_layers.py. What breaks a rule and may stay, for now, stands in ALLOWED
with its measure. The list may only shrink: an entry that is no longer needed, or is larger than it has to
be, fails."""
import pathlib
import re
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 900
ARCHITECTURE_LINES_MAX = 300
SLACK = {'function': 5, 'file': 25}  # how much an entry of ALLOWED may lie above what it measures

# (rule, where): how much is allowed.
ALLOWED = {
    ('call', 'src/base/glob_test.c:time'): 1,  # the seed of a random test, which is printed
    ('call', 'src/base/number_test.c:time'): 1,
    ('call', 'src/ds/wheel_test.c:time'): 1,
}

BANNED = {
    'strcpy': 'memcpy, with the length', 'strcat': 'buffer_put', 'sprintf': 'snprintf', 'strtok': 'words_split',
    'atoi': 'int_parse', 'rand': 'env_random', 'time': 'env_realtime_ns', 'localtime': 'localtime_r',
    'alloca': 'arena_new', 'printf': 'log_line', 'exit': 'a status that the caller gets',
}
# Where a program speaks or ends for itself.
MAY_CALL = {'printf': ('cmd/', 'src/testing/', 'tests/'), 'exit': ('cmd/', 'tests/clients/')}

# What a test compiles, if its library is there.
COMPILED_BY_TESTS = {'tests/clients/hiredis_driver.c'}

# The pages of the specification, which comments quote and which are not in this repository.
SPECIFICATION = {'SPEC.md', 'DESIGN.md', 'STORE.md', 'TIMETRAVEL.md', 'STYLE.md', 'RELIABILITY.md', 'COMPAT.md',
                 'STREAMS.md', 'FUNCTIONS.md', 'HTTP.md', 'SCALE.md', 'RIVALS.md'}

COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
FUNCTION = re.compile(r'^[A-Za-z_][^;{}=#]*?\b(\w+)\(([^;{}]*)\)\s*\{$', re.M)
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')
MARK = re.compile(r'\b(?:TODO|FIXME)\b(?!\(#\d+\)|:? #\d+)')
C_REFERENCE = re.compile(r'\b((?:[\w-]+/)*[\w-]+\.[ch]):([A-Za-z_]\w*)')
PATH_REFERENCE = re.compile(r'\b(?:src|cmd|tests|tools|scripts|docs|changes|bench)/[\w./-]*\.\w+\b')
PAGE_REFERENCE = re.compile(r'(?<![\w/.-])[\w./-]*\w\.md\b')
LINK = re.compile(r'\[[^\]]*\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)')


def blank(match):
    """Comments and texts become spaces; line ends stay, so that lines keep their numbers."""
    return re.sub(r'[^\n]', ' ', match[0])


class Tidy:
    def __init__(self, root):
        self.root = root
        self.wrong = []
        self.needed = {}  # entries of ALLOWED that were needed, and how much
        skipped = ('build', '.git', 'data', 'node_modules', '.pytest_cache', '__pycache__', '.hypothesis')
        self.files = {}
        for folder in ('src', 'cmd', 'tests', 'tools', 'scripts', 'docs', 'changes', 'bench'):
            for path in sorted((root / folder).rglob('*')):
                if path.suffix in ('.c', '.h', '.def', '.py', '.sh', '.md', '.build') and path.is_file() \
                        and not any(part.startswith(skipped) for part in path.relative_to(root).parts):
                    self.files[path.relative_to(root).as_posix()] = path.read_text(errors='replace')
        for path in sorted([*root.glob('*.md'), root / 'meson.build']):
            self.files[path.name] = path.read_text()
        self.code = {name: COMMENT_OR_TEXT.sub(blank, text) for name, text in self.files.items()
                     if name.endswith(('.c', '.h'))}

    def say(self, where, what):
        self.wrong.append(f'{where}: {what}')

    def measure(self, rule, where, amount, limit, what):
        """Over the limit is wrong, unless ALLOWED has so much."""
        if amount <= limit:
            return
        allowed = ALLOWED.get((rule, where))
        self.needed[rule, where] = amount
        if allowed is None:
            self.say(where, what)
        elif amount > allowed:
            self.say(where, f'{what}, and {allowed} is what tools/tidy.py lets pass')

    # ---- the rules ----

    def calls(self):
        for name, code in self.code.items():
            counts = {}
            for match in CALL.finditer(code):
                word = match[1]
                if not name.startswith(MAY_CALL.get(word, ())):
                    counts.setdefault(word, []).append(code.count('\n', 0, match.start()) + 1)
            for word, lines in counts.items():
                self.measure('call', f'{name}:{word}', len(lines), 0,
                             f'{word}( is not used here (line {lines[0]}): {BANNED[word]}')

    def lengths(self):
        for name, code in self.code.items():
            self.measure('file', name, code.count('\n'), FILE_LINES_MAX,
                         f'{code.count(chr(10))} lines, more than {FILE_LINES_MAX}: there are two files in it')
            for match in FUNCTION.finditer(code):
                end = code.find('\n}', match.end())
                lines = code.count('\n', match.start(), end) + 2 if end >= 0 else 0
                function = match[2].strip() if match[1] in ('TEST', 'FUZZ') else match[1]
                self.measure('function', f'{name}:{function}', lines, FUNCTION_LINES_MAX,
                             f'{lines} lines, more than {FUNCTION_LINES_MAX}')

    def marks(self):
        for name, text in self.files.items():
            if name == 'tools/tidy.py' or name.endswith('.md'):
                continue
            for match in MARK.finditer(text):
                self.say(f'{name}:{text.count(chr(10), 0, match.start()) + 1}', f'{match[0]} without an issue: write "#12"')

    def headers(self):
        included = {pathlib.PurePosixPath(match).name for name, text in self.files.items()
                    if name.endswith(('.c', '.h')) for match in re.findall(r'#\s*include\s*"([^"]+)"', text)}
        for name, text in self.files.items():
            if not name.endswith(('.h', '.def')):
                continue
            base = name.rsplit('/', 1)[-1]
            if not text.startswith(f'/* {base}: '):
                self.say(name, f'does not open with "/* {base}: what it is"')
            if base not in included:
                self.say(name, 'nobody includes it')

    def dead_files(self):
        listed = set()
        for name, text in self.files.items():
            if not name.endswith('meson.build'):
                continue
            folder = pathlib.Path(self.root, name).parent
            for source in re.findall(r"'([^']+\.c)'", text):
                listed.add((folder / source).resolve())
        for name in self.code:
            if name.endswith('.c') and name not in COMPILED_BY_TESTS and (self.root / name).resolve() not in listed:
                self.say(name, 'is in no meson.build')

    def documents(self):
        functions = {}  # base name of a file -> the functions it defines
        for name, code in self.code.items():
            found = functions.setdefault(name.rsplit('/', 1)[-1], set())
            found.update(match[1] for match in FUNCTION.finditer(code))
        for name, text in self.files.items():
            folder = (self.root / name).parent
            document = name.endswith('.md')
            if document:
                for match in LINK.finditer(text):
                    if not (folder / match[1]).exists():
                        self.say(name, f'links to {match[1]}, which is not there')
                for file, function in C_REFERENCE.findall(text):
                    if function not in functions.get(file.rsplit('/', 1)[-1], ()):
                        self.say(name, f'names {file}:{function}, which is not there')
            if name in ('tools/tidy.py',):
                continue
            pages = {match for match in PAGE_REFERENCE.findall(text) if match not in SPECIFICATION}
            for path in sorted(pages | set(PATH_REFERENCE.findall(text))):
                if any((base / path).exists() for base in (self.root, folder, self.root / 'docs')):
                    continue
                if path.startswith(('http', 'tests/npm', 'docs/commands')):
                    continue
                self.measure('reference', f'{name}:{path}', 1, 0, 'is not there')
        lines = self.files.get('ARCHITECTURE.md', '').count('\n')
        if not 0 < lines <= ARCHITECTURE_LINES_MAX:
            self.say('ARCHITECTURE.md', f'{lines} lines: 1 to {ARCHITECTURE_LINES_MAX} can be read')

    def generated(self):
        sys.path.insert(0, str(self.root / 'tools'))
        sys.dont_write_bytecode = True
        import gen_settings_doc
        try:
            if gen_settings_doc.page(self.root) != self.files.get(gen_settings_doc.PAGE):
                self.say(gen_settings_doc.PAGE, 'is out of date: run tools/gen_settings_doc.py')
        except ValueError as wrong:
            self.say('tools/gen_settings_doc.py', str(wrong))

    def allowed(self):
        for (rule, where), allowed in ALLOWED.items():
            needed = self.needed.get((rule, where))
            if needed is None:
                self.say('tools/tidy.py', f'ALLOWED {rule} {where} is no longer needed: take it out')
            elif allowed > needed + SLACK.get(rule, 0):
                self.say('tools/tidy.py', f'ALLOWED {rule} {where}: {allowed} can be {needed} now')

    def run(self):
        for rule in (self.calls, self.lengths, self.marks, self.headers, self.dead_files, self.documents,
                     self.generated, self.allowed):
            rule()
        for line in self.wrong:
            print(line)
        print(f'{len(self.files)} files, {len(self.wrong)} untidy places, {len(ALLOWED)} allowed')
        return 1 if self.wrong else 0


if __name__ == '__main__':
    sys.exit(Tidy(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.').resolve()).run())
