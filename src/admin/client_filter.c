/* client_filter.c: a table of options, each with how its word is read and what it asks of a session. */
#include "admin/client_filter.h"

#include <stdlib.h>

#include "base/assert.h"
#include "command/acl.h"
#include "command/pulse.h"

enum { SHOWN_MAX = 128 };

struct client_option {
    const char *name;
    bool (*read)(struct call *call, struct client_test *test); /* false: has answered */
    bool (*holds)(const struct client_test *test, const struct session *session, int64_t now_ms);
    bool ids;     /* takes several words */
    bool twofold; /* there is a NOT- of it */
};

/* ---- who is who: for those who bring users, replicas and subscribers ---- */

static struct bytes user_of(const struct session *session) {
    return session->user_id ? session->user : BYTES("");
}

static bool user_exists(struct call *call, struct bytes name) {
    struct acl_rules *rules = acl_find(call->pulse->acl, name);
    acl_rules_unref(rules);
    return rules;
}

/* Of masters and replicas there are none. */
static struct bytes type_of(const struct session *session) {
    return session_has(session, SESSION_PUBSUB) ? BYTES("pubsub") : BYTES("normal");
}

static bool type_exists(struct bytes word) {
    return bytes_equal_nocase(word, BYTES("normal")) || bytes_equal_nocase(word, BYTES("master")) ||
           bytes_equal_nocase(word, BYTES("replica")) || bytes_equal_nocase(word, BYTES("pubsub"));
}

/* ---- reading ---- */

static int shown(struct bytes word) {
    return (int)(word.len < SHOWN_MAX ? word.len : SHOWN_MAX);
}

static bool read_word(struct call *call, struct client_test *test) {
    (void)call;
    (void)test;
    return true;
}

static bool read_type(struct call *call, struct client_test *test) {
    if (bytes_equal_nocase(test->word, BYTES("slave"))) test->word = BYTES("replica");
    if (type_exists(test->word)) return true;
    fail_format(call, "ERR Unknown client type '%.*s'", shown(test->word), test->word.data);
    return false;
}

static bool read_user(struct call *call, struct client_test *test) {
    if (user_exists(call, test->word)) return true;
    fail_format(call, "ERR No such user '%.*s'", shown(test->word), test->word.data);
    return false;
}

static bool read_maxage(struct call *call, struct client_test *test) {
    if (!int_parse(test->word, &test->number))
        fail(call, "ERR maxage is not an integer or out of range");
    else if (test->number < 1)
        fail(call, "ERR maxage should be greater than 0");
    else
        return true;
    return false;
}

static bool read_idle(struct call *call, struct client_test *test) {
    if (!int_parse(test->word, &test->number))
        fail(call, "ERR idle is not an integer or out of range");
    else if (test->number < 1)
        fail(call, "ERR idle should be greater than 0");
    else
        return true;
    return false;
}

static bool read_db(struct call *call, struct client_test *test) {
    if (int_parse(test->word, &test->number) && test->number >= 0) return true;
    fail(call, ERR_DB_INDEX);
    return false;
}

/* ---- asking ---- */

static int compare_ids(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_id(const struct client_test *test, const struct session *session, int64_t now_ms) {
    (void)now_ms;
    return bsearch(&session->id, test->ids, test->ids_count, sizeof *test->ids, compare_ids);
}

/* What is asked of one word, and nothing of the time. */
#define IS(name_, condition_)                                                             \
    static bool is_##name_(const struct client_test *test, const struct session *session, \
                           int64_t now_ms) {                                              \
        (void)now_ms;                                                                     \
        return (condition_);                                                              \
    }

static bool has_ip(struct bytes ip, struct bytes address) {
    return address.len > ip.len && address.data[ip.len] == ':' && ip.len &&
           memcmp(address.data, ip.data, ip.len) == 0 &&
           !memchr(address.data + ip.len + 1, ':', address.len - ip.len - 1);
}

static bool has_letters(struct bytes letters, const struct session *session) {
    char has[SESSION_FLAGS_SIZE];
    session_flags_text(session, has);
    for (size_t i = 0; i < letters.len; i++)
        if (letters.data[i] == '\0' || !strchr(has, letters.data[i])) return false;
    return true;
}

IS(type, bytes_equal_nocase(test->word, type_of(session)))
IS(user, bytes_equal(test->word, user_of(session)))
IS(addr, bytes_equal(test->word, bytes_of(session->address)))
IS(laddr, bytes_equal(test->word, bytes_of(session->local_address)))
IS(ip, has_ip(test->word, bytes_of(session->address)))
IS(name, bytes_equal(test->word, session->name))
IS(lib_name, bytes_equal(test->word, session->library))
IS(lib_ver, bytes_equal(test->word, session->library_version))
IS(flags, has_letters(test->word, session))
IS(db, test->number == (int64_t)atomic_load_explicit(&session->db_shown, memory_order_relaxed))

