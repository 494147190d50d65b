-- The language model of one call: its providers are opened when they are needed, one that fails
-- gives way to the next, and what was used is counted.
local failover = require("cxb.failover")
local json = require("cxb.json")
local providers = require("providers")

local M = {}
M.__index = M

local open_ms, first_ms, pause_ms = 4000, 4000, 250

-- With no other provider left these are worth a second try (bad_response: the stream broke off).
local passing = { network = true, closed = true, bad_response = true, http_429 = true,
  http_500 = true, http_502 = true, http_503 = true, http_504 = true }

---@param o {chain: table, settings: table, vars: table, cache?: table} chain: cxb.failover of llm
function M.new(o)
  return setmetatable({
    chain = o.chain, settings = o.settings, vars = o.vars, cache = o.cache,
    usage = { requests = 0, prompt_tokens = 0, completion_tokens = 0, cache_read_input_tokens = 0,
      cache_creation_input_tokens = 0 },
    statuses = {},
  }, M)
end

-- (waits) The model in use, opened if it is not.
local function model(self, choice)
  if self.llm and self.choice == choice then
    return self.llm
  end
  if self.llm then
    self.llm:close()
    self.llm = nil
  end
  local llm, code, message = failover.within(open_ms, function()
    return providers.get("llm", choice.provider).open({
      stage = choice, settings = self.settings, vars = self.vars,
    })
  end)
  if llm and self.closed then
    llm:close()
    return nil, "cancelled"
  elseif llm and self.llm and self.choice == choice then
    llm:close() -- two asked at once: what the first got may be at work already
    return self.llm
  end
  self.llm, self.choice = llm, choice
  return llm, code, message
end

---Opens the connection ahead of the first request. (does not wait)
function M:connect()
  cxb.task.spawn("llm_connect", model, self, self.chain.choice)
end

local function count(self, answer)
  local u = self.usage
  for name, value in pairs(answer.usage or {}) do
    u[name] = (u[name] or 0) + value
  end
  if self.cache then
    local read = (answer.usage or {}).cache_read_input_tokens or 0
    local made = (answer.usage or {}).cache_creation_input_tokens or 0
    self.statuses[#self.statuses + 1] = read > 0 and "hit" or made > 0 and "created" or "miss"
  end
end

-- Words that were handed on before a stream broke are not said again: the next model goes on.
local function continued(messages, said)
  if said == "" then
    return messages
  end
  local out = { unpack(messages) }
  out[#out + 1] = { role = "assistant", content = said }
  out[#out + 1] = { role = "system",
    content = "Your answer was cut off after these words. Go on with the next; repeat nothing." }
  return out
end

---(waits) As llm:stream of a provider (docs/llm.md), with failover.
---@param request table messages, tools, temperature, max_tokens, json, on_text
---@return table? answer, string? code, string? message
function M:stream(request)
  local run, said = {}, {}
  self.run = run
  local answer, code, message = self.chain:run(function(choice)
    local llm, why, text = model(self, choice)
    if run.cancelled or not llm then
      return nil, run.cancelled and "cancelled" or why, text
    end
    self.usage.requests = self.usage.requests + 1
    return llm:stream({
      messages = continued(request.messages, table.concat(said)), tools = request.tools,
      temperature = request.temperature, max_tokens = request.max_tokens, json = request.json,
      first_ms = first_ms, cache = self.cache,
      on_text = function(piece)
        said[#said + 1] = piece
        if request.on_text and not run.cancelled then
          request.on_text(piece)
        end
      end,
    })
  end, function(why, tries)
    local again = not run.cancelled and not self.chain:has_next() and tries < 2 and passing[why]
    return again and cxb.time.sleep(pause_ms) ~= nil
  end)
  if self.run == run then
    self.run = nil
  end
  if answer then
    answer.text = table.concat(said)
    count(self, answer)
  end
  return answer, code, message
end

---Ends the running request: it returns nil, "cancelled".
function M:cancel()
  if self.run then
    self.run.cancelled = true
    self.run = nil
    if self.llm then
      self.llm:cancel()
    end
  end
end

---For the result (core spec §7).
function M:cache_summary()
  local u = self.usage
  return {
    enabled = self.cache ~= nil, worked = u.cache_read_input_tokens > 0,
    statuses = json.array({ unpack(self.statuses) }),
    cache_read_input_tokens = u.cache_read_input_tokens,
    cache_creation_input_tokens = u.cache_creation_input_tokens,
    fresh_prompt_tokens = math.max(0, u.prompt_tokens - u.cache_read_input_tokens),
    completion_tokens = u.completion_tokens,
  }
end

function M:close()
  self.closed = true
  self:cancel()
  if self.llm then
    self.llm:close()
    self.llm = nil
  end
end

return M
