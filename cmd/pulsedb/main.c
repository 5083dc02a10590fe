/* main.c: the server program: from the words of its command line to a running instance, and back. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/env.h"
#include "base/log.h"
#include "base/mem.h"
#include "command/acl.h"
#include "command/block.h"
#include "command/monitor.h"
#include "command/observe.h"
#include "command/pulse.h"
#include "command/tracking.h"
#include "log/persist.h"
#include "notify.h"
#include "program.h"
#include "pubsub/pubsub.h"
#include "server/contain.h"
#include "server/server.h"
#include "store/store.h"

/* Read by jemalloc before main. Keys lie all over the heap, and on 4 KiB pages each look at one missed
 * the translation buffer as well: on huge pages a SET costs 15 %, a GET 12 % less, for 0.5 byte a key
 * (bench/RESULTS.md). We never fork, so nothing is ever copied page by page. MALLOC_CONF=thp:default in
 * the environment takes it back. */
extern const char *malloc_conf;
__attribute__((visibility("default"), used)) const char *malloc_conf = "thp:always";

enum { EXTRA_WORKERS = 8 }; /* janitor, log, snapshot, loaders */

static const char help[] =
    "Usage: pulsedb [FILE | -] [--NAME VALUE ...]\n"
    "\n"
    "Serves a Redis-compatible database that remembers the past of its keys.\n"
    "\n"
    "  pulsedb                           with the defaults: port 6380 of this machine\n"
    "  pulsedb /etc/pulsedb/pulsedb.conf with a configuration file; a redis.conf will do\n"
    "  pulsedb - < FILE                  with a configuration from standard input\n"
    "  pulsedb --port 7000 --dir data    any setting of the file is an option too\n"
    "  PULSEDB_PORT=7000 pulsedb         and a variable: weaker than options, stronger than the "
    "file\n"
    "\n"
    "Settings to begin with:\n"
    "  --port N             TCP port, 0 for none (6380)\n"
    "  --bind ADDRESS ...   where to listen (127.0.0.1 -::1)\n"
    "  --unixsocket PATH    listen at a Unix socket too\n"
    "  --requirepass TEXT   the password clients have to give\n"
    "  --maxmemory SIZE     100mb, 4gb (0: no limit)\n"
    "  --dir PATH           where files go; made if it is not there (.)\n"
    "  --appendonly WORD    yes: everything is logged (yes)\n"
    "  --appendfsync WORD   always, everysec, no: what an answer promises (everysec)\n"
    "  --threads N          event loops, 0 for one per processor (0)\n"
    "  --history-memory N   what the past of keys may take: 10% or a size (10%)\n"
    "  --loglevel WORD      debug, verbose, notice, warning, nothing (notice)\n"
    "  --logfile PATH       the log (standard output)\n"
    "\n"
    "Instead of just serving:\n"
    "  --import FILE        first takes over a Redis' dump.rdb or appendonlydir\n"
    "  --restore-to INSTANT makes a new directory (--dir) of the one here, or of\n"
    "                       --restore-from PATH, as it was then; serves nobody\n"
    "\n"
    "  -h, --help           this text\n"
    "  -v, --version        the version\n"
    "\n"
    "Signals: TERM and INT stop it in order, HUP reopens the log.\n";

static void keep_warning(void *self, const char *text) {
    struct warnings *warnings = self;
    if (warnings->count == WARNINGS_MAX) return;
    warnings->texts[warnings->count++] = arena_format(&warnings->arena, "%s", text);
}

/* `settings`: they are what is wrong. */
static int complain(const struct problem *why, bool settings) {
    const char *cause = why->error ? strerror(why->error) : "";
    bool told = !why->error || strstr(why->text, cause);
    fprintf(stderr, "pulsedb: %s%s%s\n", why->text[0] ? why->text : "cannot start",
            told ? "" : ": ", told ? "" : cause);
    if (settings) fputs("pulsedb: --help shows how settings are given\n", stderr);
    return EXIT_FAILURE;
}

