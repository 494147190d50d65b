/* The task that carried a call died: the service says what becomes of the call. */
#pragma once
#include "task.h"

/* From the on_end callback of the task that held the slot (cxb_task_ending()): starts
 * service.call_lost{task, reason, error, tags} in a fresh task of the same generation, which holds
 * the slot until it ends. */
void cxb_call_lost(cxb_task *task, const char *error);
