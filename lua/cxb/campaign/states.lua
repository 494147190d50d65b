-- States of a contact and every legal transition between them; API, import and Dialler share this
-- table. A transition is written with an expected state, so the first one wins.
local M = {}

M.waiting = { "pending", "scheduled", "retry_scheduled", "callback_scheduled" }
M.active = {
  "leased", "dialling", "ringing", "amd_screening", "attaching", "in_progress", "_processing",
}
M.terminal = {
  "completed", "exhausted", "abandoned", "amd_machine", "window_closed", "manual_stopped", "dnc",
}

---Every state.
M.all = {}
---State → "waiting", "active" or "terminal".
M.kind = {}
for _, kind in ipairs({ "waiting", "active", "terminal" }) do
  for _, state in ipairs(M[kind]) do
    M.kind[state] = kind
    M.all[#M.all + 1] = state
  end
end

-- How long an actor may hold a contact in a state, in seconds. dialling and ringing: beside the
-- ring timeout; in_progress: beside the bot's longest call.
M.ttl_s = {
  leased = 30, dialling = 30, ringing = 30, amd_screening = 15, attaching = 15, in_progress = 120,
  _processing = 60,
}

-- Who (D Dialler, A API) may move a contact from where to where.
local rules = {
  { "pending scheduled retry_scheduled callback_scheduled", "leased", "D" },
  { "leased", "pending scheduled retry_scheduled callback_scheduled", "D" },
  { "leased", "dnc dialling manual_stopped window_closed", "D" },
  { "dialling", "ringing", "D" },
  { "dialling ringing", "amd_screening attaching", "D" },
  { "dialling ringing", "retry_scheduled exhausted pending scheduled callback_scheduled", "D" },
  { "amd_screening", "attaching amd_machine retry_scheduled exhausted", "D" },
  { "attaching", "in_progress abandoned retry_scheduled exhausted", "D" },
  { "attaching in_progress", "_processing", "A" },
  { "in_progress _processing", "_processing", "D" },
  { "_processing", "completed retry_scheduled exhausted callback_scheduled dnc", "AD" },
  { "pending scheduled retry_scheduled callback_scheduled",
    "window_closed manual_stopped dnc", "AD" },
}

local table_of = {}
for _, rule in ipairs(rules) do
  for from in rule[1]:gmatch("%S+") do
    for to in rule[2]:gmatch("%S+") do
      table_of[from .. " " .. to] = (table_of[from .. " " .. to] or "") .. rule[3]
    end
  end
end

---Whether an actor may make this transition.
---@param from string
---@param to string
---@param by "A"|"D"
---@return boolean
function M.allowed(from, to, by)
  local actors = table_of[from .. " " .. to]
  return actors ~= nil and actors:find(by, 1, true) ~= nil
end

---Refuses what no rule names: a programmer's mistake.
function M.check(from, to, by)
  if not M.allowed(from, to, by) then
    error(("a contact does not go from %s to %s by %s"):format(tostring(from), tostring(to), by), 2)
  end
end

return M
