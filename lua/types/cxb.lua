---@meta
-- The script API of cxbrt: one read-only table, `cxb`. What waits is marked (waits): the task sleeps,
-- the process goes on. What can fail returns nil, code, message: `code` is a short lower-case word
-- ("timeout", "closed", "not_found"), `message` a sentence. Times are milliseconds unless named otherwise.
-- Scripts are interpreted (LuaJIT with its compiler off), so that one that loops can be ended.

---@class cxb
---@field version string version of the program
---@field root string installation directory
---@field args string[] arguments after the script
---@field script string absolute path of the script
---@field program string absolute path of the running cxbrt
---@field mode "run"|"check"|"help-config" why the script is being loaded
---@field generation integer number of this generation, from 1
cxb = {}

---------------------------------------------------------------------------------------------------
-- A script either runs as a tool (returns nil or an exit code when it is done) or returns a service.
-- It refuses to start by raising "start refused: <one line>" while it loads or in start(): the line
-- goes to stderr without a traceback, exit 1 (78 when the line begins "worker id above").
---@class cxb.service
---@field name string "core", "api", "speech": log field `service`
---@field listen? cxb.listen[] sockets of the process; the host keeps them over reloads
---@field http? fun(req: cxb.request) one task a request; a handler that answers nothing gets a 500
---@field audiosocket? fun(leg: cxb.leg) one task an AudioSocket call, holding the call slot
---@field guard? cxb.guard[] requests that take the call slot, checked in C before any Lua runs
---@field large_heads? string[] prefixes of paths where a request's headers may have 32 KiB; else 16 KiB
---@field start? fun() once, in the first generation, before the sockets listen; a failure ends the process, exit 1
---@field selftest? fun():boolean?,string? before a generation takes work; nil, why refuses it
---@field call_lost? fun(info: {task: string, reason: "script"|"stalled"|"memory", error: string}) runs in a fresh task when the task that held the slot died
---@field control? table<string, fun(args: table): table> verbs of the control socket (reload, drain, status are built in; `status` here adds fields); an answer with `elsewhere` is asked of the generation before, as long as one lives
---@field drain? fun() SIGTERM: no new connection is taken; end what would run long by itself; in every generation that lives
---@field now? fun() second SIGTERM or SIGINT: end what runs, within 2.5 s; in every generation that lives
---@field stop? fun() draining is over, the process is about to end; ≤ 10 s
---@field active? fun() this generation takes work from now on (the first: after start); begin what repeats here
---@field retire? fun() this generation takes no new work any more
---@field memory_mb? integer cap of the script's memory when CXB_MAX_SCRIPT_MB does not say; 64
---@class cxb.listen
---@field addr string "unix:/path" or "tcp:127.0.0.1:8080" (port 0: chosen by the system)
---@field mode? integer file mode of a Unix socket, 0660
---@field control? boolean a control socket: one JSON object a line, {verb=, ...}
---@field audiosocket? boolean TCP: AudioSocket calls, each takes the call slot or is sent away
---@field media_timeout_s? integer of an AudioSocket call, as in cxb.media.accept
---@class cxb.guard
---@field prefix string path prefix
---@field upgrade boolean true: WebSocket upgrades, false: POSTs

---------------------------------------------------------------------------------------------------
---@class cxb.request
---@field method string
---@field path string decoded, without query
---@field query string raw
---@field headers table<string, string> lower-case names; repeated ones joined by ", "
---@field remote string address of the peer, "unix" for a Unix socket
---@field id string X-Request-ID if well formed, else made
---@field upgrade boolean a well-formed WebSocket upgrade
---@field gone boolean the peer has closed, or the socket was taken
local request = {}
---(waits) the whole body, "" when none; nil, "too_large" above max (1 MiB), "closed"
---@param max? integer bytes
---@return string? body, string? code, string? message
function request:body(max) end
---(waits) the next piece of the body, nil at its end
---@return string? piece, string? code
function request:read() end
---Answers. A table body is encoded as JSON. HEAD sends no body.
---@param status integer
---@param body? string|table
---@param headers? table<string, string>
function request:respond(status, body, headers) end
---Begins a streamed answer (chunked unless content-length is given); then write, finish.
function request:start(status, headers) end
---(waits while the peer is slow) nil, "closed" when the peer has gone
---@return true?, string? code
function request:write(piece) end
function request:finish() end
---(waits) Answers with a file, honouring Range, If-Range, If-None-Match and HEAD; strong ETag.
---@param path string
---@param headers? table<string, string>
---@return true?, string? code, string? message
function request:send_file(path, headers) end
---Takes the call slot for this request, before anything else is done for it; free again when the
---task has ended. For requests that no guard covers.
---@return true?, integer? status 429 or 503, string? code "at_capacity" | "draining" | a block's
function request:take_slot() end
---Hands the request to the generation before this one, which may still run the call it is about;
---the handler returns then. false: there is none, the request is still ours.
---@return boolean
function request:elsewhere() end
---Serves the upgrade in this process, on the main loop.
---@param opts? {protocol?: string, max_text?: integer, max_binary?: integer, max_send?: integer} max_send: bytes waiting to be sent at which send() waits; at four times as many the connection ends
---@return cxb.ws.conn?, string? code
function request:websocket(opts) end

