/* server.h: the instance's face to the network: loops, listeners, signals.
 *
 *     server_block_signals   before the first thread is made
 *     server_new             listens, makes descriptors enough for maxclients
 *     server_start           the other loops run, and the thread that waits for signals
 *     server_run             the first loop, here, until SHUTDOWN, SIGTERM or SIGINT
 *     server_stop            answers what was read, sends it, ends the loops
 *     server_free
 *
 * Thread: the main one, all calls.
 */
#pragma once

#include <stdbool.h>

#include "base/status.h"

struct pulse;
struct settings;
struct server;

/* How many loops `threads` makes: 0 is one for each processor that this process may use. */
unsigned server_threads(struct settings *settings);
void server_block_signals(void);

/* NULL: `why` says why. Registers for changes of port, bind and maxclients. */
MUST_USE struct server *server_new(struct pulse *pulse, struct problem *why);
MUST_USE enum status server_start(struct server *server, struct problem *why);
void server_run(struct server *server);
void server_stop(struct server *server);
struct server *server_free(struct server *server); /* always NULL; NULL is fine */
/* What is to be called when the log has moved on or its state has changed: persist_options.moved. Any thread. */
void server_log_moved(void *server);
/* Calls `visit` with the name of each address it listens at. */
void server_addresses(struct server *server,
                      void (*visit)(void *self, const char *name, bool local), void *self);
