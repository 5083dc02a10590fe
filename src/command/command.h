/* command.h: what a command is, and where it is written down.
 *
 * A command is written once, beside the function that does it:
 *
 *     COMMAND(incr) = {
 *         .synopsis = "INCR key",
 *         ...
 *         .run = incr,
 *     };
 *
 * That is all. There is no list to add it to: COMMAND puts a pointer to it in a section of the
 * program, and the command table reads that section at start-up. Arity, key positions, COMMAND DOCS,
 * the help of a CLI and ACL categories follow from it. A subcommand is a command whose synopsis
 * begins with two words ("CLIENT ID"); its container ("CLIENT") has CMD_CONTAINER and no `run`, but
 * for COMMAND, which can stand alone: its `run` gets that, and subcommands that there are not.
 */
#pragma once

#include "command/call.h"
#include "command/synopsis.h"

/* The first group are the flags of COMMAND INFO, under Redis' names (README of COMMAND INFO). */
enum command_flag {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_PUBSUB = 1 << 4,
    CMD_NOSCRIPT = 1 << 5,
    CMD_BLOCKING = 1 << 6,
    CMD_LOADING = 1 << 7,
    CMD_STALE = 1 << 8,
    CMD_SKIP_MONITOR = 1 << 9,
    CMD_SKIP_SLOWLOG = 1 << 10,
    CMD_FAST = 1 << 11,
    CMD_NO_AUTH = 1 << 12,
    CMD_MAY_REPLICATE = 1 << 13,
    CMD_NO_MANDATORY_KEYS = 1 << 14,
    CMD_ALLOW_BUSY = 1 << 15,
    CMD_NO_ASYNC_LOADING = 1 << 16,
    CMD_NO_MULTI = 1 << 17,
    CMD_MOVABLEKEYS = 1 << 18, /* COMMAND INFO finds this out itself */

    /* Ours: */
    CMD_PAST = 1 << 20,       /* answers what was, which does not change (GETAT, DIFF) */
    CMD_SUBSCRIBED = 1 << 19, /* runs while its session listens to channels in RESP2 */
    CMD_CONTAINER = 1 << 24,
    CMD_PEEK = 1 << 25,     /* reads one key once, and may do so without its lock */
    CMD_UNLOCKED = 1 << 26, /* takes the locks it needs itself, shard by shard (KEYS, SCAN); inside
                             * MULTI it gets all of them */
    CMD_ALL_SHARDS = 1 << 27, /* needs every shard locked (FLUSHALL) */
    CMD_UNDO = 1 << 28,       /* may fail after it has changed something */
    CMD_NOW = 1 << 29,     /* runs at once even inside MULTI (EXEC, DISCARD, WATCH, QUIT, RESET) */
    CMD_NO_UNDO = 1 << 30, /* what it does cannot be taken back: not for MULTI ROLLBACK */
};

enum key_access { /* what is done to the keys, in the words of COMMAND INFO's key specs */
                  KEY_RO = 1 << 0,
                  KEY_RW = 1 << 1,
                  KEY_OW = 1 << 2,
                  KEY_RM = 1 << 3,
                  KEY_ACCESS = 1 << 4,
                  KEY_UPDATE = 1 << 5,
                  KEY_INSERT = 1 << 6,
                  KEY_DELETE = 1 << 7,
                  KEY_NOT_KEY = 1 << 8,
                  KEY_INCOMPLETE = 1 << 9,
                  KEY_VARIABLE = 1 << 10,
};

enum acl_category { /* beyond those that follow from the flags */
                    ACL_KEYSPACE = 1 << 0,
                    ACL_STRING = 1 << 1,
                    ACL_LIST = 1 << 2,
                    ACL_SET = 1 << 3,
                    ACL_SORTEDSET = 1 << 4,
                    ACL_HASH = 1 << 5,
                    ACL_BITMAP = 1 << 6,
                    ACL_HYPERLOGLOG = 1 << 7,
                    ACL_GEO = 1 << 8,
                    ACL_STREAM = 1 << 9,
                    ACL_PUBSUB = 1 << 10,
                    ACL_CONNECTION = 1 << 11,
                    ACL_TRANSACTION = 1 << 12,
                    ACL_SCRIPTING = 1 << 13,
                    ACL_DANGEROUS = 1 << 14,
                    ACL_ADMIN = 1 << 15,
};

/* Which words of a call are channels, and what is done with them. */
enum command_channels {
    CHANNELS_NONE,
    CHANNELS_PUBLISH,   /* word 1: it is published to */
    CHANNELS_SUBSCRIBE, /* words 1 and after: names */
    CHANNELS_PATTERNS,  /* words 1 and after: patterns of names */
};

enum { KEYS_INLINE_MAX = 8 };

/* Which words of a call are keys, ascending. */
struct key_positions {
    uint32_t count;
    uint32_t *at; /* `few`, or in the arena */
    uint32_t few[KEYS_INLINE_MAX];
};

/* What EXEC finds out before anything runs: whether what its commands rely on is still theirs. */
struct exec_check {
    unsigned holds, lost,
        done; /* found so: it is; it is not; it was used up by this very work before */
    struct bytes
        lost_error; /* of the first that does not hold; what EXEC then answers; in the arena */
    struct bytes done_error; /* of the first that was done */
};

