/* repair.c: a new directory of what is whole, and an honest word about what is not in it. */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "load.h"
#include "rehash.h"
#include "salvage.h"
#include "store/store.h"

struct repairing {
    const struct request *request;
    struct manifest old, new;
    bool known; /* the old manifest is the true one */
    struct log_salvage *logs;
    uint64_t bases; /* files to choose from, where it is not */
    bool had_base, has_base;
    struct problem no_base; /* why there is none */
    struct base_losses base;
    struct log_losses log;
    bool seedless;           /* the seed of the keys' hash is lost */
    enum status load_status; /* whether a server will start on it */
    struct problem load_why;
    struct loaded loaded;
    struct buffer out;
};

/* --- before anything is written --- */

static bool see_any(void *self, const char *name) {
    bool *any = self;
    (void)name;
    *any = true;
    return false;
}

static enum status make_target(const struct request *request, struct problem *why) {
    struct env *env = request->env;
    bool any = false;
    int error = env->ops->list(env, request->target, see_any, &any);
    if (error == -ENOENT) error = env->ops->mkdir(env, request->target);
    if (error < 0)
        return problem_set(why, IO, -error, "cannot make the directory %.160s", request->target);
    if (!any) return OK;
    return problem_set(why, INVALID, 0,
                       "%.160s is not empty: --to takes a directory that is new or empty",
                       request->target);
}

static enum status read_manifest(struct repairing *repairing, struct problem *why) {
    const struct request *request = repairing->request;
    struct problem wrong = { .status = OK };
    enum status status = manifest_read(request->env, request->path, &repairing->old, &wrong);
    repairing->known = status == OK;
    if (status == OK) return OK;
    if (status != CORRUPT) {
        *why = wrong;
        return status;
    }
    buffer_format(&repairing->out,
                  "  manifest    was %s: a new one was made of what the other files say\n",
                  strstr(wrong.text, "no MANIFEST") ? "missing" : "damaged");
    return manifest_rebuild(request->env, request->path, &repairing->old, why);
}

/* --- doing it --- */

static enum status save_base(struct repairing *repairing, struct problem *why) {
    const struct request *request = repairing->request;
    struct manifest_base *base = &repairing->old.base;
    if (!repairing->known) {
        enum status status = base_choose(request->env, request->path, repairing->log.highest, base,
                                         &repairing->bases, why);
        if (status != OK) return status;
    }
    repairing->had_base = base->generation || repairing->bases;
    if (base->generation) {
        enum status status =
            base_salvage(request->env, request->path, request->target, repairing->old.shards, base,
                         &repairing->base, &repairing->no_base);
        if (status != OK && status != NOT_FOUND) {
            *why = repairing->no_base;
            return status;
        }
        repairing->has_base = status == OK;
    }
    if (!repairing->has_base) *base = (struct manifest_base){ .seq = base->seq };
    if (!repairing->known)
        base->seq = log_salvage_first_seq(repairing->logs, repairing->has_base ? base->from : 0);
    if (!repairing->has_base) base->seq = log_salvage_reach(repairing->logs, base->seq);
    if (!repairing->known && repairing->bases == 0 && base->seq > 1) {
        repairing->had_base = true;
        problem_set(&repairing->no_base, NOT_FOUND, 0, "no file of it is there");
    }
    return OK;
}

static enum status rehash(struct repairing *repairing, struct problem *why) {
    const struct request *request = repairing->request;
    repairing->new.shards = repairing->base.shards;
    return database_rehash(request->env, request->target, &repairing->new, why);
}

static enum status save(struct repairing *repairing, struct problem *why) {
    const struct request *request = repairing->request;
    enum status status = log_salvage_begin(&repairing->logs, request->env, request->path,
                                           &repairing->old, repairing->known, &repairing->log, why);
    if (status == OK) status = save_base(repairing, why);
    if (status != OK) return status;
    struct manifest *new = &repairing->new;
    manifest_init(new);
    memcpy(new->identity, repairing->old.identity, sizeof new->identity);
    new->seed = repairing->old.seed;
    new->shards = repairing->old.shards;
    new->base = repairing->old.base;
    status = log_salvage_copy(repairing->logs, request->target, new, &repairing->log, why);
    bool lost = repairing->had_base || repairing->log.damaged || !repairing->known;
    if (status == OK && repairing->log.frames == 0 && !repairing->has_base && lost)
        return problem_set(why, CORRUPT, 0, "nothing in %.160s can be saved", request->path);
    if (status != OK) return status;
    int error = request->env->ops->sync_dir(request->env, request->target);
    if (error < 0)
        return problem_set(why, IO, -error, "cannot make %.160s durable", request->target);
    repairing->seedless = new->shards == 0;
    if (repairing->seedless) return rehash(repairing, why);
    return manifest_write(request->env, request->target, new, why);
}

