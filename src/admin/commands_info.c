#include "admin/commands_info.h"

#include <stdlib.h>

#include "base/assert.h"
#include "command/category.h"

/* ---- sets of names ---- */

struct name {
    unsigned bit;
    const char *name;
};

static const struct name flag_names[] = {
    { CMD_WRITE, "write" },
    { CMD_READONLY, "readonly" },
    { CMD_DENYOOM, "denyoom" },
    { CMD_ADMIN, "admin" },
    { CMD_PUBSUB, "pubsub" },
    { CMD_NOSCRIPT, "noscript" },
    { CMD_BLOCKING, "blocking" },
    { CMD_LOADING, "loading" },
    { CMD_STALE, "stale" },
    { CMD_SKIP_MONITOR, "skip_monitor" },
    { CMD_SKIP_SLOWLOG, "skip_slowlog" },
    { CMD_FAST, "fast" },
    { CMD_NO_AUTH, "no_auth" },
    /* CMD_MAY_REPLICATE: Redis does not show it */
    { CMD_NO_MANDATORY_KEYS, "no_mandatory_keys" },
    { CMD_NO_ASYNC_LOADING, "no_async_loading" },
    { CMD_NO_MULTI, "no_multi" },
    { CMD_MOVABLEKEYS, "movablekeys" },
    { CMD_ALLOW_BUSY, "allow_busy" },
};

static const struct name access_names[] = {
    { KEY_RO, "RO" },
    { KEY_RW, "RW" },
    { KEY_OW, "OW" },
    { KEY_RM, "RM" },
    { KEY_ACCESS, "access" },
    { KEY_UPDATE, "update" },
    { KEY_INSERT, "insert" },
    { KEY_DELETE, "delete" },
    { KEY_NOT_KEY, "not_key" },
    { KEY_INCOMPLETE, "incomplete" },
    { KEY_VARIABLE, "variable_flags" },
};

static void put_names(struct call *call, unsigned bits, const struct name *names, size_t count) {
    struct reply *reply = call->reply;
    size_t members = 0;
    for (size_t i = 0; i < count; i++) members += (bits & names[i].bit) != 0;
    reply->writer->set(reply, members);
    for (size_t i = 0; i < count; i++)
        if (bits & names[i].bit) reply->writer->status(reply, bytes_of(names[i].name));
}

static void put_categories(struct call *call, unsigned bits) {
    struct reply *reply = call->reply;
    const struct category *category;
    size_t members = 0;
    for (size_t i = 0; (category = categories_at(i)); i++) members += (bits & category->bit) != 0;
    reply->writer->set(reply, members);
    for (size_t i = 0; (category = categories_at(i)); i++)
        if (bits & category->bit) reply->writer->status(reply, bytes_of(category->name));
}

void commands_access_reply(struct call *call, unsigned access) {
    put_names(call, access, access_names, COUNT_OF(access_names));
}

static void put_text(struct reply *reply, const char *text) {
    resp_bulk(reply, bytes_of(text));
}

/* ---- key specs ---- */

enum { SPECS_MAX = SYNOPSIS_KEYS_MAX + 1 };

struct key_spec {
    unsigned access;
    enum { BEGIN_INDEX, BEGIN_KEYWORD, BEGIN_UNKNOWN } begin;
    int index; /* or where to start from */
    struct bytes keyword;
    enum { FIND_RANGE, FIND_KEYNUM, FIND_UNKNOWN } find;
    int last, step, limit;      /* range */
    int keynum_index, firstkey; /* keynum */
};

static struct bytes next_word(const char **at) {
    while (**at == ' ') ++*at;
    struct bytes word = { *at, strcspn(*at, " ;") };
    *at += word.len;
    return word;
}

static int next_int(const char **at) {
    char *end;
    long n = strtol(*at, &end, 10);
    assert(end != *at);
    *at = end;
    return (int)n;
}

static unsigned access_named(struct bytes word) {
    for (size_t i = 0; i < COUNT_OF(access_names); i++)
        if (bytes_equal(word, bytes_of(access_names[i].name))) return access_names[i].bit;
    return 0;
}

