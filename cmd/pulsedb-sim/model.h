/* model.h: what the database must hold, by brute force: every state that every key ever had.
 *
 * Commands run one after another, so commits have an order: commit 0 is the empty beginning, and what a
 * crash may leave is the state after one of them. A key's line is all its versions, oldest first; a flush,
 * its undoing and a swap of databases are changes of every key that they touch.
 *
 *     commits   0 ─── 1 ─── 2 ─── 3 ─── 4        model_cut(3): commit 4 never was
 *     line a    ·     1           2
 *     line b          ·     x           (gone)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/bytes.h"

enum { DBS = 3, KEYS = 12, NAME_MAX_LEN = 16, VAGUE_MAX = 64 };

enum action_kind {
    GET,
    SET,
    DEL,
    INCR,
    APPEND,
    SETRANGE,
    PEXPIRE,
    PERSIST,
    GETDEL,
    RENAME,
    COPY,
    MOVE,
    FLUSHDB,
    FLUSHALL,
    UNFLUSH,
    SWAPDB,
    SELECT,
    GETAT,
    HIST,
    ACTION_KINDS,
};

/* One command, as a client sends it. */
struct action {
    enum action_kind kind;
    uint32_t db;         /* of the session */
    uint32_t key, other; /* other: RENAME's and COPY's target */
    uint32_t other_db;   /* COPY, MOVE, SWAPDB, SELECT */
    bool replace;        /* COPY */
    int64_t number;      /* SET, PEXPIRE: milliseconds to live, 0: for ever; SETRANGE: offset */
    uint64_t at;         /* GETAT: ns */
    struct bytes text;   /* SET, APPEND, SETRANGE */
};

struct version {
    uint32_t commit; /* it holds since then */
    uint32_t birth;  /* the commit that HIST shows: another one after SWAPDB; 0: none can be told */
    bool exists;
    int64_t expire_ms; /* 0: never */
    char *data;        /* owned; len bytes */
    size_t len;
};

struct line {
    struct version *versions;
    size_t count, cap;
};

/* The flush that UNFLUSH takes back. */
struct flushed {
    uint32_t commit; /* 0: none */
    uint32_t db;     /* where it was made: SWAPDB carries it elsewhere */
    bool keys;       /* it took some */
};

struct commit {
    uint64_t stamp;
    struct flushed flushed[DBS];
    uint64_t barrier[DBS]; /* nothing is known from before: a swap */
};

struct model {
    struct line lines[DBS][KEYS];
    struct commit *commits;
    uint32_t count, cap;
    int64_t now_ms; /* of the command that runs */
    struct span {
        uint64_t from, until; /* ns */
    } vague[VAGUE_MAX];       /* what was then the model is not sure of */
    uint32_t vague_count;
    uint64_t known_from; /* ns: what was before may be unknown (history-persist no) */
    struct commit open;  /* what the one that is being made will be; its index is `count` */
    bool changed;        /* it is being made */
};

const char *key_name(uint32_t key);

void model_init(struct model *model);
void model_deinit(struct model *model);

/* What a command answers. */
struct expected {
    struct buffer *reply; /* RESP2 */
    const char *begins;   /* not NULL: only that the answer begins so can be told */
    bool may_be_unknown;  /* -NOHISTORY will do as well */
    uint32_t shown;       /* the newest commit that the answer lets one see */
};
/* Runs it at model->now_ms; several make one commit (EXEC). Appends to expected->reply. */
void model_run(struct model *model, const struct action *action, struct expected *expected);
/* Ends the commit, whose stamp the database says is `stamp`. Returns NULL, or what cannot be. */
const char *model_commit(struct model *model, uint64_t stamp);
/* Everything after commit `last` is undone. */
void model_cut(struct model *model, uint32_t last);

/* A key's state after commit `commit`; NULL: it did not exist, or its time was over at `now_ms`. */
const struct version *model_state(const struct model *model, uint32_t db, uint32_t key,
                                  uint32_t commit, int64_t now_ms);
/* The same whether it existed or not; NULL: the key was never heard of. */
const struct version *model_last(const struct model *model, uint32_t db, uint32_t key,
                                 uint32_t commit);
/* The state at an instant. */
const struct version *model_past(const struct model *model, uint32_t db, uint32_t key, uint64_t at);
/* From after the last commit until then it is not clear which commits there were. */
void model_blur(struct model *model, uint64_t until);
bool model_is_vague(const struct model *model, uint64_t at);
/* Whether it is clear what UNFLUSH does: the newest flush took something away. */
bool model_can_unflush(const struct model *model);
/* It is not clear until the next flush. */
void model_forget_flushes(struct model *model);
