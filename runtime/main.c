/* cxbrt: one program that hosts Lua services. This file only says which rooms it is made of; one
 * that is not linked in is left out. */
#include "host/process.h"

// clang-format off
#define ROOMS(ROOM)            \
  ROOM(cxb_crypto_module)      \
  ROOM(cxb_json_module)        \
  ROOM(cxb_words_module)       \
  ROOM(cxb_log_module)         \
  ROOM(cxb_metrics_module)     \
  ROOM(cxb_scoreboard_module)  \
  ROOM(cxb_time_module)        \
  ROOM(cxb_task_module)        \
  ROOM(cxb_process_module)     \
  ROOM(cxb_confine_module)     \
  ROOM(cxb_fs_module)          \
  ROOM(cxb_spool_module)       \
  ROOM(cxb_slot_module)        \
  ROOM(cxb_http_server_module) \
  ROOM(cxb_http_client_module) \
  ROOM(cxb_guard_module)       \
  ROOM(cxb_ws_module)          \
  ROOM(cxb_sqlite_module)      \
  ROOM(cxb_mongo_module)       \
  ROOM(cxb_redis_module)       \
  ROOM(cxb_outbox_module)      \
  ROOM(cxb_journal_module)     \
  ROOM(cxb_call_module)        \
  ROOM(cxb_audiosocket_module) \
  ROOM(cxb_speech_module)      \
  ROOM(cxb_phone_module_lua)   \
  ROOM(cxb_contacts_module)    \
  ROOM(cxb_fault_module)
// clang-format on

#define DECLARE(name) extern const cxb_module name __attribute__((weak));
#define LIST(name)    &name,

ROOMS(DECLARE)

const cxb_module *const cxb_modules[] = {ROOMS(LIST)};
const int cxb_modules_count = sizeof cxb_modules / sizeof *cxb_modules;

int main(int argc, char **argv) {
  return cxb_process_main(argc, argv);
}