static struct key_spec read_spec(const char **at) {
    struct key_spec spec = {};
    struct bytes word;
    for (;;) {
        word = next_word(at);
        unsigned access = access_named(word);
        if (!access) break;
        spec.access |= access;
    }
    if (bytes_equal(word, BYTES("index"))) {
        spec.index = next_int(at);
    } else if (bytes_equal(word, BYTES("keyword"))) {
        spec.begin = BEGIN_KEYWORD;
        spec.keyword = next_word(at);
        spec.index = next_int(at);
    } else {
        assert(bytes_equal(word, BYTES("unknown")));
        spec.begin = BEGIN_UNKNOWN;
    }
    word = next_word(at);
    if (bytes_equal(word, BYTES("range"))) {
        spec.last = next_int(at);
        spec.step = next_int(at);
        spec.limit = next_int(at);
    } else if (bytes_equal(word, BYTES("keynum"))) {
        spec.find = FIND_KEYNUM;
        spec.keynum_index = next_int(at);
        spec.firstkey = next_int(at);
        spec.step = next_int(at);
    } else {
        assert(bytes_equal(word, BYTES("unknown")));
        spec.find = FIND_UNKNOWN;
    }
    return spec;
}

static size_t read_specs(const char *at, struct key_spec *specs) {
    size_t count = 0;
    for (;;) {
        assert(count < SPECS_MAX);
        specs[count++] = read_spec(&at);
        if (*at == '\0') return count;
        assert(*at == ';');
        at++;
    }
}

static bool is_range(const struct key_spec *spec) {
    return spec->begin == BEGIN_INDEX && spec->find == FIND_RANGE;
}

/* "LCS key1 key2": two keys of one kind, side by side, are one range. */
static bool extends(const struct key_spec *a, const struct key_spec *b) {
    return is_range(a) && is_range(b) && a->access == b->access && a->last >= 0 && a->step == 1 &&
           b->last >= 0 && b->step == 1 && b->index == a->index + a->last + 1;
}

static size_t specs_of(const struct command_info *info, struct key_spec *specs) {
    const struct command *command = info->command;
    const struct synopsis *s = info->synopsis;
    if (command->key_specs) return read_specs(command->key_specs, specs);
    size_t count = 0;
    for (int i = 0; i < s->keys_count; i++) {
        const struct synopsis_keys *k = &s->keys[i];
        struct key_spec spec = {
            .access = i > 0 && command->keys_two ? command->keys_two : command->keys,
            .begin = k->begin_index > 0 ? BEGIN_INDEX : BEGIN_KEYWORD,
            .index = k->begin_index > 0 ? k->begin_index : k->start_from,
            .keyword = k->keyword,
            .find = k->counted ? FIND_KEYNUM : FIND_RANGE,
            .last = k->last,
            .step = k->step,
            .limit = k->limit,
            .firstkey = 1,
        };
        if (count > 0 && extends(&specs[count - 1], &spec))
            specs[count - 1].last += 1 + spec.last;
        else
            specs[count++] = spec;
    }
    return count;
}

int commands_spec_index(const struct command_info *info, int keys_index) {
    struct key_spec specs[SPECS_MAX];
    int count = (int)specs_of(info, specs), more = count - info->synopsis->keys_count;
    /* Specs that were merged make fewer; those that SORT adds stand before its last. */
    if (keys_index > 0 && more > 0) keys_index += more;
    return keys_index < count ? keys_index : count - 1;
}

/* First key, last key and step, which cannot say everything: what they leave out makes the keys movable. */
struct legacy_keys {
    int first, last, step;
    bool movable;
};

static int absolute_last(const struct key_spec *spec) {
    return spec->last < 0 ? spec->last : spec->index + spec->last;
}

