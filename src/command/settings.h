/* settings.h: every setting, written once (settings.def).
 *
 * A row of settings.def gives a setting's name, kind, default, bounds and whether it can change while
 * the server runs; from it follow the typed field below, redis.conf's grammar, flags (--name value),
 * the environment (PULSEDB_NAME), CONFIG GET, SET and REWRITE. Numbers and choices are atomics that
 * any thread reads plainly; texts and lists are guarded by the settings' lock (settings_text).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/bytes.h"
#include "base/status.h"

struct arena;
struct buffer;
struct env;
struct settings;

enum setting_kind {
    SETTING_BOOL,            /* yes | no */
    SETTING_INT,             /* decimal, within bounds */
    SETTING_SIZE,            /* bytes: 1mb, 100k; within bounds */
    SETTING_PERCENT_OR_SIZE, /* "10%" is -10, else bytes */
    SETTING_ENUM,            /* one of a list of words, separated by '|' in `bounds` */
    SETTING_TEXT,            /* any text */
    SETTING_WORDS,    /* several words: bind, history-exclude, save, client-output-buffer-limit */
    SETTING_OCTAL,    /* unixsocketperm */
    SETTING_DURATION, /* milliseconds: 1500, 20s, 5m, 24h, 7d */
};

/* One atomic field a row, whatever its kind: yes is 1, a word of an enum its index, a percentage
 * negative. TEXT and WORDS have no use of it. Read `atomic_load_explicit(&settings->port, relaxed)`,
 * or setting_int(settings, port). */
struct setting_values {
#define SETTING(field, name, kind, initial, min, max, bounds, flags) _Atomic int64_t field;
#include "command/settings.def"
#undef SETTING
};

enum setting_id {
#define SETTING(field, name, kind, initial, min, max, bounds, flags) SETTING_ID_##field,
#include "command/settings.def"
#undef SETTING
    SETTINGS_COUNT
};

enum setting_flag {
    SETTING_FIXED = 1 << 0, /* CONFIG SET refuses it: "can't set immutable config" */
    SETTING_NOOP =
        1 << 1, /* accepted for Redis' sake, round-trips, does nothing: a warning is logged */
    SETTING_SECRET = 1 << 2,    /* never logged */
    SETTING_PROTECTED = 1 << 3, /* CONFIG SET only with enable-protected-configs */
    SETTING_MULTI_LINE =
        1 << 4, /* several lines add up (save, client-output-buffer-limit, include) */
};

/* One row, for those who describe settings (the manual page). */
struct setting {
    const char *name;
    enum setting_kind kind;
    const char *initial;
    int64_t min, max;
    const char *bounds; /* ENUM: its words */
    unsigned flags;     /* enum setting_flag */
};
const struct setting *setting_row(enum setting_id id);
/* By name or alias ("slave-priority"), any case. false: there is none. */
MUST_USE bool setting_find(struct bytes name, enum setting_id *id);

#define setting_int(settings, field) \
    atomic_load_explicit(&settings_values(settings)->field, memory_order_relaxed)

/* Whether nobody has said what it is to be: file, environment, flags or a client. */
bool settings_is_default(const struct settings *settings, enum setting_id id);
struct settings *settings_new(void); /* all defaults */
struct settings *settings_free(struct settings *settings);
struct setting_values *settings_values(struct settings *settings);
/* TEXT and WORDS as CONFIG GET shows them; copied into the arena. */
struct bytes settings_text(struct settings *settings, enum setting_id id, struct arena *arena);
/* Any kind, as CONFIG GET shows it; copied into the arena. */
struct bytes settings_get(struct settings *settings, enum setting_id id, struct arena *arena);
/* The words of a WORDS setting, unquoted; all in the arena. */
struct bytes *settings_words(struct settings *settings, enum setting_id id, struct arena *arena,
                             size_t *count);

enum output_class { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };
struct output_limit { /* client-output-buffer-limit; 0: none */
    uint64_t hard_size, soft_size, soft_seconds;
};
struct output_limit settings_output_limit(struct settings *settings, enum output_class class);

/* At start-up. Defaults, then the file (argv[1] unless it begins with '-'; "-" alone is standard
 * input), then the environment (PULSEDB_NAME), then flags (--name value ...): what comes later wins.
 * `warn` gets sentences for the log. On anything but OK `why` says what is wrong and where. --help
 * and --version are main's: they do not come here. */
MUST_USE enum status settings_load(struct settings *settings, struct env *env, int argc,
                                   char *const *argv, char *const *environment,
                                   void (*warn)(void *self, const char *text), void *self,
                                   struct problem *why);
/* The text of a configuration file; `path` is for messages. Relative includes count from the working
 * directory, as in Redis. */
MUST_USE enum status settings_read(struct settings *settings, struct env *env, const char *path,
                                   struct bytes text, void (*warn)(void *self, const char *text),
                                   void *self, struct problem *why);
/* The lines that began with `user`, without that word, each ended by '\n'; words are quoted where they need
 * it. Changes only in settings_load and settings_read. */
struct bytes settings_users(const struct settings *settings);
/* The file that was loaded, absolute; NULL without one. Never changes after settings_load. */
const char *settings_file(const struct settings *settings);

/* One setting, without asking anybody (tests, start-up). `value` is in the words of CONFIG SET. */
MUST_USE enum status settings_set(struct settings *settings, enum setting_id id, struct bytes value,
                                  struct problem *why);

/* Who makes a change of `id` happen: called by settings_change with the new values in place, outside
 * the lock of texts. false: it cannot be (`why` says why), and all values go back to what they were.
 * One a setting. Thread: before the server runs. */
void settings_on_change(struct settings *settings, enum setting_id id,
                        bool (*apply)(void *self, enum setting_id id, struct problem *why),
                        void *self);
struct setting_pair {
    struct bytes name, value;
};
/* CONFIG SET: all or nothing. NOT_FOUND: pair `*wrong` names no setting; INVALID: its value or its
 * change was refused, and `why` says why. `local`: the client may change what "local" allows. */
MUST_USE enum status settings_change(struct settings *settings, const struct setting_pair *pairs,
                                     size_t count, bool local, size_t *wrong, struct problem *why);
/* CONFIG GET: visits every setting, aliases too, whose name matches one of the patterns. The value is
 * in the arena. */
void settings_match(struct settings *settings, const struct bytes *patterns, size_t count,
                    struct arena *arena,
                    void (*visit)(void *self, struct bytes name, struct bytes value), void *self);
/* CONFIG REWRITE: the file as it stands, with what differs from it put right and what differs from
 * the defaults added. UNSUPPORTED: there is no file. */
/* Who writes the lines that begin with `user` then. Thread: before the server runs. */
void settings_on_rewrite(struct settings *settings,
                         void (*put_users)(void *self, struct buffer *out), void *self);
MUST_USE enum status settings_rewrite(struct settings *settings, struct env *env,
                                      struct problem *why);