---------------------------------------------------------------------------------------------------
cxb.log = {}
---One JSON line on stderr. Reserved fields (ts, level, msg, service, worker, generation, and the task's tags)
---are added, to an error also code, file and line. User content only under a key with the segment `pii`
---(pii, pii_text, caller.pii): it is written at debug and left out of every other line.
---@param msg string
---@param fields? table
function cxb.log.debug(msg, fields) end
function cxb.log.info(msg, fields) end
function cxb.log.warn(msg, fields) end
function cxb.log.error(msg, fields) end
---@param level "debug"|"info"|"warn"|"error"
function cxb.log.level(level) end
---Context of the process: service, worker.
function cxb.log.context(fields) end

cxb.metrics = {}
---@param name string "cxb_calls_total"
---@param labels? table<string, string>|string a text is one of cxb.metrics.labels()
---@param by? number 1
function cxb.metrics.count(name, labels, by) end
---@param value number
function cxb.metrics.set(name, labels, value) end
---Histogram with the fixed buckets of `name`, seconds.
function cxb.metrics.observe(name, labels, seconds) end
---The text of labels, for what is counted often: made once, given to count, set and observe.
---@param labels table<string, string>
---@return string
function cxb.metrics.labels(labels) end
---Declares help, type and buckets once; undeclared names are refused.
---@param list {name: string, type: "counter"|"gauge"|"histogram", help: string, buckets?: number[]}[]
function cxb.metrics.declare(list) end
---Prometheus text; "host" sums over the scoreboard, "worker" is this process.
---@param scope "host"|"worker"
---@return string
function cxb.metrics.render(scope) end

---The host's shared-memory scoreboard.
cxb.scoreboard = {}
---Attaches this process as row `id`; nil, "busy" when a live process holds the row.
---@param path string
---@param id integer 1…512
---@param workers integer configured count
function cxb.scoreboard.attach(path, id, workers) end
---@param fields {calls?: integer, max?: integer, draining?: boolean, disk?: boolean, session_id?: string, reservation?: string, outbox?: integer}
function cxb.scoreboard.update(fields) end
---@return {id: integer, live: boolean, pid?: integer, calls?: integer, max?: integer, draining?: boolean, disk?: boolean, session_id?: string, reservation?: string, outbox?: integer, generation?: integer, since?: number}[]
function cxb.scoreboard.rows() end
---Whether the whole host takes no new calls; with an argument: from now on, for all its workers.
---@param set? boolean
---@return boolean
function cxb.scoreboard.host_draining(set) end

---The call slot of this process (taken by service.guard).
cxb.slot = {}
---@return {max: integer, used: integer, draining: boolean, served: integer, age_ms: number, blocked?: string} served: calls since the start of the process; age_ms: of the call in the slot; blocked: why no call is taken
function cxb.slot.state() end
---Blocks new calls with 503 {"error": code} until called with nil for the same key.
---@param code? string
---@param key? string who blocks: "disk", "outbox"
function cxb.slot.block(code, key) end
---Counts a call that was carried.
function cxb.slot.served() end

---------------------------------------------------------------------------------------------------
cxb.time = {}
---@return number milliseconds since 1970, UTC
function cxb.time.now() end
---@return number milliseconds of a monotonic clock
function cxb.time.mono() end
---(waits) nil, "cancelled" when the task is cancelled
---@param ms number
function cxb.time.sleep(ms) end
---@param ms? number default now
---@return string "2026-04-24T09:00:00.000Z"
function cxb.time.iso(ms) end

cxb.task = {}
---@class cxb.task.handle
local handle = {}
---(waits) the function's results, or nil, "error", traceback; several tasks may wait
function handle:wait(timeout_ms) end
function handle:cancel(grace_ms) end
---Continues a parked task: its park() returns these values. False when it is not parked.
---@return boolean
function handle:unpark(...) end
---@param name string
---@param fn function
---@return cxb.task.handle
function cxb.task.spawn(name, fn, ...) end
---@return cxb.task.handle
function cxb.task.self() end
---(waits) until unpark; nil, "timeout" | "cancelled"
---@param timeout_ms? number
function cxb.task.park(timeout_ms) end
---Runs fn every `ms` in a task of its own, never twice at once, until the generation retires.
function cxb.task.every(ms, name, fn) end
---The running task is cancelled `ms` from now, to the second; nil: it may take as long as it likes.
---@param ms? number
function cxb.task.deadline(ms) end
---Fields every log line of this task (and tasks it spawns) carries: call_id, session_id, bot_id, transport, request_id.
function cxb.task.tag(fields) end

---------------------------------------------------------------------------------------------------
cxb.http = {}
---@class cxb.http.options
---@field url string http:// or https://; http+unix:<socket path>:<path> goes over a Unix socket
---@field method? string "GET"
---@field headers? table<string, string>
---@field body? string|fun():string? a function streams: a piece a call, nil ends (waits allowed in it)
---@field timeout_ms? number whole request, 30000
---@field connect_timeout_ms? number 3000
---@field max_body? integer bytes, 8 MiB
---@field on_data? fun(piece: string): boolean? streamed body of a 2xx answer, whose `body` is then nil; while it
--- waits the sender waits (64 KiB are kept); false ends the request: nil, "cancelled"
---@field on_answer? fun(status: integer, headers: table<string, string>) before the first piece goes to on_data
---@field stall_ms? number nothing has come for so long: ended
---@field s3? {region: string, access_key: string, secret_key: string} signed with AWS Signature 4; the header
--- x-amz-content-sha256 is the caller's
---@field sink? userdata cxb.sink: body of a 2xx answer piped in C; another answer has its body as usual
---@field on_bytes? fun(total: integer) more bytes have gone into the sink, from its first one on
---@field redirects? integer 0
---@field public_only? boolean|string the URL is somebody else's: http(s) without user name, port 80,
--- 443 or ≥ 1024, whatever address is dialled must be public, no redirects. A string: exceptions, hosts
--- and CIDRs by commas
---@class cxb.http.answer
---@field status integer
---@field headers table<string, string>
---@field body? string
---@field bytes integer that went into the sink
---(waits) nil, "refused" | "timeout" | "closed" | "resolve" | "tls" | "too_large" | "io" |
---"url_not_allowed" (public_only), message
---@param options cxb.http.options
---@return cxb.http.answer?, string? code, string? message
function cxb.http.request(options) end
---(waits for the name's addresses) Whether public_only would take this URL now: true, or nil,
---"url_not_allowed" | "resolve", message. For when it is saved; used, it is judged again.
---@param url string
---@param exceptions? string
---@return true?, string? code, string? message
function cxb.http.check(url, exceptions) end

cxb.ws = {}
---@class cxb.ws.conn
local conn = {}
---(waits) "text"|"binary", data; nil, "closed", code, reason; nil, "timeout"
function conn:receive(timeout_ms) end
---@return true?, string? code "closed"; waits while the send buffer is full
function conn:send(text) end
function conn:send_binary(data) end
function conn:close(code, reason) end
---Binary messages go to the sink from now on (its end() at close); nil: back to receive().
function conn:pipe(sink) end
---Audio inside JSON: of each text message (also those not received yet) the base64 string at `path`
---("audio", "data.audio") goes to the sink, decoded in C; nil sink: it is dropped. receive() gives the
---message with the number of bytes in the string's place, -1 when it was no base64. pipe(nil) ends it.
---@param sink? userdata cxb.sink
---@param opts {path: string}
function conn:pipe_json(sink, opts) end
---@return number ms since something was sent, by send() or through the sink
function conn:idle_ms() end
---What is written to this sink leaves as binary messages.
---@return userdata cxb.sink
function conn:sink() end
---(waits) ws://, wss://, ws+unix:<socket path>:<uri path>
---@param url string
---@param opts? {headers?: table<string, string>, protocol?: string, timeout_ms?: number, max_text?: integer, max_binary?: integer}
---@return cxb.ws.conn?, string? code, string? message
function cxb.ws.connect(url, opts) end

---------------------------------------------------------------------------------------------------
cxb.sqlite = {}
---@class cxb.sqlite.db
local db = {}
---(waits) Opens (creates) a database in WAL mode on a thread of its own. sync "full" (default) or "normal".
---The same path opened twice in a process, in any generation, is one connection.
---@param path string
---@param opts? {sync?: "full"|"normal", lock?: boolean, readonly?: boolean}
---@return cxb.sqlite.db?, string? code, string? message
function cxb.sqlite.open(path, opts) end
---(waits) One statement. Parameters: string, number, boolean, cxb.null, {blob=}. Rows as {column=value}.
---Writes queued in one turn of the loop share one transaction and return after its COMMIT.
---@param sql string
---@return table[]? rows, string|integer? code_or_changes, string? message
function db:exec(sql, ...) end
---A SELECT of what a key finds, at once where that can be (else it waits): it sees what was committed before.
---@param sql string
---@return table[]? rows, string|integer? code_or_changes, string? message
function db:look(sql, ...) end
---(waits) All or nothing: each entry {sql, params...}; one transaction of its own.
---@param list table[]
---@return {changes: integer, rows: table[]}[]?, string? code, string? message "duplicate" for a unique key
function db:batch(list) end
function db:close() end
cxb.null = nil ---@type userdata same value as cjson.null

---MongoDB: commands of its wire, over a pool of connections. The driver is loaded at the first open().
cxb.mongo = {}
---@class cxb.mongo.client
local mongo = {}
---Does not connect yet. Options in the URI win over ours: server selection 5 s, connecting 5 s, no retries.
---@param uri string
---@param opts? {socket_timeout_ms?: integer} 10000: how long a command may take
---@return cxb.mongo.client?, string? code, string? message "invalid"
function cxb.mongo.open(uri, opts) end
---(waits) One command on the primary: {{name, value}, ...} with a metatable {__name="mongo.own"}, as each operator in
---it; keys of other tables are data, any text. json.array() is a list though empty, a metatable {__name="mongo.date"}
---makes {ms} a date. Dates come back as milliseconds. code: "unavailable" (may or may not have been done),
---"duplicate", "too_large" (above 16 MiB) or "server"; writeErrors are part of an answer.
---@param database string
---@param command table
---@return table? reply, string? code, string? message, table? reply_of_error
function mongo:run(database, command) end
---(waits) The same for a command with a cursor: the documents of all its batches.
---@param database string
---@param command table
---@return table[]? documents, string? code, string? message, table? reply_of_error
function mongo:list(database, command) end
function mongo:close() end
---------------------------------------------------------------------------------------------------
cxb.redis = {}
---A connection that comes back by itself. After a failure commands are refused at once until it
---stands again; none is sent twice. Scripts use lua/cxb/cache instead, whose twin needs no server.
---@class cxb.redis.client
local redis = {}
---(waits) One command: its reply as text, number or list, cxb.null for Redis' nil; nil, "unavailable" |
---"error" (an error of Redis), message. Many tasks' commands share one round trip.
---@param command string "GET"
---@return any? reply, string? code, string? message
function redis:call(command, ...) end
---(waits) Runs a script atomically, by its digest where the server knows it. As call().
---@param source string
---@param keys string[]
---@param args string[]
function redis:script(source, keys, args) end
---@return boolean up, string why the last failure, "" when there is none
function redis:up() end
function redis:close() end
---@class cxb.redis.inbox
local inbox = {}
---(waits) "message", channel, data; "up": it hears (again), what came before is lost; nil, "timeout" | "closed"
---@param timeout_ms? number
function inbox:receive(timeout_ms) end
function inbox:close() end
---@param url string redis://[user][:password@]host[:port][/db] or redis+unix://[:password@]/path[?db=N]
---@param opts? {timeout_ms?: number} connecting and each command, 2000
---@return cxb.redis.client?, string? code "invalid", string? message
function cxb.redis.connect(url, opts) end
---Hears the channels that match a pattern ("news:*"), on a connection of its own.
---@return cxb.redis.inbox?, string? code "invalid", string? message
function cxb.redis.listen(url, pattern, opts) end
---The in-process twin: one for the process, over reloads; never waits. Its listen(pattern) takes a
---prefix and "*".
---@return cxb.redis.client
function cxb.redis.memory() end

---Results and hand-offs that must arrive (core spec §8). One SQLite file a worker, locked while it lives.
cxb.outbox = {}
---@class cxb.outbox.box
local box = {}
---(waits) A damaged file is set aside as <path>.corrupt and its readable rows are kept.
---headers(row) is asked at each attempt, with what list() says of the row and its url and body; it cannot wait.
---adopted: its process is gone, rows are counted as taken over. s3: where uploads go, with AWS Signature 4; their files
---stay for keep_files_ms afterwards, then they are deleted. The first to open a path decides for the process.
---@param opts {headers?: fun(row):table<string,string>, retain_days?: integer, adopted?: boolean, s3?: {region: string, access_key: string, secret_key: string}, keep_files_ms?: number}
---@return cxb.outbox.box?, string? code, string? message
function cxb.outbox.open(path, opts) end
---(waits) until COMMIT (synchronous FULL). nil, "duplicate" when (kind, session_id, n) exists; nil, "no_space"|"io".
---With `work` (what has to be done first, any text) the row is in state "analysis": committed, and sent once it is finished.
---@param row {kind: "result"|"handoff"|"event"|"upload", session_id: string, n?: integer, url: string, body: string, headers?: table<string,string>, work?: string, file?: string} file: what an upload sends
---@return integer? id, string? code, string? message
function box:put(row) end
---(waits)
---@return {id: integer, kind: string, state: string, session_id: string, attempts: integer, next_at: string, last_error: string, age_seconds: number}[]
function box:list(state, limit) end
---(waits) due now, also a dead one
function box:replay(id) end
---(waits) removes dead rows
---@return integer removed
function box:purge() end
---(waits) a row's body and what list() says of it; nil, "not_found": none, or done
---@return string? body, table|string row_or_code, string? message
function box:get(id) end
---(waits) The oldest row in "analysis" that nobody works on: the caller's for lease_ms (90,000), then it may be claimed
---again. attempts counts the claims, also those of processes that died. nil without a code: there is none. A row that is
---15 minutes in "analysis" is sent as it is, whoever works on it.
---@param lease_ms? number
---@return {id: integer, session_id: string, attempts: integer, work: string, body: string}?, string? code, string? message
function box:claim_analysis(lease_ms) end
---(waits until COMMIT) A part is done: what is left replaces `work`, so that a crash resumes behind it.
---@return true?, string? code "not_found": no row in analysis (any more), string? message
function box:keep_analysis(id, work) end
---(waits until COMMIT) The row gets this body (none: keeps its own) and becomes "ready", in one step.
---@param body? string
---@return true?, string? code "not_found", string? message
function box:finish(id, body) end
---@return {analysis: integer, ready: integer, sending: integer, dead: integer, oldest_age_seconds: number}
function box:stats() end
---Ends it now, whoever holds it, so that another process can open the file; attempts under way are dropped. close() it too.
function box:hand_over() end
---(waits ≤ ms) tries every due row now (drain)
function box:flush(ms) end

---Append-only checksummed record of one call, on disk ≤ 250 ms after append.
cxb.journal = {}
---@class cxb.journal.file
local jnl = {}
---(waits) @param path string
---@return cxb.journal.file?, string? code, string? message
function cxb.journal.create(path) end
---Never waits.
---@param kind string "accepted" "start" "answer" "turn" "event" "recording" "end"
---@param data table encoded as JSON with `at` (ms UTC)
function jnl:append(kind, data) end
---(waits) until all that was appended is on disk
function jnl:sync() end
---(waits) closes; remove=true deletes the file
function jnl:close(remove) end
---(waits) Records of a file; a torn tail is cut off.
---@return {kind: string, at: number, data: table}[]?, string? code, string? message
function cxb.journal.read(path) end
---(waits) Journals in `dir` that no live process holds.
---@return string[] paths
function cxb.journal.orphans(dir) end

---------------------------------------------------------------------------------------------------
cxb.media = {}
---@class cxb.leg
---@field transport string
---@field can_transfer boolean
---@field has_room? boolean others may join: events {type="participant", identity, joined} and {type="data", topic, reason}
---@field lead_ms integer
local leg = {}
---Hands the caller's socket to the media loop; the 101 leaves from there. Only for a guarded request.
---@param req cxb.request
---@param transport "cxb"|"exotel"|"twilio"|"telnyx"|"plivo"|"vonage"|"asterisk"|"audiofork"|"browser"
---@param opts? {media_timeout_s?: integer, chunk_bytes?: integer, hangup_elsewhere?: boolean} without media and pong for media_timeout_s: "media_timeout", 30 · size of exotel's messages · hangup() does not tell the wire: the carrier is asked another way, and the socket closed by force after 2 s
---@return cxb.leg?, string? code, string? message
function cxb.media.accept(req, transport, opts) end
---(waits) the next event, in order; nil, "timeout" | "cancelled". After "closed": nil, "closed".
---{type="start", t_ms, rate, framing_ms, stream_id, caller_id, did, from_number, direction, connected_event=<JSON text>} ·
---"answer" · "speech" · "silence" · "beep" (a voicemail's tone has ended) · {type="dtmf", digit} · {type="text", text} · {type="cleared", utterance, heard_ms, by} ·
---{type="played", utterance, heard_ms, error} (error: the source failed) · {type="first_frame", utterance} · {type="transfer", ok, reason} ·
---{type="stop", by} · {type="error", error} · {type="closed", code, reason}
---@param timeout_ms? number
---@return table? event, string? code
function leg:event(timeout_ms) end
---Tasks other than the reader may post: leg:event() returns this table in its turn.
function leg:post(event) end
---@param opts {mode?: integer, start_ms?: integer, stop_ms?: integer, min_volume?: number} 2, 200, 600, 0
function leg:vad(opts) end
---@param what {vad?: boolean, dtmf?: boolean} what clears the queue at once
function leg:barge(what) end
---@param rate integer Hz of what will be pushed
---@return integer utterance
function leg:say_begin(rate) end
function leg:say_push(utterance, pcm16le) end
---@param err? string the source failed
function leg:say_end(utterance, err) end
---@return userdata cxb.sink
function leg:say_sink(utterance) end
function leg:clear() end
---Caller's audio into a sink at `rate`, with ≤ 2000 ms of the past first; nil sink stops. chunk_ms: in
---writes of exactly so much audio, 0…1000; else as it comes.
function leg:tap(sink, rate, replay_ms, chunk_ms) end
---Both channels as they are heard into a sink: PCM16 LE stereo at 16 kHz, left the caller, right the
---bot, 200 ms behind; at most four listeners. Ends with the call.
---@return integer? listener, string? code "busy"
function leg:monitor(sink) end
---@param listener integer
function leg:unmonitor(listener) end
---@return true?, string? code, string? message
function leg:record(path) end
function leg:record_pause(on) end
---@param note table to the far end as JSON (browser transcript, state); ignored elsewhere
function leg:note(note) end
---@param t {to: string, type: string, reason?: string, target?: string}
---@return true?, string? code "unsupported"
function leg:transfer(t) end
function leg:hangup() end
---Leaves the room, the caller and others stay. Only with has_room.
function leg:leave() end
---Closes the socket now with a WebSocket close code and a short reason.
---@param code integer
---@param reason? string
function leg:abort(code, reason) end
---The call may last this long from now (nil: as long as it likes): then {type="error",
---error="call_age"} and close code 1011, whatever scripts do.
---@param ms? number
function leg:limit(ms) end
---(waits) frees the leg; after it every method returns nil, "closed"
function leg:close() end
---@return table frames_in, frames_out, underruns, drops (messages and flooding frames; of these bad_message, bad_audio), ignored, pacing_us_p50, pacing_us_p99, pacing_us_max, clock_ms, recorded_bytes
function leg:stats() end

---Samples of a WAV file as PCM16 LE mono and their rate; nil, "not_found" | "unsupported".
---@return string? pcm, integer|string? rate_or_code, string? message
function cxb.media.read_wav(path) end
---@return string pcm
function cxb.media.resample(pcm, from_rate, to_rate) end

---The outline of a WAV file (16-bit PCM) that comes in pieces: push() each, done() gives the JSON text
---{"duration": seconds, "channels": [[min, max, …], …]} with `points` parts of -128…127.
---@class cxb.peaks
local peaks = {}
---@param piece string
---@return true?, string? code "unsupported"
function peaks:push(piece) end
---@return string? json, string? code "unsupported"
function peaks:done() end
---@param points integer 1…8000
---@param file_bytes number of the whole file
---@return cxb.peaks
function cxb.media.peaks(points, file_bytes) end
---(waits) The same of a file, on a thread.
---@return string? json, string? code "not_found" | "unsupported"
function cxb.media.peaks_of_file(path, points) end

---Embedded engines: loaded by speech.lua only. Work runs on threads.
cxb.speech = {}
---(waits) @param opts {models: string, threads?: integer, stt?: boolean, tts?: boolean, vad?: boolean}
---@return true?, string? code, string? message
function cxb.speech.load(opts) end
---@class cxb.speech.recognizer
local rec = {}
---@param opts {rate: integer, partials?: boolean, start_ms?: integer, stop_ms?: integer}
---@return cxb.speech.recognizer
function cxb.speech.recognizer(opts) end
---@return userdata cxb.sink PCM16 LE mono at opts.rate
function rec:sink() end
---(waits) {type="speech", t_ms, pos_ms} · {type="silence", t_ms, pos_ms} · {type="partial", text} ·
---{type="final", id, text, start_ms, end_ms, confidence, compute_ms} (no start_ms, end_ms when nothing was said) ·
---{type="error", code, message}; nil, "timeout" | "closed" | "cancelled". Times are of the stream's audio.
function rec:event(timeout_ms) end
---Words likely to come now, preferred where the sound leaves room: digits, "yes", names. {} forgets them.
---@param words string[] at most 128
---@return true?, string? code, string? message
function rec:hints(words) end
---Recognise what was said since the last final; the final event carries `id`.
function rec:finalize(id) end
---Forget what was said since the last final.
function rec:reset() end
function rec:close() end
---(waits until all was written; the sink is taken) @param opts {voice?: string, speed?: number, rate: integer, sink: userdata, on_start?: fun()} on_start runs before the first audio is written
---@return {samples: integer, first_ms: number, ms: number}?, string? code, string? message
function cxb.speech.say(text, opts) end
---Voices that can be used.
---@return string[]
function cxb.speech.voices() end

---------------------------------------------------------------------------------------------------
cxb.crypto = {}
function cxb.crypto.sha256(data) end           ---raw bytes
function cxb.crypto.hmac_sha256(key, data) end ---raw bytes
function cxb.crypto.hmac_sha384(key, data) end ---raw bytes
function cxb.crypto.hmac_sha512(key, data) end ---raw bytes
function cxb.crypto.hmac_sha1(key, data) end   ---raw bytes
function cxb.crypto.hkdf_sha256(secret, label, len) end ---empty salt, info = label
---RSA signature (RS256) with a private key in PEM, raw bytes; nil, "invalid", message for no such key.
function cxb.crypto.rs256(pem, data) end
function cxb.crypto.equal(a, b) end            ---constant time
function cxb.crypto.random(n) end              ---n bytes
---XChaCha20-Poly1305 under a key of 32 bytes: nonce and cipher text, raw bytes.
---@return string
function cxb.crypto.seal(key, text) end
---What was sealed; nil when it was sealed with another key, or altered.
---@return string?
function cxb.crypto.unseal(key, sealed) end
---(waits) argon2id (m=19456 KiB, t=2, p=1, fresh salt) as a PHC string. Two at once in a process.
---@return string? phc, string? code, string? message
function cxb.crypto.password_hash(text) end
---(waits) Whether `hash` (argon2id PHC, or bcrypt "$2a$" "$2b$" "$2y$") was made of this password.
---@return boolean
function cxb.crypto.password_verify(text, hash) end
function cxb.crypto.uuid4() end
function cxb.crypto.uuid5(name) end            ---of a name, always the same; in the name space of URLs
function cxb.crypto.uuid7() end
function cxb.crypto.hex(data) end
function cxb.crypto.base64(data) end
function cxb.crypto.unbase64(text) end         ---nil when malformed; padding optional
function cxb.crypto.base64url(data) end        ---without padding
function cxb.crypto.unbase64url(text) end

---------------------------------------------------------------------------------------------------
---Telephone numbers by libphonenumber, loaded when the first one is asked about.
cxb.phone = {}
---Reads a number as people write it: digits, a leading "+", blanks - . ( ) / between them.
---@param text string
---@param region string plan of numbers without "+" or international prefix, "IN"
---@return {e164: string, region?: string, possible: boolean, valid: boolean}? number nil, "invalid": fewer than 8 digits or not a number; possible: the plan has this length, valid: and this number
function cxb.phone.parse(text, region) end
---@param e164 string
---@return string? zones time zones of its longest known prefix, sorted, joined by "|"
function cxb.phone.zones(e164) end
---@param region string
---@return boolean whether there is such a plan
function cxb.phone.known_region(region) end

---Lists of people's numbers: CSV files judged row by row and written as documents, in C.
cxb.contacts = {}
---(waits) Opens a CSV file and reads its header.
---@param path string
---@param options {region?: string, zone?: string, max_rows?: integer, numbers_only?: boolean} plan of numbers without country code ("IN"), zone_key of numbers without one ("UTC"), rows that are taken (500,000), documents hold `number` and nothing else of the file
---@return cxb.contacts.import? import nil, code ("csv_encoding", "csv_quote", "csv_header", "csv_reserved_column", "csv_missing_column" or the file's), message, line
function cxb.contacts.open(path, options) end
---@class cxb.contacts.import
local import = {}
---(waits) Judges some more rows.
---@return boolean? done nil, code, message, line as open()
function import:scan() end
---@return {rows_total: integer, accepted: integer, dnc: integer, skipped_invalid: integer, skipped_duplicate: integer, over_limit: integer, unknown_timezone: integer, columns: string[], errors: {line: integer, rule: string, value: string}[]} values masked, the first 100 errors
function import:report() end
---@param row integer from where, 0 first
---@param count integer
---@return string[] numbers good ones in E.164 form; none: the end
---@return integer row to go on from
function import:numbers(row, count) end
---Marks numbers as not to be called.
---@param numbers string[]
function import:suppress(numbers) end
---(waits) Marks all numbers that begin with one of these.
---@param prefixes string[] "+9198"
function import:suppress_prefixes(prefixes) end
---(waits) Writes some more rows as store:insert_rows() takes them; scan() must be done.
---@param rows integer
---@param contact string what each document begins with: JSON of an object without its last brace
---@param reject? string the same for refused rows; without it they are left out
---@return boolean? more, string? contacts, string? rejects nil, code, message on failure
function import:write(rows, contact, reject) end
function import:close() end

cxb.fs = {}
---(waits) the whole file
---@return string? data, string? code, string? message
function cxb.fs.read(path) end
---(waits) temporary file, fsync, rename; directories are made. mode 0600 when opts.mode is absent.
---opts.exclusive: an existing file is left alone, nil, "already_exists".
function cxb.fs.write(path, data, opts) end
---(waits) names without "." and ".."
function cxb.fs.list(path) end
---(waits) {size, mtime, type="file"|"directory"|"other", mode}
function cxb.fs.stat(path) end
---(waits) with parents
function cxb.fs.mkdir(path, mode) end
function cxb.fs.remove(path) end   ---(waits)
function cxb.fs.rename(a, b) end   ---(waits)
function cxb.fs.free_mb(path) end  ---free space, MiB
---Holds a lock file for the life of the process; nil, "busy".
function cxb.fs.lock(path) end
---A new file (0600), written piece by piece: write(piece) waits and answers true, or nil, code,
---message; close(). Left to the collector it is closed, too; removing it is the caller's.
---@return {write: fun(self: table, piece: string): true?, close: fun(self: table)}? file nil, "already_exists" …
function cxb.fs.spool(path) end

---Tests only: the process ends as kill -9 does when it passes this step ("step", or "step:n" the n-th time).
cxb.fault = {}
---@return true?, string? code "invalid"
function cxb.fault.arm(spec) end
---A step of a script; costs next to nothing while none is armed.
---@param step string
function cxb.fault.pass(step) end

cxb.process = {}
---@return string?
function cxb.process.env(name) end
---All variables.
function cxb.process.environ() end
cxb.process.pid = 0
---@class cxb.process.child
---@field pid integer
local child = {}
---(waits) exit code, signal
function child:wait(timeout_ms) end
function child:kill(signal) end
---(waits) the next line of the child's output ("stdout"/"stderr" when captured); nil at its end
function child:line() end
---@param opts {args: string[], env?: table<string,string>, cwd?: string, capture?: boolean, stdout?: string, stderr?: string, detached?: boolean} args[1] is the program; stdout/stderr: file to append to
---@return cxb.process.child?, string? code, string? message
function cxb.process.spawn(opts) end
---Signal by number or name ("TERM") to a pid. @return true?, string? code "not_found"
function cxb.process.kill(pid, signal) end
---For a tool that runs code nobody trusts yet: from now on and for good it makes no sockets and writes
---no byte into a file; with no_files it opens none either. Beyond cpu_seconds of CPU time it is killed.
---@param opts {cpu_seconds?: integer, no_files?: boolean}
---@return true?, string? code "io": the kernel refuses, string? message
function cxb.process.confine(opts) end
---(waits) the next signal of these names delivered to this process ("INT", "TERM"): for tools only.
function cxb.process.signal(names) end
function cxb.process.rss_kb() end
---Tells the service manager how things stand (STATUS= of sd_notify).
---@param text string one line
function cxb.process.status(text) end
---The longest time since the last call of this that the loop did not get round, ms.
---@return number
function cxb.process.loop_lag() end
---Remembers a text for the life of the process, over reloads. The first text of a name stays; few names.
---@param name string
---@param text? string
---@return string? text what is remembered
function cxb.process.keep(name, text) end
---Bytes that scripts hold, in all generations that live.
---@return number
function cxb.process.script_memory() end
---How the last reload of this process went.
---@return "ok"|"failed" state, string error "" when ok
function cxb.process.reload_state() end
---Writes to standard output, unbuffered.
function cxb.process.print(text) end
---(waits) Sends one JSON line to a control socket and reads one back.
---@return table?, string? code, string? message
function cxb.process.control(socket_path, message, timeout_ms) end
