/* acl_log.c: ACL LOG: what was refused to whom, newest first.
 *
 * What is refused again within a minute is counted, not repeated, if it is still among the newest. */
#include <stdio.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/limits.h"
#include "base/mem.h"
#include "command/acl_inside.h"
#include "command/pulse.h"

enum { MERGE_MS = 60 * 1000, MERGE_ENTRIES = 10 };

struct acl_entry {
    TAILQ_ENTRY(acl_entry) link;
    struct acl_refusal refusal; /* its texts lie in `arena` */
    struct arena arena;
};

static struct bytes cut(struct bytes text) {
    if (text.len > ACL_OBJECT_MAX) text.len = ACL_OBJECT_MAX;
    return text;
}

static struct acl_entry *entry_free(struct acl_entry *entry) {
    arena_deinit(&entry->arena);
    mem_free(entry, sizeof *entry);
    return NULL;
}

static bool is_like(const struct acl_refusal *a, const struct acl_refusal *b) {
    return a->reason == b->reason && a->context == b->context &&
           b->updated_ms - a->updated_ms <= MERGE_MS && bytes_equal(a->object, b->object) &&
           bytes_equal(a->user, b->user);
}

/* Takes the entry that counts the same refusal out of the list; NULL: there is none. */
static struct acl_entry *take_like(struct acl *acl, const struct acl_refusal *refusal) {
    struct acl_entry *entry = TAILQ_FIRST(&acl->log);
    for (unsigned i = 0; entry && i < MERGE_ENTRIES; i++, entry = TAILQ_NEXT(entry, link)) {
        if (!is_like(&entry->refusal, refusal)) continue;
        TAILQ_REMOVE(&acl->log, entry, link);
        acl->log_count--;
        return entry;
    }
    return NULL;
}

static void drop_oldest(struct acl *acl) {
    struct acl_entry *oldest = TAILQ_LAST(&acl->log, acl_entries);
    TAILQ_REMOVE(&acl->log, oldest, link);
    acl->log_count--;
    entry_free(oldest);
}

static size_t entries_max(const struct acl *acl) {
    int64_t max = setting_int(acl->pulse->settings, acllog_max_len);
    return max > ACL_LOG_MAX ? ACL_LOG_MAX : (size_t)max;
}

void acl_note(struct acl *acl, struct session *session, enum acl_context context,
              const struct acl_denied *denied, struct bytes user) {
    int64_t now_ms = (int64_t)(env_realtime_ns(acl->pulse->env) / 1000000);
    struct acl_entry *entry = mem_new(sizeof *entry);
    arena_init(&entry->arena);
    entry->refusal = (struct acl_refusal){
        .count = 1,
        .reason = denied->reason,
        .context = context,
        .object = arena_copy(&entry->arena, cut(denied->object)),
        .user = arena_copy(&entry->arena, cut(user)),
        .client = session_describe(session, acl->pulse, &entry->arena, now_ms),
        .created_ms = now_ms,
        .updated_ms = now_ms,
    };
    pthread_mutex_lock(&acl->log_lock);
    struct acl_entry *like = take_like(acl, &entry->refusal);
    if (like) {
        entry->refusal.id = like->refusal.id;
        entry->refusal.count = like->refusal.count + 1;
        entry->refusal.created_ms = like->refusal.created_ms;
    } else {
        entry->refusal.id = acl->log_next_id++;
    }
    TAILQ_INSERT_HEAD(&acl->log, entry, link);
    acl->log_count++;
    while (acl->log_count > entries_max(acl)) drop_oldest(acl);
    pthread_mutex_unlock(&acl->log_lock);
    if (like) entry_free(like);
}

size_t acl_refusals(struct acl *acl, size_t limit, struct arena *arena, struct acl_refusal **out) {
    pthread_mutex_lock(&acl->log_lock);
    size_t count = acl->log_count < limit ? acl->log_count : limit, at = 0;
    struct acl_refusal *list = arena_new(arena, count * sizeof *list);
    struct acl_entry *entry;
    TAILQ_FOREACH (entry, &acl->log, link) {
        if (at == count) break;
        list[at] = entry->refusal;
        list[at].object = arena_copy(arena, entry->refusal.object);
        list[at].user = arena_copy(arena, entry->refusal.user);
        list[at].client = arena_copy(arena, entry->refusal.client);
        at++;
    }
    pthread_mutex_unlock(&acl->log_lock);
    *out = list;
    return count;
}

void acl_forget_refusals(struct acl *acl) {
    pthread_mutex_lock(&acl->log_lock);
    while (acl->log_count) drop_oldest(acl);
    pthread_mutex_unlock(&acl->log_lock);
}
