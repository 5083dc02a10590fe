#include "command/batch.h"

#include "base/assert.h"
#include "base/mem.h"
#include "command/block.h"
#include "command/dispatch.h"
#include "command/observe.h"

enum { WORDS_MAX = BATCH_MAX * 16, WORDS_LEAST = 64 };

struct gathered {
    struct session *session;
    struct reply *reply;
    const struct bytes *args;
    size_t count;
    const struct command_info *info; /* NULL: unknown */
    void *owner;
    struct key key;
    bool hashed;
};

struct batch {
    struct pulse *pulse;
    struct worker *worker;
    struct calls *calls; /* the worker's */
    uint64_t ticks;      /* when the last command ended, and the next began */
    size_t count, words_used;
    struct gathered slots[BATCH_MAX];
    struct bytes words[WORDS_MAX];
    struct txn peek; /* for all reads without a lock of one batch */
    struct arena arena;
};

struct batch *batch_new(struct pulse *pulse, struct worker *worker) {
    struct batch *batch = mem_new_zero(sizeof *batch);
    batch->pulse = pulse;
    batch->worker = worker;
    batch->calls = calls_join(pulse->observer->board);
    arena_init(&batch->arena);
    return batch;
}

struct batch *batch_free(struct batch *batch) {
    if (!batch) return NULL;
    calls_leave(batch->pulse->observer->board, batch->calls);
    arena_deinit(&batch->arena);
    mem_free(batch, sizeof *batch);
    return NULL;
}

struct bytes *batch_args(struct batch *batch, size_t *cap) {
    *cap = WORDS_MAX - batch->words_used;
    return batch->words + batch->words_used;
}

size_t batch_count(const struct batch *batch) {
    return batch->count;
}

bool batch_full(const struct batch *batch) {
    return batch->count == BATCH_MAX || WORDS_MAX - batch->words_used < WORDS_LEAST;
}

/* The command, by the session's memory of its last one: most clients say the same again and again. */
static const struct command_info *find(struct batch *batch, struct session *session,
                                       const struct bytes *args, size_t count) {
    struct bytes name = args[0];
    if (LIKELY(session->last && name.len == session->last_name.len &&
               bytes_same(name.data, session->last_text, name.len)))
        return session->last;
    struct command_info *container = NULL;
    const struct command_info *info =
        commands_resolve(batch->pulse->commands, args, count, &container);
    if (!info) return container;
    if (!info->parent && !info->children_count && name.len <= sizeof session->last_text) {
        memcpy(session->last_text, name.data, name.len);
        session->last_name = (struct bytes){ session->last_text, name.len };
        session->last = info;
    }
    return info;
}

void batch_add(struct batch *batch, struct session *session, struct reply *reply,
               const struct bytes *args, size_t count, void *owner) {
    struct gathered *slot = &batch->slots[batch->count++];
    slot->session = session;
    slot->reply = reply;
    slot->args = args;
    slot->count = count;
    slot->owner = owner;
    if (args == batch->words + batch->words_used) batch->words_used += count;
    slot->info = find(batch, session, args, count);
    slot->hashed = false;
    if (LIKELY(slot->info && slot->info->one_key && count > 1)) {
        slot->key = store_key(batch->pulse->store, session->db, args[1]);
        slot->hashed = true;
        worker_enter(batch->worker); /* looks at tables that another worker may be replacing */
        store_prefetch_bucket(batch->pulse->store, &slot->key);
    }
}

/* CLIENT PAUSE: whether this command has to wait. */
static bool paused(const struct batch *batch, const struct gathered *slot) {
    struct pulse *pulse = batch->pulse;
    int64_t until = atomic_load_explicit(&pulse->pause_until_ms, memory_order_relaxed);
    if (LIKELY(until == 0) || until <= worker_now_ms(batch->worker)) return false;
    if (slot->info && slot->info->parent && bytes_equal(slot->info->parent->name, BYTES("client")))
        return false; /* so that CLIENT UNPAUSE works */
    if (!atomic_load_explicit(&pulse->pause_writes_only, memory_order_relaxed)) return true;
    return slot->info && (slot->info->flags & (CMD_WRITE | CMD_MAY_REPLICATE) ||
                          bytes_equal(slot->info->name, BYTES("exec")));
}

