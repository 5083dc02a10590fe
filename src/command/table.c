/* table.c: all commands, found by name; and which words of a call are keys.
 *
 * The table is open-addressed and filled at start-up, a quarter full at most. A slot holds what the
 * name hashes by, so that a lookup that finds nothing rarely reads a name:
 *
 *     word   the first 8 bytes (all, of a shorter name), bit 0x20 of each cleared: any case alike
 *     len    of the whole name
 *     id     of the command; its name is compared once, at the end
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "base/number.h"
#include "command/command.h"

extern const struct command *const __start_commands[] __attribute__((weak, visibility("hidden")));
extern const struct command *const __stop_commands[] __attribute__((weak, visibility("hidden")));

enum { SLOTS_PER_COMMAND = 4, NAME_MAX_SIZE = 64 };

struct slot {
    uint64_t word;
    uint32_t len; /* 0: empty */
    uint32_t id;
};

struct commands {
    struct slot *slots;
    unsigned shift; /* 64 - log2 of the number of slots */
    size_t slots_count, count;
    struct command_info *infos;  /* in order of name; the index is the id */
    struct command_info **order; /* pointers to them, which children share */
};

/* ---- names ---- */

/* The bytes of a short name, each at least once, without reading past its end. */
static uint64_t name_word(struct bytes name) {
    uint64_t word = 0;
    if (name.len >= 8) {
        memcpy(&word, name.data, 8);
    } else if (name.len >= 4) {
        uint32_t head, tail;
        memcpy(&head, name.data, 4);
        memcpy(&tail, name.data + name.len - 4, 4);
        word = (uint64_t)tail << 32 | head;
    } else {
        word = (uint64_t)(unsigned char)name.data[0] |
               (uint64_t)(unsigned char)name.data[name.len / 2] << 8 |
               (uint64_t)(unsigned char)name.data[name.len - 1] << 16;
    }
    return word & ~UINT64_C(0x2020202020202020);
}

