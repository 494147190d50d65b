-- The wire that Google's two doors to its models share (providers.llm_google, .llm_vertex): chat
-- messages as contents and parts, function calls, usage, streamGenerateContent events.
local exchange = require("cxb.llm_exchange")
local json = require("cxb.json")

local M = {}

-- What the service understands of JSON Schema; it refuses a request that holds more.
local schema_words = { type = true, description = true, enum = true, required = true,
  minimum = true, maximum = true, minItems = true, maxItems = true, nullable = true, title = true }

local function schema_of(schema)
  local out = {}
  for key, value in pairs(schema) do
    if schema_words[key] then
      out[key] = value
    elseif key == "items" and type(value) == "table" then
      out.items = schema_of(value)
    elseif key == "anyOf" and type(value) == "table" then
      out.anyOf = {}
      for i, option in ipairs(value) do
        out.anyOf[i] = schema_of(option)
      end
    elseif key == "properties" and type(value) == "table" and next(value) then
      out.properties = {}
      for name, property in pairs(value) do
        out.properties[name] = schema_of(property)
      end
    end
  end
  if type(out.required) == "table" and #out.required == 0 then
    out.required = nil
  end
  return out
end

local function tools_of(tools)
  local list = {}
  for i, tool in ipairs(tools) do
    local fn = tool["function"] or tool
    local parameters = type(fn.parameters) == "table" and schema_of(fn.parameters)
    list[i] = { name = fn.name, description = fn.description,
      parameters = parameters and parameters.properties and parameters or nil }
  end
  return { { functionDeclarations = list } }
end

-- An answer of a tool must be an object there.
local function response_of(content)
  return json.decode_object(content or "") or { result = content or "" }
end

local function parts_of(self, m, names)
  local parts = {}
  if m.role == "tool" then
    return { { functionResponse = { name = names[m.tool_call_id] or "tool",
      response = response_of(m.content) } } }
  end
  if type(m.content) == "string" and m.content ~= "" then
    parts[1] = { text = m.content }
  end
  for _, call in ipairs(m.tool_calls or {}) do
    local fn = call["function"] or call
    names[call.id] = fn.name
    parts[#parts + 1] = {
      functionCall = { name = fn.name, args = json.decode_object(fn.arguments or "") or
        json.object({}) },
      thoughtSignature = self.signatures[call.id],
    }
  end
  return parts
end

-- Turns alternate between "user" and "model" and begin with the user's: neighbours of one role are
-- joined, and a bot that speaks first answers the ringing. `kept` is a system message that the
-- provider has already.
local function contents_of(self, messages, kept)
  local contents, system, names = {}, {}, {}
  local function add(role, parts)
    local last = contents[#contents]
    if not last and role == "model" then
      contents[1] = { role = "user", parts = { { text = "(the call begins)" } } }
      last = contents[1]
    end
    if not last or last.role ~= role then
      last = { role = role, parts = {} }
      contents[#contents + 1] = last
    end
    for _, part in ipairs(parts) do
      last.parts[#last.parts + 1] = part
    end
  end
  for _, m in ipairs(messages) do
    if m.role == "system" then
      if m.content ~= kept then
        system[#system + 1] = m.content
      end
    else
      local parts = parts_of(self, m, names)
      if #parts > 0 then
        add(m.role == "assistant" and "model" or "user", parts)
      end
    end
  end
  if #contents == 0 then
    add("user", { { text = "(the call begins)" } })
  end
  return contents, system
end

---The body of a request.
---@param self table {stage, signatures}
---@return string JSON
function M.body(self, request)
  local stage, extra = self.stage, self.stage.extra or {}
  local cache = request.cache
  local cached = cache and cache.handle
  local contents, system = contents_of(self, request.messages, cached and cache.static)
  local body = {
    contents = contents, cachedContent = cached,
    generationConfig = {
      temperature = request.temperature or stage.temperature,
      maxOutputTokens = request.max_tokens or stage.max_tokens, topP = extra.top_p,
      topK = extra.top_k, frequencyPenalty = extra.frequency_penalty,
      presencePenalty = extra.presence_penalty,
      responseMimeType = request.json and "application/json" or nil,
      thinkingConfig = extra.thinking_budget and { thinkingBudget = extra.thinking_budget } or nil,
    },
  }
  -- A cached prompt holds the instruction and the tools; what changes comes before the talk.
  if #system > 0 and cached then
    table.insert(contents[1].parts, 1, { text = table.concat(system, "\n\n") })
  elseif #system > 0 then
    body.systemInstruction = { parts = { { text = table.concat(system, "\n\n") } } }
  end
  if not cached and request.tools and #request.tools > 0 then
    body.tools = tools_of(request.tools)
  end
  return json.encode(body)
end

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
        headers = self.headers, body = M.body(self, request) }
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
