/* category.c: ACL categories: their names, and which of them a command is in. */
#include "command/category.h"

#include "command/command.h"

/* Categories that follow from flags have bits of their own, beyond those of enum acl_category. */
enum {
    CATEGORY_READ = 1 << 20,
    CATEGORY_WRITE = 1 << 21,
    CATEGORY_FAST = 1 << 22,
    CATEGORY_SLOW = 1 << 23,
    CATEGORY_BLOCKING = 1 << 24,
};

static const struct category categories[] = {
    { ACL_KEYSPACE, "@keyspace" },
    { CATEGORY_READ, "@read" },
    { CATEGORY_WRITE, "@write" },
    { ACL_SET, "@set" },
    { ACL_SORTEDSET, "@sortedset" },
    { ACL_LIST, "@list" },
    { ACL_HASH, "@hash" },
    { ACL_STRING, "@string" },
    { ACL_BITMAP, "@bitmap" },
    { ACL_HYPERLOGLOG, "@hyperloglog" },
    { ACL_GEO, "@geo" },
    { ACL_STREAM, "@stream" },
    { ACL_PUBSUB, "@pubsub" },
    { ACL_ADMIN, "@admin" },
    { CATEGORY_FAST, "@fast" },
    { CATEGORY_SLOW, "@slow" },
    { CATEGORY_BLOCKING, "@blocking" },
    { ACL_DANGEROUS, "@dangerous" },
    { ACL_CONNECTION, "@connection" },
    { ACL_TRANSACTION, "@transaction" },
    { ACL_SCRIPTING, "@scripting" },
};

const struct category *categories_at(size_t i) {
    return i < COUNT_OF(categories) ? &categories[i] : NULL;
}

unsigned category_find(struct bytes name) {
    for (size_t i = 0; i < COUNT_OF(categories); i++)
        if (bytes_equal_nocase(name, bytes_of(categories[i].name + 1))) return categories[i].bit;
    return 0;
}

unsigned command_categories(const struct command_info *info) {
    unsigned flags = info->flags, acl = info->command->acl;
    if (flags & CMD_WRITE) acl |= CATEGORY_WRITE;
    if (flags & CMD_READONLY && !(acl & ACL_SCRIPTING)) acl |= CATEGORY_READ;
    if (flags & CMD_ADMIN) acl |= ACL_ADMIN | ACL_DANGEROUS;
    if (flags & CMD_PUBSUB) acl |= ACL_PUBSUB;
    if (flags & CMD_BLOCKING) acl |= CATEGORY_BLOCKING;
    return acl | (flags & CMD_FAST ? CATEGORY_FAST : CATEGORY_SLOW);
}
