/* pulse.h: the wired instance: what a command may reach beyond its call. One a server; two of them
 * can live in one process. Made by cmd/pulsedb/main.c or by a test; everything in it is borrowed. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "command/command.h"
#include "command/session.h"
#include "command/settings.h"

struct acl;
struct env;
struct log;
struct mailbox;
struct monitors;
struct observer;
struct persist;
struct pubsub;
struct store;
struct tracking;
struct waiters;

enum pulse_gate {
    PULSE_LOADING = 1 << 0,   /* only commands with CMD_LOADING run */
    PULSE_REFUSING = 1 << 1,  /* the disk takes no writes: `refusal` is what they are told */
    PULSE_MONITORED = 1 << 2, /* everything runs, and is shown (monitor.h) */
};

enum shutdown_save {
    SHUTDOWN_AS_SET, /* a snapshot if there are save rules and no log */
    SHUTDOWN_SAVE,
    SHUTDOWN_NOSAVE,
};

struct pulse {
    struct env *env;
    struct log *log;
    struct store *store;
    struct persist *persist;       /* NULL: nothing is kept on disk (tests) */
    struct pubsub *pubsub;         /* NULL: nobody can subscribe (tests) */
    _Atomic uint32_t gates;        /* enum pulse_gate */
    _Atomic(const char *) refusal; /* a literal */
    struct commands *commands;
    struct settings *settings;
    struct sessions *sessions;
    struct observer *observer; /* observe.h; needed by whoever runs commands */
    struct tracking *tracking; /* NULL: there is none (tests, simulation) */
    struct monitors *monitors; /* NULL: the same */
    struct waiters *waiters;   /* NULL: no command waits (tests) */
    struct acl *acl;           /* NULL: there are no users, and everything is allowed (tests) */
    char run_id[41];           /* 40 hex digits and NUL */
    int64_t started_ms;
    const char *executable;       /* argv[0], resolved; for INFO */
    const char *config_file;      /* absolute, or NULL */
    struct mailbox *const *loops; /* every loop's bell */
    size_t loops_count;
    _Atomic bool posts_marked;      /* some mailbox is to be rung: post.c */
    _Atomic uint32_t posts_crowded; /* mailboxes that hold more than POSTS_SIZE_MAX */
    _Atomic int stopping;           /* SHUTDOWN: 1 */
    _Atomic int shutdown_save;      /* enum shutdown_save */
    _Atomic int64_t pause_until_ms; /* CLIENT PAUSE */
    _Atomic bool pause_writes_only;
    _Atomic uint64_t next_session_id;
    /* For INFO: what there is at least one subscriber of, and sessions that are one. */
    _Atomic uint64_t pubsub_channels, pubsub_patterns, pubsub_shard_channels, pubsub_clients;
    _Atomic bool misses_heard; /* notify-keyspace-events has m: reads that miss are told */
    _Atomic uint64_t peak_memory;
    /* Per second figures for INFO, kept by the first loop once a second. */
    _Atomic uint64_t ops_per_second, input_per_second, output_per_second;
    _Atomic uint64_t max_input_buffer, max_output_buffer; /* recent, for INFO clients */
};

/* Rings every loop. */
void pulse_wake(struct pulse *pulse);
/* Bytes that the allocator has handed out (jemalloc's stats.allocated), and resident ones. */
uint64_t pulse_used_memory(void);
uint64_t pulse_resident_memory(void);
uint64_t pulse_machine_memory(void); /* all there is; 0: unknown */
