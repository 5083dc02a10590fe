/* records.h: what is in a batch of the log, looked at without a store. */
#pragma once

#include "log/journal.h"
#include "store/redo.h"

struct record_counts {
    uint64_t records, actors;
    uint64_t first, last; /* the oldest and newest stamps; 0: no records */
};

struct record_visitor {
    void (*record)(void *self, uint16_t shard, const struct redo_record *record); /* or NULL */
    void (*actor)(void *self, const struct actor_row *row);                       /* or NULL */
    void *self;
};

/* Looks at every record of a batch: all must make sense by themselves, belong to one of `shards`
 * shards (0: not known), be in the order of time in their block and as many as its header says.
 * Adds to `counts`. CORRUPT, UNSUPPORTED: with a sentence. */
MUST_USE enum status batch_visit(const struct journal_batch *batch, uint32_t shards,
                                 const struct record_visitor *visitor, struct record_counts *counts,
                                 struct problem *why);
/* The name of an operation, "set" for EFFECT_SET; NULL: there is none of that number. */
const char *op_name(uint8_t op);
