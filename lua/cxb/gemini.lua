-- A chat as Gemini's models are sent it: contents and parts, function declarations, a schema they
-- understand. providers.llm_gemini sends it and reads what comes back.
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

---The body that has a lasting prompt kept with its tools.
---@param model string full name
---@param static string
---@param tools table[] in the shape of chat completions
---@param ttl_seconds integer
---@return string JSON
function M.kept_body(model, static, tools, ttl_seconds)
  return json.encode({
    model = model, ttl = ("%ds"):format(ttl_seconds),
    systemInstruction = { parts = { { text = static } } },
    tools = tools and #tools > 0 and tools_of(tools) or nil,
  })
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

return M
