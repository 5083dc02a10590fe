/* glob.h: Redis' patterns: * ? [a-z] [^a] \x. Linear in pattern × text at worst, no recursion: of
 * several stars only the last seen is ever returned to. Agrees with Redis' stringmatchlen on every
 * pattern, malformed ones too ("k[a" is a class that ends with the pattern). */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

bool glob_match(struct bytes pattern, struct bytes text, bool nocase);
