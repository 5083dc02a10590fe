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
    int fd;     /* non-blocking */
    bool local; /* a Unix socket */
    _Atomic bool closed;
    int port;                      /* 0: a Unix socket */
    char word[LISTENER_NAME_SIZE]; /* of bind, as it was given */
    char name[LISTENER_NAME_SIZE]; /* "127.0.0.1:6380", "[::1]:6380", or the path */
    struct listener *next;
};

/* At one word of `bind`: an IPv4 or IPv6 address, a name, `*` (every IPv4 address) or `::*` (every
 * IPv6 one). A '-' before it: does not matter if the machine has no such address; then `*out` is NULL. */
MUST_USE enum status listener_open_tcp(struct bytes word, int port, int backlog,
                                       struct listener **out, struct problem *why);
/* Whether it is what listener_open_tcp makes of this word. */
bool listener_is(const struct listener *listener, struct bytes word, int port);
/* A socket file that nobody listens at any more is replaced. `mode` 0: only the owner may connect. */
MUST_USE enum status listener_open_unix(const char *path, unsigned mode, int backlog,
                                        struct listener **out, struct problem *why);
/* Takes no more clients; a socket file is removed. Idempotent. */
void listeners_close(struct listener *list);
struct listener *listeners_free(struct listener *list); /* closes; always NULL; NULL is fine */
