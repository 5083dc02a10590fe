/* acl_rules.c: rule sets: the grammar of their words, and back into words. */
#include "command/acl_rules.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "command/category.h"
#include "command/command.h"

enum { BITS = 64 };

/* ---- lists in the arena ---- */

/* Room for one more of `each` bytes, or LIMIT. */
static enum status make_room(struct acl_rules *rules, void *list, size_t count, size_t *cap,
                             size_t each, struct problem *why) {
    if (count == ACL_LIST_MAX)
        return problem_set(why, LIMIT, 0, "a user has at most %d of each kind of rule",
                           ACL_LIST_MAX);
    if (count < *cap) return OK;
    size_t more = *cap ? 2 * *cap : 4;
    void *bigger = arena_new(&rules->arena, more * each);
    void *old;
    memcpy(&old, list, sizeof old);
    if (count) memcpy(bigger, old, count * each);
    memcpy(list, &bigger, sizeof bigger);
    *cap = more;
    return OK;
}

#define MAKE_ROOM(rules, owner, list, why)                                                \
    make_room(rules, (void *)&(owner)->list, (owner)->list##_count, &(owner)->list##_cap, \
              sizeof *(owner)->list, why)

static enum status keep_text(struct acl_rules *rules, struct bytes text, struct bytes *out,
                             struct problem *why) {
    if (text.len > ACL_USER_SIZE_MAX - rules->size)
        return problem_set(why, LIMIT, 0, "the rules of a user have at most %d bytes",
                           ACL_USER_SIZE_MAX);
    rules->size += text.len;
    *out = arena_copy(&rules->arena, text);
    return OK;
}

/* ---- making ---- */

static size_t bitmap_words(const struct acl_rules *rules) {
    return commands_count(rules->commands) / BITS + 1;
}

static void selector_init(struct acl_rules *rules, struct acl_selector *selector) {
    size_t size = bitmap_words(rules) * sizeof(uint64_t);
    *selector = (struct acl_selector){ .all_channels = rules->channels_open };
    selector->commands = arena_new(&rules->arena, size);
    memset(selector->commands, 0, size);
}

static struct acl_rules *rules_new(const struct commands *commands, bool channels_open) {
    struct acl_rules *rules = mem_new_zero(sizeof *rules);
    atomic_init(&rules->references, 1);
    arena_init(&rules->arena);
    rules->commands = commands;
    rules->channels_open = channels_open;
    return rules;
}

struct acl_rules *acl_rules_new(const struct commands *commands, bool channels_open) {
    struct acl_rules *rules = rules_new(commands, channels_open);
    enum status status = MAKE_ROOM(rules, rules, selectors, NULL);
    assert(status == OK);
    selector_init(rules, &rules->selectors[rules->selectors_count++]);
    return rules;
}

static void *list_copy(struct acl_rules *to, const void *list, size_t count, size_t each) {
    void *copy = arena_new(&to->arena, count * each);
    if (count) memcpy(copy, list, count * each);
    return copy;
}

