/* The journal's format, for its writer and its reader. */
#pragma once
#include <stddef.h>

#define CXB_JOURNAL_SUFFIX ".jnl"
#define CXB_JOURNAL_NEW    ".new" /* behind the name of a file that is being made */

enum { CXB_JOURNAL_HEADER = 16 };

void cxb_journal_header(char out[CXB_JOURNAL_HEADER]);
void cxb_journal_head(char out[8], const void *data, size_t len);
