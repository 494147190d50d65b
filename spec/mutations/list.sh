# The mistakes of spec/mutations/all: name, file, what sed does to it, and the test that notices.
core=spec/service/core_spec.lua door=spec/service/core_door_spec.lua front=spec/service/front_spec.lua
life=spec/service/core_life_spec.lua live=spec/service/core_live_spec.lua host=spec/service/host_spec.lua

# One call a worker.
mutation "a second call on a worker" runtime/host/slot.c \
  's/used >= max_calls/used > max_calls/' \
  lua $core "refuses a second call with 503 and JSON, and carries the next one"
mutation "a POST that takes no slot" lua/cxb/core/door.lua \
  's/= req:take_slot\(\)/= true/' \
  lua $door "get 429 from a busy worker without reading what they carry"
mutation "a call while draining" runtime/host/slot.c \
  's/if \(cxb_draining\(\)\)/if (0)/' \
  lua $core "drains on TERM"
mutation "two workers with one id" runtime/observe/scoreboard.c \
  's/fcntl\(sb->fd, F_OFD_SETLK, &lock\) != 0/lock.l_len < 0/' \
  lua $core "refuses to start without a secret, or when its row is taken"

# Results survive power loss.
mutation "a commit that does not wait for the disk" runtime/store/sqlite_conn.c \
  's/"PRAGMA synchronous=FULL"/"PRAGMA synchronous=NORMAL"/' \
  c test_store_sqlite a_commit_waits_for_the_disk_unless_told_otherwise

# The front.
mutation "an upgrade header on every request" nginx/cxb.conf.tmpl \
  's/Connection \$connection_upgrade/Connection "upgrade"/' \
  lua $front "sends a POST on as a plain request and a socket as an upgrade"
mutation "no upgrade passed on" nginx/cxb.conf.tmpl \
  's/proxy_set_header Upgrade .*;//' \
  lua $front "sends a POST on as a plain request and a socket as an upgrade"
mutation "a worker out for ten seconds after a refusal" nginx/cxb.conf.tmpl \
  's/max_conns=1 max_fails=0/max_conns=1 max_fails=1/' \
  lua $front "gives a worker that refused a POST the very next call of either kind"
mutation "start POSTs that are not tried again" nginx/cxb.conf.tmpl \
  's/error timeout http_429 non_idempotent/error timeout non_idempotent/' \
  lua $door "find the free worker past one that is busy by a call the front does not know"
mutation "an HTML error when all are busy" nginx/cxb.conf.tmpl \
  's/error_page 502 504 = @ws_failed;//' \
  lua $front "refuses in JSON when workers are busy by POST and by socket"

# A refusal leaves nothing.
mutation "the slot before the secret" lua/cxb/core/door.lua \
  's/^  if not auth.secret_ok\(c, req.headers\) then$/  req:take_slot()\n&/' \
  lua spec/unit/door_spec.lua "takes no slot without the secret, and reads no body without the slot"
mutation "a POST without the secret" lua/cxb/core/door.lua \
  's/if not auth.secret_ok\(c, req.headers\) then/if false then/' \
  lua $door "are refused by method, secret, slot and room in this order, and leave nothing"
mutation "a journal before the refusal" lua/cxb/core/door.lua \
  's/^  code = rooms_state\(c\)$/  cxb.journal.create(c.journal_dir .. "\/door.jnl")\n&/' \
  lua $door "are refused by method, secret, slot and room in this order, and leave nothing"
mutation "two secrets that differ" lua/cxb/core/auth.lua \
  's/ or \(a and b and a ~= b\)//' \
  lua spec/unit/core_parts_spec.lua "both header spellings carry the secret, two different values none"

# Life.
mutation "a broken generation takes work" runtime/host/generation.c \
  's/^  if \(!ok\) \{$/  if (!ok \&\& !arg) {/' \
  lua $host "refuses a generation whose self-test fails"