static const char *text_of(struct program *program, enum setting_id id) {
    struct arena *arena = &program->warnings.arena;
    struct bytes text = settings_text(program->pulse.settings, id, arena);
    return arena_format(arena, "%.*s", (int)text.len, text.data ? text.data : "").data;
}

/* A setting's value as CONFIG GET shows it. */
static const char *shown(struct program *program, enum setting_id id) {
    struct arena *arena = &program->warnings.arena;
    struct bytes text = settings_get(program->pulse.settings, id, arena);
    return arena_format(arena, "%.*s", (int)text.len, text.data ? text.data : "").data;
}

/* ---- settings that act on something of main's ---- */

static bool configure_log(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    (void)why;
    struct pulse *pulse = self;
    log_configure(pulse->log, (enum log_level)setting_int(pulse->settings, loglevel),
                  (enum log_format)setting_int(pulse->settings, log_format),
                  (enum log_timestamp)setting_int(pulse->settings, log_timestamp_format));
    return true;
}

/* Bytes, with 0 for the share that the store keeps to by itself. */
static bool history_memory(struct settings *settings, uint64_t *out, struct problem *why) {
    int64_t n = setting_int(settings, history_memory);
    if (n < 0 && n != -10) {
        problem_set(why, INVALID, 0,
                    "history-memory is 10%% of the live data, or a size: 512mb, 4gb");
        return false;
    }
    *out = n < 0 ? 0 : (uint64_t)n;
    return true;
}

static bool configure_store(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    struct pulse *pulse = self;
    struct settings *settings = pulse->settings;
    struct store_settings now = store_settings(pulse->store);
    if (!history_memory(settings, &now.history_memory, why)) return false;
    now.history = setting_int(settings, history);
    now.lock_free_reads = setting_int(settings, lock_free_reads);
    now.history_window_ms = (uint64_t)setting_int(settings, history_window);
    now.history_versions_max = (uint64_t)setting_int(settings, history_max_versions);
    now.history_resolution_ms = (uint64_t)setting_int(settings, history_resolution);
    struct arena arena;
    arena_init(&arena);
    now.history_exclude =
        settings_words(settings, SETTING_ID_history_exclude, &arena, &now.history_exclude_count);
    store_configure(pulse->store, &now);
    arena_deinit(&arena);
    return true;
}

static bool trim_tracking(void *self, enum setting_id id, struct problem *why) {
    (void)id;
    (void)why;
    tracking_trim(((struct pulse *)self)->tracking);
    return true;
}

static void hear_changes(struct pulse *pulse) {
    static const enum setting_id of_log[] = { SETTING_ID_loglevel, SETTING_ID_log_format,
                                              SETTING_ID_log_timestamp_format };
    static const enum setting_id of_store[] = {
        SETTING_ID_history,         SETTING_ID_history_memory,       SETTING_ID_history_window,
        SETTING_ID_history_exclude, SETTING_ID_history_max_versions, SETTING_ID_history_resolution,
        SETTING_ID_lock_free_reads,
    };
    for (size_t i = 0; i < COUNT_OF(of_log); i++)
        settings_on_change(pulse->settings, of_log[i], configure_log, pulse);
    for (size_t i = 0; i < COUNT_OF(of_store); i++)
        settings_on_change(pulse->settings, of_store[i], configure_store, pulse);
    settings_on_change(pulse->settings, SETTING_ID_tracking_table_max_keys, trim_tracking, pulse);
}

/* ---- start ---- */

static enum status enter_dir(struct program *program, struct problem *why) {
    const char *dir = text_of(program, SETTING_ID_dir);
    if (dir[0] == '\0') return OK;
    if (mkdir(dir, 0750) != 0 && errno != EEXIST)
        return problem_set(why, IO, errno, "cannot make the directory %s: %s", dir,
                           strerror(errno));
    if (chdir(dir) != 0)
        return problem_set(why, IO, errno, "cannot go to the directory %s (see --dir): %s", dir,
                           strerror(errno));
    return OK;
}

static enum status open_log(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    configure_log(pulse, SETTING_ID_loglevel, NULL);
    const char *path = text_of(program, SETTING_ID_logfile);
    if (path[0] && log_open(pulse->log, path, why) != OK) return IO;
    for (size_t i = 0; i < program->warnings.count; i++)
        log_write(pulse->log, LOG_WARNING, program->warnings.texts[i].data, NULL, 0);
    return OK;
}

