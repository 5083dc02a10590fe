/* crc32c.h: CRC-32C (Castagnoli, RFC 3720 B.4), by the processor's instruction where it has one. Pass 0 to
 * begin, or a seed; crc32c(crc32c(seed, a), b) is that of a and b in a row. Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);
