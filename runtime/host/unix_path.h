/* Socket files. */
#pragma once

/* Removes a socket file nobody listens on any more; a living one is left (bind then fails). */
void cxb_unix_path_clear(const char *path);