/* Whether the server would start on the copy. */
static enum status try_loading(struct repairing *repairing, struct problem *why) {
    const struct request *request = repairing->request;
    struct store *store = store_for(request->env, &repairing->new, why);
    enum status status = store ? database_load(request->env, request->target, &repairing->new,
                                               UINT64_MAX, store, &repairing->loaded, why)
                               : why->status;
    store_free(store);
    return status;
}

/* A seed that was read from a damaged manifest may be damaged itself. */
static enum status save_and_load(struct repairing *repairing, struct problem *why) {
    enum status status = save(repairing, why);
    if (status != OK) return status;
    repairing->load_status = try_loading(repairing, &repairing->load_why);
    if (repairing->load_status != CORRUPT || repairing->known || repairing->seedless) return OK;
    repairing->seedless = true;
    status = rehash(repairing, why);
    if (status == OK) repairing->load_status = try_loading(repairing, &repairing->load_why);
    return status;
}

/* --- saying it --- */

/* Without a base: what the log that is left says. */
static void put_log_only(struct repairing *repairing) {
    struct buffer *out = &repairing->out;
    uint64_t seq = repairing->old.base.seq;
    if (seq == 1)
        buffer_put(out, BYTES("              But the log reaches back to its first frame: what was "
                              "logged from then on is there\n"));
    else
        buffer_format(
            out,
            "              Keys that were not changed since frame %llu of the log are lost, "
            "and a string that was\n              only appended to begins with zero "
            "bytes\n",
            wide(seq));
}

static void put_base(struct repairing *repairing) {
    struct buffer *out = &repairing->out;
    const struct base_losses *base = &repairing->base;
    if (!repairing->had_base) {
        buffer_put(out, BYTES("  base        there was none: everything is in the log\n"));
        return;
    }
    if (!repairing->has_base) {
        buffer_put(out, BYTES("  base        LOST: "));
        put_problem(out, &repairing->no_base);
        buffer_put(out, BYTES("\n"));
        put_log_only(repairing);
        return;
    }
    buffer_format(out,
                  "  base        generation %llu: %llu row%s and %llu older version%s saved%s\n",
                  wide(repairing->old.base.generation), wide(base->keys), plural(base->keys),
                  wide(base->past), plural(base->past), base->whole ? ": all of it" : "");
    if (base->whole) return;
    buffer_format(out, "    damaged   %llu bytes are no part of it any more\n",
                  wide(base->damaged));
    if (base->uncounted && base->keys_lost == 0)
        buffer_put(out, BYTES("    LOST      keys: it is not known how many there were\n"));
    else
        buffer_format(out, "    LOST      %s%llu key%s, %llu older version%s\n",
                      base->uncounted ? "at least " : "", wide(base->keys_lost),
                      plural(base->keys_lost), wide(base->past_lost), plural(base->past_lost));
    if (base->shards_lost)
        buffer_format(out, "              among them all of %llu shard%s\n",
                      wide(base->shards_lost), plural(base->shards_lost));
    if (base->pins_lost) buffer_put(out, BYTES("              the restore points\n"));
    if (base->writers_lost) buffer_put(out, BYTES("              who wrote what\n"));
    buffer_put(out, BYTES("              but for what the log says of them: a string that was only "
                          "appended to since then\n              begins with zero bytes\n"));
}

