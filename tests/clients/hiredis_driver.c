/* hiredis does the scenarios: hiredis_driver PORT PROTOCOL GROUP in the folder of scenarios.txt, JSON lines. What
 * comes by itself (messages, invalidations) is kept until a step waits for it. Debian's hiredis 0.14 has RESP2 only. */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 64
#define LINE_MAX_SIZE 512
#define CONNECTIONS_MAX 16
#define LIMIT_SECONDS 20

struct words {
    int count;
    char *text[WORDS_MAX];
    size_t size[WORDS_MAX];
};

struct connection {
    char name[32];
    redisContext *redis;
    redisReply *pushes[2048];
    int push_count;
    struct connection *listener;
    long long id; /* asked before it listens */
    int queued;
};

static int port;
static struct connection connections[CONNECTIONS_MAX];
static int connection_count;

static int number(const char *text) {
    return (int)strtol(text, NULL, 10);
}

/* ---- JSON ---- */

static void show_text(const char *text, size_t size) {
    bool plain = true;
    for (size_t i = 0; i < size; i++)
        plain = plain && (unsigned char)text[i] >= 9 && text[i] != 11 && text[i] != 127;
    for (size_t i = 0; plain && i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool starts_pair =
            c >= 0xc2 && c < 0xe0 && i + 1 < size && ((unsigned char)text[i + 1] & 0xc0) == 0x80;
        if (c == '\r' || (c >= 0x80 && !starts_pair)) plain = false;
        if (starts_pair) i++;
    }
    printf("\"%s", plain ? "" : "hex:");
    for (size_t i = 0; i < size; i++) {
        if (!plain)
            printf("%02x", (unsigned char)text[i]);
        else if (text[i] == '\n')
            printf("\\n");
        else if (text[i] == '\t')
            printf("\\t");
        else
            printf(text[i] == '"' || text[i] == '\\' ? "\\%c" : "%c", text[i]);
    }
    putchar('"');
}

static void show(const redisReply *reply) {
    switch (reply->type) {
    case REDIS_REPLY_INTEGER: printf("%lld", reply->integer); return;
    case REDIS_REPLY_NIL: printf("null"); return;
    case REDIS_REPLY_ERROR: printf("{\"error\": "); break;
    case REDIS_REPLY_STATUS: printf("{\"status\": "); break;
    case REDIS_REPLY_ARRAY:
        putchar('[');
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0) printf(", ");
            show(reply->element[i]);
        }
        putchar(']');
        return;
    default: show_text(reply->str, reply->len); return;
    }
    show_text(reply->str, reply->len);
    putchar('}');
}

/* ---- Connections ---- */

static redisContext *dial(void) {
    redisContext *redis =
        redisConnectWithTimeout("127.0.0.1", port, (struct timeval){ LIMIT_SECONDS, 0 });
    if (redis == NULL || redis->err) {
        fprintf(stderr, "no connection: %s\n", redis ? redis->errstr : "no memory");
        exit(2);
    }
    redisSetTimeout(redis, (struct timeval){ LIMIT_SECONDS, 0 });
    return redis;
}

static void keep(struct connection *c, redisReply *push) {
    if (c->push_count < (int)(sizeof c->pushes / sizeof c->pushes[0]))
        c->pushes[c->push_count++] = push;
}

/* A message is an array that starts with its kind. */
static bool comes_by_itself(const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING)
        return false;
    const char *kind = reply->element[0]->str;
    return strcmp(kind, "message") == 0 || strcmp(kind, "pmessage") == 0 ||
           strcmp(kind, "smessage") == 0;
}

/* The next reply, or NULL if the connection is over. */
static redisReply *next_reply(struct connection *c) {
    for (;;) {
        redisReply *reply = NULL;
        if (redisGetReply(c->redis, (void **)&reply) != REDIS_OK) return NULL;
        if (!comes_by_itself(reply)) return reply;
        keep(c, reply);
    }
}

static redisReply *call(struct connection *c, const struct words *w, int from) {
    if (redisAppendCommandArgv(c->redis, w->count - from, (const char **)w->text + from,
                               w->size + from) != REDIS_OK)
        return NULL;
    return next_reply(c);
}

