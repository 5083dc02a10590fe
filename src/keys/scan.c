/* scan.c: finding keys by walking over all of them: KEYS, SCAN, RANDOMKEY.
 *
 * They hold one shard's lock at a time. KEYS walks each shard in one go, so that no key is told
 * twice, whatever grows or shrinks meanwhile. */
#include <errno.h>
#include <stdlib.h>

#include "base/glob.h"
#include "command/command.h"
#include "command/session.h"
#include "keys/keys.h"

enum { SCAN_COUNT = 10, CHUNK_FIRST = 1024, CHUNK_MAX = 128 * 1024 };

struct chunk {
    struct chunk *next;
    size_t used, cap;
    char data[];
};

/* Copies of names, packed: 4 bytes of length before each. */
struct names {
    struct arena *arena;
    struct chunk *first, *last;
    size_t count;
};

struct wanted {
    struct names names;
    struct bytes pattern; /* data NULL: any name */
    struct bytes type;    /* data NULL: any type */
};

static char *names_room(struct names *names, size_t size) {
    struct chunk *last = names->last;
    if (!last || last->cap - last->used < size) {
        size_t cap = last ? last->cap * 2 : CHUNK_FIRST;
        if (cap > CHUNK_MAX) cap = CHUNK_MAX;
        if (cap < size) cap = size;
        struct chunk *chunk = arena_new(names->arena, sizeof *chunk + cap);
        chunk->next = NULL;
        chunk->used = 0;
        chunk->cap = cap;
        if (last)
            last->next = chunk;
        else
            names->first = chunk;
        names->last = last = chunk;
    }
    char *room = last->data + last->used;
    last->used += size;
    return room;
}

static void names_add(struct names *names, struct bytes name) {
    uint32_t len = (uint32_t)name.len;
    char *at = names_room(names, sizeof len + name.len);
    memcpy(at, &len, sizeof len);
    if (name.len) memcpy(at + sizeof len, name.data, name.len);
    names->count++;
}

static void names_reply(struct call *call, const struct names *names) {
    call->reply->writer->array(call->reply, names->count);
    for (const struct chunk *chunk = names->first; chunk; chunk = chunk->next)
        for (size_t at = 0; at < chunk->used;) {
            uint32_t len;
            memcpy(&len, chunk->data + at, sizeof len);
            reply_bulk(call, (struct bytes){ chunk->data + at + sizeof len, len });
            at += sizeof len + len;
        }
}

static void visit(void *self, const struct key *key, const struct value *value) {
    struct wanted *wanted = self;
    if (wanted->type.data &&
        !bytes_equal_nocase(bytes_of(key_type_name(value->type)), wanted->type))
        return;
    if (wanted->pattern.data && !glob_match(wanted->pattern, key->name, false)) return;
    names_add(&wanted->names, key->name);
}

static void want_pattern(struct wanted *wanted, struct bytes pattern) {
    wanted->pattern = bytes_equal(pattern, BYTES("*")) ? (struct bytes){} : pattern;
}

static enum outcome keys(struct call *call) {
    struct wanted wanted = { .names.arena = call->arena };
    want_pattern(&wanted, call->args[1]);
    uint64_t cursor = 0;
    do cursor = txn_scan(call->txn, call->session->db, cursor, SIZE_MAX, visit, &wanted);
    while (cursor != 0);
    names_reply(call, &wanted.names);
    return DONE;
}

/* As C's strtoul reads it, hence a sign and no digit at all are fine, and space before is not. */
static bool read_cursor(struct call *call, uint64_t *cursor) {
    char text[64] = "";
    struct bytes word = call->args[1];
    char *end = text;
    size_t len = word.len ? strnlen(word.data, word.len) : 0;
    if (len < sizeof text) {
        if (len) memcpy(text, word.data, len);
        errno = 0;
        *cursor = strtoul(text, &end, 10);
        bool space = text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r');
        if (!space && *end == '\0' && errno != ERANGE) return true;
    }
    fail(call, "ERR invalid cursor");
    return false;
}

static bool fail_syntax(struct call *call) {
    fail(call, ERR_SYNTAX);
    return false;
}

static bool read_options(struct call *call, struct wanted *wanted, int64_t *count) {
    for (struct words w = call_rest(call, 2); words_left(&w);) {
        size_t value;
        if (words_take_value(&w, BYTES("MATCH"), &value)) {
            want_pattern(wanted, call->args[value]);
        } else if (words_take_value(&w, BYTES("TYPE"), &value)) {
            wanted->type = call->args[value];
        } else if (words_take_value(&w, BYTES("COUNT"), &value)) {
            if (!arg_int(call, value, count)) return false;
            if (*count < 1) return fail_syntax(call);
        } else {
            return fail_syntax(call);
        }
    }
    return true;
}

static enum outcome scan(struct call *call) {
    struct wanted wanted = { .names.arena = call->arena };
    uint64_t cursor;
    int64_t count = SCAN_COUNT;
    if (!read_cursor(call, &cursor)) return FAILED;
    if (!read_options(call, &wanted, &count)) return FAILED;
    call->txn->flags |= TXN_EXPIRE;
    cursor = txn_scan(call->txn, call->session->db, cursor, (size_t)count, visit, &wanted);

    char text[INT_TEXT_MAX];
    call->reply->writer->array(call->reply, 2);
    reply_bulk(call, (struct bytes){ text, uint_format(text, cursor) });
    names_reply(call, &wanted.names);
    return DONE;
}

static enum outcome randomkey(struct call *call) {
    struct bytes name;
    call->txn->flags |= TXN_EXPIRE;
    if (!txn_random(call->txn, call->session->db, &name)) return reply_null(call);
    return reply_bulk(call, name);
}

COMMAND(keys) = {
    .synopsis = "KEYS pattern:pattern",
    .summary = "Lists all keys whose name matches a pattern.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(N) with N being the number of keys in the database, under the assumption that "
                  "the key names in the database and the given pattern have limited length.",
    .flags = CMD_READONLY | CMD_UNLOCKED,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .run = keys,
    .tips = "request_policy:all_shards nondeterministic_output_order",
};

COMMAND(scan) = {
    .synopsis = "SCAN cursor:int [MATCH pattern:pattern] [COUNT count:int] [TYPE type]",
    .summary = "Walks over all keys, a few at each call.",
    .since = "2.8.0",
    .group = "generic",
    .complexity = "O(1) for every call. O(N) for a complete iteration, including enough command "
                  "calls for the cursor to return back to 0. N is the number of elements inside "
                  "the collection.",
    .history = "6.0.0: Takes `TYPE`.",
    .flags = CMD_READONLY | CMD_UNLOCKED,
    .acl = ACL_KEYSPACE,
    .run = scan,
    .tips = "nondeterministic_output request_policy:special",
};

COMMAND(randomkey) = {
    .synopsis = "RANDOMKEY",
    .summary = "Returns the name of one key, picked at random.",
    .since = "1.0.0",
    .group = "generic",
    .complexity = "O(1)",
    .flags = CMD_READONLY | CMD_UNLOCKED,
    .acl = ACL_KEYSPACE,
    .run = randomkey,
    .tips = "request_policy:all_shards nondeterministic_output",
};
