/* synopsis.c: a recursive descent over the grammar in synopsis.h, then two walks over its tree:
 * one that measures how many words it takes, one that finds the keys. It runs at start-up, once for
 * each command, so it is written for the reader. */
#include "command/synopsis.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"

static_assert(SYNOPSIS_NODES_MAX <= UINT8_MAX, "span is a byte");

struct cursor {
    struct synopsis *s;
    const char *at;
    const char *error;
    int depth;
};

static int parse_choice(struct cursor *c);

static void skip_spaces(struct cursor *c) {
    while (*c->at == ' ') c->at++;
}

static bool take(struct cursor *c, const char *sign) {
    size_t len = strlen(sign);
    if (strncmp(c->at, sign, len) != 0) return false;
    c->at += len;
    skip_spaces(c);
    return true;
}

static int node_new(struct cursor *c, enum synopsis_kind kind) {
    if (c->s->nodes_count == SYNOPSIS_NODES_MAX) {
        c->error = "too many parts";
        return 0;
    }
    c->s->nodes[c->s->nodes_count] =
        (struct synopsis_node){ .kind = (uint8_t)kind, .child = -1, .next = -1, .keys_index = -1 };
    return c->s->nodes_count++;
}

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

static bool type_known(struct bytes type) {
    static const char *const types[] = { "key", "int", "double", "pattern", "time", "string" };
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (bytes_equal(type, bytes_of(types[i]))) return true;
    return false;
}

static bool name_fits(struct bytes name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!is_lower(c) && !(c >= '0' && c <= '9') && !strchr("-_/", c)) return false;
    }
    return name.len > 0;
}

static int parse_word(struct cursor *c) {
    const char *start = c->at;
    while (*c->at && !strchr(" []|<>", *c->at)) c->at++;
    struct bytes word = { start, (size_t)(c->at - start) };
    skip_spaces(c);

    int n = node_new(c, is_lower(*start) ? SYNOPSIS_VALUE : SYNOPSIS_TOKEN);
    if (c->error) return n;
    struct synopsis_node *node = &c->s->nodes[n];
    node->text = bytes_equal(word, BYTES("\"\"")) ? BYTES("") : word;
    if (node->kind != SYNOPSIS_VALUE) return n;

    const char *colon = memchr(word.data, ':', word.len);
    if (colon) {
        node->text.len = (size_t)(colon - word.data);
        node->type = (struct bytes){ colon + 1, word.len - node->text.len - 1 };
        if (!type_known(node->type)) c->error = "an unknown type";
    } else if (bytes_equal(word, BYTES("key"))) {
        node->type = word;
    }
    if (!name_fits(node->text)) c->error = "a name with other than a-z 0-9 - _ /";
    return n;
}

static int children(const struct synopsis *s, int n) {
    int count = 0;
    for (int i = s->nodes[n].child; i >= 0; i = s->nodes[i].next) count++;
    return count;
}

/* The inside of brackets has ended with "...": puts a repeat over it. A choice repeats as one item. */
static int wrap_repeat(struct cursor *c, int n) {
    int repeat = n;
    if (c->s->nodes[n].kind == SYNOPSIS_CHOICE) {
        repeat = node_new(c, SYNOPSIS_REPEAT);
        if (c->error) return n;
        c->s->nodes[repeat].child = (int16_t)n;
    }
    c->s->nodes[repeat].kind = SYNOPSIS_REPEAT;
    c->s->nodes[repeat].span = (uint8_t)children(c->s, repeat);
    return repeat;
}

static int parse_item(struct cursor *c) {
    bool optional = take(c, "[");
    if (!optional && !take(c, "<")) return parse_word(c);

    int n = parse_choice(c);
    if (c->error) return n;
    if (c->s->nodes[n].child < 0) c->error = "nothing inside";
    if (optional && take(c, "...")) n = wrap_repeat(c, n);
    if (c->error) return n;
    c->s->nodes[n].optional = optional;
    if (!take(c, optional ? "]" : ">"))
        c->error = optional ? "a [ without its ]" : "a < without its >";
    return n;
}

static bool same_tree(const struct synopsis *s, int a, int b) {
    const struct synopsis_node *x = &s->nodes[a], *y = &s->nodes[b];
    if (x->kind != y->kind || x->optional != y->optional || x->span != y->span) return false;
    if (!bytes_equal(x->text, y->text) || !bytes_equal(x->type, y->type)) return false;
    int i = x->child, j = y->child;
    while (i >= 0 && j >= 0 && same_tree(s, i, j)) {
        i = s->nodes[i].next;
        j = s->nodes[j].next;
    }
    return i < 0 && j < 0;
}

