/* commands_docs.c: COMMAND DOCS: the tree of a synopsis in the shape that redis-cli reads its hints
 * from.
 *
 *     EX seconds:int                   one argument with a token
 *     NX                               a pure-token
 *     score member [score member ...]  a block of two arguments, multiple
 *     [GET pattern [GET pattern ...]]  one argument with a token, multiple, and the token with it
 *     a | b                            oneof; an arm of several items is a block
 */
#include "admin/commands_info.h"

struct doc {
    struct doc *next, *child; /* children of oneof and block */
    struct bytes name, token;
    const char *type;
    int keys_index; /* of a key; else -1 */
    bool has_token, optional, multiple, multiple_token;
};

struct docs {
    const struct command_info *info;
    const struct synopsis *s;
    struct arena *arena;
};

static struct doc *build(const struct docs *d, int first, int end);

static struct doc *doc_new(const struct docs *d, const char *type) {
    struct doc *doc = arena_new(d->arena, sizeof *doc);
    *doc = (struct doc){ .type = type, .keys_index = -1 };
    return doc;
}

static struct bytes lower_case(struct arena *arena, struct bytes text) {
    char *out = arena_new(arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++) {
        out[i] = text.data[i];
        if (out[i] >= 'A' && out[i] <= 'Z') out[i] = (char)(out[i] | 0x20);
    }
    return (struct bytes){ out, text.len };
}

static const char *type_of(const struct docs *d, const struct synopsis_node *node) {
    static const char *const types[][2] = {
        { "key", "key" },         { "int", "integer" },    { "double", "double" },
        { "pattern", "pattern" }, { "time", "unix-time" },
    };
    if (synopsis_is_key(node) && d->info->command->keys & KEY_NOT_KEY) return "string";
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (bytes_equal(node->type, bytes_of(types[i][0]))) return types[i][1];
    return "string";
}

static struct doc *doc_token(const struct docs *d, struct bytes token) {
    struct doc *doc = doc_new(d, "pure-token");
    doc->name = token.len ? lower_case(d->arena, token) : BYTES("empty_string");
    doc->token = token;
    doc->has_token = true;
    return doc;
}

static struct doc *doc_value(const struct docs *d, const struct synopsis_node *node) {
    struct doc *doc = doc_new(d, type_of(d, node));
    doc->name = node->text;
    if (node->keys_index >= 0 && !(d->info->command->keys & KEY_NOT_KEY))
        doc->keys_index = commands_spec_index(d->info, node->keys_index);
    return doc;
}

/* A oneof or a block is named after what is in it. */
static struct doc *doc_group(const struct docs *d, const char *type, struct doc *children) {
    struct doc *doc = doc_new(d, type);
    doc->child = children;
    doc->name = children->name;
    for (const struct doc *child = children->next; child; child = child->next)
        doc->name = arena_format(d->arena, "%.*s_%.*s", (int)doc->name.len, doc->name.data,
                                 (int)child->name.len, child->name.data);
    return doc;
}

/* A list of items as one argument. */
static struct doc *doc_list(const struct docs *d, int first, int end) {
    struct doc *children = build(d, first, end);
    return children->next ? doc_group(d, "block", children) : children;
}

static struct doc *doc_choice(const struct docs *d, const struct synopsis_node *node) {
    struct doc *arms = NULL, **last = &arms;
    for (int arm = node->child; arm >= 0; arm = d->s->nodes[arm].next) {
        *last = doc_list(d, d->s->nodes[arm].child, -1);
        last = &(*last)->next;
    }
    return doc_group(d, "oneof", arms);
}

/* The repeat that says again what begins at `n`; else -1. */
static int repeat_from(const struct docs *d, int n, int end) {
    int distance = 1;
    for (int i = d->s->nodes[n].next; i != end && i >= 0; i = d->s->nodes[i].next, distance++)
        if (d->s->nodes[i].kind == SYNOPSIS_REPEAT) return d->s->nodes[i].span == distance ? i : -1;
    return -1;
}

static struct doc *mark_multiple(struct doc *doc) {
    doc->multiple = true;
    doc->multiple_token = doc->has_token;
    return doc;
}

static bool takes_token(const struct synopsis_node *node) {
    return !node->optional && node->kind != SYNOPSIS_TOKEN && node->kind != SYNOPSIS_REPEAT;
}

static struct doc *doc_item(const struct docs *d, int n, int end, int *next);

/* One item, or several that are repeated together; `*next` is the item behind them. */
static struct doc *doc_items(const struct docs *d, int n, int end, int *next) {
    int repeat = repeat_from(d, n, end);
    if (repeat < 0) return doc_item(d, n, end, next);
    *next = d->s->nodes[repeat].next;
    if (d->s->nodes[n].next != repeat) return mark_multiple(doc_list(d, n, repeat));
    int behind;
    return mark_multiple(doc_item(d, n, repeat, &behind));
}

/* A token, and what follows it if that is not optional and has no token of its own. */
static struct doc *doc_after_token(const struct docs *d, int n, int end, int *next) {
    struct bytes token = d->s->nodes[n].text;
    if (*next == end || *next < 0 || !takes_token(&d->s->nodes[*next])) return doc_token(d, token);
    struct doc *doc = doc_items(d, *next, end, next);
    if (doc->has_token) {
        struct doc *outer = doc_token(d, token);
        outer->next = doc;
        return doc_group(d, "block", outer);
    }
    doc->token = token;
    doc->has_token = true;
    return doc;
}

