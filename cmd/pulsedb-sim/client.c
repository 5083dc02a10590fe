/* client.c: clients that send commands at random, a few at once, and believe what they are told.
 *
 * An answer is compared with the model's when the command has run; what it acknowledges, and what it shows,
 * is promised when it leaves: when persist_acked has passed its gate. */
#include <inttypes.h>
#include <stdio.h>

#include "base/env.h"
#include "base/mem.h"
#include "sim.h"
#include "store/store.h"

enum { WORDS = 6, REPLY_MAX = 64 * 1024 * 1024 };
enum { SECOND_NS = 1'200'000'000 }; /* what "everysec" may lose, with some room */

/* One command of a round. */
struct sent {
    struct client *client;
    enum { ALONE, OPENS, QUEUED, RUNS } part; /* of MULTI; RUNS: what was QUEUED right before it */
    struct action action;
    const char *refusal; /* why writes are refused now */
    struct bytes words[WORDS];
    size_t count;
};

/* ---- connections ---- */

static void connect(struct sim *sim, struct client *client, uint32_t number) {
    *client = (struct client){ .sim = sim, .number = number };
    char address[32];
    snprintf(address, sizeof address, "10.0.0.%u:1", number);
    out_init(&client->out);
    client->reply = (struct reply){ .writer = &resp2_writer, .out = &client->out };
    session_init(&client->session, &sim->process.pulse, address, "10.0.0.99:6380", -1, NULL);
}

static void leave(struct sim *sim, struct client *client) {
    session_deinit(&client->session, &sim->process.pulse);
    out_deinit(&client->out);
}

void clients_connect(struct sim *sim) {
    for (uint32_t i = 0; i < CLIENTS; i++) connect(sim, &sim->clients[i], i);
    connect(sim, &sim->nobody, CLIENTS);
}

void clients_leave(struct sim *sim) {
    for (uint32_t i = 0; i < CLIENTS; i++) leave(sim, &sim->clients[i]);
    leave(sim, &sim->nobody);
}

/* ---- what they send ---- */

static struct bytes number_word(struct sim *sim, int64_t n) {
    return arena_format(&sim->arena, "%" PRId64, n);
}

/* A text that was never written before; now and then a long one, now and then a number. */
static struct bytes new_text(struct sim *sim, const struct client *client) {
    if (one_in(sim, 4)) return number_word(sim, (int64_t)below(sim, 1'000'000));
    struct bytes text = arena_format(&sim->arena, "c%u-%" PRIu64 "-", client->number, ++sim->words);
    size_t len = text.len + below(sim, 10);
    if (one_in(sim, 10)) len += below(sim, 600);
    if (one_in(sim, 60)) len += below(sim, 30'000);
    char *data = arena_new(&sim->arena, len);
    memset(data, 'a' + (int)below(sim, 26), len);
    memcpy(data, text.data, text.len);
    return (struct bytes){ data, len };
}

static uint64_t random_instant(struct sim *sim) {
    const struct model *model = &sim->model;
    uint32_t commit = (uint32_t)below(sim, model->count);
    uint64_t last = model->commits[model->count - 1].stamp, at = model->commits[commit].stamp;
    if (one_in(sim, 3) && at > 0) at--;
    if (one_in(sim, 3) && at > 0) at += below(sim, 5'000'000);
    return at < last ? at : last;
}

static enum action_kind random_kind(struct sim *sim) {
    static const unsigned weights[ACTION_KINDS] = {
        [GET] = 30,     [SET] = 40,    [DEL] = 8,     [INCR] = 12,    [APPEND] = 10,
        [SETRANGE] = 8, [PEXPIRE] = 8, [PERSIST] = 3, [GETDEL] = 4,   [RENAME] = 6,
        [COPY] = 6,     [MOVE] = 4,    [FLUSHDB] = 1, [UNFLUSH] = 1,  [SWAPDB] = 1,
        [SELECT] = 4,   [GETAT] = 12,  [HIST] = 6,    [FLUSHALL] = 0,
    };
    unsigned sum = 0;
    for (unsigned kind = 0; kind < ACTION_KINDS; kind++) sum += weights[kind];
    uint64_t n = below(sim, sum);
    unsigned kind = 0;
    for (; n >= weights[kind]; kind++) n -= weights[kind];
    return (enum action_kind)kind;
}

static uint32_t random_key(struct sim *sim, const struct client *client) {
    return one_in(sim, 3) && client->number < 4 ? client->number : (uint32_t)below(sim, KEYS);
}

static void random_action(struct sim *sim, const struct client *client, struct action *a) {
    *a = (struct action){ .kind = random_kind(sim),
                          .db = client->db,
                          .key = random_key(sim, client),
                          .other = random_key(sim, client),
                          .other_db = (uint32_t)below(sim, DBS) };
    switch (a->kind) {
    case SET:
        a->text = new_text(sim, client);
        if (one_in(sim, 5)) a->number = 1 + (int64_t)below(sim, 3'000);
        break;
    case APPEND: a->text = new_text(sim, client); break;
    case SETRANGE:
        a->text = new_text(sim, client);
        a->number = (int64_t)below(sim, one_in(sim, 20) ? 20'000 : 30);
        break;
    case PEXPIRE: a->number = 1 + (int64_t)below(sim, 5'000); break;
    case COPY: a->replace = one_in(sim, 2); break;
    case MOVE:
        if (a->other_db == a->db) a->other_db = (a->db + 1) % DBS;
        break;
    case GETAT: a->at = random_instant(sim); break;
    case FLUSHDB:
        if (one_in(sim, 3)) a->kind = FLUSHALL;
        break;
    case GET:
    case DEL:
    case INCR:
    case PERSIST:
    case GETDEL:
    case RENAME:
    case FLUSHALL:
    case UNFLUSH:
    case SWAPDB:
    case SELECT:
    case HIST:
    case ACTION_KINDS: break;
    }
}

static bool of_a_whole_database(enum action_kind kind) {
    return kind == FLUSHDB || kind == FLUSHALL || kind == UNFLUSH || kind == SWAPDB;
}

static bool fits_multi(enum action_kind kind) {
    return !of_a_whole_database(kind) && kind != SELECT && kind != GETAT && kind != HIST;
}

static bool writes(enum action_kind kind) {
    return kind != GET && kind != SELECT && kind != GETAT && kind != HIST;
}

/* The words after the name: k key, o other key, d other database, c this database, n number, t text, a
 * instant, r REPLACE if so, x PX and a number if there is one; in capitals: DB and 1. */
static const struct form {
    const char *name, *words;
} forms[ACTION_KINDS] = {
    [GET] = { "GET", "k" },          [SET] = { "SET", "ktx" },
    [DEL] = { "DEL", "k" },          [INCR] = { "INCR", "k" },
    [APPEND] = { "APPEND", "kt" },   [SETRANGE] = { "SETRANGE", "knt" },
    [PEXPIRE] = { "PEXPIRE", "kn" }, [PERSIST] = { "PERSIST", "k" },
    [GETDEL] = { "GETDEL", "k" },    [RENAME] = { "RENAME", "ko" },
    [COPY] = { "COPY", "koDdr" },    [MOVE] = { "MOVE", "kd" },
    [FLUSHDB] = { "FLUSHDB", "" },   [FLUSHALL] = { "FLUSHALL", "" },
    [UNFLUSH] = { "UNFLUSH", "" },   [SWAPDB] = { "SWAPDB", "cd" },
    [SELECT] = { "SELECT", "d" },    [GETAT] = { "GETAT", "ka" },
    [HIST] = { "HIST", "k1" },
};

static void put_word(struct sent *sent, struct bytes word) {
    sent->words[sent->count++] = word;
}

static void spell(struct sim *sim, struct sent *sent) {
    const struct action *a = &sent->action;
    const struct form *form = &forms[a->kind];
    put_word(sent, bytes_of(form->name));
    for (const char *word = form->words; *word; word++) {
        switch (*word) {
        case 'k': put_word(sent, bytes_of(key_name(a->key))); break;
        case 'o': put_word(sent, bytes_of(key_name(a->other))); break;
        case 'c': put_word(sent, number_word(sim, a->db)); break;
        case 'd': put_word(sent, number_word(sim, a->other_db)); break;
        case 'n': put_word(sent, number_word(sim, a->number)); break;
        case 't': put_word(sent, a->text); break;
        case 'a': put_word(sent, arena_format(&sim->arena, "%019" PRIu64, a->at)); break;
        case 'D': put_word(sent, BYTES("DB")); break;
        case '1': put_word(sent, BYTES("1")); break;
        case 'r':
            if (a->replace) put_word(sent, BYTES("REPLACE"));
            break;
        default: /* x */
            if (!a->number) break;
            put_word(sent, BYTES("PX"));
            put_word(sent, number_word(sim, a->number));
        }
    }
}

static void say(struct sim *sim, const struct sent *sent, struct bytes reply) {
    char line[TRACE_TEXT];
    size_t at =
        (size_t)snprintf(line, sizeof line, "c%u db%u", sent->client->number, sent->action.db);
    for (size_t i = 0; i < sent->count && at < sizeof line - 1; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, " %.*s%s",
                               (int)(sent->words[i].len < 24 ? sent->words[i].len : 24),
                               sent->words[i].data, sent->words[i].len > 24 ? "..." : "");
    int shown = reply.len > 2 ? (int)(reply.len < 40 ? reply.len - 2 : 38) : 0;
    trace(sim, "%s -> %.*s", line, shown, reply.data);
}

/* ---- what they are answered ---- */

/* Moves what waits in `client->out` into the arena. */
static struct bytes take_reply(struct client *client) {
    struct arena *arena = &client->sim->arena;
    size_t len = out_pending(&client->out), at = 0;
    char *data = arena_new(arena, len + 1);
    while (at < len) {
        struct iovec vectors[16];
        size_t count = out_vectors(&client->out, vectors, 16), sent = 0;
        for (size_t i = 0; i < count; i++) {
            memcpy(data + at + sent, vectors[i].iov_base, vectors[i].iov_len);
            sent += vectors[i].iov_len;
        }
        out_sent(&client->out, sent, 0);
        at += sent;
    }
    data[len] = '\0';
    return (struct bytes){ data, len };
}

static bool begins(struct bytes reply, const char *with) {
    size_t len = strlen(with);
    return reply.len >= len && memcmp(reply.data, with, len) == 0;
}

static void compare(struct sim *sim, struct bytes reply, const struct expected *expected) {
    struct bytes wanted = buffer_bytes(expected->reply);
    if (expected->begins ? begins(reply, expected->begins) : bytes_equal(reply, wanted)) return;
    if (expected->may_be_unknown && begins(reply, "-NOHISTORY")) return;
    if (expected->begins) wanted = bytes_of(expected->begins);
    sim_fail(sim, "a wrong answer\n  expected: %.*s\n  answered: %.*s",
             (int)(wanted.len < 400 ? wanted.len : 400), wanted.data,
             (int)(reply.len < 400 ? reply.len : 400), reply.data);
}

/* What the commands of this answer do to the model, whose answer is compared. Returns the newest commit that
 * it shows. */
static uint32_t apply(struct sim *sim, const struct sent *sent, struct bytes reply) {
    struct buffer text;
    buffer_init(&text, REPLY_MAX);
    struct expected expected = { .reply = &text };
    if (sent->part == OPENS) {
        buffer_put(&text, BYTES("+OK\r\n"));
    } else if (sent->part == QUEUED) {
        buffer_put(&text, BYTES("+QUEUED\r\n"));
    } else if (sent->part == RUNS) {
        const struct sent *first = sent;
        while (first[-1].part == QUEUED) first--;
        buffer_format(&text, "*%zu\r\n", (size_t)(sent - first));
        for (; first < sent; first++) model_run(&sim->model, &first->action, &expected);
    } else {
        model_run(&sim->model, &sent->action, &expected);
    }
    compare(sim, reply, &expected);
    buffer_deinit(&text);
    return expected.shown;
}

static void wait(struct client *client, uint64_t seen, uint32_t made, uint32_t shown) {
    if (seen > client->gate) client->gate = seen;
    client->waiting[client->waiting_count++] =
        (struct waiting){ .gate = client->gate, .made = made, .shown = shown };
}

/* While writes are refused they are, all of them. */
static bool refused(struct sim *sim, const struct sent *sent, struct bytes reply) {
    if (!sent->refusal) return false;
    bool aborted = sent->part == RUNS && begins(reply, "-EXECABORT");
    if (begins(reply, "-MISCONF") || aborted) {
        sim->tally.refusals++;
        return true;
    }
    if ((sent->part == ALONE || sent->part == QUEUED) && writes(sent->action.kind))
        sim_fail(sim, "a write was taken though writes are refused: %s", sent->refusal);
    return false;
}

static void ended(void *owner, enum batch_result result) {
    const struct sent *sent = owner;
    struct client *client = sent->client;
    struct sim *sim = client->sim;
    uint64_t seen = client->session.gate;
    client->session.gate = 0; /* of the next command alone; client->gate is that of all */
    struct bytes reply = take_reply(client);
    say(sim, sent, reply);
    digest(sim, reply);
    sim->tally.commands++;
    if (result != BATCH_DONE) sim_fail(sim, "a command was not run");
    if (refused(sim, sent, reply)) {
        wait(client, seen, 0, 0);
        return;
    }
    uint32_t shown = apply(sim, sent, reply), made = sim->model.count;
    const char *wrong = model_commit(&sim->model, seen);
    if (wrong) sim_fail(sim, "%s (%" PRIu64 ")", wrong, seen);
    if (sim->model.count == made) made = 0;
    sim->tally.commits += made > 0;
    if (shown >= sim->model.count) shown = sim->model.count - 1;
    wait(client, seen, made, shown);
    if (sent->part == ALONE && sent->action.kind == SELECT) client->db = sent->action.other_db;
}

/* ---- rounds ---- */

static struct sent *put(struct sent *round, size_t *count, struct client *client, int part) {
    struct sent *sent = &round[(*count)++];
    *sent = (struct sent){ .client = client,
                           .refusal = persist_refusal(client->sim->process.pulse.persist) };
    sent->part = (typeof(sent->part))part;
    sent->action.db = client->db;
    return sent;
}

static void put_multi(struct sim *sim, struct sent *round, size_t *count, struct client *client) {
    put_word(put(round, count, client, OPENS), BYTES("MULTI"));
    for (uint64_t n = 1 + below(sim, 4); n > 0; n--) {
        struct sent *sent = put(round, count, client, QUEUED);
        do random_action(sim, client, &sent->action);
        while (!fits_multi(sent->action.kind));
        spell(sim, sent);
    }
    put_word(put(round, count, client, RUNS), BYTES("EXEC"));
}

/* What a whole database does is alone in its round: what it will find can then be told. */
static bool put_alone(struct sim *sim, struct sent *round, size_t *count, struct client *client) {
    struct sent *sent = put(round, count, client, ALONE);
    random_action(sim, client, &sent->action);
    bool alone = of_a_whole_database(sent->action.kind) || sent->action.kind == SELECT;
    if (alone && *count > 1) {
        --*count;
        return false;
    }
    if (sent->action.kind == UNFLUSH && !model_can_unflush(&sim->model)) sent->action.kind = GET;
    spell(sim, sent);
    return !alone;
}

void clients_round(struct sim *sim) {
    struct sent round[BATCH_MAX];
    size_t count = 0;
    for (bool more = true; more && count + 7 < BATCH_MAX && !one_in(sim, 6);) {
        struct client *client = &sim->clients[below(sim, CLIENTS)];
        if (client->waiting_count + BATCH_MAX > WAITING_MAX) break;
        if (one_in(sim, 12))
            put_multi(sim, round, &count, client);
        else
            more = put_alone(sim, round, &count, client);
    }
    struct process *process = &sim->process;
    sim->model.now_ms = worker_now_ms(process->worker);
    for (size_t i = 0; i < count; i++)
        batch_add(process->batch, &round[i].client->session, &round[i].client->reply,
                  round[i].words, round[i].count, &round[i]);
    batch_run(process->batch, ended);
    arena_clear(&sim->arena);
    /* As if each had a loop of its own: what one flushes has the others' changes in it, in part. */
    size_t first = below(sim, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        persist_flush(process->pulse.persist, sim->clients[(first + i) % CLIENTS].gate);
    if (persist_state(process->pulse.persist) == PERSIST_OFF) clients_hear(sim);
}

struct bytes ask(struct sim *sim, uint32_t db, size_t count, const struct bytes *words) {
    struct client *client = &sim->nobody;
    client->session.db = db;
    batch_run_one(sim->process.batch, &client->session, &client->reply, words, count);
    struct bytes reply = take_reply(client);
    digest(sim, reply);
    return reply;
}

/* ---- promises ---- */

static void raise_to(uint32_t *commit, uint32_t to) {
    if (to > *commit) *commit = to;
}

static void promise_in_a_second(struct sim *sim, uint32_t commit) {
    struct promises *promises = &sim->promises;
    size_t count = promises->second_count, cap = COUNT_OF(promises->second);
    if (count > 0 && promises->second[count - 1].commit >= commit) return;
    if (count == cap) sim_fail(sim, "%zu answers in a second", cap);
    promises->second[promises->second_count++] =
        (typeof(promises->second[0])){ commit, sim->lived_ns };
}

static void promise(struct sim *sim, const struct waiting *waiting) {
    struct promises *promises = &sim->promises;
    /* A log that is told to end promises nothing more, though its thread may hear of that later. */
    if (!sim->appendonly || persist_state(sim->process.pulse.persist) == PERSIST_OFF) return;
    raise_to(&promises->kill, waiting->made);
    if (sim->fsync == PERSIST_ALWAYS) {
        if (waiting->made > promises->weak) raise_to(&promises->durable, waiting->made);
        if (waiting->shown > promises->weak) raise_to(&promises->durable, waiting->shown);
        if (waiting->shown > promises->weak) raise_to(&promises->kill, waiting->shown);
    } else if (sim->fsync == PERSIST_EVERYSEC && waiting->made > 0) {
        promise_in_a_second(sim, waiting->made);
    }
}

void promises_change(struct sim *sim, enum persist_fsync fsync, bool appendonly) {
    struct promises *promises = &sim->promises;
    promises_ripen(sim);
    if (fsync == PERSIST_ALWAYS) promises->weak = sim->model.count - 1;
    if (fsync == PERSIST_NO || !appendonly) promises->second_count = 0;
    sim->fsync = fsync;
    sim->appendonly = appendonly;
}

void promises_ripen(struct sim *sim) {
    struct promises *promises = &sim->promises;
    /* What a disk has lost is there again when that is healed. */
    bool broken = sim->process.waits || persist_state(sim->process.pulse.persist) == PERSIST_BROKEN;
    size_t ripe = 0;
    for (size_t i = 0; i < promises->second_count; i++) {
        if (broken) promises->second[i].at_ns = sim->lived_ns;
        if (sim->lived_ns - promises->second[i].at_ns < SECOND_NS) continue;
        raise_to(&promises->durable, promises->second[i].commit);
        ripe = i + 1;
    }
    promises->second_count -= ripe;
    memmove(promises->second, promises->second + ripe,
            promises->second_count * sizeof promises->second[0]);
}

void clients_hear(struct sim *sim) {
    uint64_t acked = persist_acked(sim->process.pulse.persist);
    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *client = &sim->clients[i];
        size_t left = 0;
        while (left < client->waiting_count && client->waiting[left].gate <= acked)
            promise(sim, &client->waiting[left++]);
        client->waiting_count -= left;
        memmove(client->waiting, client->waiting + left,
                client->waiting_count * sizeof client->waiting[0]);
    }
}

bool clients_wait(const struct sim *sim) {
    for (size_t i = 0; i < CLIENTS; i++)
        if (sim->clients[i].waiting_count > 0) return true;
    return false;
}
