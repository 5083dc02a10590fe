/* info_calls.h: INFO's sections about what was called: commandstats, errorstats, latencystats. */
#pragma once

struct arena;
struct buffer;
struct pulse;

void info_commandstats(struct pulse *pulse, struct buffer *text);
void info_errorstats(struct pulse *pulse, struct buffer *text);
void info_latencystats(struct pulse *pulse, struct arena *arena, struct buffer *text);
