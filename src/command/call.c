#include "command/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "command/command.h"
#include "command/pulse.h"
#include "store/blob.h"

static void error(struct call *call, struct bytes text) {
    call->reply->writer->error(call->reply, text);
}

enum outcome fail(struct call *call, const char *message) {
    error(call, bytes_of(message));
    return FAILED;
}

enum outcome fail_format(struct call *call, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n = len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    error(call, (struct bytes){ text, n });
    return FAILED;
}

enum outcome fail_arity(struct call *call) {
    return fail_format(call, "ERR wrong number of arguments for '%.*s' command",
                       (int)call->info->name.len, call->info->name.data);
}

static enum outcome fail_sub(struct call *call, const char *what) {
    struct bytes sub = call->args[call->args_count > 1];
    char container[32];
    size_t len = call->args[0].len < sizeof container ? call->args[0].len : sizeof container - 1;
    for (size_t i = 0; i < len; i++) {
        char c = call->args[0].data[i];
        container[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    return fail_format(call, "ERR unknown subcommand%s '%.*s'. Try %.*s HELP.", what,
                       (int)(sub.len < 128 ? sub.len : 128), sub.data, (int)len, container);
}

enum outcome fail_subcommand(struct call *call) {
    return fail_sub(call, "");
}

enum outcome fail_subcommand_words(struct call *call) {
    return fail_sub(call, " or wrong number of arguments for");
}

enum outcome fail_pruned(struct call *call, uint64_t oldest) {
    return fail_format(call, "NOHISTORY history of this key starts at %llu",
                       (unsigned long long)((oldest + 999999) / 1000000));
}

bool arg_int(struct call *call, size_t i, int64_t *out) {
    if (int_parse(call->args[i], out)) return true;
    fail(call, ERR_NOT_INTEGER);
    return false;
}

bool arg_int_range(struct call *call, size_t i, int64_t min, int64_t max, int64_t *out) {
    int64_t n;
    if (!arg_int(call, i, &n)) return false;
    if (n < min || n > max) {
        fail_format(call, "ERR value is out of range, value must between %lld and %lld",
                    (long long)min, (long long)max);
        return false;
    }
    *out = n;
    return true;
}

bool arg_positive(struct call *call, size_t i, int64_t *out) {
    int64_t n;
    if (!int_parse(call->args[i], &n)) {
        fail(call, ERR_NOT_INTEGER);
        return false;
    }
    if (n < 0) {
        fail(call, "ERR value is out of range, must be positive");
        return false;
    }
    *out = n;
    return true;
}

struct key call_key_of(const struct call *call, uint32_t db, struct bytes name) {
    return store_key(call->pulse->store, db, name);
}

struct key call_key(const struct call *call, size_t i) {
    if (LIKELY(call->first && i == 1)) return *call->first;
    return store_key(call->pulse->store, call->session->db, call->args[i]);
}

bool call_read(struct call *call, const struct key *key, struct value *out) {
    bool found = txn_read(call->txn, key, out);
    counter_add(worker_counters(call->worker),
                found ? COUNTER_keyspace_hits : COUNTER_keyspace_misses, 1);
    if (!found && UNLIKELY(atomic_load_explicit(&call->pulse->misses_heard, memory_order_relaxed)))
        txn_missed(call->txn, key);
    return found;
}

bool call_read_string(struct call *call, const struct key *key, bool counted, struct value *out,
                      bool *found) {
    *found = counted ? call_read(call, key, out) : txn_read(call->txn, key, out);
    if (!*found || out->type == VALUE_STRING) return true;
    fail(call, ERR_WRONGTYPE);
    return false;
}

enum outcome reply_ok(struct call *call) {
    call->reply->writer->status(call->reply, BYTES("OK"));
    return DONE;
}
enum outcome reply_int(struct call *call, int64_t n) {
    call->reply->writer->integer(call->reply, n);
    return DONE;
}
enum outcome reply_bulk(struct call *call, struct bytes bytes) {
    call->reply->writer->bulk(call->reply, bytes);
    return DONE;
}
enum outcome reply_text(struct call *call, const char *text) {
    return reply_bulk(call, bytes_of(text));
}
enum outcome reply_status(struct call *call, const char *text) {
    call->reply->writer->status(call->reply, bytes_of(text));
    return DONE;
}
enum outcome reply_null(struct call *call) {
    call->reply->writer->null(call->reply);
    return DONE;
}

enum outcome reply_value(struct call *call, const struct value *value) {
    char scratch[INT_TEXT_MAX];
    struct bytes text = value_text(value, scratch);
    if (UNLIKELY(text.len >= REPLY_BY_REFERENCE_MIN) && value->encoding == STRING_BLOB) {
        call->reply->writer->bulk_ref(call->reply, text, blob_release, blob_ref(value->blob));
        return DONE;
    }
    call->reply->writer->bulk(call->reply, text);
    return DONE;
}

enum outcome reply_help(struct call *call, const char *const *lines, size_t count) {
    call->reply->writer->array(call->reply, count);
    for (size_t i = 0; i < count; i++) call->reply->writer->status(call->reply, bytes_of(lines[i]));
    return DONE;
}
