-- What a language model knows of a call: the prompt, and who said what. It holds 64 KiB of text at
-- most; above that the oldest turns shrink to a summary of one line each, and that to its newest
-- lines.
local text = require("cxb.text")

local M = {}
M.__index = M

local max_bytes, max_summary_bytes, line_bytes = 65536, 8192, 160

---@param prompts string[] system messages, in order
---@param limit? integer bytes
function M.new(prompts, limit)
  local self = setmetatable({ fixed = {}, turns = {}, summary = {}, limit = limit or max_bytes }, M)
  for _, prompt in ipairs(prompts) do
    if prompt ~= "" then
      self.fixed[#self.fixed + 1] = { role = "system", content = prompt }
    end
  end
  return self
end

local function size_of(message)
  local size = #(message.content or "")
  for _, call in ipairs(message.tool_calls or {}) do
    size = size + #call["function"].name + #call["function"].arguments
  end
  return size
end

local who = { user = "Caller", assistant = "You", tool = "Tool answer" }

local function shorten(self, messages)
  for _, message in ipairs(messages) do
    local content = (message.content or ""):gsub("%s+", " ")
    if content ~= "" then
      local line, cut = text.limit(content, line_bytes)
      self.summary[#self.summary + 1] = who[message.role] .. ": " .. line .. (cut and " …" or "")
    end
  end
  local size = 0
  for i = #self.summary, 1, -1 do
    size = size + #self.summary[i] + 1
    if size > max_summary_bytes then
      table.remove(self.summary, i)
    end
  end
end

-- Turns begin with what the caller said; the one under way stays whole.
local function trim(self)
  while self:size() > self.limit and #self.turns > 1 do
    shorten(self, table.remove(self.turns, 1))
  end
end

---Bytes of text.
function M:size()
  local size = 0
  for _, message in ipairs(self.fixed) do
    size = size + size_of(message)
  end
  for _, line in ipairs(self.summary) do
    size = size + #line + 1
  end
  for _, turn in ipairs(self.turns) do
    for _, message in ipairs(turn) do
      size = size + size_of(message)
    end
  end
  return size
end

local function last(self)
  local turn = self.turns[#self.turns]
  return turn and turn[#turn]
end

local function add(self, message)
  local turn = self.turns[#self.turns]
  if not turn then
    turn = {}
    self.turns[1] = turn
  end
  turn[#turn + 1] = message
  trim(self)
  return message
end

---What the caller said, typed or keyed. Said before the bot had answered, it goes on.
function M:user(said)
  local before = last(self)
  if before and before.role == "assistant" and before.content == "" and not before.tool_calls then
    table.remove(self.turns[#self.turns]) -- it never got to speak
    before = last(self)
  end
  if before and before.role == "user" then
    self.before = before.content
    before.content = before.content .. " " .. said
    trim(self)
    return before
  end
  self.before = nil
  self.turns[#self.turns + 1] = {}
  return add(self, { role = "user", content = said })
end

---The last user() did not happen.
function M:take_back()
  local turn = self.turns[#self.turns]
  local message = turn[#turn]
  if self.before then
    message.content, self.before = self.before, nil
  else
    table.remove(turn)
    if not turn[1] then
      table.remove(self.turns)
    end
  end
end

---What the bot said and which tools it asked for.
---@param said string "" for none
---@param tool_calls? {id: string, name: string, arguments: string}[]
---@return table message its content may be changed later to what was heard
function M:assistant(said, tool_calls)
  local message = { role = "assistant", content = said }
  if tool_calls and tool_calls[1] then
    message.tool_calls = {}
    for i, call in ipairs(tool_calls) do
      message.tool_calls[i] = { id = call.id, type = "function",
        ["function"] = { name = call.name, arguments = call.arguments } }
    end
  end
  return add(self, message)
end

---What a tool answered.
function M:tool(id, content)
  return add(self, { role = "tool", tool_call_id = id, content = content })
end

local function copy(message)
  return { role = message.role, content = message.content, tool_calls = message.tool_calls,
    tool_call_id = message.tool_call_id }
end

---The messages of a request. What the bot did not get to say at all is left out.
---@param instruction? string for this request only
---@return table[]
function M:messages(instruction)
  local out = {}
  for _, message in ipairs(self.fixed) do
    out[#out + 1] = message
  end
  if self.summary[1] then
    out[#out + 1] = { role = "system", content = "Earlier in this call, shortened:\n"
      .. table.concat(self.summary, "\n") }
  end
  for _, turn in ipairs(self.turns) do
    for _, message in ipairs(turn) do
      if message.role ~= "assistant" or message.tool_calls or message.content ~= "" then
        out[#out + 1] = copy(message)
      end
    end
  end
  if instruction then
    out[#out + 1] = { role = "system", content = instruction }
  end
  return out
end

return M