static void make_run_id(struct pulse *pulse) {
    unsigned char random[20];
    env_random(pulse->env, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(pulse->run_id + 2 * i, 3, "%02x", random[i]);
}

static void pin_dropped(void *self, struct bytes name) {
    log_line(
        self, LOG_WARNING,
        "A restore point was dropped: history-memory cannot hold what it needs, or history is off",
        LOG_B("pin", name));
}

static bool may_hear(void *self, const struct session *session, struct bytes channel,
                     bool pattern) {
    return acl_session_may_hear(self, session, channel, pattern);
}

static void users_changed(void *self) {
    struct pulse *pulse = self;
    pubsub_review(pulse->pubsub, may_hear, pulse->acl);
}

static enum status make_store(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    struct settings *settings = pulse->settings;
    pulse->tracking = tracking_new(pulse);
    struct store_options options = {
        .env = pulse->env,
        .shards = program->shards,
        .seed = &program->seed,
        .databases = (unsigned)setting_int(settings, databases),
        .workers_max = server_threads(settings) + EXTRA_WORKERS,
        .janitor_thread = true,
        .sinks = program->sinks,
        .sinks_count = COUNT_OF(program->sinks),
    };
    pulse->waiters = waiters_new(pulse);
    pulse->pubsub = pubsub_new(pulse);
    program->sinks[0] = waiters_sink(pulse->waiters);
    program->sinks[1] = pubsub_sink(pulse->pubsub);
    program->sinks[2] = tracking_sink(pulse->tracking);
    pulse->store = store_new(&options);
    pubsub_start(pulse->pubsub);
    store_on_pin_dropped(pulse->store, pin_dropped, pulse->log);
    return configure_store(pulse, SETTING_ID_history, why) ? OK : INVALID;
}

/* A convenience, not a need: where it cannot be written (a redis.conf names /run/redis), the server is
 * not worse for it. */
static void write_pidfile(struct program *program) {
    const char *path = text_of(program, SETTING_ID_pidfile);
    if (path[0] == '\0') return;
    FILE *file = fopen(path, "we");
    bool written = file && fprintf(file, "%d\n", (int)getpid()) > 0;
    if (file) written &= fclose(file) == 0;
    if (written)
        program->pidfile = path;
    else
        log_line(program->pulse.log, LOG_WARNING, "Cannot write the pidfile", LOG_S("path", path),
                 LOG_S("error", strerror(errno)));
}

static void say_address(void *self, const char *name, bool local) {
    log_line(self, LOG_NOTICE, local ? "Listening at a Unix socket" : "Listening",
             LOG_S("at", name));
}

static void warn_of_openness(struct program *program) {
    struct pulse *pulse = &program->pulse;
    bool password = !acl_is_open(pulse->acl);
    bool loopback = strcmp(text_of(program, SETTING_ID_bind), "127.0.0.1 -::1") == 0;
    if (!password && !loopback && !setting_int(pulse->settings, protected_mode))
        log_write(pulse->log, LOG_WARNING,
                  "Anybody who reaches this port can read and change everything: there is no "
                  "password and protected-mode is off. Set requirepass, or bind 127.0.0.1",
                  NULL, 0);
    if (geteuid() == 0)
        log_write(pulse->log, LOG_WARNING,
                  "Running as root, which nothing here needs: a user of its own is safer", NULL, 0);
    if (setting_int(pulse->settings, daemonize))
        log_write(pulse->log, LOG_WARNING,
                  "daemonize does nothing: the server stays in the foreground. Let systemd or a "
                  "supervisor run it",
                  NULL, 0);
}

static void say_hello(struct program *program) {
    struct pulse *pulse = &program->pulse;
    log_line(pulse->log, LOG_NOTICE, "PulseDB is starting", LOG_S("version", PULSE_VERSION),
             LOG_I("pid", getpid()), LOG_I("threads", server_threads(pulse->settings)),
             LOG_I("shards", setting_int(pulse->settings, shards)),
             LOG_S("config", pulse->config_file ? pulse->config_file : "none"));
    warn_of_openness(program);
    log_line(pulse->log, LOG_NOTICE, "Data directory", LOG_S("dir", program->dir),
             LOG_S("appendonly", shown(program, SETTING_ID_appendonly)),
             LOG_S("appendfsync", shown(program, SETTING_ID_appendfsync)));
    server_addresses(program->server, say_address, pulse->log);
}

static enum status start(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    if (enter_dir(program, why) != OK || open_log(program, why) != OK) return why->status;
    server_block_signals();
    bool contained = contain_process();
    make_run_id(pulse);
    pulse->started_ms = (int64_t)(env_realtime_ns(pulse->env) / 1000000);
    pulse->commands = commands_new();
    pulse->sessions = sessions_new();
    pulse->observer = observer_new(pulse->env, pulse->settings);
    pulse->acl = acl_new(pulse);
    if (acl_start(pulse->acl, why) != OK) return why->status;
    pulse->monitors = monitors_new();
    if (durable_open(program, why) != OK || make_store(program, why) != OK) return why->status;
    acl_on_change(pulse->acl, users_changed, pulse);
    hear_changes(pulse);
    atomic_store(&pulse->gates, PULSE_LOADING);
    program->server = server_new(pulse, why);
    if (!program->server) return why->status;
    write_pidfile(program);
    say_hello(program);
    if (!contained)
        log_write(pulse->log, LOG_VERBOSE, "No seccomp filter here: the process could run programs",
                  NULL, 0);
    return server_start(program->server, why);
}

static void say_ready(struct pulse *pulse) {
    int64_t port = setting_int(pulse->settings, port);
    char how[64];
    snprintf(how, sizeof how, "redis-cli -p %lld", (long long)port);
    if (port)
        log_line(pulse->log, LOG_NOTICE, "Ready: try", LOG_S("connect", how),
                 LOG_S("stop", "Ctrl-C, or SIGTERM"));
    else
        log_write(pulse->log, LOG_NOTICE, "Ready", NULL, 0);
}

/* ---- loading, while the server answers that it does ---- */

static void *loader_run(void *self) {
    struct program *program = self;
    struct pulse *pulse = &program->pulse;
    if (durable_load(program, &program->load_why) == OK) {
        atomic_fetch_and(&pulse->gates, ~(uint32_t)PULSE_LOADING);
        atomic_store(&program->loaded, true);
        say_ready(pulse);
        notify("READY=1");
        return NULL;
    }
    log_line(pulse->log, LOG_WARNING, "The data cannot be loaded",
             LOG_S("error", program->load_why.text));
    atomic_store(&program->load_failed, true);
    atomic_store(&pulse->stopping, 1);
    pulse_wake(pulse);
    return NULL;
}

/* Loading may take minutes more, and has changed nothing on disk that a start does not expect. */
static void leave_at_once(struct program *program) {
    log_write(program->pulse.log, LOG_NOTICE,
              program->import ? "Stopped while importing: nothing of it was taken over"
                              : "Stopped while loading: the files are as they were",
              NULL, 0);
    if (program->pidfile) unlink(program->pidfile);
    _exit(EXIT_SUCCESS);
}

static enum status start_loading(struct program *program, struct problem *why) {
    int error = pthread_create(&program->loader, NULL, loader_run, program);
    if (error) return problem_set(why, IO, error, "cannot make a thread: %s", strerror(error));
    pthread_setname_np(program->loader, "pulse-load");
    return OK;
}

/* From the newest to the oldest; takes a half-built program too. */
static void end(struct program *program) {
    struct pulse *pulse = &program->pulse;
    program->server = server_free(program->server);
    if (program->pidfile) unlink(program->pidfile);
    pulse->persist = persist_free(pulse->persist);
    pulse->store = store_free(pulse->store);
    pulse->waiters = waiters_free(pulse->waiters);
    pulse->acl = acl_free(pulse->acl);
    pulse->pubsub = pubsub_free(pulse->pubsub);
    pulse->tracking = tracking_free(pulse->tracking);
    pulse->monitors = monitors_free(pulse->monitors);
    pulse->observer = observer_free(pulse->observer);
    pulse->sessions = sessions_free(pulse->sessions);
    pulse->commands = commands_free(pulse->commands);
    pulse->settings = settings_free(pulse->settings);
    pulse->log = log_free(pulse->log);
    arena_deinit(&program->warnings.arena);
}

/* Takes the words out of the command line that are no settings. NULL: fine; else what is wrong. */
static const char *take_words(struct program *program, int *argc, char **argv) {
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        const char **to = strcmp(argv[i], "--import") == 0         ? &program->import
                          : strcmp(argv[i], "--restore-to") == 0   ? &program->restore_to
                          : strcmp(argv[i], "--restore-from") == 0 ? &program->restore_from
                                                                   : NULL;
        if (!to)
            argv[kept++] = argv[i];
        else if (i + 1 == *argc)
            return argv[i];
        else
            *to = argv[++i];
    }
    argv[ *argc = kept] = NULL;
    /* Before --dir changes what they mean. */
    if (program->import && !realpath(program->import, program->import_path)) return program->import;
    const char *from = program->restore_from ? program->restore_from : ".";
    if (program->restore_to && !realpath(from, program->restore_path)) return from;
    return NULL;
}

