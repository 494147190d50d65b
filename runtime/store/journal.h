/* The journal: an append-only file of checksummed records, one a call.
 *
 *   file   = header record*
 *   header = "CXBJRNL1" (8 bytes), version 1 (u32), CRC-32C of these 12 bytes (u32)
 *   record = length (u32, 1 … 4 MiB), CRC-32C of length and bytes (u32), bytes
 *
 * Numbers are little-endian. The writer holds a lock (flock) on the file while it lives. What the
 * bytes are is the caller's affair. Everything but reading belongs to the loop's thread; disk work
 * happens on libuv's thread pool. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../base/buf.h"

enum { CXB_JOURNAL_MAX_RECORD = 4 << 20, CXB_JOURNAL_MAX_WAITING = 8 << 20 };

typedef struct cxb_journal cxb_journal;
typedef void (*cxb_journal_done)(void *arg, int err);

/* Makes a new file (and its folder): it is on disk, locked and has its name when `done` is called
 * with the journal. CXB_EEXIST: the name is taken. Returns 0 or CXB_ENOMEM (`done` is not called).
 */
int cxb_journal_create(uv_loop_t *loop, const char *path,
                       void (*done)(void *arg, cxb_journal *j, int err, const char *message),
                       void *arg);
/* Takes a record (copied); its way to the disk begins at once. Never waits. CXB_ETOOBIG, or
 * CXB_ENOSPC when the disk has failed for so long that CXB_JOURNAL_MAX_WAITING bytes wait: the
 * record is then lost and counted. */
int cxb_journal_append(cxb_journal *j, const void *data, size_t len);
/* `done` once everything appended so far is on the disk, or with the error that kept it from there.
 * What failed is tried again with the next append or sync. CXB_ENOMEM: `done` is not called. */
int cxb_journal_sync(cxb_journal *j, cxb_journal_done done, void *arg);
/* Syncs, closes and frees; `remove` deletes the file instead. `done` may be NULL. */
void cxb_journal_close(cxb_journal *j, bool remove, cxb_journal_done done, void *arg);
const char *cxb_journal_path(const cxb_journal *j);
/* Writes that failed and records lost so far. */
uint64_t cxb_journal_errors(const cxb_journal *j);

/* The records of a file, in order: `record` for each, borrowed. Reading ends at the first record
 * that is not whole or whose checksum is wrong (*torn_at its offset, else -1). From any thread.
 * CXB_ENOENT, CXB_EIO; CXB_ECORRUPT: no journal. A file of less than a header has no records. */
int cxb_journal_read(const char *path, void (*record)(void *arg, const char *data, size_t len),
                     void *arg, int64_t *torn_at);

/* Paths (NUL after each) of the journals in `folder` that no living process holds. They are held by
 * this process from then on, so that one process recovers each; a file that is gone is let go. From
 * any thread. An absent folder has none. CXB_EIO, CXB_ENOMEM. */
int cxb_journal_orphans(const char *folder, cxb_buf *out);