#define COPY_LIST(to, target, list)                 \
    ((target)->list##_cap = (target)->list##_count, \
     (target)->list =                               \
         list_copy(to, (target)->list, (target)->list##_count, sizeof *(target)->list))

static void selector_copy(struct acl_rules *to, struct acl_selector *selector) {
    struct arena *arena = &to->arena;
    selector->commands =
        list_copy(to, selector->commands, bitmap_words(to), sizeof *selector->commands);
    COPY_LIST(to, selector, keys);
    COPY_LIST(to, selector, channels);
    COPY_LIST(to, selector, first_words);
    COPY_LIST(to, selector, said);
    for (size_t i = 0; i < selector->keys_count; i++)
        selector->keys[i].text = arena_copy(arena, selector->keys[i].text);
    for (size_t i = 0; i < selector->channels_count; i++)
        selector->channels[i].text = arena_copy(arena, selector->channels[i].text);
    for (size_t i = 0; i < selector->first_words_count; i++)
        selector->first_words[i].word = arena_copy(arena, selector->first_words[i].word);
    for (size_t i = 0; i < selector->said_count; i++)
        selector->said[i].name = arena_copy(arena, selector->said[i].name);
}

static size_t selector_size(const struct acl_selector *selector) {
    size_t size = 0;
    for (size_t i = 0; i < selector->keys_count; i++) size += selector->keys[i].text.len;
    for (size_t i = 0; i < selector->channels_count; i++) size += selector->channels[i].text.len;
    for (size_t i = 0; i < selector->first_words_count; i++)
        size += selector->first_words[i].word.len;
    for (size_t i = 0; i < selector->said_count; i++) size += selector->said[i].name.len;
    return size;
}

struct acl_rules *acl_rules_copy(const struct acl_rules *rules) {
    struct acl_rules *copy = rules_new(rules->commands, rules->channels_open);
    copy->on = rules->on;
    copy->nopass = rules->nopass;
    copy->skip_sanitize = rules->skip_sanitize;
    copy->passwords = rules->passwords;
    copy->passwords_count = rules->passwords_count;
    copy->selectors = rules->selectors;
    copy->selectors_count = rules->selectors_count;
    COPY_LIST(copy, copy, passwords);
    COPY_LIST(copy, copy, selectors);
    for (size_t i = 0; i < copy->selectors_count; i++) {
        selector_copy(copy, &copy->selectors[i]);
        copy->size += selector_size(&copy->selectors[i]);
    }
    return copy;
}

struct acl_rules *acl_rules_ref(struct acl_rules *rules) {
    if (rules) atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
    return rules;
}

struct acl_rules *acl_rules_unref(struct acl_rules *rules) {
    if (!rules) return NULL;
    /* Released by each holder, acquired by the last: its freeing comes after all their reading. */
    if (atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1) return NULL;
    if (rules->passwords_count) /* the arena's memory goes back with nothing to find in it */
        OPENSSL_cleanse(rules->passwords, rules->passwords_count * sizeof *rules->passwords);
    arena_deinit(&rules->arena);
    mem_free(rules, sizeof *rules);
    return NULL;
}

/* ---- commands ---- */

static void put_bit(struct acl_selector *selector, const struct command_info *info, bool on) {
    uint64_t bit = UINT64_C(1) << info->id % BITS;
    if (on) {
        selector->commands[info->id / BITS] |= bit;
    } else {
        selector->commands[info->id / BITS] &= ~bit;
        selector->all_commands = false;
    }
    size_t kept = 0; /* whatever is said of the whole command makes words about it void */
    for (size_t i = 0; i < selector->first_words_count; i++)
        if (selector->first_words[i].info != info)
            selector->first_words[kept++] = selector->first_words[i];
    selector->first_words_count = kept;
}

/* A command and its subcommands. */
static void allow(struct acl_selector *selector, const struct command_info *info, bool on) {
    put_bit(selector, info, on);
    for (size_t i = 0; i < info->children_count; i++) put_bit(selector, info->children[i], on);
}

static void allow_all(const struct acl_rules *rules, struct acl_selector *selector, bool on) {
    for (size_t i = 0; i < bitmap_words(rules); i++) selector->commands[i] = on ? UINT64_MAX : 0;
    selector->all_commands = selector->from_all = on;
    selector->first_words_count = selector->said_count = 0;
}

/* Whether what is said of `name` is also said of `older`: the same, or a subcommand of it. */
static bool covers(struct bytes name, struct bytes older) {
    if (older.len < name.len || memcmp(older.data, name.data, name.len) != 0) return false;
    return older.len == name.len || older.data[name.len] == '|';
}

static enum status say(struct acl_rules *rules, struct acl_selector *selector, bool on,
                       struct bytes name, struct problem *why) {
    struct bytes kept_name;
    if (keep_text(rules, name, &kept_name, why) != OK) return LIMIT;
    for (size_t i = 0; i < kept_name.len; i++)
        ((char *)(uintptr_t)kept_name.data)[i] = (char)tolower((unsigned char)kept_name.data[i]);
    size_t kept = 0;
    for (size_t i = 0; i < selector->said_count; i++)
        if (!covers(kept_name, selector->said[i].name)) selector->said[kept++] = selector->said[i];
    selector->said_count = kept;
    if (MAKE_ROOM(rules, selector, said, why) != OK) return LIMIT;
    selector->said[selector->said_count++] = (struct acl_said){ on, kept_name };
    return OK;
}

static enum status unknown(struct problem *why) {
    return problem_set(why, NOT_FOUND, 0, "Unknown command or category name in ACL");
}

static enum status syntax(struct problem *why) {
    return problem_set(why, INVALID, 0, "Syntax error");
}

static enum status apply_category(struct acl_rules *rules, struct acl_selector *selector, bool on,
                                  struct bytes word, struct problem *why) {
    struct bytes name = { word.data + 1, word.len - 1 };
    if (bytes_equal_nocase(name, BYTES("all"))) {
        allow_all(rules, selector, on);
        return OK;
    }
    unsigned category = category_find(name);
    if (!category) return unknown(why);
    for (size_t i = 0; i < commands_count(rules->commands); i++) {
        const struct command_info *info = commands_at(rules->commands, i);
        if (command_categories(info) & category) allow(selector, info, on);
    }
    return say(rules, selector, on, word, why);
}

/* +select|0 */
static enum status apply_first_word(struct acl_rules *rules, struct acl_selector *selector, bool on,
                                    struct bytes name, const struct command_info *info,
                                    struct bytes first, struct problem *why) {
    bool deeper = first.len && memchr(first.data, '|', first.len);
    if (info->children_count && !deeper) return unknown(why);
    if (deeper)
        return problem_set(why, INVALID, 0, "Allowing first-arg of a subcommand is not supported");
    if (!on) return unknown(why); /* that would say "all but", and the list of all is endless */
    if (first.len == 0) return syntax(why);
    for (size_t i = 0; i < selector->first_words_count; i++)
        if (selector->first_words[i].info == info &&
            bytes_equal_nocase(selector->first_words[i].word, first))
            return OK;
    struct acl_first_word kept = { .info = info };
    if (keep_text(rules, first, &kept.word, why) != OK ||
        MAKE_ROOM(rules, selector, first_words, why) != OK)
        return LIMIT;
    selector->first_words[selector->first_words_count++] = kept;
    return say(rules, selector, on, name, why);
}

static enum status apply_command(struct acl_rules *rules, struct acl_selector *selector, bool on,
                                 struct bytes name, struct problem *why) {
    const char *bar = name.len ? memchr(name.data, '|', name.len) : NULL;
    struct bytes words[2] = { name };
    if (bar) {
        words[0].len = (size_t)(bar - name.data);
        words[1] = (struct bytes){ bar + 1, name.len - words[0].len - 1 };
    }
    const struct command_info *info = commands_find(rules->commands, words[0]);
    if (!info) return unknown(why);
    struct command_info *container, *child = NULL;
    if (bar && info->children_count)
        child = commands_resolve(rules->commands, words, 2, &container);
    if (bar && !child) return apply_first_word(rules, selector, on, name, info, words[1], why);
    allow(selector, child ? child : info, on);
    return say(rules, selector, on, name, why);
}

/* ---- keys and channels ---- */

static bool has_space(struct bytes text) {
    for (size_t i = 0; i < text.len; i++)
        if (isspace((unsigned char)text.data[i]) || text.data[i] == '\0') return true;
    return false;
}

static enum status add_pattern(struct acl_rules *rules, struct acl_pattern **list, size_t *count,
                               size_t *cap, struct acl_pattern pattern, struct problem *why) {
    for (size_t i = 0; i < *count; i++)
        if (bytes_equal((*list)[i].text, pattern.text)) {
            (*list)[i].access |= pattern.access;
            return OK;
        }
    if (keep_text(rules, pattern.text, &pattern.text, why) != OK ||
        make_room(rules, (void *)list, *count, cap, sizeof **list, why) != OK)
        return LIMIT;
    (*list)[(*count)++] = pattern;
    return OK;
}

/* "%RW~pattern" from its second byte on. */
static bool read_access(struct bytes *word, unsigned *access) {
    for (*access = 0; word->len; word->data++, word->len--) {
        unsigned bit = (*word->data | 0x20) == 'r'   ? ACL_READ
                       : (*word->data | 0x20) == 'w' ? ACL_WRITE
                                                     : 0;
        if (!bit || *access & bit) break;
        *access |= bit;
    }
    if (word->len == 0 || *word->data != '~') return false;
    word->data++;
    word->len--;
    return *access != 0;
}

static enum status apply_keys(struct acl_rules *rules, struct acl_selector *selector,
                              struct bytes word, struct problem *why) {
    struct acl_pattern pattern = { { word.data + 1, word.len - 1 }, ACL_READ_WRITE };
    if (word.data[0] == '%' && !read_access(&pattern.text, &pattern.access)) return syntax(why);
    if (has_space(pattern.text)) return syntax(why);
    if (selector->all_keys)
        return problem_set(why, INVALID, 0,
                           "Adding a pattern after the * pattern (or the 'allkeys' flag) is not "
                           "valid and does not have any effect. Try 'resetkeys' to start with an "
                           "empty list of patterns");
    return add_pattern(rules, &selector->keys, &selector->keys_count, &selector->keys_cap, pattern,
                       why);
}

static enum status apply_channels(struct acl_rules *rules, struct acl_selector *selector,
                                  struct bytes word, struct problem *why) {
    struct acl_pattern pattern = { { word.data + 1, word.len - 1 }, ACL_READ_WRITE };
    if (has_space(pattern.text)) return syntax(why);
    if (selector->all_channels)
        return problem_set(why, INVALID, 0,
                           "Adding a pattern after the * pattern (or the 'allchannels' flag) is "
                           "not valid and does not have any effect. Try 'resetchannels' to start "
                           "with an empty list of channels");
    return add_pattern(rules, &selector->channels, &selector->channels_count,
                       &selector->channels_cap, pattern, why);
}

/* ---- words ---- */

static bool is_word(struct bytes word, const char *a, const char *b) {
    return bytes_equal_nocase(word, bytes_of(a)) || bytes_equal_nocase(word, bytes_of(b));
}

/* What may stand in parentheses, too. */
static enum status apply_to_selector(struct acl_rules *rules, struct acl_selector *selector,
                                     struct bytes word, struct problem *why) {
    bool on = word.data[0] == '+';
    if (is_word(word, "allkeys", "~*") || is_word(word, "resetkeys", "resetkeys")) {
        selector->all_keys = !is_word(word, "resetkeys", "resetkeys");
        selector->keys_count = 0;
    } else if (is_word(word, "allchannels", "&*") ||
               is_word(word, "resetchannels", "resetchannels")) {
        selector->all_channels = !is_word(word, "resetchannels", "resetchannels");
        selector->channels_count = 0;
    } else if (is_word(word, "allcommands", "+@all") || is_word(word, "nocommands", "-@all")) {
        allow_all(rules, selector, is_word(word, "allcommands", "+@all"));
    } else if (word.data[0] == '~' || word.data[0] == '%') {
        return apply_keys(rules, selector, word, why);
    } else if (word.data[0] == '&') {
        return apply_channels(rules, selector, word, why);
    } else if (on || word.data[0] == '-') {
        struct bytes name = { word.data + 1, word.len - 1 };
        if (has_space(name)) return unknown(why);
        if (name.len && name.data[0] == '@') return apply_category(rules, selector, on, name, why);
        return apply_command(rules, selector, on, name, why);
    } else {
        return syntax(why);
    }
    return OK;
}

static enum status apply_parentheses(struct acl_rules *rules, struct bytes word,
                                     struct problem *why) {
    if (word.len < 2 || word.data[word.len - 1] != ')') return syntax(why);
    if (rules->selectors_count > ACL_SELECTORS_MAX)
        return problem_set(why, LIMIT, 0, "a user has at most %d selectors", ACL_SELECTORS_MAX);
    if (MAKE_ROOM(rules, rules, selectors, why) != OK) return LIMIT;
    struct acl_selector *selector = &rules->selectors[rules->selectors_count];
    selector_init(rules, selector);
    for (size_t at = 1; at < word.len - 1;) {
        const char *start = word.data + at;
        const char *space = memchr(start, ' ', word.len - 1 - at);
        struct bytes one = { start, space ? (size_t)(space - start) : word.len - 1 - at };
        at += one.len + 1;
        if (bytes_ends_with(one, BYTES(")"))) return syntax(why); /* a file would end there */
        enum status status = one.len ? apply_to_selector(rules, selector, one, why) : OK;
        if (status != OK) return status;
    }
    rules->selectors_count++;
    return OK;
}

void acl_digest_text(const unsigned char digest[ACL_DIGEST_SIZE], char text[ACL_DIGEST_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < ACL_DIGEST_SIZE; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
}

static bool read_digest(struct bytes text, unsigned char digest[ACL_DIGEST_SIZE]) {
    if (text.len != ACL_DIGEST_TEXT) return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f')) return false;
        unsigned value = (unsigned)(digit ? c - '0' : c - 'a' + 10);
        digest[i / 2] = (unsigned char)(i % 2 ? (unsigned)digest[i / 2] << 4 | value : value);
    }
    return true;
}

static enum status apply_password(struct acl_rules *rules, struct bytes word, struct problem *why) {
    unsigned char digest[ACL_DIGEST_SIZE];
    struct bytes secret = { word.data + 1, word.len - 1 };
    if (word.data[0] == '>' || word.data[0] == '<')
        SHA256((const unsigned char *)secret.data, secret.len, digest);
    else if (!read_digest(secret, digest))
        return problem_set(why, INVALID, 0,
                           "The password hash must be exactly 64 characters and contain only "
                           "lowercase hexadecimal characters");
    size_t at = 0;
    while (at < rules->passwords_count &&
           CRYPTO_memcmp(rules->passwords[at], digest, sizeof digest) != 0)
        at++;
    if (word.data[0] == '<' || word.data[0] == '!') {
        if (at == rules->passwords_count)
            return problem_set(
                why, INVALID, 0,
                "The password you are trying to remove from the user does not exist");
        size_t behind = --rules->passwords_count - at;
        memmove(rules->passwords[at], rules->passwords[at + 1], behind * sizeof digest);
        return OK;
    }
    rules->nopass = false;
    if (at < rules->passwords_count) return OK;
    if (rules->passwords_count == ACL_PASSWORDS_MAX)
        return problem_set(why, LIMIT, 0, "a user has at most %d passwords", ACL_PASSWORDS_MAX);
    if (MAKE_ROOM(rules, rules, passwords, why) != OK) return LIMIT;
    memcpy(rules->passwords[rules->passwords_count++], digest, sizeof digest);
    return OK;
}

static void reset(struct acl_rules *rules) {
    rules->on = rules->nopass = rules->skip_sanitize = false;
    rules->passwords_count = 0;
    rules->selectors_count = 1;
    rules->size = 0;
    selector_init(rules, &rules->selectors[0]);
}

void acl_rules_open(struct acl_rules *rules) {
    static const char *const words[] = {
        "reset", "on", "nopass", "allkeys", "allchannels", "+@all"
    };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        enum status status = acl_rules_apply(rules, bytes_of(words[i]), NULL);
        assert(status == OK);
    }
}

enum status acl_rules_apply(struct acl_rules *rules, struct bytes word, struct problem *why) {
    if (word.len == 0) return OK; /* as in Redis */
    if (is_word(word, "on", "off")) {
        rules->on = word.len == 2;
    } else if (is_word(word, "nopass", "resetpass")) {
        rules->nopass = is_word(word, "nopass", "nopass");
        rules->passwords_count = 0;
    } else if (is_word(word, "sanitize-payload", "skip-sanitize-payload")) {
        rules->skip_sanitize = word.len == sizeof "skip-sanitize-payload" - 1;
    } else if (is_word(word, "clearselectors", "clearselectors")) {
        rules->selectors_count = 1;
    } else if (is_word(word, "reset", "reset")) {
        reset(rules);
    } else if (memchr("><#!", word.data[0], 4)) {
        return apply_password(rules, word, why);
    } else if (word.data[0] == '(') {
        return apply_parentheses(rules, word, why);
    } else {
        return apply_to_selector(rules, &rules->selectors[0], word, why);
    }
    return OK;
}

/* From a word that opens parentheses to the one that closes them, as one; `*count` is how many. */
static bool join_parentheses(const struct bytes *words, size_t left, struct arena *arena,
                             struct bytes *out, size_t *count) {
    size_t size = 0;
    for (*count = 0; *count < left;) {
        struct bytes word = words[(*count)++];
        size += word.len + 1;
        if (word.len == 0 || word.data[word.len - 1] != ')') continue;
        char *text = arena_new(arena, size);
        *out = (struct bytes){ text, size - 1 };
        for (size_t i = 0; i < *count; i++) {
            if (words[i].len) memcpy(text, words[i].data, words[i].len);
            text += words[i].len;
            *text++ = ' ';
        }
        return true;
    }
    return false;
}

enum status acl_rules_apply_all(struct acl_rules *rules, const struct bytes *words, size_t count,
                                struct arena *arena, struct bytes *wrong, struct problem *why) {
    for (size_t i = 0; i < count;) {
        size_t taken = 1;
        *wrong = words[i];
        if (words[i].len && words[i].data[0] == '(' &&
            !join_parentheses(words + i, count - i, arena, wrong, &taken))
            return problem_set(why, CORRUPT, 0,
                               "Unmatched parenthesis in acl selector starting at '%.*s'.",
                               words[i].len > 64 ? 64 : (int)words[i].len, words[i].data);
        enum status status = acl_rules_apply(rules, *wrong, why);
        if (status != OK) return status;
        i += taken;
    }
    return OK;
}

/* ---- asking ---- */

bool acl_rules_allow_all(const struct acl_rules *rules) {
    const struct acl_selector *own = &rules->selectors[0];
    return own->all_commands && own->all_keys && own->all_channels;
}

bool acl_rules_password(const struct acl_rules *rules, struct bytes password) {
    unsigned char digest[ACL_DIGEST_SIZE];
    int right = 0;
    SHA256((const unsigned char *)password.data, password.len, digest);
    for (size_t i = 0; i < rules->passwords_count; i++)
        right |= CRYPTO_memcmp(rules->passwords[i], digest, sizeof digest) == 0;
    OPENSSL_cleanse(digest, sizeof digest);
    return right != 0;
}

/* ---- in words ---- */

static void put_word(struct buffer *out, struct bytes word) {
    if (out->len) buffer_put(out, BYTES(" "));
    buffer_put(out, word);
}

void acl_describe_keys(const struct acl_selector *selector, struct buffer *out) {
    if (selector->all_keys) put_word(out, BYTES("~*"));
    for (size_t i = 0; i < selector->keys_count; i++) {
        const struct acl_pattern *key = &selector->keys[i];
        put_word(out, key->access == ACL_READ_WRITE ? BYTES("~")
                      : key->access == ACL_READ     ? BYTES("%R~")
                                                    : BYTES("%W~"));
        buffer_put(out, key->text);
    }
}

void acl_describe_channels(const struct acl_selector *selector, struct buffer *out) {
    if (selector->all_channels) put_word(out, BYTES("&*"));
    for (size_t i = 0; i < selector->channels_count; i++) {
        put_word(out, BYTES("&"));
        buffer_put(out, selector->channels[i].text);
    }
}

void acl_describe_commands(const struct acl_selector *selector, struct buffer *out) {
    put_word(out, selector->from_all ? BYTES("+@all") : BYTES("-@all"));
    for (size_t i = 0; i < selector->said_count; i++) {
        put_word(out, selector->said[i].allowed ? BYTES("+") : BYTES("-"));
        buffer_put(out, selector->said[i].name);
    }
}

static void describe_selector(const struct acl_selector *selector, struct buffer *out) {
    acl_describe_keys(selector, out);
    if (!selector->all_channels) put_word(out, BYTES("resetchannels"));
    acl_describe_channels(selector, out);
    acl_describe_commands(selector, out);
}

void acl_rules_describe(const struct acl_rules *rules, struct buffer *out) {
    put_word(out, rules->on ? BYTES("on") : BYTES("off"));
    if (rules->nopass) put_word(out, BYTES("nopass"));
    put_word(out,
             rules->skip_sanitize ? BYTES("skip-sanitize-payload") : BYTES("sanitize-payload"));
    for (size_t i = 0; i < rules->passwords_count; i++) {
        char text[ACL_DIGEST_TEXT];
        acl_digest_text(rules->passwords[i], text);
        put_word(out, BYTES("#"));
        buffer_put(out, (struct bytes){ text, sizeof text });
    }
    describe_selector(&rules->selectors[0], out);
    for (size_t i = 1; i < rules->selectors_count; i++) {
        struct buffer inside; /* its first word has no space before it */
        buffer_init(&inside, ACL_FILE_MAX);
        describe_selector(&rules->selectors[i], &inside);
        put_word(out, BYTES("("));
        buffer_put(out, buffer_bytes(&inside));
        buffer_put(out, BYTES(")"));
        buffer_deinit(&inside);
    }
}
