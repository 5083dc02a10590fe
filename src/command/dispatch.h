/* dispatch.h: from words to a command, from its outcome to a commit. For the files of this folder. */
#pragma once

#include "command/acl.h"
#include "command/command.h"
#include "command/pulse.h"

/* Checks a call whose `info` is resolved (NULL: unknown) and runs it, or queues it, or answers why
 * not. call->txn, in_multi are dispatch's to set. */
enum outcome dispatch(struct call *call);

/* Whether the session's user may make this call; else it is in ACL LOG, and `*why` says why. */
MUST_USE bool dispatch_allows(struct call *call, enum acl_context context, struct acl_denied *why);

/* Runs `run` of a resolved call inside an open transaction: event, actor, the past. */
enum outcome dispatch_run(struct call *call, struct txn *txn);

/* Adds the shards that a command needs to `set`: those of its keys, or all. false: its words make no
 * sense (it will say so itself). */
bool dispatch_shards(struct pulse *pulse, const struct command_info *info, const struct bytes *args,
                     size_t count, struct arena *arena, struct shardset *set);
void dispatch_all_shards(const struct pulse *pulse, struct shardset *set);
