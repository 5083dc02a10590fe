/* writers.h: who the numbers in the log stand for: commands and clients, as the snapshot and the
 * log tell them. */
#pragma once

#include "base/buffer.h"
#include "store/redo.h"

struct env;
struct manifest;
struct store;
struct arena;

/* The store's own memory of them; the store holds nothing else. */
struct store *writers_new(struct env *env);
void writers_add(struct store *writers, const struct actor_row *row);
/* Those who had been met when the snapshot was taken; as many as can be read. */
void writers_read(struct store *writers, struct env *env, const char *dir,
                  const struct manifest *manifest);
