/* category.h: ACL categories, as COMMAND INFO, ACL CAT and the rules of users (acl_rules.h) name them. */
#pragma once

#include <stddef.h>

#include "base/bytes.h"

struct command_info;

struct category {
    unsigned bit;
    const char *name; /* "@geo" */
};

/* In the order in which Redis shows them; NULL after the last. */
const struct category *categories_at(size_t i);
/* The bit of "geo", in any case; 0: there is no such category. */
unsigned category_find(struct bytes name);
/* The bits of all categories that a command is in. */
unsigned command_categories(const struct command_info *info);