static void put_lost_changes(struct repairing *repairing) {
    struct buffer *out = &repairing->out;
    const struct log_losses *log = &repairing->log;
    char from[INSTANT_TEXT], to[INSTANT_TEXT];
    uint64_t until = log->last_lost ? log->last_lost : log->highest;
    if (until < repairing->old.clean_cut) until = repairing->old.clean_cut;
    buffer_format(out, "    damaged   %s, offset %llu: a frame is missing that had been durable\n",
                  log->where, wide(log->at));
    if (log->cut)
        buffer_format(out, "    LOST      all changes after %s", instant_text(log->cut, from));
    else
        buffer_put(out, BYTES("    LOST      all changes"));
    if (until > log->cut) buffer_format(out, " up to %s, at least", instant_text(until, to));
    buffer_put(out, BYTES("\n"));
    if (log->frames_lost)
        buffer_format(out,
                      "              among them %llu whole frame%s with %llu change%s: they build "
                      "on what is missing\n",
                      wide(log->frames_lost), plural(log->frames_lost), wide(log->records_lost),
                      plural(log->records_lost));
    if (log->unreadable)
        buffer_format(out, "              %llu log file%s cannot be read at all\n",
                      wide(log->unreadable), plural(log->unreadable));
    buffer_format(out, "              %llu bytes were left out\n", wide(log->bytes_lost));
    if (repairing->has_base && log->cut < repairing->new.base.to)
        buffer_format(
            out,
            "              The log ends before the snapshot does: of a transaction between "
            "%s and %s\n              a part may be missing\n",
            instant_text(log->cut ? log->cut : repairing->new.base.from, from),
            instant_text(repairing->new.base.to, to));
}

static void put_log(struct repairing *repairing) {
    struct buffer *out = &repairing->out;
    const struct log_losses *log = &repairing->log;
    char cut[INSTANT_TEXT];
    buffer_format(out, "  log         %llu frame%s, %llu change%s saved", wide(log->frames),
                  plural(log->frames), wide(log->records), plural(log->records));
    if (log->cut) buffer_format(out, ", up to %s", instant_text(log->cut, cut));
    buffer_put(out, BYTES("\n"));
    if (log->damaged)
        put_lost_changes(repairing);
    else if (log->bytes_lost)
        buffer_format(
            out,
            "    torn      %llu bytes at the end, %s offset %llu: never acknowledged, left "
            "out\n",
            wide(log->bytes_lost), log->where, wide(log->at));
}

static int ends(const struct repairing *repairing) {
    bool base_lost = repairing->had_base && !(repairing->has_base && repairing->base.whole);
    if (base_lost || repairing->log.damaged) return ENDS_DAMAGED;
    if (repairing->seedless && repairing->base.past) return ENDS_DAMAGED;
    return repairing->log.bytes_lost ? ENDS_TORN : ENDS_WHOLE;
}

static int say_result(struct repairing *repairing) {
    put_base(repairing);
    put_log(repairing);
    if (repairing->seedless)
        buffer_put(
            &repairing->out,
            BYTES("  rehashed    the seed of the keys' hash stood in MANIFEST and is lost: every "
                  "key was placed\n              anew\n"));
    if (repairing->seedless && repairing->base.past)
        buffer_put(&repairing->out,
                   BYTES("    LOST      the versions that were older than the snapshot\n"));
    const struct loaded *loaded = &repairing->loaded;
    if (repairing->load_status == OK)
        buffer_format(&repairing->out,
                      "  loaded      %llu key%s, %llu older version%s: a server will start on it\n",
                      wide(loaded->keys), plural(loaded->keys), wide(loaded->versions),
                      plural(loaded->versions));
    say(&repairing->out);
    if (repairing->load_status != OK) {
        fprintf(stderr, "pulsedb-check: the copy cannot be loaded: it is of no use as it is\n");
        complain(&repairing->load_why);
        return ENDS_DAMAGED;
    }
    int result = ends(repairing);
    printf("\n%s\n", result == ENDS_DAMAGED ? "Something is lost, as said above. Keep the damaged "
                                              "directory until you are sure."
                                            : "Nothing that was acknowledged is lost.");
    return result;
}

int check_repair(const struct request *request) {
    enum { TEXT_MAX = 1024 * 1024 };
    struct repairing repairing = { .request = request };
    struct problem why = { .status = OK };
    buffer_init(&repairing.out, TEXT_MAX);
    if (!dir_hold(request->path)) {
        problem_set(&why, FULL, 0, "a server is using %.160s: stop it first", request->path);
        return complain(&why);
    }
    buffer_format(&repairing.out, "%s: a copy of %s\n", request->target, request->path);
    enum status status = read_manifest(&repairing, &why);
    if (status == OK) status = make_target(request, &why);
    int result = ENDS_UNREADABLE;
    if (status == INVALID) {
        complain(&why);
        result = ENDS_USAGE;
    } else {
        if (status == OK) status = save_and_load(&repairing, &why);
        result = status == OK ? say_result(&repairing) : complain(&why);
    }
    log_salvage_free(repairing.logs);
    manifest_deinit(&repairing.old);
    manifest_deinit(&repairing.new);
    buffer_deinit(&repairing.out);
    return result;
}