struct command {
    const char *synopsis; /* see synopsis.h */
    const char *summary;  /* one sentence */
    const char *since;    /* Redis' version for Redis' commands, "pulse 1.0" for ours */
    const char *group;    /* COMMAND DOCS group: "string", "generic", "server", "connection", ... */
    const char *complexity; /* in the words of COMMAND DOCS */
    const char *history;    /* "2.6.12: Added EX; 6.0.0: ...", or NULL */
    const char *event;      /* what sinks are told; NULL if it changes nothing */
    unsigned flags;         /* enum command_flag */
    unsigned keys;          /* enum key_access, of every key; 0 without keys */
    unsigned keys_two; /* of the second key spec when that differs (COPY's destination); else 0 */
    unsigned acl;      /* enum acl_category */
    unsigned channels; /* enum command_channels */
    unsigned inner;    /* AT: the word at which another call begins, if there are so many; else 0 */
    int arity;         /* overrides what the synopsis gives (Redis' own exceptions); else 0 */
    enum outcome (*run)(struct call *call);
    /* Overrides the key positions of the synopsis (AT: those of the command inside). false: the
     * words make no sense, `run` will say so. May use the arena. */
    bool (*find_keys)(const struct commands *commands, const struct bytes *args, size_t count,
                      struct arena *arena, struct key_positions *out);
    /* Overrides what COMMAND INFO says of the keys (and only that: which words are keys is the
     * synopsis' or find_keys' to say), in the words of admin/commands_info.h; else NULL. */
    const char *key_specs;
    const char *tips; /* COMMAND INFO's, with spaces between; NULL without */
    const char
        *deprecated; /* "6.2.0: `SET` with ...": since when, and what replaces it; else NULL */
    /* With KEY_VARIABLE: what this call does to its keys (enum key_access); else NULL. */
    unsigned (*access)(const struct bytes *args, size_t count);
    /* Asked of a queued command at EXEC, under the locks of all, before the first one runs; only reads. With
     * anything lost, or done and held together, EXEC answers lost_error and runs nothing; with all that was asked
     * for done, done_error (STREAMS.md 9.1). NULL: nothing to ask. */
    void (*check)(struct call *call, struct exec_check *check);
};

#define COMMAND(name)                                                         \
    static const struct command name##_command;                               \
    static const struct command *const name##_entry                           \
        __attribute__((used, retain, section("commands"))) = &name##_command; \
    static const struct command name##_command

/* A command with what follows from its synopsis; made once, at start-up. */
struct command_info {
    const struct command *command;
    struct bytes name;    /* lower case: "get", "client|id" */
    uint32_t id;          /* 0.. commands_count - 1; index of per-command counters */
    int arity;            /* as COMMAND INFO: n, or -n */
    unsigned parity_from; /* words before a repeated group, and */
    unsigned parity_step; /* its length: (count - from) % step must be 0; step 0: no such rule */
    bool brief;           /* never takes long: may run inside the batch's epoch */
    bool one_key;         /* exactly one key, word 1: the fast path */
    uint32_t flags;       /* command->flags; without CMD_CONTAINER if it runs (COMMAND) */
    struct command_info *parent;
    struct command_info **children; /* of a container, in order of name */
    size_t children_count;
    struct synopsis *synopsis;
};

struct commands;

/* Fills `info` from a command whose name has so many words (1, or 2 for a subcommand), but for its id
 * and its family. For commands_new and tests. NULL, or what is wrong with the synopsis. */
MUST_USE const char *command_info_init(struct command_info *info, const struct command *command,
                                       int words);
void command_info_deinit(struct command_info *info);

/* Reads the section and every synopsis. A synopsis that cannot be read is our mistake: asserts. */
struct commands *commands_new(void);
struct commands *commands_free(struct commands *commands); /* always NULL */
size_t commands_count(const struct commands *commands);    /* containers and subcommands included */
struct command_info *commands_at(const struct commands *commands, size_t i); /* by id */

/* By the first word, any case; NULL if there is none. The hot path: no allocation, one probe. */
struct command_info *commands_find(const struct commands *commands, struct bytes name);
/* By the first word, and by the second if that is a container's. For an unknown subcommand `*container`
 * is the container and NULL is returned. */
struct command_info *commands_resolve(const struct commands *commands, const struct bytes *args,
                                      size_t count, struct command_info **container);
/* Arity alone, which is all that is looked at when MULTI queues; and with what is repeated. */
bool command_count_fits(const struct command_info *info, size_t count);
bool command_arity_fits(const struct command_info *info, size_t count);
/* The keys among `args`, whose count must fit. false: the words do not fit the synopsis (numkeys out
 * of range). A word that may be a key is taken for one: an option given twice names two. */
MUST_USE bool command_keys(const struct commands *commands, const struct command_info *info,
                           const struct bytes *args, size_t count, struct arena *arena,
                           struct key_positions *out);
/* As command_keys, and what is done to each of them: `(*access)[i]`, enum key_access, in the arena. */
MUST_USE bool command_keys_access(const struct commands *commands, const struct command_info *info,
                                  const struct bytes *args, size_t count, struct arena *arena,
                                  struct key_positions *out, unsigned **access);
/* Whether it may have keys at all. */
bool command_has_keys(const struct command_info *info);
