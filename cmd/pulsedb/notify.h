/* notify.h: tells systemd (or whoever set NOTIFY_SOCKET) how the service is doing. */
#pragma once

/* "READY=1", "STOPPING=1", "STATUS=...". Does nothing when nobody listens. */
void notify(const char *state);