static struct words words_of(const char *line) {
    struct words w = { 0 };
    static char room[8][LINE_MAX_SIZE * 2];
    static int next_room;
    char *at = room[next_room++ % 8];
    while (*line != 0 && w.count < WORDS_MAX) {
        size_t size = strcspn(line, " ");
        w.text[w.count] = at;
        for (size_t i = 0; i < size; i++) {
            unsigned byte;
            if (line[i] == '\\' && sscanf(line + i, "\\x%2x", &byte) == 1)
                *at++ = (char)byte, i += 3;
            else
                *at++ = line[i];
        }
        w.size[w.count] = (size_t)(at - w.text[w.count]);
        *at++ = 0;
        if (strcmp(w.text[w.count], "''") == 0) w.text[w.count][0] = 0, w.size[w.count] = 0;
        w.count++;
        line += size + (line[size] == ' ');
    }
    return w;
}

static redisReply *call_line(struct connection *c, const char *line) {
    struct words w = words_of(line);
    return call(c, &w, 0);
}

static void hang_up(struct connection *c) {
    for (int i = 0; i < c->push_count; i++) freeReplyObject(c->pushes[i]);
    c->push_count = 0;
    if (c->redis != NULL) redisFree(c->redis);
    c->redis = NULL;
}

static struct connection *get(const char *name) {
    for (int i = 0; i < connection_count; i++)
        if (strcmp(connections[i].name, name) == 0) return &connections[i];
    struct connection *c = &connections[connection_count++];
    memset(c, 0, sizeof *c);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->redis = dial();
    return c;
}

static long long id_of(struct connection *c) {
    redisReply *reply = call_line(c, "CLIENT ID");
    long long id = reply ? reply->integer : 0;
    freeReplyObject(reply);
    return id;
}

/* ---- Steps ---- */

enum shown { SHOWN, NOTHING };

static enum shown show_reply(redisReply *reply) {
    if (reply == NULL)
        printf("\"the connection is over\"");
    else
        show(reply);
    freeReplyObject(reply);
    return SHOWN;
}

/* One reply for each channel, except where an error ends it. */
static enum shown subscription(struct connection *c, const struct words *w) {
    redisReply *reply = call(c, w, 1);
    putchar('[');
    for (int i = 3; i < w->count && reply != NULL && reply->type != REDIS_REPLY_ERROR; i++) {
        show_reply(reply);
        printf(", ");
        reply = next_reply(c);
    }
    show_reply(reply);
    putchar(']');
    return SHOWN;
}

static enum shown heard(struct connection *c, int count) {
    while (c->push_count < count) {
        redisReply *reply = NULL;
        if (redisGetReply(c->redis, (void **)&reply) != REDIS_OK) {
            printf("\"waited in vain: %s\"", c->redis->errstr);
            return SHOWN;
        }
        keep(c, reply);
    }
    putchar('[');
    for (int i = 0; i < count; i++) {
        if (i > 0) printf(", ");
        show_reply(c->pushes[i]);
    }
    putchar(']');
    c->push_count -= count;
    memmove(c->pushes, c->pushes + count, sizeof c->pushes[0] * (size_t)c->push_count);
    return SHOWN;
}

static enum shown flood(struct connection *c, const char *channel, int count) {
    for (int i = 0; i < count; i++) redisAppendCommand(c->redis, "PUBLISH %s %d", channel, i);
    putchar('[');
    for (int i = 0; i < count; i++) {
        if (i > 0) printf(", ");
        show_reply(next_reply(c));
    }
    putchar(']');
    return SHOWN;
}

/* The replies to MULTI and to what was queued, then what the last word gets. */
static enum shown transaction(struct connection *c, const char *last) {
    redisAppendCommand(c->redis, last);
    putchar('[');
    for (int i = 0; i <= c->queued; i++) {
        show_reply(next_reply(c));
        printf(", ");
    }
    show_reply(next_reply(c));
    putchar(']');
    return SHOWN;
}

static enum shown until(struct connection *c, const struct words *w) {
    for (int round = 0;; round++) {
        redisReply *reply = call(c, w, 3);
        char text[32] = "";
        if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
            snprintf(text, sizeof text, "%lld", reply->integer);
        freeReplyObject(reply);
        if (strcmp(text, w->text[2]) == 0 || round == LIMIT_SECONDS * 500) {
            printf("\"%s\"", strcmp(text, w->text[2]) == 0 ? text : "waited in vain");
            return SHOWN;
        }
        usleep(2000);
    }
}

static enum shown login(struct connection *c, const char *user, const char *password) {
    hang_up(c);
    c->redis = dial();
    char line[LINE_MAX_SIZE];
    snprintf(line, sizeof line, "AUTH %s %s", user, password);
    redisReply *reply = call_line(c, line);
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) return show_reply(reply);
    freeReplyObject(reply);
    return show_reply(call_line(c, "PING"));
}