/* A repeat says again what stands before it, or it stands for itself. */
static void settle_repeat(struct synopsis *s, int sequence, int repeat) {
    int before = 0;
    for (int i = s->nodes[sequence].child; i != repeat; i = s->nodes[i].next) before++;
    int span = s->nodes[repeat].span;
    if (span > before) {
        s->nodes[repeat].span = 0;
        return;
    }
    int item = s->nodes[sequence].child, again = s->nodes[repeat].child;
    for (int i = 0; i < before - span; i++) item = s->nodes[item].next;
    for (; again >= 0; item = s->nodes[item].next, again = s->nodes[again].next) {
        if (!same_tree(s, item, again)) {
            s->nodes[repeat].span = 0;
            return;
        }
    }
}

static int parse_sequence(struct cursor *c) {
    int n = node_new(c, SYNOPSIS_SEQUENCE), last = -1;
    while (!c->error && *c->at && !strchr("]>|", *c->at) && strncmp(c->at, "...", 3) != 0) {
        int item = parse_item(c);
        if (last < 0)
            c->s->nodes[n].child = (int16_t)item;
        else
            c->s->nodes[last].next = (int16_t)item;
        last = item;
        if (!c->error && c->s->nodes[item].kind == SYNOPSIS_REPEAT) settle_repeat(c->s, n, item);
    }
    return n;
}

static int parse_choice(struct cursor *c) {
    if (++c->depth > SYNOPSIS_DEPTH_MAX) c->error = "nested too deep";
    int first = parse_sequence(c);
    bool empty = !c->error && c->s->nodes[first].child < 0;
    if (!c->error && *c->at == '|') {
        int n = node_new(c, SYNOPSIS_CHOICE), last = first;
        c->s->nodes[n].child = (int16_t)first;
        while (!c->error && take(c, "|")) {
            int other = parse_sequence(c);
            empty |= !c->error && c->s->nodes[other].child < 0;
            c->s->nodes[last].next = (int16_t)other;
            last = other;
        }
        first = n;
        if (empty && !c->error) c->error = "an empty choice";
    }
    c->depth--;
    return first;
}

/* How many words a node takes. */
struct words {
    int min;
    bool fixed; /* always exactly min */
};

static struct words measure(const struct synopsis *s, int n);

static struct words measure_from(const struct synopsis *s, int first) {
    struct words sum = { 0, true };
    for (int i = first; i >= 0; i = s->nodes[i].next) {
        struct words w = measure(s, i);
        sum.min += w.min;
        sum.fixed &= w.fixed;
    }
    return sum;
}

static struct words measure_choice(const struct synopsis *s, int n) {
    struct words best = measure(s, s->nodes[n].child);
    for (int i = s->nodes[s->nodes[n].child].next; i >= 0; i = s->nodes[i].next) {
        struct words w = measure(s, i);
        best.fixed &= w.fixed && w.min == best.min;
        if (w.min < best.min) best.min = w.min;
    }
    return best;
}

static struct words measure(const struct synopsis *s, int n) {
    const struct synopsis_node *node = &s->nodes[n];
    if (node->optional) return (struct words){ 0, false };
    switch ((enum synopsis_kind)node->kind) {
    case SYNOPSIS_TOKEN:
    case SYNOPSIS_VALUE: return (struct words){ 1, true };
    case SYNOPSIS_SEQUENCE: return measure_from(s, node->child);
    case SYNOPSIS_CHOICE: return measure_choice(s, n);
    case SYNOPSIS_REPEAT: break;
    }
    return (struct words){ 0, false };
}

/* The walk that looks for keys: where it stands, and what it has just passed. */
struct walk {
    struct synopsis *s;
    int position;       /* of the next word, as long as `certain` */
    bool certain;       /* nothing before was optional */
    int certain_until;  /* the first word that is not certain; 0 as long as all are */
    bool after_count;   /* the word before is numkeys */
    bool or_empty;      /* the other arm of the choice is an empty word */
    bool optional;      /* inside of something that may be left out */
    int repeat;         /* inside of this repeat, which stands for itself; else -1 */
    struct bytes token; /* the last token before */
    struct words after; /* what follows what is walked */
    const char *error;
};

