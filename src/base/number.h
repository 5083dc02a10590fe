/* number.h: numbers as Redis reads and writes them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/bytes.h"

enum { INT_TEXT_MAX = 20, DOUBLE_TEXT_MAX = 5 * 1024 };

/* A signed 64-bit decimal in its one canonical form: no sign but '-', no leading zero, no space, no
 * "-0". So every accepted text is what int_format gives back. */
MUST_USE bool int_parse(struct bytes text, int64_t *out);
/* Writes at most INT_TEXT_MAX bytes, no NUL; returns how many. */
size_t int_format(char *out, int64_t n);
size_t uint_format(char *out, uint64_t n);
unsigned int_text_len(int64_t n); /* what int_format would write */

/* A double as Redis' string2d / getDoubleFromObject take it: no surrounding space, nan refused, inf
 * accepted, hexadecimal accepted by strtod. false: ERR value is not a valid float. */
MUST_USE bool double_parse(struct bytes text, double *out);
/* The shortest decimal that reads back as the same double (Redis' RESP3 doubles and scores): "inf",
 * "-inf", "nan"; integers without a point. At most 40 bytes. */
size_t double_format(char *out, double n);

/* INCRBYFLOAT's arithmetic: long double in, "%.17Lf" with trailing zeros cut out. parse as Redis'
 * getLongDoubleFromObject (no space, no nan; up to 256 bytes). format writes at most DOUBLE_TEXT_MAX. */
MUST_USE bool long_double_parse(struct bytes text, long double *out);
size_t long_double_format(char *out, long double n);

/* "100", "1k" (1000), "1kb" (1024), m mb g gb, any case; as redis.conf's sizes. */
MUST_USE bool size_parse(struct bytes text, int64_t *out);
/* "1.50M" as INFO's _human fields. At most 32 bytes with NUL. */
void size_human(char *out, uint64_t bytes);
