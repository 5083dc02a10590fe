/* contain.h: what the process gives up for good: no program is ever run from it.
 *
 * Nothing here forks (snapshots need no fork) or executes. So a fault that lets somebody run code of
 * theirs inside the server does not also let them start a shell: execve, fork, vfork and ptrace fail
 * with EPERM, and so does clone but for threads. */
#pragma once

#include <stdbool.h>

/* For this thread and all that it makes from now on. false: the kernel has no seccomp, or this build is
 * watched by a sanitizer, whose leak check forks. */
bool contain_process(void);
