/* acl.h: the users of a server, and which of them a session is.
 *
 * A user is a name and a rule set (acl_rules.h) that never changes. To change a user is to publish another
 * rule set under its name; the old one lives as long as a session holds it.
 *
 *     acl      generation 7     default -> rules     alice -> rules'
 *     session  rules_seen 6     alice   -> rules       behind: takes rules' at its next command
 *
 * The hot path looks at one byte, session->unrestricted: who it is may do everything. Its own thread sets
 * it; whoever publishes raises the generation first, and then clears that byte in every session. So the
 * next command of each goes the slow way, where the generations are compared. A session sets the byte
 * before it looks whether the generation has moved meanwhile, and clears it again then: of the two threads
 * one sees what the other wrote (all four accesses are sequentially consistent).
 *
 * A user is known to its sessions by an id that is never used again: somebody who is deleted and made
 * again is somebody else.
 *
 * Thread: any. The lock guards names and rule sets; nothing else is taken under it.
 */
#pragma once

#include "command/acl_rules.h"
#include "command/session.h"

struct acl;
struct call;
struct pulse;

/* With the user `default`, who may do everything; its password is requirepass. Borrows `pulse`, whose
 * commands, settings and sessions must be there. */
struct acl *acl_new(struct pulse *pulse);
struct acl *acl_free(struct acl *acl); /* always NULL; NULL is fine; no session may be left */
/* At the start: users out of the configuration file, or out of `aclfile`. */
MUST_USE enum status acl_start(struct acl *acl, struct problem *why);

/* ---- sessions; the session's own thread ---- */

/* Becomes the user `default`, who is let in if it needs no password. `acl` NULL: may do everything. */
void acl_enter(struct acl *acl, struct session *session);
void acl_leave(struct session *session); /* gives up what the session holds */
/* Brings the data itself (an import): may do everything from now on, whatever the users are. */
void acl_trust(struct session *session);
/* AUTH. false: there is no such user, it is off, or this is not its password. */
MUST_USE bool acl_login(struct acl *acl, struct session *session, struct bytes name,
                        struct bytes password);
/* Takes what was published since. false: its user is no more, and the session is to end. */
MUST_USE bool acl_refresh(struct acl *acl, struct session *session);
/* Whether clients need no password: `default` is on and has nopass. */
bool acl_is_open(const struct acl *acl);
/* Whether AUTH with a password alone makes sense. */
bool acl_default_has_password(struct acl *acl);

/* ---- users ---- */

/* ACL SETUSER: all words or none. INVALID, CORRUPT, LIMIT: `why` says why, `wrong` (in the arena) of which
 * word. */
MUST_USE enum status acl_set_user(struct acl *acl, struct bytes name, const struct bytes *words,
                                  size_t count, struct arena *arena, struct bytes *wrong,
                                  struct problem *why);
/* How many of these there were; their sessions are told to end. */
size_t acl_delete_users(struct acl *acl, const struct bytes *names, size_t count);
/* A reference to somebody's rules, or NULL. */
MUST_USE struct acl_rules *acl_find(struct acl *acl, struct bytes name);
/* All of them, in order of name, under the lock. */
void acl_each(struct acl *acl,
              void (*visit)(void *self, struct bytes name, const struct acl_rules *rules),
              void *self);
bool acl_name_fits(struct bytes name);

/* ---- files (acl_file.c) ---- */

/* Everybody as `aclfile` has them, or nothing is changed: INVALID, and what is wrong stands in `errors`.
 * UNSUPPORTED: there is no aclfile. */
/* Who is told that users or rules have changed, when sessions have been. Before the server runs; called by whoever
 * changes them, with no lock of ours held. */
void acl_on_change(struct acl *acl, void (*changed)(void *self), void *self);
/* Whether a session, as its user is now, may listen to what it is subscribed to. The registry's lock is held. */
bool acl_session_may_hear(struct acl *acl, const struct session *session, struct bytes channel,
                          bool is_pattern);
MUST_USE enum status acl_load(struct acl *acl, struct buffer *errors);
/* The same from a text; `path` is for what is said of it. `errors` has a limit of ACL_ERRORS_MAX. */
MUST_USE enum status acl_read(struct acl *acl, const char *path, struct bytes text,
                              struct buffer *errors);
MUST_USE enum status acl_save(struct acl *acl, struct problem *why);
/* "user name rules" and a line end for each user. */
void acl_write(struct acl *acl, struct buffer *out);

/* ---- refusals (acl_log.c) ---- */

enum acl_context { ACL_TOPLEVEL, ACL_IN_MULTI, ACL_IN_SCRIPT, ACL_IN_FUNCTION };

struct acl_refusal { /* an entry of ACL LOG */
    uint64_t id, count;
    enum acl_reason reason;
    enum acl_context context;
    struct bytes object, user, client;
    int64_t created_ms, updated_ms;
};

void acl_note(struct acl *acl, struct session *session, enum acl_context context,
              const struct acl_denied *denied, struct bytes user);
/* The newest `limit` of them, newest first, copied into the arena. */
size_t acl_refusals(struct acl *acl, size_t limit, struct arena *arena, struct acl_refusal **out);
void acl_forget_refusals(struct acl *acl);

/* ---- guesses (acl_guess.c) ---- */

/* How long, in ms, somebody at this address has to wait before his password is looked at; 0: not. */
int64_t acl_guess_wait(struct acl *acl, const char *address);
void acl_guess_failed(struct acl *acl, const char *address);
