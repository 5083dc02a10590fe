/* limits.h: every limit of the server that is not a setting, under its name. Settings that users may
 * change stand in command/settings.def. */
#pragma once

enum {
    SHARDS_MAX = 1024,
    DATABASES_MAX = 256, /* one byte in a wheel record (store/expiry.c) */
    WORKERS_MAX = 256,

    BATCH_MAX = 32, /* commands gathered, hashed and prefetched before they run; STORE.md 3 */

    STRING_SIZE_MAX = 1073741824,    /* proto-max-bulk-len goes no higher */
    KEY_SIZE_MAX = 64 * 1024 * 1024, /* Redis allows 512 MiB; a name is not a value */
    INLINE_SIZE_MAX = 64 * 1024,     /* one inline command, as Redis */
    ARGS_MAX = 1024 * 1024,          /* words of one command, as Redis */

    /* Before AUTH (RELIABILITY.md 2): */
    UNAUTH_ARGS_MAX = 10,
    UNAUTH_BULK_MAX = 16 * 1024,
    UNAUTH_QUERY_MAX = 64 * 1024,
    UNAUTH_OUTPUT_MAX = 1024,
    UNAUTH_SECONDS_MAX = 10,

    QUERY_READ_SIZE = 16 * 1024,        /* asked of the socket at once */
    OUTPUT_PAUSE_SIZE = 1024 * 1024,    /* reading stops while more output than this waits */
    REPLY_BY_REFERENCE_MIN = 16 * 1024, /* larger string values are sent without a copy */

    POSTS_SIZE_MAX = 64 * 1024 * 1024, /* that wait for one loop, before others stop making more */

    SUBSCRIPTIONS_MAX = 1024 * 1024,            /* of one session */
    SUBSCRIPTIONS_SIZE_MAX = 256 * 1024 * 1024, /* bytes of their names */
    PUSHED_SIZE_MAX =
        32 * 1024 * 1024, /* unread output of one who is pushed to; then it is closed */
    MONITORS_MAX = 1024,
    MONITOR_LINE_MAX = 1024 * 1024, /* of one command; what is longer is cut */
    TRACKING_PREFIXES_MAX = 1024,   /* of one session */
    TRACKING_EVICTIONS_MAX = 16,    /* entries that make room for a new one at once */

    MULTI_COMMANDS_MAX = 1024 * 1024,
    MULTI_SIZE_MAX = 64 * 1024 * 1024, /* bytes of one MULTI's queue */
    WATCHED_KEYS_MAX = 64 * 1024,      /* of one session */

    ACL_USERS_MAX = 64 * 1024,
    ACL_NAME_MAX = 1024,
    ACL_USER_SIZE_MAX = 1024 * 1024, /* bytes of one user's patterns and words */
    ACL_LIST_MAX = 16 * 1024,        /* patterns of keys, of channels, ... of one selector */
    ACL_SELECTORS_MAX = 128,         /* of one user, beside its own */
    ACL_PASSWORDS_MAX = 1024,        /* of one user */
    ACL_FILE_MAX = 64 * 1024 * 1024,
    ACL_ERRORS_MAX = 8 * 1024, /* bytes of what is wrong with a users file, as ACL LOAD answers */
    ACL_OBJECT_MAX = 1024,     /* bytes of a key in ACL LOG */
    ACL_LOG_MAX = 64 * 1024,   /* entries, whatever acllog-max-len says */

    CONFIG_FILE_MAX = 16 * 1024 * 1024,
    INCLUDE_DEPTH_MAX = 16,

    PINS_MAX = 1024, /* restore points */
    PIN_NAME_MAX = 128,
    ACTOR_TEXT_MAX = 128, /* of a writer's name, as history keeps it */
};
