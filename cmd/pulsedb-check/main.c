/* main.c: pulsedb-check: looks at a database's files without changing them. The words of the
 * command line. */
#include <limits.h>
#include <stdio.h>

#include "base/number.h"
#include "check.h"
#include "history/instant.h"

static const char help[] =
    "Usage: pulsedb-check [verify] DIR [--load]\n"
    "       pulsedb-check log DIR [--from INSTANT] [--to INSTANT] [--key PATTERN] [--limit N]\n"
    "       pulsedb-check describe DIR|FILE\n"
    "       pulsedb-check repair DIR --to NEWDIR\n"
    "       pulsedb-check export DIR FILE.rdb [--at INSTANT]\n"
    "       pulsedb-check rdb FILE.rdb\n"
    "\n"
    "Looks at the files of a PulseDB database. Nothing in DIR is ever changed.\n"
    "\n"
    "  verify     is everything whole? Says which file is bad, and where\n"
    "             --load also loads it all into memory, as a start would\n"
    "  log        lists the changes in the log, one a line, in the order of their instants\n"
    "  describe   headers, sections and frames of one file, or of all\n"
    "  repair     makes a new directory of what is whole, and says what is lost\n"
    "  export     writes an RDB file (version 11) that Redis and Valkey can read\n"
    "  rdb        verifies such a file, Redis' own too\n"
    "\n"
    "An INSTANT is Unix milliseconds (or 16 or 19 digits: us, ns), 2026-11-23T05:41:00.5Z, or "
    "-10m: that\n"
    "long ago; export also takes @NAME, a restore point.\n"
    "\n"
    "Exit codes: 0 all is whole; 1 whole, but the log has a torn end that was never acknowledged; "
    "2 damaged;\n"
    "3 cannot be read, or is not ours; 4 a newer version wrote it; 64 wrong usage.\n";

struct command {
    const char *name;
    int (*run)(const struct request *request);
    const char *target; /* what a second word would be; NULL: there is none */
};

static const struct command commands[] = {
    { "verify", check_verify, NULL },       { "log", check_list, NULL },
    { "describe", check_describe, NULL },   { "repair", check_repair, NULL },
    { "export", check_export, "FILE.rdb" }, { "rdb", check_rdb, NULL },
};

static int wrong(const char *what, const char *word) {
    fprintf(stderr, "pulsedb-check: %s%s\nTry pulsedb-check --help\n", what, word);
    return ENDS_USAGE;
}

static bool is(const char *word, const char *name) {
    return strcmp(word, name) == 0;
}

static bool read_instant(struct env *env, const char *word, uint64_t *out) {
    uint64_t now = env_realtime_ns(env);
    if (is(word, "now")) *out = now;
    return is(word, "now") || instant_parse(bytes_of(word), now, out);
}

/* One option and its value, taken off `*words`. OK, or how the program ends. */
static int take_option(const struct command *command, char ***words, struct request *request) {
    const char *name = *(*words)++;
    bool log = command->run == check_list;
    if (is(name, "--load") && command->run == check_verify) {
        request->load = true;
        return OK;
    }
    if (is(name, "--list") && log) return OK;
    bool known =
        log ? is(name, "--from") || is(name, "--to") || is(name, "--key") || is(name, "--limit")
            : (is(name, "--to") && command->run == check_repair) ||
                  (is(name, "--at") && command->run == check_export);
    if (!known) return wrong("no such option here: ", name);
    const char *value = **words;
    if (!value) return wrong("a value is missing after ", name);
    (*words)++;
    int64_t number;
    bool right = true;
    if (is(name, "--from"))
        right = read_instant(request->env, value, &request->from);
    else if (is(name, "--to") && log)
        right = read_instant(request->env, value, &request->to);
    else if (is(name, "--to"))
        request->target = value;
    else if (is(name, "--at"))
        request->at = value;
    else if (is(name, "--key"))
        request->key = bytes_of(value);
    else if ((right = int_parse(bytes_of(value), &number) && number > 0))
        request->limit = (uint64_t)number;
    if (right) return OK;
    return wrong(is(name, "--limit") ? "not a number: " : "not an instant: ", value);
}

static int run(const struct command *command, char **words) {
    struct request request = { .env = env_real(), .to = UINT64_MAX, .limit = UINT64_MAX };
    while (*words) {
        if ((*words)[0] == '-' && (*words)[1]) {
            int ends = take_option(command, &words, &request);
            if (ends != OK) return ends;
        } else if (!request.path) {
            request.path = *words++;
        } else if (command->target && !request.target) {
            request.target = *words++;
        } else {
            return wrong("one word too many: ", *words);
        }
    }
    if (!request.path || !request.path[0])
        return wrong("which one? A directory or a file is missing after ", command->name);
    if (command->target && !request.target) return wrong("missing: ", command->target);
    if (command->run == check_repair && !request.target)
        return wrong("repair never writes into DIR: say where to, with --to NEWDIR", "");
    enum { NAME_ROOM = 128 }; /* longer than any name of ours */
    if (strlen(request.path) + NAME_ROOM > PATH_MAX ||
        (request.target && strlen(request.target) + NAME_ROOM > PATH_MAX))
        return wrong("that name is too long", "");
    return command->run(&request);
}

int main(int argc, char **argv) {
    if (argc < 2) return wrong("which directory?", "");
    const char *word = argv[1];
    if (is(word, "-h") || is(word, "--help") || is(word, "help")) {
        fputs(help, stdout);
        return ENDS_WHOLE;
    }
    if (is(word, "-v") || is(word, "--version")) {
        puts("pulsedb-check " PULSE_VERSION);
        return ENDS_WHOLE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (is(word, commands[i].name)) return run(&commands[i], argv + 2);
    return run(&commands[0], argv + 1);
}