/* The repeat that covers `n`, if one does, else -1: for "key value [key value ...]" it covers both. */
static int repeat_over(const struct synopsis *s, int n) {
    int distance = 1;
    for (int i = s->nodes[n].next; i >= 0; i = s->nodes[i].next, distance++)
        if (s->nodes[i].kind == SYNOPSIS_REPEAT) return distance <= s->nodes[i].span ? i : -1;
    return -1;
}

static bool same_keys(const struct synopsis_keys *a, const struct synopsis_keys *b) {
    return a->begin_index == b->begin_index && bytes_equal(a->keyword, b->keyword) &&
           a->start_from == b->start_from && a->counted == b->counted && a->last == b->last &&
           a->step == b->step && a->limit == b->limit && a->or_empty == b->or_empty;
}

static struct words words_sum(struct words a, struct words b) {
    return (struct words){ a.min + b.min, a.fixed && b.fixed };
}

/* Whether as many words again follow the repeat: "key [key ...] id [id ...]". */
static bool has_other_half(const struct synopsis *s, int repeat) {
    int other = s->nodes[repeat].next;
    return other >= 0 && s->nodes[other].kind == SYNOPSIS_VALUE && repeat_over(s, other) >= 0;
}

static void add_keys(struct walk *w, int n) {
    struct synopsis_keys k = { .step = 1, .or_empty = w->or_empty };
    if (w->certain) {
        k.begin_index = w->position;
    } else {
        k.keyword = w->token;
        k.start_from = w->certain_until;
        if (w->token.len == 0) w->error = "a key after something optional needs a token before it";
    }

    int repeat = w->repeat >= 0 ? w->repeat : repeat_over(w->s, n);
    if (w->after_count) {
        k.counted = true;
        if (w->certain) k.begin_index--;
    } else if (repeat >= 0) {
        struct words tail = w->after;
        if (w->repeat < 0) tail = words_sum(measure_from(w->s, w->s->nodes[repeat].next), tail);
        struct words group = measure_from(w->s, w->s->nodes[repeat].child);
        if (!group.fixed) w->error = "keys at uneven distances";
        k.step = group.min;
        k.last = tail.fixed ? -1 - tail.min : -1;
        k.limit = has_other_half(w->s, repeat) ? 2 : 0;
    }
    int i = 0;
    while (i < w->s->keys_count && !same_keys(&w->s->keys[i], &k)) i++; /* both arms may say so */
    if (i == SYNOPSIS_KEYS_MAX) {
        w->error = "too many keys";
        return;
    }
    w->s->nodes[n].keys_index = (int8_t)i;
    if (i < w->s->keys_count) return;
    w->s->keys[w->s->keys_count++] = k;
}

static bool has_empty_arm(const struct synopsis *s, int choice) {
    for (int arm = s->nodes[choice].child; arm >= 0; arm = s->nodes[arm].next) {
        int word = s->nodes[arm].child;
        if (s->nodes[word].kind == SYNOPSIS_TOKEN && s->nodes[word].text.len == 0) return true;
    }
    return false;
}

static void become_uncertain(struct walk *w) {
    if (w->certain) w->certain_until = w->position;
    w->certain = false;
}

static void find_keys(struct walk *w, int first);

/* Walks into `n`, whose children begin with `child`, and comes back knowing only of errors. */
static void find_keys_inside(struct walk *w, int n, int child) {
    struct walk inner = *w;
    inner.after = words_sum(measure_from(w->s, w->s->nodes[n].next), w->after);
    inner.optional |= w->s->nodes[n].optional;
    find_keys(&inner, child);
    if (inner.error) w->error = inner.error;
}

