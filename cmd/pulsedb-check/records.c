#include "records.h"

static enum status visit_actors(const struct redo_block *block,
                                const struct record_visitor *visitor, struct record_counts *counts,
                                struct problem *why) {
    struct bytes rest = block->bytes;
    uint32_t rows = 0;
    for (; rest.len; rows++) {
        struct actor_row row;
        if (!redo_take_actor(&rest, &row))
            return problem_set(why, CORRUPT, 0, "the list of writers makes no sense");
        if (visitor->actor) visitor->actor(visitor->self, &row);
    }
    counts->actors += rows;
    if (rows == block->records) return OK;
    return problem_set(why, CORRUPT, 0, "a block says that it has %u writers, and has %u",
                       block->records, rows);
}

static enum status visit_records(const struct redo_block *block,
                                 const struct record_visitor *visitor, struct record_counts *counts,
                                 struct problem *why) {
    struct bytes rest = block->bytes;
    struct redo_record record = { .stamp = 0 };
    uint32_t records = 0;
    enum status status;
    while ((status = redo_next(&rest, record.stamp, &record, why)) == OK) {
        if (counts->first == 0 || record.stamp < counts->first) counts->first = record.stamp;
        if (record.stamp > counts->last) counts->last = record.stamp;
        if (visitor->record) visitor->record(visitor->self, block->shard, &record);
        records++;
    }
    counts->records += records;
    if (status != NOT_FOUND) return status;
    if (records == block->records) return OK;
    return problem_set(why, CORRUPT, 0, "a block says that it has %u records, and has %u",
                       block->records, records);
}

enum status batch_visit(const struct journal_batch *batch, uint32_t shards,
                        const struct record_visitor *visitor, struct record_counts *counts,
                        struct problem *why) {
    static const struct record_visitor nobody;
    if (!visitor) visitor = &nobody;
    struct bytes rest = batch->bytes;
    struct redo_block block;
    uint32_t blocks = 0;
    enum status status;
    while ((status = redo_next_block(&rest, &block, why)) == OK) {
        blocks++;
        if (block.shard == REDO_ACTORS)
            status = visit_actors(&block, visitor, counts, why);
        else if (shards && block.shard >= shards)
            status = problem_set(why, CORRUPT, 0, "a block is of shard %u, and there are %u",
                                 block.shard, shards);
        else
            status = visit_records(&block, visitor, counts, why);
        if (status != OK) return status;
    }
    if (status != NOT_FOUND) return status;
    if (blocks == batch->blocks) return OK;
    return problem_set(why, CORRUPT, 0, "a frame says that it has %u blocks, and has %u",
                       batch->blocks, blocks);
}

const char *op_name(uint8_t op) {
    switch ((enum effect_kind)op) {
#define EFFECT(NAME, name, number) \
    case EFFECT_##NAME:            \
        return #name;
#include "store/effects.def"
#undef EFFECT
    }
    return NULL;
}
