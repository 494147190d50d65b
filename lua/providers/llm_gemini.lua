-- The wire that Google's two doors to its models share (providers.llm_google, .llm_vertex): what
-- streamGenerateContent answers, event by event, and prompts that are kept there.
local exchange = require("cxb.llm_exchange")
local gemini = require("cxb.gemini")
local json = require("cxb.json")

local M = {}

local function count(value)
  return type(value) == "number" and value or 0
end

local function take_usage(answer, usage)
  answer.usage = {
    prompt_tokens = count(usage.promptTokenCount),
    completion_tokens = count(usage.candidatesTokenCount) + count(usage.thoughtsTokenCount),
    cache_read_input_tokens = count(usage.cachedContentTokenCount),
    cache_creation_input_tokens = 0,
  }
end

local function take_part(self, answer, part, emit)
  if type(part.text) == "string" and part.thought ~= true then
    emit(part.text)
  elseif type(part.functionCall) == "table" then
    self.calls = self.calls + 1
    local call = part.functionCall
    local id = type(call.id) == "string" and call.id or ("call_%d"):format(self.calls)
    self.signatures[id] = type(part.thoughtSignature) == "string" and part.thoughtSignature or nil
    answer.tool_calls[#answer.tool_calls + 1] = { id = id, name = tostring(call.name),
      arguments = type(call.args) == "table" and json.encode(call.args) or "{}" }
  end
end

local finishes = { STOP = "stop", MAX_TOKENS = "length" }

local function reader(self, answer, emit)
  return function(data)
    local chunk = json.decode_object(data)
    if not chunk then
      return nil, "bad_response", "the stream holds something that is no JSON object"
    end
    local err = type(chunk.error) == "table" and chunk.error
    if err then
      return nil, type(err.code) == "number" and ("http_%d"):format(err.code) or "bad_response",
        "the server reported an error in its answer"
    end
    if type(chunk.usageMetadata) == "table" then
      take_usage(answer, chunk.usageMetadata)
    end
    local candidate = type(chunk.candidates) == "table" and chunk.candidates[1] or {}
    local content = type(candidate.content) == "table" and candidate.content or {}
    for _, part in ipairs(type(content.parts) == "table" and content.parts or {}) do
      take_part(self, answer, part, emit)
    end
    local finish = candidate.finishReason
    if finish == "MALFORMED_FUNCTION_CALL" then
      return nil, "bad_response", "the model's function call is malformed"
    elseif type(finish) == "string" then
      answer.finish = #answer.tool_calls > 0 and "tool_calls" or finishes[finish] or finish:lower()
    elseif type(chunk.promptFeedback) == "table" and chunk.promptFeedback.blockReason then
      answer.finish = "blocked"
    end
    return true
  end
end

local llm = {}
llm.__index = llm

---@param options table of a provider's open()
---@param door table {name, model_url, authorize(headers) → true | nil, code, message (may wait)}
---@return table llm
function M.open(options, door)
  local self = setmetatable({ stage = options.stage, signatures = {}, calls = 0, door = door }, llm)
  self.exchange = exchange.new({
    name = door.name,
    reader = function(answer, emit)
      return reader(self, answer, emit)
    end,
    request = function(request)
      return { url = door.model_url .. ":streamGenerateContent?alt=sse", method = "POST",
        headers = self.headers, body = gemini.body(self, request) }
    end,
  })
  return self
end

-- A handle that has expired is refused like one that never was.
local gone = { http_400 = true, http_403 = true, http_404 = true }

local function without_cache(request)
  local plain = {}
  for name, value in pairs(request) do
    plain[name] = value
  end
  plain.cache = nil
  return plain
end

---(waits) docs/llm.md
function llm:stream(request)
  local headers = { ["content-type"] = "application/json" }
  local ok, code, message = self.door.authorize(headers)
  if not ok then
    return nil, code, message
  end
  self.headers = headers
  local cache = request.cache
  local handle = cache and cache.handle
  local answer
  answer, code, message = self.exchange:stream(request)
  if handle and gone[code] then
    cache:lost(handle)
    answer, code, message = self.exchange:stream(without_cache(request))
  end
  if answer and cache and not handle then
    cache:renew()
  end
  return answer, code, message
end

function llm:cancel()
  self.exchange:cancel()
end

function llm:close()
  self.exchange:cancel()
end

return M
