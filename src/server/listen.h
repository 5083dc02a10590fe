/* listen.h: the sockets at which clients arrive: TCP on every address of `bind`, and a Unix socket.
 *
 * A listener that was closed keeps its struct until the server ends: a loop may still hold an event
 * that names it. Thread: any; a list belongs to one at a time, `closed` is everyone's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/status.h"

enum { LISTENER_NAME_SIZE = 160 };

struct listener {
    int fd; /* non-blocking */
    bool local; /* a Unix socket */
    _Atomic bool closed;
    char name[LISTENER_NAME_SIZE]; /* "127.0.0.1:6380", "[::1]:6380", or the path */
    struct listener *next;
};

/* One listener for each word of `bind`: an IPv4 or IPv6 address, a name, `*` (every IPv4 address),
 * `::*` (every IPv6 one). A '-' before it: does not matter if the machine has no such address. Port 0:
 * none at all. */
MUST_USE enum status listeners_open_tcp(const struct bytes *bind, size_t bind_count, int port,
                                        int backlog, struct listener **out, struct problem *why);
/* A socket file that nobody listens at any more is replaced. `mode` 0: only the owner may connect. */
MUST_USE enum status listener_open_unix(const char *path, unsigned mode, int backlog,
                                        struct listener **out, struct problem *why);
/* Takes no more clients; a socket file is removed. Idempotent. */
void listeners_close(struct listener *list);
struct listener *listeners_free(struct listener *list); /* closes; always NULL; NULL is fine */
