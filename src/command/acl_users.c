/* acl_users.c: who there is, and how sessions learn of changes. */
#include <ctype.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/limits.h"
#include "base/mem.h"
#include "command/acl_inside.h"
#include "command/pulse.h"

const struct bytes acl_default_name = { "default", sizeof "default" - 1 };

/* ---- a list of users ---- */

static int compare(struct bytes a, struct bytes b) {
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* Where `name` is or would be. */
static size_t place_of(const struct acl_users *users, struct bytes name, bool *found) {
    size_t low = 0, high = users->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(users->list[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct acl_user *users_find(const struct acl_users *users, struct bytes name) {
    bool found;
    size_t at = place_of(users, name, &found);
    return found ? &users->list[at] : NULL;
}

static struct bytes text_copy(struct bytes text) {
    char *copy = mem_new(text.len + 1); /* a name may be empty */
    if (text.len) memcpy(copy, text.data, text.len);
    return (struct bytes){ copy, text.len };
}

static void text_free(struct bytes *text) {
    if (text->data) mem_free((void *)(uintptr_t)text->data, text->len + 1);
    *text = (struct bytes){};
}

enum status users_add(struct acl_users *users, struct bytes name, uint64_t id,
                      struct acl_rules *rules, struct problem *why) {
    bool found;
    size_t at = place_of(users, name, &found);
    assert(!found);
    if (users->count == ACL_USERS_MAX) {
        acl_rules_unref(rules);
        return problem_set(why, LIMIT, 0, "there are at most %d users", ACL_USERS_MAX);
    }
    if (users->count == users->cap) {
        size_t cap = users->cap ? 2 * users->cap : 8;
        users->list =
            mem_resize(users->list, users->cap * sizeof *users->list, cap * sizeof *users->list);
        users->cap = cap;
    }
    memmove(users->list + at + 1, users->list + at, (users->count - at) * sizeof *users->list);
    users->list[at] = (struct acl_user){ text_copy(name), id, rules };
    users->count++;
    return OK;
}

static void user_deinit(struct acl_user *user) {
    text_free(&user->name);
    user->rules = acl_rules_unref(user->rules);
}

void users_free(struct acl_users *users) {
    for (size_t i = 0; i < users->count; i++) user_deinit(&users->list[i]);
    mem_free(users->list, users->cap * sizeof *users->list);
    *users = (struct acl_users){};
}

static void users_remove(struct acl_users *users, struct acl_user *user) {
    size_t at = (size_t)(user - users->list);
    user_deinit(user);
    memmove(user, user + 1, (users->count - at - 1) * sizeof *user);
    users->count--;
}

struct acl_rules *users_new_rules(const struct acl *acl) {
    bool channels_open = setting_int(acl->pulse->settings, acl_pubsub_default) == 0;
    return acl_rules_new(acl->pulse->commands, channels_open);
}

/* Names stand in lines of files and of CLIENT LIST. */
bool acl_name_fits(struct bytes name) {
    if (name.len > ACL_NAME_MAX) return false;
    for (size_t i = 0; i < name.len; i++)
        if (isspace((unsigned char)name.data[i]) || name.data[i] == '\0') return false;
    return true;
}

/* ---- publishing ---- */

void acl_published(struct acl *acl) {
    const struct acl_rules *rules = users_find(&acl->users, acl_default_name)->rules;
    atomic_store_explicit(&acl->open, rules->on && rules->nopass, memory_order_relaxed);
    atomic_fetch_add_explicit(&acl->generation, 1, memory_order_seq_cst); /* see acl.h */
}

/* Whether the user that a session is (registry's lock) is still there. */
static bool is_there(struct acl *acl, const struct session *session) {
    pthread_mutex_lock(&acl->lock);
    const struct acl_user *user = users_find(&acl->users, session->user);
    bool there = user && user->id == session->user_id;
    pthread_mutex_unlock(&acl->lock);
    return there;
}

static bool spread_to(void *self, struct session *session) {
    struct acl *acl = self;
    atomic_store_explicit(&session->unrestricted, false, memory_order_seq_cst);
    if (!session->user_id || is_there(acl, session)) return true;
    atomic_store_explicit(&session->kill, true, memory_order_release);
    if (session->mailbox) mailbox_ring(session->mailbox);
    return true;
}

void acl_spread(struct acl *acl) {
    sessions_each(acl->pulse->sessions, spread_to, acl);
    if (acl->changed) acl->changed(acl->changed_self);
}

void acl_on_change(struct acl *acl, void (*changed)(void *self), void *self) {
    acl->changed = changed;
    acl->changed_self = self;
}

bool acl_session_may_hear(struct acl *acl, const struct session *session, struct bytes channel,
                          bool is_pattern) {
    if (!session->user_id) return true; /* it was let in without being anybody */
    pthread_mutex_lock(&acl->lock);
    const struct acl_user *user = users_find(&acl->users, session->user);
    bool may =
        user && user->id == session->user_id && acl_may_hear(user->rules, channel, is_pattern);
    pthread_mutex_unlock(&acl->lock);
    return may;
}

/* ---- sessions ---- */

/* Who may do everything is told so to the hot path, unless that is old news already. */
static void settle(struct acl *acl, struct session *session) {
    bool all = session->authenticated && (!session->rules || acl_rules_allow_all(session->rules));
    atomic_store_explicit(&session->unrestricted, all, memory_order_seq_cst);
    if (all && acl &&
        atomic_load_explicit(&acl->generation, memory_order_seq_cst) != session->rules_seen)
        atomic_store_explicit(&session->unrestricted, false, memory_order_seq_cst);
}

/* Others read the name under the registry's lock. */
static void call_it(struct acl *acl, struct session *session, struct bytes name, uint64_t id) {
    struct bytes copy = text_copy(name);
    sessions_lock(acl->pulse->sessions);
    struct bytes old = session->user;
    session->user = copy;
    session->user_id = id;
    sessions_unlock(acl->pulse->sessions);
    text_free(&old);
}

void acl_leave(struct session *session) {
    session->rules = acl_rules_unref(session->rules);
    text_free(&session->user);
    session->user_id = 0;
}

void acl_trust(struct session *session) {
    session->trusted = session->authenticated = true;
    session->rules = acl_rules_unref(session->rules);
    settle(NULL, session);
}

/* Is `user` from here on. Under the lock. */
static void take_rules(struct acl *acl, struct session *session, const struct acl_user *user) {
    struct acl_rules *old = session->rules;
    session->rules = acl_rules_ref(user->rules);
    session->rules_seen = atomic_load_explicit(&acl->generation, memory_order_relaxed);
    acl_rules_unref(old);
}

void acl_enter(struct acl *acl, struct session *session) {
    if (!acl || session->trusted) {
        acl_trust(session);
        return;
    }
    pthread_mutex_lock(&acl->lock);
    const struct acl_user *user = users_find(&acl->users, acl_default_name);
    uint64_t id = user->id;
    take_rules(acl, session, user);
    pthread_mutex_unlock(&acl->lock);
    session->authenticated = acl_is_open(acl);
    call_it(acl, session, acl_default_name, id);
    settle(acl, session);
}

bool acl_login(struct acl *acl, struct session *session, struct bytes name, struct bytes password) {
    if (!acl) return true;
    struct acl_rules *rules = acl_find(acl, name);
    struct acl_rules *nobody = rules ? NULL : acl_rules_new(acl->pulse->commands, false);
    bool right = acl_rules_password(rules ? rules : nobody, password);
    bool in = rules && rules->on && (right || rules->nopass);
    acl_rules_unref(nobody);
    acl_rules_unref(rules);
    if (!in) return false;

    pthread_mutex_lock(&acl->lock);
    const struct acl_user *user = users_find(&acl->users, name);
    uint64_t id = user ? user->id : 0;
    if (user) take_rules(acl, session, user);
    pthread_mutex_unlock(&acl->lock);
    if (!id) return false; /* gone in between */
    session->authenticated = true;
    call_it(acl, session, name, id);
    settle(acl, session);
    return true;
}

bool acl_refresh(struct acl *acl, struct session *session) {
    if (!acl || session->trusted) {
        settle(NULL, session);
        return true;
    }
    bool there = true;
    if (atomic_load_explicit(&acl->generation, memory_order_acquire) != session->rules_seen) {
        pthread_mutex_lock(&acl->lock);
        const struct acl_user *user = users_find(&acl->users, session->user);
        there = user && user->id == session->user_id;
        if (there) take_rules(acl, session, user);
        pthread_mutex_unlock(&acl->lock);
    }
    if (!there) return false;
    if (!session->authenticated) session->authenticated = acl_is_open(acl);
    settle(acl, session);
    return true;
}

bool acl_is_open(const struct acl *acl) {
    return !acl || atomic_load_explicit(&acl->open, memory_order_relaxed);
}

bool acl_default_has_password(struct acl *acl) {
    struct acl_rules *rules = acl ? acl_find(acl, acl_default_name) : NULL;
    bool has = rules && !rules->nopass;
    acl_rules_unref(rules);
    return has;
}

/* ---- users ---- */

/* Under the lock. */
static enum status set_user(struct acl *acl, struct bytes name, const struct bytes *words,
                            size_t count, struct arena *arena, struct bytes *wrong,
                            struct problem *why) {
    struct acl_user *user = users_find(&acl->users, name);
    struct acl_rules *rules = user ? acl_rules_copy(user->rules) : users_new_rules(acl);
    enum status status = acl_rules_apply_all(rules, words, count, arena, wrong, why);
    if (status != OK) {
        acl_rules_unref(rules);
        return status;
    }
    if (!user) return users_add(&acl->users, name, ++acl->next_id, rules, why);
    acl_rules_unref(user->rules);
    user->rules = rules;
    return OK;
}

enum status acl_set_user(struct acl *acl, struct bytes name, const struct bytes *words,
                         size_t count, struct arena *arena, struct bytes *wrong,
                         struct problem *why) {
    pthread_mutex_lock(&acl->lock);
    enum status status = set_user(acl, name, words, count, arena, wrong, why);
    if (status == OK) acl_published(acl);
    pthread_mutex_unlock(&acl->lock);
    if (status == OK) acl_spread(acl);
    return status;
}

size_t acl_delete_users(struct acl *acl, const struct bytes *names, size_t count) {
    size_t deleted = 0;
    pthread_mutex_lock(&acl->lock);
    for (size_t i = 0; i < count; i++) {
        struct acl_user *user = users_find(&acl->users, names[i]);
        if (!user || bytes_equal(names[i], acl_default_name)) continue;
        users_remove(&acl->users, user);
        deleted++;
    }
    if (deleted) acl_published(acl);
    pthread_mutex_unlock(&acl->lock);
    if (deleted) acl_spread(acl);
    return deleted;
}

struct acl_rules *acl_find(struct acl *acl, struct bytes name) {
    if (!acl) return NULL;
    pthread_mutex_lock(&acl->lock);
    const struct acl_user *user = users_find(&acl->users, name);
    struct acl_rules *rules = user ? acl_rules_ref(user->rules) : NULL;
    pthread_mutex_unlock(&acl->lock);
    return rules;
}

void acl_each(struct acl *acl,
              void (*visit)(void *self, struct bytes name, const struct acl_rules *rules),
              void *self) {
    pthread_mutex_lock(&acl->lock);
    for (size_t i = 0; i < acl->users.count; i++)
        visit(self, acl->users.list[i].name, acl->users.list[i].rules);
    pthread_mutex_unlock(&acl->lock);
}

/* ---- requirepass ---- */

/* The password of `default` is what requirepass says; none lets everybody in. */
static bool take_requirepass(void *self, enum setting_id id, struct problem *why) {
    struct acl *acl = self;
    struct arena arena;
    arena_init(&arena);
    struct bytes secret = settings_text(acl->pulse->settings, id, &arena);
    struct bytes words[2] = { BYTES("resetpass"), BYTES("nopass") };
    if (secret.len) words[1] = arena_format(&arena, ">%.*s", (int)secret.len, secret.data);
    struct bytes wrong;
    enum status status = acl_set_user(acl, acl_default_name, words, 2, &arena, &wrong, why);
    arena_deinit(&arena);
    return status == OK;
}

struct acl *acl_new(struct pulse *pulse) {
    struct acl *acl = mem_new_zero(sizeof *acl);
    acl->pulse = pulse;
    pthread_mutex_init(&acl->lock, NULL);
    pthread_mutex_init(&acl->log_lock, NULL);
    TAILQ_INIT(&acl->log);
    acl->guesses = acl_guesses_new(acl);
    struct acl_rules *rules = users_new_rules(acl);
    acl_rules_open(rules);
    enum status status = users_add(&acl->users, acl_default_name, ++acl->next_id, rules, NULL);
    assert(status == OK);
    acl_published(acl);
    bool taken = take_requirepass(acl, SETTING_ID_requirepass, NULL);
    assert(taken);
    settings_on_change(pulse->settings, SETTING_ID_requirepass, take_requirepass, acl);
    settings_on_rewrite(pulse->settings, acl_rewrite, acl);
    return acl;
}

struct acl *acl_free(struct acl *acl) {
    if (!acl) return NULL;
    settings_on_change(acl->pulse->settings, SETTING_ID_requirepass, NULL, NULL);
    settings_on_rewrite(acl->pulse->settings, NULL, NULL);
    acl_forget_refusals(acl);
    acl->guesses = acl_guesses_free(acl->guesses);
    users_free(&acl->users);
    pthread_mutex_destroy(&acl->log_lock);
    pthread_mutex_destroy(&acl->lock);
    mem_free(acl, sizeof *acl);
    return NULL;
}