static struct doc *doc_item(const struct docs *d, int n, int end, int *next) {
    const struct synopsis_node *node = &d->s->nodes[n];
    *next = node->next;
    if (node->kind == SYNOPSIS_TOKEN) return doc_after_token(d, n, end, next);
    if (node->kind == SYNOPSIS_VALUE) return doc_value(d, node);
    if (node->kind == SYNOPSIS_CHOICE) {
        struct doc *choice = doc_choice(d, node);
        choice->optional = node->optional;
        return choice;
    }
    struct doc *list = doc_list(d, node->child, -1);
    list->optional |= node->optional;
    return node->kind == SYNOPSIS_REPEAT ? mark_multiple(list) : list;
}

/* The items from `first` to before `end` (-1: all) as arguments. */
static struct doc *build(const struct docs *d, int first, int end) {
    struct doc *list = NULL, **last = &list;
    for (int i = first; i >= 0 && i != end;) {
        *last = doc_items(d, i, end, &i);
        last = &(*last)->next;
    }
    return list;
}

static void put(struct reply *reply, const char *text) {
    resp_bulk(reply, bytes_of(text));
}

static void put_flags(struct reply *reply, const struct doc *doc) {
    put(reply, "flags");
    reply->writer->set(reply, (size_t)doc->optional + doc->multiple + doc->multiple_token);
    if (doc->optional) reply->writer->status(reply, BYTES("optional"));
    if (doc->multiple) reply->writer->status(reply, BYTES("multiple"));
    if (doc->multiple_token) reply->writer->status(reply, BYTES("multiple_token"));
}

static void put_arguments(struct reply *reply, const struct doc *list) {
    size_t count = 0;
    for (const struct doc *doc = list; doc; doc = doc->next) count++;
    put(reply, "arguments");
    reply->writer->array(reply, count);
    for (const struct doc *doc = list; doc; doc = doc->next) {
        bool flags = doc->optional || doc->multiple;
        bool is_key = doc->keys_index >= 0;
        reply->writer->map(reply, 2 + (size_t)is_key + doc->has_token + flags + 1);
        put(reply, "name");
        resp_bulk(reply, doc->name);
        put(reply, "type");
        put(reply, doc->type);
        if (!doc->child) {
            put(reply, "display_text");
            resp_bulk(reply, doc->name);
        }
        if (is_key) {
            put(reply, "key_spec_index");
            resp_integer(reply, doc->keys_index);
        }
        if (doc->has_token) {
            put(reply, "token");
            resp_bulk(reply, doc->token);
        }
        if (flags) put_flags(reply, doc);
        if (doc->child) put_arguments(reply, doc->child);
    }
}

/* "2.6.12: Added EX; 6.0.0: ..." is two entries: each begins with a version. */
static struct bytes next_entry(const char **at) {
    const char *end = *at;
    while (*end && !(end[0] == ';' && end[1] == ' ' && end[2] >= '0' && end[2] <= '9')) end++;
    struct bytes entry = { *at, (size_t)(end - *at) };
    *at = *end ? end + 2 : end;
    return entry;
}

/* The two halves of "6.2.0: `SET` with ...". */
static void split(struct bytes entry, struct bytes *version, struct bytes *text) {
    size_t len = 0;
    while (len < entry.len && entry.data[len] != ':') len++;
    *version = (struct bytes){ entry.data, len };
    size_t skip = len;
    while (skip < entry.len && (entry.data[skip] == ':' || entry.data[skip] == ' ')) skip++;
    *text = (struct bytes){ entry.data + skip, entry.len - skip };
}

static void put_history(struct reply *reply, const char *history) {
    size_t count = 0;
    for (const char *at = history; *at; count++) next_entry(&at);
    put(reply, "history");
    reply->writer->set(reply, count);
    for (const char *at = history; *at;) {
        struct bytes version, text;
        split(next_entry(&at), &version, &text);
        reply->writer->array(reply, 2);
        resp_bulk(reply, version);
        resp_bulk(reply, text);
    }
}

static void put_deprecated(struct reply *reply, const char *deprecated) {
    struct bytes version, text;
    split(bytes_of(deprecated), &version, &text);
    put(reply, "doc_flags");
    reply->writer->set(reply, 1);
    reply->writer->status(reply, BYTES("deprecated"));
    put(reply, "deprecated_since");
    resp_bulk(reply, version);
    put(reply, "replaced_by");
    resp_bulk(reply, text);
}

static void put_field(struct reply *reply, const char *name, const char *text) {
    if (!text) return;
    put(reply, name);
    put(reply, text);
}

void commands_docs_reply(struct call *call, const struct command_info *info) {
    struct reply *reply = call->reply;
    const struct command *c = info->command;
    struct docs d = { .info = info, .s = info->synopsis, .arena = call->arena };
    struct doc *arguments = build(&d, d.s->nodes[0].child, -1);

    resp_bulk(reply, info->name);
    reply->writer->map(reply, (size_t) !!c->summary + !!c->since + !!c->group + !!c->complexity +
                                  (c->deprecated ? 3 : 0) + !!c->history + !!arguments +
                                  !!info->children_count);
    put_field(reply, "summary", c->summary);
    put_field(reply, "since", c->since);
    put_field(reply, "group", c->group);
    put_field(reply, "complexity", c->complexity);
    if (c->deprecated) put_deprecated(reply, c->deprecated);
    if (c->history) put_history(reply, c->history);
    if (arguments) put_arguments(reply, arguments);
    if (info->children_count) {
        put(reply, "subcommands");
        reply->writer->map(reply, info->children_count);
        for (size_t i = 0; i < info->children_count; i++)
            commands_docs_reply(call, info->children[i]);
    }
}
