/* acl_rules.h: what one user may do.
 *
 * A rule set is made, changed while nobody else has it, and then published: from there on it never
 * changes, and whoever holds a reference may read it without a lock. To change a user is to copy its rule
 * set, change the copy and publish that (acl.h).
 *
 *     rules      on | off, passwords, and selectors:
 *     selector   commands: a bit for each        -@all +get +select|0
 *                keys: patterns, to read or write ~cache:* %R~price:*
 *                channels: patterns               &news.*
 *
 * A call is allowed if one selector allows all of it: the command, every key, every channel. The first
 * selector is the user's own; the others come in parentheses: "on >secret ~a* +get (%R~b* +mget)".
 *
 * Thread: one at a time until it is published, then any.
 */
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

struct command_info;
struct commands;

enum { ACL_DIGEST_SIZE = 32, ACL_DIGEST_TEXT = 2 * ACL_DIGEST_SIZE };

enum acl_access { ACL_READ = 1, ACL_WRITE = 2, ACL_READ_WRITE = ACL_READ | ACL_WRITE };

struct acl_pattern {
    struct bytes text;
    unsigned access; /* enum acl_access */
};

/* A word of +select|0: the command may run with this first argument only. */
struct acl_first_word {
    const struct command_info *info;
    struct bytes word;
};

/* "+get": what was said of commands, in order and without what a later word made void. */
struct acl_said {
    bool allowed;
    struct bytes name; /* "get", "@hash", "select|0" */
};

struct acl_selector {
    bool all_commands, all_keys, all_channels;
    uint64_t *commands; /* a bit for each command_info.id */
    struct acl_pattern *keys, *channels;
    struct acl_first_word *first_words;
    struct acl_said *said; /* after "+@all" if `from_all`, else after "-@all" */
    bool from_all;
    size_t keys_count, channels_count, first_words_count, said_count;
    size_t keys_cap, channels_cap, first_words_cap, said_cap;
};

struct acl_rules {
    _Atomic uint32_t references;
    const struct commands *commands;
    bool on, nopass, skip_sanitize;
    bool channels_open; /* new selectors have all channels: acl-pubsub-default */
    unsigned char (*passwords)[ACL_DIGEST_SIZE]; /* SHA-256 */
    struct acl_selector *selectors;              /* the first is the user's own; never none */
    size_t passwords_count, selectors_count, passwords_cap, selectors_cap;
    size_t size; /* bytes of all patterns and words */
    struct arena arena;
};

/* As a new user has it: off, no password, nothing allowed. One reference. */
struct acl_rules *acl_rules_new(const struct commands *commands, bool channels_open);
/* The same, to be changed: one reference. */
struct acl_rules *acl_rules_copy(const struct acl_rules *rules);
/* "on nopass ~* &* +@all" */
void acl_rules_open(struct acl_rules *rules);
struct acl_rules *acl_rules_ref(struct acl_rules *rules);
struct acl_rules *acl_rules_unref(struct acl_rules *rules); /* always NULL; NULL is fine */

/* One word of ACL SETUSER. NOT_FOUND (of commands and categories), INVALID or LIMIT: `why` says why, and the
 * rules are to be thrown away. */
MUST_USE enum status acl_rules_apply(struct acl_rules *rules, struct bytes word,
                                     struct problem *why);
/* Several, of which "(~a" "+get)" make one (else CORRUPT). `*wrong` is the word that was refused, in `arena`. */
MUST_USE enum status acl_rules_apply_all(struct acl_rules *rules, const struct bytes *words,
                                         size_t count, struct arena *arena, struct bytes *wrong,
                                         struct problem *why);

/* Whether everything is allowed, whatever the call. */
bool acl_rules_allow_all(const struct acl_rules *rules);
/* Whether one of the passwords is this. Takes as long whichever it is, and if none. */
bool acl_rules_password(const struct acl_rules *rules, struct bytes password);

/* In the words that acl_rules_apply takes: all of it, as users files have it; and its parts. */
void acl_rules_describe(const struct acl_rules *rules, struct buffer *out);
void acl_describe_keys(const struct acl_selector *selector, struct buffer *out);
void acl_describe_channels(const struct acl_selector *selector, struct buffer *out);
void acl_describe_commands(const struct acl_selector *selector, struct buffer *out);
void acl_digest_text(const unsigned char digest[ACL_DIGEST_SIZE], char text[ACL_DIGEST_TEXT]);

/* ---- asking them (acl_check.c) ---- */

enum acl_reason {
    ACL_ALLOWED,
    ACL_DENIED_COMMAND,
    ACL_DENIED_KEY,
    ACL_DENIED_AUTH,
    ACL_DENIED_CHANNEL
};

struct acl_denied {
    enum acl_reason reason;
    struct bytes object; /* the command's name, the key or the channel; borrowed */
};

/* Whether `rules` allow this call, whose words fit the command's arity; and the call inside it, if it is
 * one that has (AT). Knows nothing of connections. false: `*why` says what was missing, in the selector
 * that came farthest. */
MUST_USE bool acl_check(const struct acl_rules *rules, const struct command_info *info,
                        const struct bytes *args, size_t count, struct arena *arena,
                        struct acl_denied *why);
/* For pub/sub, when rules have changed: whether a subscription may go on. A pattern has to be among the
 * patterns of a selector in the same words. */
bool acl_may_hear(const struct acl_rules *rules, struct bytes channel, bool is_pattern);
/* For commands that read keys which their words do not name (SORT BY): whether every key may be read. */
bool acl_may_read_all(const struct acl_rules *rules);