static struct legacy_keys legacy_keys(const struct key_spec *specs, size_t count) {
    struct legacy_keys keys = {};
    for (size_t i = 0; i < count; i++) {
        const struct key_spec *spec = &specs[i];
        bool follows = keys.first == 0 || (keys.last == spec->index - 1 && spec->step == 1);
        if (spec->access & KEY_INCOMPLETE) keys.movable = true;
        if (!is_range(spec) || !follows || (spec->step != 1 && count > 1)) {
            keys.movable = true;
            continue;
        }
        if (keys.first == 0) keys.first = spec->index;
        keys.last = absolute_last(spec);
        keys.step = spec->step;
    }
    return keys;
}

static void put_number(struct reply *reply, const char *name, int n) {
    put_text(reply, name);
    resp_integer(reply, n);
}

static void put_spec(struct call *call, const struct key_spec *spec) {
    static const char *const begins[] = { "index", "keyword", "unknown" };
    static const char *const finds[] = { "range", "keynum", "unknown" };
    struct reply *reply = call->reply;
    reply->writer->map(reply, 3);
    put_text(reply, "flags");
    commands_access_reply(call, spec->access);

    put_text(reply, "begin_search");
    reply->writer->map(reply, 2);
    put_text(reply, "type");
    put_text(reply, begins[spec->begin]);
    put_text(reply, "spec");
    reply->writer->map(reply, spec->begin == BEGIN_INDEX     ? 1
                              : spec->begin == BEGIN_KEYWORD ? 2
                                                             : 0);
    if (spec->begin == BEGIN_KEYWORD) {
        put_text(reply, "keyword");
        resp_bulk(reply, spec->keyword);
        put_number(reply, "startfrom", spec->index);
    } else if (spec->begin == BEGIN_INDEX) {
        put_number(reply, "index", spec->index);
    }

    put_text(reply, "find_keys");
    reply->writer->map(reply, 2);
    put_text(reply, "type");
    put_text(reply, finds[spec->find]);
    put_text(reply, "spec");
    reply->writer->map(reply, spec->find == FIND_UNKNOWN ? 0 : 3);
    if (spec->find == FIND_RANGE) {
        put_number(reply, "lastkey", spec->last);
        put_number(reply, "keystep", spec->step);
        put_number(reply, "limit", spec->limit);
    } else if (spec->find == FIND_KEYNUM) {
        put_number(reply, "keynumidx", spec->keynum_index);
        put_number(reply, "firstkey", spec->firstkey);
        put_number(reply, "keystep", spec->step);
    }
}

/* ---- COMMAND INFO ---- */

static void put_tips(struct reply *reply, const char *tips) {
    size_t count = 0;
    for (const char *at = tips; at && *at; count += next_word(&at).len > 0) {
    }
    reply->writer->set(reply, count);
    for (const char *at = tips; count > 0; count--) resp_bulk(reply, next_word(&at));
}

static void put_children(struct call *call, const struct command_info *info) {
    struct reply *reply = call->reply;
    if (info->children_count == 0) {
        reply->writer->set(reply, 0); /* as Redis: a set when there are none */
        return;
    }
    reply->writer->array(reply, info->children_count);
    for (size_t i = 0; i < info->children_count; i++) commands_info_reply(call, info->children[i]);
}

void commands_info_reply(struct call *call, const struct command_info *info) {
    struct reply *reply = call->reply;
    struct key_spec specs[SPECS_MAX];
    size_t specs_count = specs_of(info, specs);
    struct legacy_keys keys = legacy_keys(specs, specs_count);

    reply->writer->array(reply, 10);
    resp_bulk(reply, info->name);
    resp_integer(reply, info->arity);
    put_names(call, info->flags | (keys.movable ? CMD_MOVABLEKEYS : 0), flag_names,
              COUNT_OF(flag_names));
    resp_integer(reply, keys.first);
    resp_integer(reply, keys.last);
    resp_integer(reply, keys.step);
    put_categories(call, command_categories(info));
    put_tips(reply, info->command->tips);
    reply->writer->set(reply, specs_count);
    for (size_t i = 0; i < specs_count; i++) put_spec(call, &specs[i]);
    put_children(call, info);
}
