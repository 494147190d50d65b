-- One streamed exchange with the server of a language model: server-sent events over HTTP within
-- the limits of a turn. A stream that broke or said nothing is asked for once more, as long as none
-- of its words were handed on; a cancelled one closes its connection at once.
--
-- Requests of a process share libcurl's connections: after the first of a call (see warm) no turn
-- waits for a handshake.
local channel = require("cxb.channel")
local refusal = require("cxb.refusal")
local sse = require("cxb.sse")

local M = {}
M.__index = M

local default_first_ms, default_total_ms, silence_ms = 4000, 30000, 10000
local max_bytes = 4 * 1024 * 1024

---@class cxb.llm_exchange.wire
---@field name string
---@field request fun(request: table): table options of cxb.http.request without limits
---@field reader fun(answer: table, emit: fun(piece: string)): fun(data: string): any, string?
--- what one event's data means: it fills answer (tool_calls, finish, usage) and emits words; true,
--- "done" when nothing follows that matters, or nil, code, message

---@param wire cxb.llm_exchange.wire
function M.new(wire)
  return setmetatable({ wire = wire }, M)
end

local function http_failure(answer, code, message, received)
  if answer then
    return "http_" .. answer.status, refusal.text(answer)
  elseif code == "timeout" then
    return "timeout", message
  elseif code == "too_large" or (received and code == "closed") then
    return "bad_response", message or "the stream broke off"
  end
  return "network", message or code
end

local function new_answer()
  return { tool_calls = {}, usage = { prompt_tokens = 0, completion_tokens = 0,
    cache_read_input_tokens = 0, cache_creation_input_tokens = 0 } }
end

-- The request runs in a task of its own; its pieces are read in the caller's, so that on_text may
-- wait and cancel need not.
local function start(self, request, left_ms)
  local options = self.wire.request(request)
  local inbox = channel.new(100000)
  options.timeout_ms = left_ms
  options.max_body = max_bytes
  local waiting = 0
  options.on_data = function(piece)
    if waiting <= max_bytes then -- what is above it makes the answer too large anyway
      waiting = waiting + #piece
      inbox:push({ data = piece })
    end
  end
  local task = cxb.task.spawn("llm " .. self.wire.name, function()
    local answer, code, message = cxb.http.request(options)
    inbox:push({ over = true, answer = answer, code = code, message = message })
  end)
  return inbox, task
end

-- Milliseconds until the nearest limit, and whether it is for the first token.
local function wait_for(answer, limits, heard_at)
  local first = limits.first
  if answer.ttft_ms then
    first = heard_at + silence_ms
  end
  return math.max(1, math.min(first, limits.total) - cxb.time.mono())
end

local function ended(over, answer, parser, received)
  if not over.answer or over.answer.status >= 300 then
    return http_failure(over.answer, over.code, over.message, received)
  end
  local ok, code, message = parser:finish()
  if not ok then
    return code, message
  elseif not answer.finish and received then
    return "bad_response", "the stream broke off"
  end
end

-- One request to its end: nil when all went well, else code, message.
local function attempt(self, run, answer, read)
  local parser = sse.new(function(data)
    local ok, code, message = read(data)
    run.done = run.done or code == "done"
    return ok, code, message
  end)
  local inbox, task = start(self, run.request, math.max(1, run.limits.total - cxb.time.mono()))
  run.inbox, run.task = inbox, task
  local received, heard_at = 0, cxb.time.mono()
  while true do
    local event, why = inbox:pop(wait_for(answer, run.limits, heard_at))
    if run.cancelled or why == "cancelled" then
      return "cancelled", "cancelled"
    elseif not event then
      return "timeout", answer.ttft_ms and "the model stopped in its answer"
        or "no first token in time"
    elseif event.over then
      return ended(event, answer, parser, received > 0)
    end
    heard_at = cxb.time.mono()
    received = received + #event.data
    local ok, code, message = parser:feed(event.data)
    if not ok or received > max_bytes then
      return ok and "bad_response" or code, message or "the answer is larger than 4 MiB"
    end
    if not answer.ttft_ms and (run.words > 0 or #answer.tool_calls > 0) then
      answer.ttft_ms = math.floor(cxb.time.mono() - run.began + 0.5)
    end
    if run.done then
      return nil
    end
  end
end

local function exchange(self, run)
  local answer, parts = new_answer(), {}
  run.words, run.done = 0, false
  local code, message = attempt(self, run, answer, self.wire.reader(answer, function(piece)
    if piece ~= "" then
      run.words = run.words + #piece
      parts[#parts + 1] = piece
      if run.request.on_text and not run.cancelled then
        run.request.on_text(piece)
      end
    end
  end))
  -- After the last event that matters the rest is read in the background: the connection stays.
  if not run.done or code then
    run.task:cancel(1000)
  end
  answer.text = table.concat(parts)
  if run.cancelled then
    return nil, "cancelled", "cancelled"
  elseif code then
    return nil, code, message
  elseif answer.text == "" and #answer.tool_calls == 0 then
    return nil, "empty", "the model said nothing"
  end
  return answer
end

local again = { empty = true, bad_response = true }

---(waits) Sends `request` and returns the answer, complete.
---@param request table see docs/llm.md
---@return table? answer, string? code, string? message
function M:stream(request)
  local now = cxb.time.mono()
  local total = now + (request.total_ms or default_total_ms)
  local run = { request = request, began = now, limits = {
    first = math.min(now + (request.first_ms or default_first_ms), total), total = total,
  } }
  self.run = run
  local answer, code, message = exchange(self, run)
  local handed_on = run.words > 0 and request.on_text
  if not answer and again[code] and not handed_on and cxb.time.mono() < run.limits.first then
    answer, code, message = exchange(self, run)
  end
  if self.run == run then
    self.run = nil
  end
  return answer, code, message
end

---Ends the running stream: it returns nil, "cancelled". Nothing runs: nothing happens.
function M:cancel()
  local run = self.run
  if run and not run.cancelled then
    run.cancelled = true
    if run.task then
      run.task:cancel(1000)
    end
    if run.inbox then
      run.inbox:push({ over = true })
    end
  end
end

---Opens a connection to the server ahead of the first request, in the background.
---@param target string URL
---@param headers? table<string, string>
function M.warm(target, headers)
  cxb.task.spawn("llm warm", function()
    cxb.http.request({ url = target, method = "HEAD", headers = headers, timeout_ms = 5000 })
  end)
end

return M
