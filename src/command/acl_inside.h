/* acl_inside.h: what acl*.c share: the users themselves. For acl*.c only. */
#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "base/siphash.h"
#include "command/acl.h"

struct acl_user {
    struct bytes name; /* mem_new'd */
    uint64_t id;
    struct acl_rules *rules; /* a reference */
};

struct acl_users { /* in order of name */
    struct acl_user *list;
    size_t count, cap;
};

struct acl_entry; /* of the log */
TAILQ_HEAD(acl_entries, acl_entry);
struct acl_guesses;

struct acl {
    struct pulse *pulse;
    _Atomic uint64_t generation;
    _Atomic bool open; /* acl_is_open */
    pthread_mutex_t lock;
    struct acl_users users; /* lock */
    uint64_t next_id;       /* lock */

    pthread_mutex_t log_lock;
    struct acl_entries log; /* log_lock, as the next two */
    size_t log_count;
    uint64_t log_next_id;

    struct acl_guesses *guesses;
    void (*changed)(void *self); /* acl_on_change */
    void *changed_self;
};

extern const struct bytes acl_default_name;

struct acl_user *users_find(const struct acl_users *users, struct bytes name);
/* Takes the reference; the name must not be there. LIMIT: too many, and the reference is given up. */
MUST_USE enum status users_add(struct acl_users *users, struct bytes name, uint64_t id,
                               struct acl_rules *rules, struct problem *why);
void users_free(struct acl_users *users);
struct acl_rules *users_new_rules(const struct acl *acl); /* of somebody new */

/* After users or rules have changed under the lock, which is held; and after it was given back. */
void acl_published(struct acl *acl);
void acl_spread(struct acl *acl);

/* CONFIG REWRITE: the lines of users, unless they have a file of their own. `self` is the acl. */
void acl_rewrite(void *self, struct buffer *out);

struct acl_guesses *acl_guesses_new(struct acl *acl);
struct acl_guesses *acl_guesses_free(struct acl_guesses *guesses); /* always NULL */
