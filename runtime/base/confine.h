/* Takes from the running process what it has no need of to read somebody else's file or script. */
#pragma once
#include <stdbool.h>

typedef struct cxb_confinement {
  unsigned memory_mb; /* of address space; 0: as it is */
  unsigned cpu_s;     /* of processor time, then SIGKILL; 0: as it is */
  unsigned output_mb; /* of each file that is open for writing already */
  bool no_files;      /* nothing can be opened or executed any more, not even to read */
} cxb_confinement;

/* From here on the process, its threads and whatever it becomes or starts make no sockets, open no
 * file for writing, make and remove none, leave no core, and keep to the rules. It cannot be
 * undone. CXB_EIO: the kernel will not; some of it may hold already, so the caller ends. */
int cxb_confine(const cxb_confinement *rules);
