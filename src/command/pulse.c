/* pulse.c: the instance as a whole: waking its loops, weighing its memory. */
#include "command/pulse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef PULSE_PLAIN_MALLOC
#include <malloc.h>
#else
#include <jemalloc/jemalloc.h>
#endif

void pulse_wake(struct pulse *pulse) {
    for (size_t i = 0; i < pulse->loops_count; i++) mailbox_ring(pulse->loops[i]);
}

/* The second number of /proc/self/statm: pages in memory. */
static uint64_t resident_by_kernel(void) {
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    const char *space = fgets(text, sizeof text, file) ? strchr(text, ' ') : NULL;
    fclose(file);
    return space ? strtoull(space, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

#ifdef PULSE_PLAIN_MALLOC
uint64_t pulse_used_memory(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}
#else
uint64_t pulse_used_memory(void) {
    uint64_t epoch = 1; /* jemalloc's figures are those of the last change of its epoch */
    size_t size = sizeof epoch;
    mallctl("epoch", &epoch, &size, &epoch, sizeof epoch);
    size_t allocated = 0;
    size = sizeof allocated;
    return mallctl("stats.allocated", &allocated, &size, NULL, 0) == 0 ? allocated : 0;
}
#endif

uint64_t pulse_resident_memory(void) {
    return resident_by_kernel();
}

uint64_t pulse_machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}