static bool is_old(const struct client_test *test, const struct session *session, int64_t now_ms) {
    return (now_ms - session->created_ms) / 1000 >= test->number;
}

static bool is_idle(const struct client_test *test, const struct session *session, int64_t now_ms) {
    int64_t active = atomic_load_explicit(&session->active_ms, memory_order_relaxed);
    return (now_ms - active) / 1000 >= test->number;
}

/* ---- the words ---- */

static const struct client_option options[] = {
    { "ID", NULL, is_id, .ids = true, .twofold = true },
    { "TYPE", read_type, is_type, .twofold = true },
    { "USER", read_user, is_user, .twofold = true },
    { "ADDR", read_word, is_addr, .twofold = true },
    { "LADDR", read_word, is_laddr, .twofold = true },
    { "IP", read_word, is_ip, .twofold = true },
    { "NAME", read_word, is_name, .twofold = true },
    { "LIB-NAME", read_word, is_lib_name, .twofold = true },
    { "LIB-VER", read_word, is_lib_ver, .twofold = true },
    { "DB", read_db, is_db, .twofold = true },
    { "FLAGS", read_word, is_flags, .twofold = true },
    { "MAXAGE", read_maxage, is_old, .twofold = false },
    { "IDLE", read_idle, is_idle, .twofold = false },
};

static const struct client_option *find_option(struct bytes word, bool *negated) {
    struct bytes rest = word;
    *negated = word.len > 4 && bytes_equal_nocase((struct bytes){ word.data, 4 }, BYTES("NOT-"));
    if (*negated) rest = (struct bytes){ word.data + 4, word.len - 4 };
    for (size_t i = 0; i < COUNT_OF(options); i++)
        if (bytes_equal_nocase(rest, bytes_of(options[i].name)))
            return *negated && !options[i].twofold ? NULL : &options[i];
    return NULL;
}

/* As many ids as there are from word `i` on; how many words that is, or 0 with an answer. */
static size_t read_ids(struct call *call, size_t i, struct client_test *test) {
    size_t count = 0;
    uint64_t *ids = arena_new(call->arena, (call->args_count - i) * sizeof *ids);
    int64_t id;
    while (i + count < call->args_count && int_parse(call->args[i + count], &id) && id > 0)
        ids[count++] = (uint64_t)id;
    if (count == 0) {
        bool lists = bytes_equal(call->info->name, BYTES("client|list"));
        fail(call, lists ? "ERR Invalid client ID" : "ERR client-id should be greater than 0");
        return 0;
    }
    qsort(ids, count, sizeof *ids, compare_ids);
    test->ids = ids;
    test->ids_count = count;
    return count;
}

static struct client_test *place_for(struct client_filter *filter,
                                     const struct client_option *option, bool negated) {
    size_t i = 0;
    while (i < filter->count &&
           (filter->tests[i].option != option || filter->tests[i].negated != negated))
        i++;
    if (i == filter->count) filter->count++;
    return &filter->tests[i];
}

static bool read_skipme(struct bytes word, bool *skip_me) {
    *skip_me = bytes_equal_nocase(word, BYTES("yes"));
    return *skip_me || bytes_equal_nocase(word, BYTES("no"));
}

enum outcome client_filter_read(struct call *call, size_t from, struct client_filter *filter) {
    static_assert(2 * COUNT_OF(options) <= CLIENT_TESTS_MAX);
    for (size_t i = from; i < call->args_count;) {
        if (i + 1 == call->args_count) return fail(call, ERR_SYNTAX);
        if (arg_is(call, i, BYTES("SKIPME"))) {
            if (!read_skipme(call->args[i + 1], &filter->skip_me)) return fail(call, ERR_SYNTAX);
            i += 2;
            continue;
        }
        struct client_test test = { .word = call->args[i + 1] };
        test.option = find_option(call->args[i], &test.negated);
        if (!test.option) return fail(call, ERR_SYNTAX);
        size_t taken = 1;
        if (test.option->ids)
            taken = read_ids(call, i + 1, &test);
        else if (!test.option->read(call, &test))
            taken = 0;
        if (taken == 0) return FAILED;
        *place_for(filter, test.option, test.negated) = test;
        i += 1 + taken;
    }
    return DONE;
}

bool client_fits(const struct client_filter *filter, const struct session *session) {
    for (size_t i = 0; i < filter->count; i++) {
        const struct client_test *test = &filter->tests[i];
        if (test->option->holds(test, session, filter->now_ms) == test->negated) return false;
    }
    return true;
}
