-- One request to the language model: its words are cut into sentences as they come, and go to the
-- utterance as soon as there is one; until then they are kept (an answer begun before it is sure
-- that the caller has ended).
local Voice = require("cxb.voice")
local guard = require("cxb.guard")
local sentences = require("cxb.sentences")
local text = require("cxb.text")

local M = {}
M.__index = M

-- Marks of written text are not spoken.
local function spoken(sentence)
  return (sentence:gsub("[*`#]+", ""):match("^%s*(.-)%s*$"))
end

local function keep(self, list)
  for _, sentence in ipairs(list) do
    local piece, cut = text.limit_characters(spoken(sentence), self.room)
    self.room = self.room - text.length(piece) - 1
    self.full = self.full or cut or self.room <= 0
    if piece ~= "" then
      self.kept[#self.kept + 1] = piece
    end
  end
  self:flush()
end

local function think(self, request)
  local mind, cutter = self.call.session.mind, sentences.new()
  request.on_text = function(piece)
    if not self.full and not self.cancelled then
      keep(self, cutter:push(piece))
    end
    if self.full then
      mind:cancel()
    end
  end
  local answer, code, message = mind:stream(request)
  if not self.cancelled and (answer or self.full) then
    if not self.full then
      keep(self, cutter:finish())
    end
    self.answer = answer or { text = table.concat(self.words, " "), tool_calls = {},
      finish = "length" }
  elseif not self.cancelled and code ~= "cancelled" then
    self.failed, self.message = code or "error", message
  end
  self.done = true
  self.call.inbox:push({ type = "thought" })
end

---@param call table cxb.call
---@param request table messages, tools, temperature, max_tokens, json
---@param n? integer number of the round within the turn, 1
function M.start(call, request, n)
  local self = setmetatable({
    call = call, n = n or 1, began_at = cxb.time.mono(), kept = {}, words = {},
    room = Voice.max_characters,
  }, M)
  self.task = cxb.task.spawn("llm", guard, function()
    self.failed, self.done = "internal", true
    call.inbox:push({ type = "thought" })
  end, think, self, request)
  return self
end

---Its sentences go to this utterance from now on.
---@param s table cxb.call.speaking
---@param on_first? fun(ms: number) before the first one, with the time it took
function M:speak_to(s, on_first)
  self.s, self.on_first = s, on_first
  self:flush()
end

function M:flush()
  if not self.s or not self.kept[1] then
    return
  end
  if self.on_first then
    self.on_first(cxb.time.mono())
    self.on_first = nil
  end
  for _, sentence in ipairs(self.kept) do
    self.words[#self.words + 1] = sentence
    self.s:add(sentence, { round = self.n })
  end
  self.kept = {}
  self.call.inbox:push({ type = "thought" })
end

function M:cancel()
  if not self.done and not self.cancelled then
    self.cancelled = true
    self.call.session.mind:cancel()
  end
end

return M