/* A command that waited. */
static enum outcome run_again(struct call *call) {
    struct session *session = call->session;
    enum outcome outcome;
    if (block_is_refused(session))
        outcome = fail(call, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    else
        outcome = dispatch(call);
    if (outcome != BLOCKED) block_end(session, outcome != FAILED);
    return outcome;
}

/* What SUBSCRIBE and its like say is no answer but a push: CLIENT REPLY OFF does not keep it back. */
static bool is_push(const struct session *session, const struct command_info *info,
                    enum outcome outcome) {
    const uint32_t both = CMD_PUBSUB | CMD_SUBSCRIBED;
    return info && (info->flags & both) == both && outcome == DONE &&
           !session_has(session, SESSION_MULTI); /* that was "QUEUED" */
}

static void note_errors(struct batch *batch, const struct reply *reply, uint64_t n) {
    counter_add(worker_counters(batch->worker), COUNTER_error_replies, n);
    observer_errors(batch->pulse->observer, batch->calls, bytes_of(reply->error_code), n);
}

void batch_note_error(struct batch *batch, const struct reply *reply) {
    note_errors(batch, reply, 1);
}

/* As Redis: a subcommand that there is not is nobody's call. */
static bool is_nobodys(const struct call *call) {
    return !call->info || (call->info->flags & CMD_CONTAINER && call->args_count > 1);
}

/* A command that has not simply done what it says. */
static COLD void note_otherwise(struct batch *batch, const struct call *call, enum outcome outcome,
                                uint64_t errors, uint64_t ticks) {
    uint64_t more = call->reply->errors - errors;
    if (more) note_errors(batch, call->reply, more);
    if (is_nobodys(call) || outcome == POSTPONED) return;
    if (call->refused) {
        calls_reject(batch->calls, call->info->id);
        return;
    }
    if (more) calls_fail(batch->calls, call->info->id);
    observer_ran(batch->pulse->observer, batch->calls, call, ticks);
}

/* What the command took is what has passed since the one before it ended. */
static inline void note(struct batch *batch, const struct call *call, enum outcome outcome,
                        uint64_t errors) {
    uint64_t now = ticks_now(), ticks = now - batch->ticks;
    batch->ticks = now;
    if (LIKELY(outcome == DONE && call->reply->errors == errors))
        observer_ran(batch->pulse->observer, batch->calls, call, ticks);
    else
        note_otherwise(batch, call, outcome, errors, ticks);
}

static enum batch_result run(struct batch *batch, struct gathered *slot) {
    struct session *session = slot->session;
    struct reply *reply = slot->reply;
    const struct command_info *info = slot->info;
    if (UNLIKELY(session_has(session, SESSION_CLOSE_SOON) ||
                 atomic_load_explicit(&session->kill, memory_order_relaxed) ||
                 out_pending(reply->out) > OUTPUT_PAUSE_SIZE ||
                 atomic_load_explicit(&batch->pulse->posts_crowded, memory_order_relaxed)))
        return BATCH_SKIPPED;
    if (UNLIKELY(paused(batch, slot))) {
        session_flag_set(session, SESSION_PAUSED, true);
        return BATCH_SKIPPED;
    }
    struct call call = { .args = slot->args,
                         .args_count = slot->count,
                         .info = info,
                         .reply = reply,
                         .session = session,
                         .pulse = batch->pulse,
                         .worker = batch->worker,
                         .calls = batch->calls,
                         .arena = &batch->arena };
    if (LIKELY(slot->hashed)) {
        slot->key.db = session->db; /* a SELECT may have come between */
        call.first = &slot->key;
    }
    /* Reads without a lock happen inside the epoch. What may take long leaves it, so that it does not
     * hold back the freeing of memory; where the key was seen means nothing after that. */
    if (LIKELY(info && info->brief)) {
        call.peek = &batch->peek;
        worker_enter(batch->worker);
    } else {
        worker_exit(batch->worker);
        slot->key.hint = NULL;
    }

    struct out_mark mark = out_mark(reply->out);
    uint64_t errors = reply->errors;
    enum outcome outcome = UNLIKELY(session->blocked != NULL) ? run_again(&call) : dispatch(&call);
    if (UNLIKELY(outcome == HELD || outcome == BLOCKED)) {
        arena_clear(&batch->arena);
        return outcome == HELD ? BATCH_SKIPPED : BATCH_BLOCKED;
    }
    note(batch, &call, outcome, errors);
    uint64_t seen = worker_take_seen(batch->worker);
    if (UNLIKELY(seen > session->gate)) session->gate = seen;
    session->commands++;
    atomic_store_explicit(&session->running, info, memory_order_relaxed);
    if (UNLIKELY(session->reply_mode != REPLY_ON)) {
        if (session->reply_mode != REPLY_SKIP_NEXT && !is_push(session, info, outcome))
            out_rewind(reply->out, mark);
        if (session->reply_mode == REPLY_SKIP) session->reply_mode = REPLY_ON;
        if (session->reply_mode == REPLY_SKIP_NEXT) session->reply_mode = REPLY_SKIP;
    }
    arena_clear(&batch->arena);
    return LIKELY(outcome != CLOSING) ? BATCH_DONE : BATCH_CLOSE;
}

void batch_run(struct batch *batch, void (*ended)(void *owner, enum batch_result result)) {
    size_t count = batch->count;
    worker_enter(batch->worker);
    txn_begin_unlocked(&batch->peek, batch->worker, &batch->arena, TXN_PEEK);
    for (size_t i = 0; i < count; i++)
        if (LIKELY(batch->slots[i].hashed))
            store_prefetch_entry(batch->pulse->store, &batch->slots[i].key);
    batch->ticks = ticks_now();
    UNINITIALIZED void *stopped[BATCH_MAX]; /* connections whose later commands are not to run */
    size_t stopped_count = 0, done = 0;
    for (size_t i = 0; i < count; i++) {
        struct gathered *slot = &batch->slots[i];
        enum batch_result result = BATCH_DONE;
        for (size_t s = 0; UNLIKELY(s < stopped_count); s++)
            if (stopped[s] == slot->owner) result = BATCH_SKIPPED;
        if (result == BATCH_DONE) {
            result = run(batch, slot);
            done += result != BATCH_SKIPPED;
            if (UNLIKELY(result != BATCH_DONE)) stopped[stopped_count++] = slot->owner;
        }
        ended(slot->owner, result);
    }
    worker_exit(batch->worker);
    counter_add(worker_counters(batch->worker), COUNTER_commands_processed, done);
    counter_add(worker_counters(batch->worker), COUNTER_batches, 1);
    batch->count = batch->words_used = 0;
}

struct one {
    enum batch_result result;
};

static void one_ended(void *owner, enum batch_result result) {
    ((struct one *)owner)->result = result;
}

enum batch_result batch_run_one(struct batch *batch, struct session *session, struct reply *reply,
                                const struct bytes *args, size_t count) {
    assert(batch->count == 0);
    struct one one = { BATCH_DONE };
    batch_add(batch, session, reply, args, count, &one);
    batch_run(batch, one_ended);
    return one.result;
}