static enum shown listen_to(struct connection *c) {
    c->listener = get("the listener");
    c->listener->id = id_of(c->listener);
    return show_reply(call_line(c->listener, "SUBSCRIBE __redis__:invalidate"));
}

static bool is(const char *word, const char *other) {
    return strcmp(word, other) == 0;
}

static enum shown transactions_step(struct connection *c, const struct words *w) {
    const char *verb = w->text[1];
    if (is(verb, "watch")) {
        struct words copy = *w;
        copy.text[1] = "WATCH";
        copy.size[1] = 5;
        return show_reply(call(c, &copy, 1));
    }
    if (is(verb, "begin")) {
        c->queued = 0;
        redisAppendCommand(c->redis, "MULTI");
        return NOTHING;
    }
    if (is(verb, "queue")) {
        c->queued++;
        redisAppendCommandArgv(c->redis, w->count - 2, (const char **)w->text + 2, w->size + 2);
        return NOTHING;
    }
    return transaction(c, is(verb, "exec") ? "EXEC" : "DISCARD");
}

static enum shown step(struct connection *c, const struct words *w) {
    const char *verb = w->text[1];
    if (is(verb, "user")) return login(c, w->text[2], w->text[3]);
    if (is(verb, "until")) return until(c, w);
    if (is(verb, "heard")) return heard(c, number(w->text[2]));
    if (is(verb, "flood")) return flood(c, w->text[2], number(w->text[3]));
    if (is(verb, "listen")) return listen_to(c);
    if (is(verb, "invalidated")) return heard(c->listener, number(w->text[2]));
    if (is(verb, "ping")) return show_reply(call_line(c, "PING"));
    if (is(verb, "refused")) return show_reply(call(c, w, 2));
    if (is(verb, "fails")) {
        redisReply *reply = call(c, w, 2);
        printf(reply == NULL || reply->type == REDIS_REPLY_ERROR ? "true" : "false");
        freeReplyObject(reply);
        return SHOWN;
    }
    if (strstr(verb, "subscribe")) return subscription(c, w);
    if (verb[0] >= 'A' && verb[0] <= 'Z') return show_reply(call(c, w, 1));
    return transactions_step(c, w);
}

/* The line with @track and @id: replaced. */
static void replace_marks(struct connection *c, const char *line, char *out, size_t room) {
    out[0] = 0;
    for (const char *at = line; *at != 0;) {
        size_t size = strcspn(at, " ");
        char word[LINE_MAX_SIZE], name[32];
        snprintf(word, sizeof word, "%.*s", (int)size, at);
        if (is(word, "@track")) {
            snprintf(word, sizeof word, "REDIRECT %lld", c->listener->id);
        } else if (sscanf(word, "@id:%31s", name) == 1) {
            snprintf(word, sizeof word, "%lld", id_of(get(name)));
        }
        size_t used = strlen(out);
        snprintf(out + used, room - used, "%s%s", used > 0 ? " " : "", word);
        at += size + (at[size] == ' ');
    }
}

static enum shown do_line(const char *line, bool quiet) {
    char name[32], replaced[LINE_MAX_SIZE];
    sscanf(line, "%31s", name);
    struct connection *c = get(name);
    replace_marks(c, line, replaced, sizeof replaced);
    struct words w = words_of(replaced);
    if (quiet) {
        freeReplyObject(call(c, &w, 1));
        return SHOWN;
    }
    enum shown how = step(c, &w);
    if (how == NOTHING) printf("null");
    return how;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    port = number(argv[1]);
    FILE *file = fopen("scenarios.txt", "r");
    if (file == NULL) return 2;
    char line[LINE_MAX_SIZE], scenario[128] = "", setup[8][LINE_MAX_SIZE];
    int setup_count = 0;
    bool wanted = false;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "== ", 3) == 0) {
            while (connection_count > 0) hang_up(&connections[--connection_count]);
            snprintf(scenario, sizeof scenario, "%s", line + 3);
            wanted = strncmp(scenario, argv[3], strlen(argv[3])) == 0;
            for (int i = 0; wanted && i < setup_count; i++) do_line(setup[i], true);
        } else if (line[0] == 0 || line[0] == '#') {
            continue;
        } else if (is(scenario, "setup")) {
            memcpy(setup[setup_count++], line, sizeof line);
        } else if (wanted) {
            printf("{\"scenario\": ");
            show_text(scenario, strlen(scenario));
            printf(", \"step\": ");
            show_text(line, strlen(line));
            printf(", \"shown\": ");
            do_line(line, false);
            printf("}\n");
            fflush(stdout);
        }
    }
    fclose(file);
    return 0;
}
