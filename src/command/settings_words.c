/* settings_words.c: lines into words and back, and the names that are somebody else's. */
#include "command/settings_words.h"

struct word_reader {
    const char *at, *end;
    char *out; /* where the next byte of a word goes */
};

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static char escaped(char c) {
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
    }
}

/* After a backslash between double quotes. */
static void take_escape(struct word_reader *reader) {
    const char *at = reader->at;
    if (reader->end - at >= 3 && at[0] == 'x' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *reader->out++ = (char)(hex_digit(at[1]) << 4 | hex_digit(at[2]));
        reader->at += 3;
        return;
    }
    *reader->out++ = escaped(*at);
    reader->at++;
}

/* The rest of a quoted run; its closing quote must end the word. */
static bool take_quoted(struct word_reader *reader, char quote) {
    for (; reader->at < reader->end; reader->at++) {
        char c = *reader->at;
        bool more = reader->end - reader->at >= 2;
        if (c == quote) {
            reader->at++;
            return reader->at == reader->end || is_space(*reader->at);
        }
        if (c == '\\' && more && quote == '"') {
            reader->at++;
            take_escape(reader);
            reader->at--;
        } else if (c == '\\' && more && reader->at[1] == '\'' && quote == '\'') {
            *reader->out++ = '\'';
            reader->at++;
        } else {
            *reader->out++ = c;
        }
    }
    return false;
}

static bool take_word(struct word_reader *reader) {
    while (reader->at < reader->end && !is_space(*reader->at)) {
        char c = *reader->at++;
        if (c != '"' && c != '\'')
            *reader->out++ = c;
        else
            return take_quoted(reader, c);
    }
    return true;
}

static void skip_spaces(struct word_reader *reader) {
    while (reader->at < reader->end && is_space(*reader->at)) reader->at++;
}

bool words_split(struct bytes line, struct arena *arena, struct bytes **words, size_t *count) {
    struct word_reader reader = { line.data, line.data ? line.data + line.len : NULL,
                                  arena_new(arena, line.len + 1) };
    struct bytes *list = arena_new(arena, (line.len / 2 + 1) * sizeof *list);
    size_t found = 0;
    for (skip_spaces(&reader); reader.at < reader.end; skip_spaces(&reader)) {
        char *start = reader.out;
        if (!take_word(&reader)) return false;
        list[found++] = (struct bytes){ start, (size_t)(reader.out - start) };
    }
    *words = list;
    *count = found;
    return true;
}

static bool needs_quotes(struct bytes word) {
    if (word.len == 0) return true;
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '\\') return true;
    }
    return word.data[0] == '#';
}

void words_put(struct buffer *buffer, struct bytes word) {
    if (buffer->len) buffer_put(buffer, BYTES(" "));
    if (!needs_quotes(word)) {
        buffer_put(buffer, word);
        return;
    }
    buffer_put(buffer, BYTES("\""));
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.data[i];
        if (c == '"' || c == '\\')
            buffer_format(buffer, "\\%c", c);
        else if (c == '\n')
            buffer_put(buffer, BYTES("\\n"));
        else if (c < ' ' || c >= 0x7f)
            buffer_format(buffer, "\\x%02x", c);
        else
            buffer_put(buffer, (struct bytes){ word.data + i, 1 });
    }
    buffer_put(buffer, BYTES("\""));
}

/* What Redis up to 8 and Valkey up to 9 know beyond settings.def. A name that ends in '*' stands for
 * all that begin so. */
static const char *const foreign[] = {
    "user",
    "loadmodule",
    "rename-command",
    "replicaof",
    "slaveof",
    "cluster-*",
    "tls-auth-clients-user",
    "unixsocketgroup",
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "gopher-enabled",
    "lua-enable-insecure-api",
    "lua-enable-deprecated-api",
    "lookahead",
    "commandlog-*",
    "large-reply-threshold",
    "extended-redis-compatibility",
    "hide-user-data-from-log",
    "key-memory-histograms",
    "import-mode",
    "availability-zone",
    "dual-channel-replication-enabled",
    "rdma-*",
    "mptcp",
    "repl-mptcp",
    "repl-rdb-channel",
    "replica-full-sync-buffer-limit",
    "events-per-io-thread",
    "prefetch-batch-max-size",
    "max-new-connections-per-cycle",
    "max-new-tls-connections-per-cycle",
    "min-io-threads-avoid-copy-reply",
    "min-string-size-avoid-copy-reply",
    "rdb-version-check",
    "rdb-key-save-delay",
    "key-load-delay",
    "hash-seed",
    "vset-force-single-threaded-execution",
    "client-default-resp",
    "stream-idmp-duration",
    "stream-idmp-maxsize",
    "debug-context",
    "use-exit-on-panic",
    "redis-identity",
};

bool setting_is_foreign(struct bytes name) {
    for (size_t i = 0; i < COUNT_OF(foreign); i++) {
        struct bytes known = bytes_of(foreign[i]);
        if (!bytes_ends_with(known, BYTES("*"))) {
            if (bytes_equal_nocase(known, name)) return true;
            continue;
        }
        known.len--;
        if (name.len > known.len &&
            bytes_equal_nocase(known, (struct bytes){ name.data, known.len }))
            return true;
    }
    return false;
}