mutation "a loop that nobody ends" runtime/host/watchdog.c \
  's/t->killed = CXB_TASK_STALLED;/(void)t;/' \
  lua $host "names a task that does not yield, then ends it whatever it catches"
mutation "a dead worker that looks alive" runtime/observe/scoreboard.c \
  's/kill\(row.pid, 0\) != 0 && errno == ESRCH/0/; s/> CXB_SCOREBOARD_STALE_MS/> 3600000/' \
  lua $life "that was killed is unreachable within six seconds"
mutation "a second TERM that reaches the newest generation only" runtime/host/process.c \
  's/gen; gen = cxb_generation_older\(gen\)\)/gen; gen = NULL)/' \
  lua $life "ends that call with a committed result on a second TERM"
mutation "a call that may last for ever" runtime/media/session_owner.c \
  's/c->us < 0 \? CXB_NEVER : c->us/c->us < 0 ? CXB_NEVER : CXB_NEVER/' \
  c test_media_session a_call_that_is_too_old_is_ended_while_the_main_loop_stands

# Listening in, live events, logs.
mutation "a ticket that is good twice" lua/cxb/core/monitor.lua \
  's/if not host.take_ticket\(c, claims.jti\) then/if false then/' \
  lua $live "opens to nobody without a good ticket, used once, for this session"
mutation "live events without a pause" lua/cxb/core/live.lua \
  's/local EVERY_MS, TIMEOUT_MS, MAX_EVENTS, MAX_BYTES = 1000/local EVERY_MS, TIMEOUT_MS, MAX_EVENTS, MAX_BYTES = 1/' \
  lua $live "is told to the API in order, with the secret, at most once a second"
mutation "personal words in the log" runtime/observe/log_lua.c \
  's/if \(level != CXB_LOG_DEBUG\)/if (0)/' \
  lua $host "keeps what people say to lines at debug"
mutation "a number in the log" lua/cxb/core/calls.lua \
  's/cxb.log.info\("call started", \{/& who = call.caller_id,/' \
  lua spec/service/core_secrets_spec.lua "no secret, key, ticket, number, digit or word"

# Campaigns.
results=spec/unit/campaign_results_spec.lua list=spec/service/campaign_upload_spec.lua
mutation "a result of an attempt that is over" api/services/campaigns/results.lua \
  's/contact.session_id ~= call._id or //' \
  lua $results "of an attempt that is over changes nothing"
mutation "a contact that two work on" api/services/campaigns/results.lua \
  's/if \(lease\["until"\] or 0\) > now then/if false then/' \
  lua $results "waits for who works on the contact"
mutation "one attempt too many" lua/cxb/campaign/retry.lua \
  's/contact.attempts_made < rule_of/contact.attempts_made <= rule_of/' \
  lua spec/unit/campaign_retry_spec.lua "uses one budget over all outcomes and dispositions"
mutation "a call on a holiday" lua/cxb/campaign/windows.lua \
  's/  if is_holiday\(window, today\) then/  if false then/' \
  lua spec/unit/campaign_windows_spec.lua "is closed on a holiday from midnight to midnight"
mutation "a list that forgets who must not be called" api/services/campaigns/upload.lua \
  's/import:suppress\(listed\)//' \
  lua $list "holds numbers of the DNC list as such"
mutation "an old list that stays" api/services/campaigns/steps.lua \
  's/\{ lt = campaign.upload.id \}/{ lt = "" }/' \
  lua $list "replaces the one before, whole"
mutation "a number that is taken twice" runtime/contacts/import.c \
  's/cxb_import_find\(m, \*number\) >= 0/false/' \
  c test_contacts many_numbers_are_told_apart
mutation "an upload without an end" api/services/web/upload.lua \
  's/if upload.bytes > max then/if false then/' \
  lua spec/unit/api_upload_spec.lua "that is too large, announced or not, is a 413 and leaves nothing"
