/* acl_guess.c: whoever guesses passwords is made to wait.
 *
 * An address may fail GUESSES_FREE times at once, and once more in each GUESS_MS after that. Who fails more
 * often is held before the next password of that address is looked at: longer each time, and WAIT_MAX_MS at
 * most, so that those behind the same address who do know a password are late and not locked out.
 *
 * An address has a `full_ms`: when all of its failures will be forgiven. The table is bounded: in a set of
 * WAYS the one that is forgiven soonest makes room. */
#include <string.h>

#include "base/env.h"
#include "base/mem.h"
#include "command/acl_inside.h"
#include "command/pulse.h"

enum { SETS = 256, WAYS = 8, GUESSES_FREE = 20, GUESS_MS = 1000, WAIT_MAX_MS = 1000 };

struct guesser {
    uint64_t hash;
    int64_t full_ms; /* monotonic */
};

struct acl_guesses {
    struct acl *acl;
    struct siphash_key key;
    pthread_mutex_t lock;
    struct guesser sets[SETS][WAYS]; /* lock */
};

struct acl_guesses *acl_guesses_new(struct acl *acl) {
    struct acl_guesses *guesses = mem_new_zero(sizeof *guesses);
    guesses->acl = acl;
    env_random(acl->pulse->env, &guesses->key, sizeof guesses->key);
    pthread_mutex_init(&guesses->lock, NULL);
    return guesses;
}

struct acl_guesses *acl_guesses_free(struct acl_guesses *guesses) {
    if (!guesses) return NULL;
    pthread_mutex_destroy(&guesses->lock);
    mem_free(guesses, sizeof *guesses);
    return NULL;
}

static int64_t now_ms(const struct acl_guesses *guesses) {
    return (int64_t)(env_monotonic_ns(guesses->acl->pulse->env) / 1000000);
}

/* "10.0.0.1:5000" and "[::1]:5000" without the port; a path as it is. */
static uint64_t hash_of(const struct acl_guesses *guesses, const char *address) {
    const char *colon = address[0] == '/' ? NULL : strrchr(address, ':');
    struct bytes host = { address, colon ? (size_t)(colon - address) : strlen(address) };
    return siphash(&guesses->key, host);
}

/* Under the lock. With `make`, of somebody who has not failed yet as well. */
static struct guesser *find(struct acl_guesses *guesses, const char *address, bool make) {
    uint64_t hash = hash_of(guesses, address);
    struct guesser *set = guesses->sets[hash % SETS], *soonest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash) return &set[i];
        if (set[i].full_ms < soonest->full_ms) soonest = &set[i];
    }
    if (!make) return NULL;
    *soonest = (struct guesser){ .hash = hash };
    return soonest;
}

int64_t acl_guess_wait(struct acl *acl, const char *address) {
    struct acl_guesses *guesses = acl->guesses;
    int64_t now = now_ms(guesses), wait = 0;
    pthread_mutex_lock(&guesses->lock);
    const struct guesser *guesser = find(guesses, address, false);
    if (guesser) wait = guesser->full_ms - now - (int64_t)GUESSES_FREE * GUESS_MS;
    pthread_mutex_unlock(&guesses->lock);
    return wait < 0 ? 0 : wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
}

void acl_guess_failed(struct acl *acl, const char *address) {
    struct acl_guesses *guesses = acl->guesses;
    int64_t now = now_ms(guesses), most = now + (GUESSES_FREE + 1) * (int64_t)GUESS_MS;
    pthread_mutex_lock(&guesses->lock);
    struct guesser *guesser = find(guesses, address, true);
    if (guesser->full_ms < now) guesser->full_ms = now;
    guesser->full_ms += GUESS_MS;
    if (guesser->full_ms > most) guesser->full_ms = most;
    pthread_mutex_unlock(&guesses->lock);
}