static enum status restore(struct program *program, struct problem *why) {
    struct pulse *pulse = &program->pulse;
    if (strcmp(text_of(program, SETTING_ID_dir), ".") == 0)
        return problem_set(why, INVALID, 0,
                           "--restore-to makes a new directory: name it with --dir");
    if (enter_dir(program, why) != OK || open_log(program, why) != OK) return why->status;
    pulse->commands = commands_new();
    pulse->sessions = sessions_new();
    pulse->observer = observer_new(pulse->env, pulse->settings);
    if (durable_open(program, why) != OK || make_store(program, why) != OK) return why->status;
    return durable_restore(program, why);
}

static int serve(int argc, char **argv) {
    static struct program program;
    struct pulse *pulse = &program.pulse;
    struct problem why = {};
    pulse->env = env_real();
    pulse->log = log_new(pulse->env);
    pulse->settings = settings_new();
    arena_init(&program.warnings.arena);
    if (!realpath("/proc/self/exe", program.executable))
        snprintf(program.executable, sizeof program.executable, "%s", argv[0]);
    pulse->executable = program.executable;

    const char *wrong = take_words(&program, &argc, argv);
    if (wrong) {
        fprintf(stderr, "pulsedb: %s: needs a file or an instant that is there\n", wrong);
        return EXIT_FAILURE;
    }
    enum status status = settings_load(pulse->settings, pulse->env, argc, argv, environ,
                                       keep_warning, &program.warnings, &why);
    pulse->config_file = settings_file(pulse->settings);
    bool loaded = status == OK; /* the settings */
    bool serves = status == OK && !program.restore_to;
    if (status == OK) status = serves ? start(&program, &why) : restore(&program, &why);
    if (status == OK && serves) status = start_loading(&program, &why);
    if (status == OK && serves) {
        server_run(program.server);
        notify("STOPPING=1");
        server_stop(program.server);
        if (!program.loaded && !program.load_failed) leave_at_once(&program);
        pthread_join(program.loader, NULL);
        status = durable_stop(&program, &why);
        if (program.load_failed) {
            why = program.load_why;
            status = why.status;
        } else if (status != OK) {
            log_line(pulse->log, LOG_WARNING, "Stopped, but not in order",
                     LOG_S("error", why.text));
        } else {
            log_write(pulse->log, LOG_NOTICE, "Stopped. Good bye", NULL, 0);
        }
    }
    end(&program);
    return status == OK
               ? EXIT_SUCCESS
               : complain(&why, !loaded && (why.status == INVALID || why.status == NOT_FOUND));
}

static bool is_word(const char *word, const char *a, const char *b) {
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && is_word(argv[1], "-h", "--help")) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (argc == 2 && is_word(argv[1], "-v", "--version")) {
        puts("PulseDB " PULSE_VERSION);
        return EXIT_SUCCESS;
    }
    return serve(argc, argv);
}
