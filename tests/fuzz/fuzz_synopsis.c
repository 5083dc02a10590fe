/* fuzz_synopsis.c: any line is a synopsis or is refused; what is taken holds together, and names keys
 * within any call. The input: one byte for the words of the name, a line, a 0, the words of a call. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "command/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 64 };

static void check_nodes(const struct synopsis *s) {
    assert(s->nodes_count > 0 && s->nodes_count <= SYNOPSIS_NODES_MAX);
    assert(s->keys_count >= 0 && s->keys_count <= SYNOPSIS_KEYS_MAX);
    for (int i = 0; i < s->nodes_count; i++) {
        const struct synopsis_node *node = &s->nodes[i];
        assert(node->child < s->nodes_count && node->next < s->nodes_count);
        assert(node->keys_index < s->keys_count);
        assert(node->kind <= SYNOPSIS_REPEAT);
    }
    for (int i = 0; i < s->keys_count; i++) assert(s->keys[i].step > 0);
}

static enum outcome stub(struct call *call) {
    (void)call;
    return DONE;
}

static void check_call(const struct command_info *info, const char *words) {
    static char text[1 << 12];
    struct bytes args[WORDS_MAX];
    size_t count = 0;
    snprintf(text, sizeof text, "%s", words);
    for (char *at = text; count < WORDS_MAX; at++) {
        size_t len = strcspn(at, " ");
        args[count++] = (struct bytes){ at, len };
        at += len;
        if (*at == '\0') break;
    }
    bool fits = command_arity_fits(info, count);
    static struct arena arena;
    arena_init(&arena);
    struct key_positions keys;
    unsigned *access;
    if (command_keys_access(NULL, info, args, count, &arena, &keys, &access)) {
        for (uint32_t i = 0; i < keys.count; i++) assert(keys.at[i] < count);
        for (uint32_t i = 1; i < keys.count; i++) assert(keys.at[i - 1] < keys.at[i]);
    }
    if (fits) fits = command_keys(NULL, info, args, count, &arena, &keys);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    char *text = malloc(size + 2);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = text[size] = '\0';

    struct command command = { .synopsis = text, .keys = KEY_RO, .run = stub };
    struct command_info info;
    if (!command_info_init(&info, &command, 1 + (data[0] & 1))) {
        check_nodes(info.synopsis);
        check_call(&info, text + strlen(text) + (strlen(text) < size - 1));
        command_info_deinit(&info);
    }
    free(text);
    return 0;
}
