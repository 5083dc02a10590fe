/* synopsis.h: what one line of a command's synopsis says.
 *
 *     BLPOP key [key ...] timeout:double
 *     SET key value [NX | XX] [GET] [EX seconds:int | PX milliseconds:int | KEEPTTL]
 *     XREADGROUP GROUP group consumer [COUNT count:int] STREAMS key [key ...] id [id ...]
 *
 * The synopsis is the only place where the shape of a command is written. From it follow
 *
 *     the arity          -3 for BLPOP: at least three words, and not always three
 *     the key positions  words 1 to the last but one for BLPOP; after STREAMS for XREADGROUP
 *     COMMAND DOCS       the tree of arguments, their types and their tokens
 *     the fuzz grammar   every invocation that must be taken, and the near misses that must not
 *
 * so none of the four can disagree with another. Grammar:
 *
 *     alternatives = sequence { "|" sequence }
 *     sequence     = { item }
 *     item         = "[" alternatives [ "..." ] "]"     may be left out; with "...", any number of
 *                                                       times: "field value [field value ...]"
 *                                                       repeats the two items just before it,
 *                                                       "[GET name | SET name value ...]", which
 *                                                       says nothing again, stands for itself
 *                  | "<" alternatives ">"               grouping
 *                  | WORD                               upper case or punctuation: typed as it is
 *                  | name [ ":" type ]                  lower case: what the caller fills in
 *
 * A name is a key if it is "key", else what its type says: key, int, double, pattern, time, string;
 * without a type it is a string. A count of keys is called "numkeys". The token "" is an empty word;
 * in <key | ""> it says that an empty key is none. A name in capitals is a token: write "id", not "ID".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/bytes.h"

enum synopsis_kind {
    SYNOPSIS_TOKEN,    /* a word typed as it stands */
    SYNOPSIS_VALUE,    /* a word the caller fills in */
    SYNOPSIS_SEQUENCE, /* children in order */
    SYNOPSIS_CHOICE,   /* one of the children */
    SYNOPSIS_REPEAT,   /* the children, any number of times, none too; see `span` */
};

enum { SYNOPSIS_NODES_MAX = 160, SYNOPSIS_KEYS_MAX = 4, SYNOPSIS_DEPTH_MAX = 8 };

struct synopsis_node {
    struct bytes text;   /* token or name; borrowed from the source line */
    struct bytes type;   /* "" for a string */
    int16_t child, next; /* index of the first child and of the next sibling; -1 for none */
    uint8_t kind;        /* enum synopsis_kind */
    uint8_t span;        /* SYNOPSIS_REPEAT: of how many items before it; 0: it stands for itself */
    bool optional;
    int8_t keys_index; /* of a key: which of synopsis.keys says where it stands; else -1 */
};

/* Where keys stand, in the two steps that COMMAND INFO reports: where to begin, then what to take. */
struct synopsis_keys {
    int begin_index;      /* word to begin at; 0 when found by keyword */
    struct bytes keyword; /* word after which to begin */
    int start_from;       /* the first word that may be the keyword */
    bool counted;         /* a count stands at the beginning, the keys after it */
    bool or_empty;        /* an empty word at this place is not a key */
    int last;             /* last key, from the beginning if >= 0, from the end if < 0 */
    int step;             /* distance between keys */
    int limit;            /* 2: keys fill the first half of the rest; else 0 */
};

struct synopsis {
    struct bytes name;
    int words; /* that name the command: 1 or 2 */
    int arity; /* as COMMAND INFO says it: n words, or at least n if -n */
    /* A group of several words that repeats while all else is fixed: (count - from) % step must be 0.
     * step 0: there is no such rule. */
    int parity_from, parity_step;
    int nodes_count, keys_count;
    struct synopsis_keys keys[SYNOPSIS_KEYS_MAX];
    struct synopsis_node nodes[SYNOPSIS_NODES_MAX]; /* the first is the root, a sequence */
};

/* Reads `line`, which must outlive `s`. `words` is how many words name the command: 1, or 2 for a
 * subcommand. Returns NULL, or what is wrong with the line: a literal, never freed. */
MUST_USE const char *synopsis_parse(struct synopsis *s, const char *line, int words);

/* A copy that is as large as `s` needs and no larger: nodes_count nodes. Freed by synopsis_free. */
struct synopsis *synopsis_copy(const struct synopsis *s);
struct synopsis *synopsis_free(struct synopsis *s); /* always NULL; NULL is fine */

static inline bool synopsis_is_key(const struct synopsis_node *node) {
    return node->kind == SYNOPSIS_VALUE && bytes_equal(node->type, BYTES("key"));
}
/* How many words the option takes that begins with `word` (any case) and stands outside of all
 * brackets' inside: 3 for LIMIT of "[LIMIT offset count]", and 1 when no option begins with it. What
 * is optional inside the option does not count. `*token` is the option's token; empty if there is none. */
int synopsis_option(const struct synopsis *s, struct bytes word, struct bytes *token);
