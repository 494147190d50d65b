/* A file that is text already. */
#pragma once

/* Writes it to standard output without a byte order mark, if it is UTF-8 without NUL. NULL, or why
 * the file is refused; some of it may have been written then. */
const char *text_print(const char *path);
