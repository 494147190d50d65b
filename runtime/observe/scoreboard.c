/* The host's scoreboard. */
#include "scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/time.h"

#define MAGIC 0x3162735f62786300 /* "\0cxb_sb1" */

typedef struct layout {
  _Atomic uint64_t magic;
  _Atomic int32_t workers, host_draining;
  int32_t pad[12];
  cxb_scoreboard_row rows[CXB_SCOREBOARD_ROWS];
  _Alignas(8) unsigned char metrics[CXB_SCOREBOARD_ROWS][CXB_METRIC_BLOCK_SIZE(CXB_METRIC_SERIES)];
} layout;

struct cxb_scoreboard {
  int fd, id;
  layout *map;
};

int cxb_scoreboard_open(const char *path, cxb_scoreboard **out) {
  char full[512];
  if ((size_t)snprintf(full, sizeof full, "%s-%zu", path, sizeof(layout)) >= sizeof full)
    return CXB_EINVAL;
  cxb_scoreboard *sb = calloc(1, sizeof *sb);
  if (!sb)
    return CXB_ENOMEM;
  int err = CXB_EIO;
  sb->fd = open(full, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (sb->fd < 0)
    goto free_sb;
  struct stat st;
  if (fstat(sb->fd, &st) != 0)
    goto close_fd;
  if (st.st_size != 0 && st.st_size != (off_t)sizeof(layout)) {
    err = CXB_ECORRUPT;
    goto close_fd;
  }
  if (ftruncate(sb->fd, sizeof(layout)) != 0)
    goto close_fd;
  sb->map = mmap(NULL, sizeof(layout), PROT_READ | PROT_WRITE, MAP_SHARED, sb->fd, 0);
  if (sb->map == MAP_FAILED)
    goto close_fd;
  uint64_t expected = 0;
  if (!atomic_compare_exchange_strong(&sb->map->magic, &expected, MAGIC) && expected != MAGIC) {
    err = CXB_ECORRUPT;
    goto unmap;
  }
  *out = sb;
  return 0;
unmap:
  munmap(sb->map, sizeof(layout));
close_fd:
  close(sb->fd);
free_sb:
  free(sb);
  return err;
}

int cxb_scoreboard_attach(cxb_scoreboard *sb, int id) {
  if (id < 1 || id > CXB_SCOREBOARD_ROWS)
    return CXB_EINVAL;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = id, .l_len = 1};
  if (fcntl(sb->fd, F_OFD_SETLK, &lock) != 0)
    return errno == EAGAIN || errno == EACCES ? CXB_EBUSY : CXB_EIO;
  sb->id = id;
  cxb_scoreboard_row *row = &sb->map->rows[id - 1];
  memset(row, 0, sizeof *row);
  cxb_metric_block *metrics = cxb_scoreboard_metrics(sb, id);
  metrics->used = metrics->refused = 0;
  metrics->room = CXB_METRIC_SERIES;
  cxb_metric_use(metrics);
  row->since_ms = cxb_now_ms();
  row->heartbeat_ms = cxb_mono_ms();
  row->pid = getpid();
  return 0;
}

cxb_scoreboard_row *cxb_scoreboard_own(cxb_scoreboard *sb) {
  return sb->id ? &sb->map->rows[sb->id - 1] : NULL;
}

void cxb_scoreboard_beat(cxb_scoreboard *sb) {
  if (sb->id)
    sb->map->rows[sb->id - 1].heartbeat_ms = cxb_mono_ms();
}

int cxb_scoreboard_workers(const cxb_scoreboard *sb) {
  return sb->map->workers;
}

void cxb_scoreboard_set_workers(cxb_scoreboard *sb, int workers) {
  sb->map->workers = workers;
}

bool cxb_scoreboard_host_draining(const cxb_scoreboard *sb) {
  return sb->map->host_draining != 0;
}

void cxb_scoreboard_set_host_draining(cxb_scoreboard *sb, bool draining) {
  sb->map->host_draining = draining;
}

bool cxb_scoreboard_row_get(const cxb_scoreboard *sb, int id, cxb_scoreboard_row *out) {
  if (id < 1 || id > CXB_SCOREBOARD_ROWS)
    return false;
  cxb_scoreboard_row row = sb->map->rows[id - 1];
  if (row.pid == 0 || cxb_mono_ms() - row.heartbeat_ms > CXB_SCOREBOARD_STALE_MS)
    return false;
  if (kill(row.pid, 0) != 0 && errno == ESRCH)
    return false;
  row.session_id[sizeof row.session_id - 1] = '\0';
  row.reservation[sizeof row.reservation - 1] = '\0';
  *out = row;
  return true;
}

cxb_metric_block *cxb_scoreboard_metrics(cxb_scoreboard *sb, int id) {
  return (cxb_metric_block *)(void *)sb->map->metrics[id - 1];
}

void cxb_scoreboard_close(cxb_scoreboard *sb) {
  if (sb->id)
    sb->map->rows[sb->id - 1].pid = 0;
  /* The mapping stays: a late count after this must not fault. */
  close(sb->fd);
  free(sb);
}
