/* persistence.h: DEBUG's part of it. */
#pragma once

#include "command/call.h"

/* Writes everything as an RDB file, flushes it, reads it back: what is wrong with the format shows. */
enum outcome debug_reload(struct call *call);
