/* client_filter.h: the words by which CLIENT LIST and CLIENT KILL choose connections.
 *
 *     [NOT-]ID id [id ...]   [NOT-]TYPE type   [NOT-]USER name     [NOT-]ADDR ip:port
 *     [NOT-]LADDR ip:port    [NOT-]IP ip       [NOT-]NAME name     [NOT-]LIB-NAME name
 *     [NOT-]LIB-VER version  [NOT-]DB n        [NOT-]FLAGS letters
 *     MAXAGE seconds         IDLE seconds      SKIPME yes|no
 *
 * They are Redis' and Valkey 9's. A connection has to fit all of them; of two of a kind the later
 * counts. Thread: the session's; client_fits under the registry's lock.
 */
#pragma once

#include "command/command.h"
#include "command/session.h"

enum { CLIENT_TESTS_MAX = 32 }; /* kinds, each once as it is and once with NOT- */

struct client_test {
    const struct client_option *option;
    bool negated;
    struct bytes word;
    int64_t number;
    const uint64_t *ids; /* sorted */
    size_t ids_count;
};

struct client_filter {
    struct client_test tests[CLIENT_TESTS_MAX];
    size_t count;
    bool skip_me; /* what SKIPME says; without it what it was before */
    int64_t now_ms;
};

/* Reads the words from `from` on. DONE, or FAILED with an answer. */
MUST_USE enum outcome client_filter_read(struct call *call, size_t from,
                                         struct client_filter *filter);
bool client_fits(const struct client_filter *filter, const struct session *session);
