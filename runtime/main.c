/* cxbrt: one program that hosts Lua services. This file only says which rooms it is made of. */
#include "host/process.h"

extern const cxb_module cxb_crypto_module, cxb_log_module, cxb_metrics_module,
    cxb_scoreboard_module, cxb_time_module, cxb_task_module, cxb_process_module, cxb_fs_module,
    cxb_slot_module, cxb_fault_module, cxb_spool_module;
#define ROOM(name) extern const cxb_module name __attribute__((weak))
ROOM(cxb_http_server_module);
ROOM(cxb_http_client_module);
ROOM(cxb_guard_module);
ROOM(cxb_ws_module);
ROOM(cxb_sqlite_module);
ROOM(cxb_phone_module_lua);
ROOM(cxb_outbox_module);
ROOM(cxb_journal_module);
ROOM(cxb_call_module);
ROOM(cxb_audiosocket_module);
ROOM(cxb_speech_module);

const cxb_module *const cxb_modules[] = {
    &cxb_crypto_module,  &cxb_log_module,       &cxb_metrics_module,     &cxb_scoreboard_module,
    &cxb_time_module,    &cxb_task_module,      &cxb_process_module,     &cxb_fs_module,
    &cxb_spool_module,   &cxb_slot_module,      &cxb_http_server_module, &cxb_http_client_module,
    &cxb_guard_module,   &cxb_ws_module,        &cxb_sqlite_module,      &cxb_outbox_module,
    &cxb_journal_module, &cxb_call_module,      &cxb_audiosocket_module, &cxb_speech_module,
    &cxb_fault_module,   &cxb_phone_module_lua,
};
const int cxb_modules_count = sizeof cxb_modules / sizeof *cxb_modules;

int main(int argc, char **argv) {
  return cxb_process_main(argc, argv);
}
