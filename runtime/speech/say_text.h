/* Text as flite can take it: ASCII, a sentence at a time. */
#pragma once
#include <stddef.h>

/* UTF-8 to ASCII: typographic marks and Latin letters become their plain forms, control characters
 * and runs of blanks one space, everything else nothing. NUL-terminated, cut to fit; answers the
 * length. */
size_t cxb_say_ascii(const char *utf8, size_t len, char *out, size_t size);

/* Bytes of the first sentence of the text with the blanks behind it; 0 at the end of the text. A
 * very long sentence ends at a comma or a blank. */
size_t cxb_say_sentence(const char *text);