static void find_keys(struct walk *w, int first) {
    for (int i = first; i >= 0 && !w->error; i = w->s->nodes[i].next) {
        const struct synopsis_node *node = &w->s->nodes[i];
        struct words words = measure(w->s, i);
        if (synopsis_is_key(node)) add_keys(w, i);

        bool count = node->kind == SYNOPSIS_VALUE && bytes_equal(node->text, BYTES("numkeys"));
        if (node->kind == SYNOPSIS_TOKEN) {
            w->token = node->text;
            if (w->optional) become_uncertain(w); /* other options may stand before this one */
        } else if (!count) {
            w->token = (struct bytes){}; /* stands directly before a key, or not at all */
        }
        if (node->kind == SYNOPSIS_SEQUENCE) {
            find_keys_inside(w, i, node->child);
        } else if (node->kind == SYNOPSIS_REPEAT && node->span == 0) {
            int repeat = w->repeat;
            w->repeat = i;
            find_keys_inside(w, i, node->child);
            w->repeat = repeat;
        } else if (node->kind == SYNOPSIS_CHOICE) {
            bool or_empty = w->or_empty;
            w->or_empty = has_empty_arm(w->s, i);
            for (int arm = node->child; arm >= 0; arm = w->s->nodes[arm].next)
                find_keys_inside(w, i, w->s->nodes[arm].child);
            w->or_empty = or_empty;
        }
        w->after_count = count;
        w->position += words.min;
        if (!words.fixed) become_uncertain(w);
    }
}

static void find_parity(struct synopsis *s) {
    struct words rest = { s->words, true };
    int repeat = -1;
    for (int i = s->nodes[0].child; i >= 0; i = s->nodes[i].next) {
        if (s->nodes[i].kind == SYNOPSIS_REPEAT && repeat < 0)
            repeat = i;
        else
            rest = words_sum(rest, measure(s, i));
    }
    if (repeat < 0 || !rest.fixed) return;
    struct words group = measure_from(s, s->nodes[repeat].child);
    if (!group.fixed || group.min < 2) return;
    s->parity_from = rest.min;
    s->parity_step = group.min;
}

const char *synopsis_parse(struct synopsis *s, const char *line, int words) {
    assert(words == 1 || words == 2);
    memset(s, 0, sizeof *s);

    const char *end = line;
    for (int i = 0; i < words; i++) {
        if (i > 0 && *end) end++;
        size_t len = strcspn(end, " ");
        if (len == 0) return "a name is missing";
        end += len;
    }
    s->name = (struct bytes){ line, (size_t)(end - line) };
    s->words = words;

    struct cursor c = { .s = s, .at = end };
    skip_spaces(&c);
    int root = parse_sequence(&c);
    if (!c.error && *c.at) c.error = "a ] or > that closes nothing";
    if (c.error) return c.error;
    assert(root == 0);

    struct words total = measure(s, root);
    s->arity = total.fixed ? words + total.min : -(words + total.min);
    find_parity(s);

    struct walk w = {
        .s = s, .position = words, .certain = true, .after = { 0, true }, .repeat = -1
    };
    find_keys(&w, s->nodes[root].child);
    return w.error;
}

static size_t synopsis_size(const struct synopsis *s) {
    return offsetof(struct synopsis, nodes) + (size_t)s->nodes_count * sizeof s->nodes[0];
}

struct synopsis *synopsis_copy(const struct synopsis *s) {
    struct synopsis *copy = mem_new(synopsis_size(s));
    memcpy(copy, s, synopsis_size(s));
    return copy;
}

struct synopsis *synopsis_free(struct synopsis *s) {
    if (s) mem_free(s, synopsis_size(s));
    return NULL;
}

/* The option that `n` (a sequence, an arm or an item outside of brackets) begins with. */
static bool option_matches(const struct synopsis *s, int n, struct bytes word) {
    return n >= 0 && s->nodes[n].kind == SYNOPSIS_TOKEN && s->nodes[n].text.len > 0 &&
           bytes_equal_nocase(s->nodes[n].text, word);
}

static int option_in(const struct synopsis *s, int first, struct bytes word, struct bytes *token) {
    if (!option_matches(s, first, word)) return 0;
    *token = s->nodes[first].text;
    return measure_from(s, first).min;
}

int synopsis_option(const struct synopsis *s, struct bytes word, struct bytes *token) {
    *token = (struct bytes){};
    for (int i = s->nodes[0].child; i >= 0; i = s->nodes[i].next) {
        const struct synopsis_node *node = &s->nodes[i];
        int words = 0;
        if (node->kind == SYNOPSIS_TOKEN && option_matches(s, i, word)) {
            *token = node->text;
            return 1; /* what follows it has words of its own */
        }
        if (node->kind == SYNOPSIS_SEQUENCE) words = option_in(s, node->child, word, token);
        if (node->kind == SYNOPSIS_CHOICE) {
            for (int arm = node->child; arm >= 0 && words == 0; arm = s->nodes[arm].next)
                words = option_in(s, s->nodes[arm].child, word, token);
        }
        if (words > 0) return words;
    }
    return 1;
}
