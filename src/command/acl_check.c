/* acl_check.c: whether a rule set allows a call.
 *
 * What a call does to its keys is what its command says of them (command_keys_access): `access` needs a
 * pattern that may read, `update`, `insert` and `delete` one that may write; a command that only asks
 * whether a key is there (EXISTS) is content with either. What keys it would touch and cannot be said is
 * refused to everybody who may not touch all. */
#include "base/assert.h"
#include "base/glob.h"
#include "command/acl_rules.h"
#include "command/command.h"

enum { BITS = 64, WRITES = KEY_UPDATE | KEY_INSERT | KEY_DELETE };

/* A call, and its keys as soon as somebody has asked for them. */
struct question {
    const struct acl_rules *rules;
    const struct command_info *info;
    const struct bytes *args;
    size_t count;
    struct arena *arena;
    bool known, readable;
    struct key_positions keys;
    unsigned *access;
};

/* How far a selector came: farther is larger. */
struct answer {
    enum acl_reason reason;
    size_t word;
};

static bool allows_command(const struct acl_selector *selector, const struct question *question) {
    const struct command_info *info = question->info;
    if (selector->all_commands || info->flags & CMD_NO_AUTH) return true;
    if (selector->commands[info->id / BITS] >> info->id % BITS & 1) return true;
    for (size_t i = 0; i < selector->first_words_count; i++)
        if (selector->first_words[i].info == info && question->count > 1 &&
            bytes_equal_nocase(selector->first_words[i].word, question->args[1]))
            return true;
    return false;
}

static bool allows_key(const struct acl_selector *selector, struct bytes key, unsigned access) {
    unsigned needed = (access & KEY_ACCESS ? ACL_READ : 0u) | (access & WRITES ? ACL_WRITE : 0u);
    for (size_t i = 0; i < selector->keys_count; i++) {
        const struct acl_pattern *pattern = &selector->keys[i];
        if ((pattern->access & needed) == needed && glob_match(pattern->text, key, false))
            return true;
    }
    return false;
}

static struct answer check_keys(const struct acl_selector *selector, struct question *question) {
    struct answer allowed = { ACL_ALLOWED, 0 };
    if (selector->all_keys || !command_has_keys(question->info)) return allowed;
    if (!question->known) {
        question->known = true;
        question->readable = command_keys_access(question->rules->commands, question->info,
                                                 question->args, question->count, question->arena,
                                                 &question->keys, &question->access);
    }
    if (!question->readable) return (struct answer){ ACL_DENIED_KEY, 0 };
    for (uint32_t i = 0; i < question->keys.count; i++) {
        size_t word = question->keys.at[i];
        if (!allows_key(selector, question->args[word], question->access[i]))
            return (struct answer){ ACL_DENIED_KEY, word };
    }
    return allowed;
}

static bool allows_channel(const struct acl_selector *selector, struct bytes channel,
                           bool is_pattern) {
    if (selector->all_channels) return true;
    for (size_t i = 0; i < selector->channels_count; i++) {
        struct bytes pattern = selector->channels[i].text;
        if (is_pattern ? bytes_equal(pattern, channel) : glob_match(pattern, channel, false))
            return true;
    }
    return false;
}

static struct answer check_channels(const struct acl_selector *selector,
                                    const struct question *question) {
    enum command_channels channels = (enum command_channels)question->info->command->channels;
    struct answer allowed = { ACL_ALLOWED, 0 };
    if (channels == CHANNELS_NONE || selector->all_channels) return allowed;
    size_t end = channels == CHANNELS_PUBLISH && question->count > 2 ? 2 : question->count;
    for (size_t word = 1; word < end; word++)
        if (!allows_channel(selector, question->args[word], channels == CHANNELS_PATTERNS))
            return (struct answer){ ACL_DENIED_CHANNEL, word };
    return allowed;
}

static struct answer check_selector(const struct acl_selector *selector,
                                    struct question *question) {
    if (!allows_command(selector, question)) return (struct answer){ ACL_DENIED_COMMAND, 0 };
    struct answer answer = check_keys(selector, question);
    return answer.reason == ACL_ALLOWED ? check_channels(selector, question) : answer;
}

static bool check_one(struct question *question, struct acl_denied *why) {
    const struct acl_rules *rules = question->rules;
    struct answer best = { ACL_ALLOWED, 0 };
    for (size_t i = 0; i < rules->selectors_count; i++) {
        struct answer answer = check_selector(&rules->selectors[i], question);
        if (answer.reason == ACL_ALLOWED) return true;
        bool farther = answer.reason > best.reason ||
                       (answer.reason == best.reason && answer.word > best.word);
        if (i == 0 || farther) best = answer;
    }
    why->reason = best.reason;
    why->object =
        best.reason == ACL_DENIED_COMMAND ? question->info->name : question->args[best.word];
    return false;
}

bool acl_check(const struct acl_rules *rules, const struct command_info *info,
               const struct bytes *args, size_t count, struct arena *arena,
               struct acl_denied *why) {
    struct question question = {
        .rules = rules, .info = info, .args = args, .count = count, .arena = arena
    };
    assert(count > 0);
    if (!check_one(&question, why)) return false;
    size_t inner = info->command->inner;
    if (!inner || count <= inner) return true;
    struct command_info *container;
    const struct command_info *inside =
        commands_resolve(rules->commands, args + inner, count - inner, &container);
    /* What is none runs nothing; what is inside has no inside of its own: AT only runs what reads. */
    if (!inside || inside->flags & CMD_CONTAINER || !command_arity_fits(inside, count - inner))
        return true;
    struct question second = {
        .rules = rules, .info = inside, .args = args + inner, .count = count - inner, .arena = arena
    };
    return check_one(&second, why);
}

bool acl_may_hear(const struct acl_rules *rules, struct bytes channel, bool is_pattern) {
    for (size_t i = 0; i < rules->selectors_count; i++)
        if (allows_channel(&rules->selectors[i], channel, is_pattern)) return true;
    return false;
}

bool acl_may_read_all(const struct acl_rules *rules) {
    for (size_t i = 0; i < rules->selectors_count; i++) {
        const struct acl_selector *selector = &rules->selectors[i];
        if (selector->all_keys) return true;
        for (size_t k = 0; k < selector->keys_count; k++)
            if (selector->keys[k].access & ACL_READ &&
                bytes_equal(selector->keys[k].text, BYTES("*")))
                return true;
    }
    return false;
}
