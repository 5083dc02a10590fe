#include "writers.h"

#include "base_file.h"
#include "log/manifest.h"
#include "store/shard.h"

struct store *writers_new(struct env *env) {
    return store_new(
        &(struct store_options){ .env = env, .shards = 1, .databases = 1, .workers_max = 1 });
}

void writers_add(struct store *writers, const struct actor_row *row) {
    actors_put(writers, row);
}

void writers_read(struct store *writers, struct env *env, const char *dir,
                  const struct manifest *manifest) {
    char path[PATH_MAX];
    struct base_file base;
    if (!manifest->base.generation) return;
    path_of_base(dir, manifest->base.generation, false, path);
    if (base_file_open(&base, env, path, manifest->base.id, NULL) != OK) return;
    struct snapshot_section section;
    struct bytes content;
    uint64_t at;
    while (base_file_next(&base, 1u << IMAGE_ACTORS, &section, &content, &at, NULL) == OK) {
        struct actor_row row;
        if (section.kind != IMAGE_ACTORS) continue;
        while (content.len && redo_take_actor(&content, &row)) actors_put(writers, &row);
    }
    base_file_close(&base);
}
