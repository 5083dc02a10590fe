#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *condition, const char *file, int line) {
    /* One unbuffered line: the heap and stdio's locks may be what is broken. */
    dprintf(2, "pulsedb: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}
