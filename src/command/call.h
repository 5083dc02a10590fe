/* call.h: one command being run: what it was given, and what it may do.
 *
 * Everything a command needs comes through here, and a command touches nothing else: no globals, no
 * socket, no clock (call->txn->now_ms), no log. That is what lets the same command serve RESP, HTTP,
 * a script, a function and a test.
 */
#pragma once

#include "base/arena.h"
#include "base/attributes.h"
#include "proto/reply.h"
#include "store/store.h"
#include "store/txn.h"

struct calls;
struct command_info;
struct commands;
struct pulse;
struct session;

enum outcome {
    DONE,      /* answered: commit */
    FAILED,    /* answered with an error: roll back */
    CLOSING,   /* answered (or not: QUIT after POST): commit, send, close the connection */
    POSTPONED, /* dispatch's alone: MULTI keeps it for EXEC, and has said so */
    BLOCKED,   /* not answered: the same words are run again when its turn comes (block.h) */
    HELD,      /* not answered: run again when the session's SESSION_PAUSED is taken away (AUTH) */
};

struct call {
    const struct bytes *args; /* args[0] is the command's name; borrowed from the connection */
    size_t args_count;        /* already agrees with the synopsis */
    const struct command_info *info;
    struct txn *txn;
    struct reply *reply;
    struct session *session;
    struct pulse *pulse;
    struct worker *worker;
    struct arena *arena;     /* freed after the answer */
    const struct key *first; /* args[1] as a key, when it was hashed for the batch; else NULL */
    struct txn *peek;    /* a transaction for reads without a lock, used again and again; or NULL */
    struct calls *calls; /* the worker's, where what has run is counted (observer_ran) */
    bool in_multi;       /* run by EXEC */
    bool refused;        /* FAILED before it was run */
};

/* Errors with Redis' exact words (COMPAT.md 1.6). */
#define ERR_SYNTAX "ERR syntax error"
#define ERR_NOT_INTEGER "ERR value is not an integer or out of range"
#define ERR_NOT_FLOAT "ERR value is not a valid float"
#define ERR_WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NO_SUCH_KEY "ERR no such key"
#define ERR_OUT_OF_RANGE "ERR index out of range"
#define ERR_STRING_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
#define ERR_DB_INDEX "ERR DB index is out of range"
#define ERR_NO_MEMORY "OOM command not allowed when used memory > 'maxmemory'."

/* Answers with an error, for `return fail(call, ERR_SYNTAX)`. */
enum outcome fail(struct call *call, const char *message);
PRINTF(2, 3) enum outcome fail_format(struct call *call, const char *format, ...);
enum outcome fail_arity(struct call *call);      /* wrong number of arguments for '...' command */
enum outcome fail_subcommand(struct call *call); /* unknown subcommand '...'. Try ... HELP. */
/* unknown subcommand or wrong number of arguments for '...': where arity lets too many words through */
enum outcome fail_subcommand_words(struct call *call);

/* Reads argument `i`, or answers what is wrong with it and returns false. */
MUST_USE bool arg_int(struct call *call, size_t i, int64_t *out);
MUST_USE bool arg_int_range(struct call *call, size_t i, int64_t min, int64_t max, int64_t *out);
MUST_USE bool arg_positive(struct call *call, size_t i, int64_t *out); /* 0.. ; "ERR value is out of
                                                                        * range, must be positive" */
/* Whether argument `i` is this word, in any case. */
static inline bool arg_is(const struct call *call, size_t i, struct bytes word) {
    return bytes_equal_nocase(call->args[i], word);
}

/* A cursor over options:
 *     for (struct words w = call_rest(call, 3); words_left(&w);) {
 *         if (words_take(&w, BYTES("NX"))) when = IF_ABSENT;
 *         else return fail(call, ERR_SYNTAX);
 *     }
 */
struct words {
    const struct bytes *args;
    size_t at, count;
};
static inline struct words call_rest(const struct call *call, size_t from) {
    return (struct words){ call->args, from, call->args_count };
}
static inline size_t words_left(const struct words *words) {
    return words->count - words->at;
}
static inline bool words_take(struct words *words, struct bytes word) {
    if (words->at == words->count || !bytes_equal_nocase(words->args[words->at], word))
        return false;
    words->at++;
    return true;
}
/* Takes `word` and the argument after it; `*value` is that argument's index. */
static inline bool words_take_value(struct words *words, struct bytes word, size_t *value) {
    if (words_left(words) < 2 || !bytes_equal_nocase(words->args[words->at], word)) return false;
    *value = words->at + 1;
    words->at += 2;
    return true;
}

/* Argument `i` as a key of the session's database. */
struct key call_key(const struct call *call, size_t i);
struct key call_key_of(const struct call *call, uint32_t db, struct bytes name);

/* Reads a key for a command that reads: counts a hit or a miss. txn_read is the same without. */
MUST_USE bool call_read(struct call *call, const struct key *key, struct value *out);
/* Reads a string. `*found` false: there is none. Returns false, and has answered WRONGTYPE, when the
 * key holds something else. `counted` as call_read, else as txn_read. */
MUST_USE bool call_read_string(struct call *call, const struct key *key, bool counted,
                               struct value *out, bool *found);

enum outcome reply_ok(struct call *call);
enum outcome reply_int(struct call *call, int64_t n);
enum outcome reply_bulk(struct call *call, struct bytes bytes);
enum outcome reply_text(struct call *call, const char *text); /* a bulk string */
enum outcome reply_status(struct call *call, const char *text);
enum outcome reply_null(struct call *call);
/* A string value: an integer as its decimal, a large blob by reference. */
enum outcome reply_value(struct call *call, const struct value *value);
/* Container HELP: an array of statuses, "NAME <subcommand> ..." first, HELP last, as Redis writes it. */
enum outcome reply_help(struct call *call, const char *const *lines, size_t count);

/* Runs a read-only command inside this one as of instant `at` (ns): same reply. What can no longer be
 * known answers NOHISTORY. `args` must stay until the answer is written. */
enum outcome call_nested(struct call *call, uint64_t at, const struct bytes *args, size_t count);
/* "NOHISTORY history of this key starts at <ms>" */
enum outcome fail_pruned(struct call *call, uint64_t oldest);
