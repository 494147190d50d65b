-- Language models behind the chat completions API: OpenAI's own and every compatible server
-- (base_url of the stage). Streaming, tools and usage; docs/llm.md has the interface of a provider.
local exchange = require("cxb.llm_exchange")
local json = require("cxb.json")

local M = {}
local llm = {}
llm.__index = llm

local default_base = "https://api.openai.com/v1"

local function count(value)
  return type(value) == "number" and value or 0
end

local function message_of(m)
  local out = { role = m.role, content = m.content or json.null, tool_call_id = m.tool_call_id }
  if m.tool_calls and #m.tool_calls > 0 then
    out.tool_calls = {}
    for i, call in ipairs(m.tool_calls) do
      local fn = call["function"] or call
      out.tool_calls[i] = { id = call.id, type = "function",
        ["function"] = { name = fn.name, arguments = fn.arguments or "{}" } }
    end
  end
  return out
end

local extras = { "top_p", "top_k", "frequency_penalty", "presence_penalty" }

-- OpenAI itself renamed the limit; its newer models refuse the old name, other servers the new one.
local function limit_name(base)
  return base == default_base and "max_completion_tokens" or "max_tokens"
end

local function body_of(self, request)
  local stage = self.stage
  local body = {
    model = stage.model, stream = true, stream_options = { include_usage = true },
    messages = json.array(), temperature = request.temperature or stage.temperature,
    [limit_name(self.base)] = request.max_tokens or stage.max_tokens,
    response_format = request.json and { type = "json_object" } or nil,
  }
  for i, m in ipairs(request.messages) do
    body.messages[i] = message_of(m)
  end
  if request.tools and #request.tools > 0 then
    body.tools = request.tools
  end
  for _, name in ipairs(extras) do
    body[name] = stage.extra and stage.extra[name]
  end
  if request.cache then
    body.prompt_cache_key = request.cache.key
    body.prompt_cache_retention = request.cache.retention == "24h" and "24h" or nil
  end
  return json.encode(body)
end

local function take_usage(answer, usage)
  local details = type(usage.prompt_tokens_details) == "table" and usage.prompt_tokens_details
    or {}
  answer.usage = {
    prompt_tokens = count(usage.prompt_tokens), completion_tokens = count(usage.completion_tokens),
    cache_read_input_tokens = count(details.cached_tokens),
    cache_creation_input_tokens = count(usage.cache_creation_input_tokens),
  }
end

-- A call comes in pieces: id and name first, then its arguments, told apart by `index`.
local function take_tool_call(answer, by_index, piece)
  local fn = type(piece["function"]) == "table" and piece["function"] or {}
  local index = piece.index or (#answer.tool_calls + 1)
  local call = by_index[index]
  if not call then
    call = { id = piece.id or ("call_%d"):format(#answer.tool_calls + 1), name = "",
      arguments = "" }
    by_index[index] = call
    answer.tool_calls[#answer.tool_calls + 1] = call
  end
  if type(fn.name) == "string" then
    call.name = call.name .. fn.name
  end
  if type(fn.arguments) == "string" then
    call.arguments = call.arguments .. fn.arguments
  elseif type(fn.arguments) == "table" then
    call.arguments = json.encode(fn.arguments)
  end
end

local function failure(err)
  local code = type(err) == "table" and err.code
  if type(code) == "number" and code >= 400 and code < 600 then
    return nil, ("http_%d"):format(code), "the server reported an error in its answer"
  end
  return nil, "bad_response", "the server reported an error in its answer"
end

local function reader(answer, emit)
  local by_index = {}
  return function(data)
    if data:match("^%s*%[DONE%]%s*$") then
      return true, "done"
    end
    local chunk = json.decode_object(data)
    if not chunk then
      return nil, "bad_response", "the stream holds something that is no JSON object"
    elseif chunk.error and chunk.error ~= json.null then
      return failure(chunk.error)
    end
    if type(chunk.usage) == "table" then
      take_usage(answer, chunk.usage)
    end
    local choice = type(chunk.choices) == "table" and chunk.choices[1]
    local delta = type(choice) == "table" and choice.delta
    if type(delta) == "table" then
      if type(delta.content) == "string" then
        emit(delta.content)
      end
      for _, piece in ipairs(type(delta.tool_calls) == "table" and delta.tool_calls or {}) do
        take_tool_call(answer, by_index, piece)
      end
    end
    if choice and type(choice.finish_reason) == "string" then
      answer.finish = choice.finish_reason
    end
    return true
  end
end

---@param options table {stage, settings, vars}
---@return table? llm, string? code, string? message
function M.open(options)
  local stage = options.stage
  local base = (stage.base_url or default_base):gsub("/+$", "")
  if not base:match("^https?://") then
    return nil, "invalid", "base_url is no http URL"
  end
  local headers = { ["content-type"] = "application/json", accept = "text/event-stream" }
  if stage.api_key and stage.api_key ~= "" then
    headers.authorization = "Bearer " .. stage.api_key
  end
  local self = setmetatable({ stage = stage, base = base }, llm)
  self.exchange = exchange.new({
    name = "openai", reader = reader,
    request = function(request)
      return { url = base .. "/chat/completions", method = "POST", headers = headers,
        body = body_of(self, request) }
    end,
  })
  if not options.cold then
    exchange.warm(base .. "/models", { authorization = headers.authorization })
  end
  return self
end

---(waits) docs/llm.md
function llm:stream(request)
  return self.exchange:stream(request)
end

function llm:cancel()
  self.exchange:cancel()
end

function llm:close()
  self.exchange:cancel()
end

return M