static size_t slot_of(const struct commands *commands, uint64_t word, size_t len) {
    uint64_t hash = (word ^ len * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    return (hash ^ hash << 32) >> commands->shift;
}

static char lower(char c) {
    if (c < 'A' || c > 'Z') return c;
    return (char)(c | 0x20);
}

/* Below, at or above zero, as `a` stands to `b`, in any case. */
static int name_compare(struct bytes a, struct bytes b) {
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int difference = (unsigned char)lower(a.data[i]) - (unsigned char)lower(b.data[i]);
        if (difference != 0) return difference;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* ---- making the table ---- */

static struct bytes name_new(struct bytes words) {
    char *name = mem_new(words.len);
    for (size_t i = 0; i < words.len; i++) {
        name[i] = lower(words.data[i]);
        if (name[i] == ' ') name[i] = '|';
    }
    return (struct bytes){ name, words.len };
}

static int arity_of(const struct command *command, const struct synopsis *synopsis) {
    if (command->arity != 0) return command->arity;
    if (command->flags & CMD_CONTAINER) return command->run ? -1 : -2;
    return synopsis->arity;
}

static bool takes_one_key(const struct command *command, const struct synopsis *s) {
    const struct synopsis_keys *k = &s->keys[0];
    return s->keys_count == 1 && !command->find_keys && !(command->keys & KEY_NOT_KEY) &&
           k->begin_index == 1 && !k->counted && !k->or_empty && k->last == 0 && k->limit == 0;
}

const char *command_info_init(struct command_info *info, const struct command *command, int words) {
    struct synopsis synopsis;
    const char *wrong = synopsis_parse(&synopsis, command->synopsis, words);
    if (wrong) return wrong;
    if (synopsis.name.len > NAME_MAX_SIZE) return "a name that is too long";
    if (synopsis.keys_count > 0 && command->keys == 0)
        return "has keys, and .keys does not say how";

    *info = (struct command_info){
        .command = command,
        .name = name_new(synopsis.name),
        .arity = arity_of(command, &synopsis),
        .parity_from = (unsigned)synopsis.parity_from,
        .parity_step = (unsigned)synopsis.parity_step,
        .one_key = takes_one_key(command, &synopsis),
        .brief = command->flags & CMD_FAST ||
                 (command->complexity && strcmp(command->complexity, "O(1)") == 0),
        .flags = command->run ? command->flags & ~(unsigned)CMD_CONTAINER : command->flags,
        .synopsis = synopsis_copy(&synopsis),
    };
    return NULL;
}

void command_info_deinit(struct command_info *info) {
    if (info->name.data) mem_free((void *)(uintptr_t)info->name.data, info->name.len);
    info->synopsis = synopsis_free(info->synopsis);
    info->name = (struct bytes){};
}

static struct bytes first_word(const char *synopsis) {
    return (struct bytes){ synopsis, strcspn(synopsis, " ") };
}

static bool is_subcommand(const struct command *command) {
    if (command->flags & CMD_CONTAINER) return false;
    for (const struct command *const *c = __start_commands; c < __stop_commands; c++)
        if ((*c)->flags & CMD_CONTAINER &&
            bytes_equal(first_word((*c)->synopsis), first_word(command->synopsis)))
            return true;
    return false;
}

static int info_compare(const void *a, const void *b) {
    const struct command_info *x = a, *y = b;
    return name_compare(x->name, y->name);
}

static void read_section(struct commands *commands) {
    struct command_info *info = commands->infos;
    for (const struct command *const *c = __start_commands; c < __stop_commands; c++, info++) {
        const char *wrong = command_info_init(info, *c, is_subcommand(*c) ? 2 : 1);
        if (wrong) assert_failed(wrong, (*c)->synopsis, 0);
    }
    qsort(commands->infos, commands->count, sizeof *commands->infos, info_compare);
    for (size_t i = 0; i < commands->count; i++) {
        commands->infos[i].id = (uint32_t)i;
        commands->order[i] = &commands->infos[i];
        if (i > 0 && bytes_equal(commands->infos[i].name, commands->infos[i - 1].name))
            assert_failed("a command is written twice", commands->infos[i].command->synopsis, 0);
    }
}

/* Children follow one another in order of name: their names begin alike, with "container|". */
static void link_family(struct commands *commands, struct command_info *child) {
    const char *bar = memchr(child->name.data, '|', child->name.len);
    struct bytes name = { child->name.data, (size_t)(bar - child->name.data) };
    struct command_info *parent = commands_find(commands, name);
    assert(parent != NULL);
    child->parent = parent;
    if (parent->children_count++ == 0) parent->children = &commands->order[child->id];
}

static bool is_child(const struct command_info *info) {
    return info->synopsis->words == 2;
}

static void fill_slots(struct commands *commands) {
    unsigned bits = 3;
    while (((size_t)1 << bits) < commands->count * SLOTS_PER_COMMAND) bits++;
    commands->shift = 64 - bits;
    commands->slots_count = (size_t)1 << bits;
    commands->slots = mem_new_zero(commands->slots_count * sizeof *commands->slots);
    for (size_t id = 0; id < commands->count; id++) {
        const struct command_info *info = &commands->infos[id];
        if (is_child(info)) continue;
        uint64_t word = name_word(info->name);
        size_t at = slot_of(commands, word, info->name.len);
        while (commands->slots[at].len) at = (at + 1) & (commands->slots_count - 1);
        commands->slots[at] = (struct slot){ word, (uint32_t)info->name.len, (uint32_t)id };
    }
}

struct commands *commands_new(void) {
    struct commands *commands = mem_new_zero(sizeof *commands);
    commands->count = __start_commands ? (size_t)(__stop_commands - __start_commands) : 0;
    if (commands->count > 0) {
        commands->infos = mem_new_zero(commands->count * sizeof *commands->infos);
        commands->order = mem_new_zero(commands->count * sizeof(struct command_info *));
        read_section(commands);
    }
    fill_slots(commands);
    for (size_t i = 0; i < commands->count; i++)
        if (is_child(&commands->infos[i])) link_family(commands, &commands->infos[i]);
    return commands;
}

struct commands *commands_free(struct commands *commands) {
    if (!commands) return NULL;
    for (size_t i = 0; i < commands->count; i++) command_info_deinit(&commands->infos[i]);
    mem_free(commands->infos, commands->count * sizeof *commands->infos);
    mem_free(commands->order, commands->count * sizeof(struct command_info *));
    mem_free(commands->slots, commands->slots_count * sizeof *commands->slots);
    mem_free(commands, sizeof *commands);
    return NULL;
}

/* ---- finding ---- */

size_t commands_count(const struct commands *commands) {
    return commands->count;
}

struct command_info *commands_at(const struct commands *commands, size_t i) {
    assert(i < commands->count);
    return &commands->infos[i];
}

struct command_info *commands_find(const struct commands *commands, struct bytes name) {
    if (name.len == 0) return NULL;
    uint64_t word = name_word(name);
    for (size_t at = slot_of(commands, word, name.len); commands->slots[at].len;
         at = (at + 1) & (commands->slots_count - 1)) {
        const struct slot *slot = &commands->slots[at];
        if (slot->word != word || slot->len != name.len) continue;
        struct command_info *info = &commands->infos[slot->id];
        if (bytes_equal_nocase(info->name, name)) return info;
    }
    return NULL;
}

static struct command_info *find_child(const struct command_info *parent, struct bytes word) {
    size_t low = 0, high = parent->children_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct bytes name = parent->children[middle]->name;
        size_t skip = parent->name.len + 1;
        int order = name_compare((struct bytes){ name.data + skip, name.len - skip }, word);
        if (order == 0) return parent->children[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct command_info *commands_resolve(const struct commands *commands, const struct bytes *args,
                                      size_t count, struct command_info **container) {
    assert(count > 0);
    *container = NULL;
    struct command_info *info = commands_find(commands, args[0]);
    if (LIKELY(!info || info->children_count == 0) || count == 1) return info;
    *container = info;
    return find_child(info, args[1]);
}

bool command_count_fits(const struct command_info *info, size_t count) {
    return info->arity >= 0 ? count == (size_t)info->arity : count >= (size_t)-info->arity;
}

bool command_arity_fits(const struct command_info *info, size_t count) {
    bool fits = command_count_fits(info, count);
    if (LIKELY(!fits || info->parity_step == 0)) return fits;
    return count >= info->parity_from && (count - info->parity_from) % info->parity_step == 0;
}

/* ---- keys ---- */

/* Positions as they are found: in order, but for calls that are odd. */
struct gather {
    struct key_positions *out;
    unsigned *access; /* one for each position; NULL when nobody asks */
    struct arena *arena;
    size_t cap, count; /* room in out->at; words of the call, more than keys can be */
};

static void put_key(struct gather *g, size_t position, unsigned access) {
    struct key_positions *out = g->out;
    size_t at = out->count;
    while (at > 0 && out->at[at - 1] >= position) at--;
    if (at < out->count && out->at[at] == position) return;
    if (out->count == g->cap) {
        uint32_t *more = arena_new(g->arena, g->count * sizeof *more);
        memcpy(more, out->at, out->count * sizeof *more);
        out->at = more;
        g->cap = g->count;
    }
    for (size_t i = out->count; i > at; i--) {
        out->at[i] = out->at[i - 1];
        if (g->access) g->access[i] = g->access[i - 1];
    }
    out->at[at] = (uint32_t)position;
    if (g->access) g->access[at] = access;
    out->count++;
}

/* Takes the keys of `k` that begin at word `begin`. */
static bool take_keys(struct gather *g, const struct synopsis_keys *k, const struct bytes *args,
                      size_t begin, unsigned access) {
    if (begin >= g->count) return true;
    if (k->counted) {
        int64_t n;
        if (!int_parse(args[begin], &n) || n < 0 || (uint64_t)n > g->count - begin - 1)
            return false;
        for (size_t i = 0; i < (size_t)n; i++) put_key(g, begin + 1 + i, access);
        return true;
    }
    size_t end = g->count; /* behind the last key */
    if (k->limit == 2)
        end = begin + (g->count - begin) / 2;
    else if (k->last >= 0)
        end = begin + (size_t)k->last + 1;
    else
        end -= end > (size_t)(-1 - k->last) ? (size_t)(-1 - k->last) : end;
    if (end > g->count) end = g->count;
    for (size_t i = begin; i < end; i += (size_t)k->step)
        if (!k->or_empty || args[i].len > 0) put_key(g, i, access);
    return true;
}

/* Steps from option to option, so that an option's value is not taken for the keyword. */
static bool take_keys_after_keyword(struct gather *g, const struct synopsis *s,
                                    const struct synopsis_keys *k, const struct bytes *args,
                                    unsigned access) {
    for (size_t i = (size_t)k->start_from; i < g->count;) {
        struct bytes token;
        size_t words = (size_t)synopsis_option(s, args[i], &token);
        if (bytes_equal(token, k->keyword)) {
            if (!take_keys(g, k, args, i + 1, access)) return false;
            if (k->last < 0) return true; /* they reach to the end */
        }
        i += words;
    }
    return true;
}

static unsigned access_of(const struct command_info *info, int keys_index, const struct bytes *args,
                          size_t count) {
    const struct command *command = info->command;
    if (command->access) return command->access(args, count);
    return keys_index > 0 && command->keys_two ? command->keys_two : command->keys;
}

static bool find_keys(const struct commands *commands, const struct command_info *info,
                      const struct bytes *args, struct gather *g) {
    const struct command *command = info->command;
    const struct synopsis *s = info->synopsis;
    if (command->keys & KEY_NOT_KEY) return true;
    if (command->find_keys) {
        if (!command->find_keys(commands, args, g->count, g->arena, g->out)) return false;
        for (size_t i = 0; g->access && i < g->out->count; i++)
            g->access[i] = access_of(info, 0, args, g->count);
        return true;
    }
    for (int i = 0; i < s->keys_count; i++) {
        const struct synopsis_keys *k = &s->keys[i];
        unsigned access = g->access ? access_of(info, i, args, g->count) : 0;
        bool fits = k->begin_index > 0 ? take_keys(g, k, args, (size_t)k->begin_index, access)
                                       : take_keys_after_keyword(g, s, k, args, access);
        if (!fits) return false;
    }
    return true;
}

bool command_keys(const struct commands *commands, const struct command_info *info,
                  const struct bytes *args, size_t count, struct arena *arena,
                  struct key_positions *out) {
    out->count = 0;
    out->at = out->few;
    if (info->one_key) {
        if (count < 2) return false;
        out->few[0] = 1;
        out->count = 1;
        return true;
    }
    struct gather g = { .out = out, .arena = arena, .cap = KEYS_INLINE_MAX, .count = count };
    return find_keys(commands, info, args, &g);
}

bool command_keys_access(const struct commands *commands, const struct command_info *info,
                         const struct bytes *args, size_t count, struct arena *arena,
                         struct key_positions *out, unsigned **access) {
    out->count = 0;
    out->at = out->few;
    *access = arena_new(arena, (count + 1) * sizeof **access);
    struct gather g = {
        .out = out, .access = *access, .arena = arena, .cap = KEYS_INLINE_MAX, .count = count
    };
    return find_keys(commands, info, args, &g);
}

bool command_has_keys(const struct command_info *info) {
    if (info->command->keys & KEY_NOT_KEY) return false;
    return info->command->find_keys || info->synopsis->keys_count > 0;
}
