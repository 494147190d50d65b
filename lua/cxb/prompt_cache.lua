-- The lasting part of a bot's prompt as its provider keeps it (core spec §4 "Prompt cache"): only
-- with prompt_parts in `direct` mode and cache_enabled. What is kept is the static block with the
-- tools; nothing of one customer is. Handles outlive calls: 64 of them, by bot and static_version,
-- the longest unused goes first.
--
-- A call's cache goes into the request of a model as `cache`: {key, retention, static, handle}. A
-- provider that finds its handle gone says cache:lost() and goes on without; the API is asked to
-- make a new one meanwhile.
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")

local M = { limit = 64 }

local recreate_ms, pause_ms = 15000, 60000

-- entries[1] was used last.
local entries = {}

local function entry_of(id)
  for i, entry in ipairs(entries) do
    if entry.id == id then
      table.insert(entries, 1, table.remove(entries, i))
      return entry
    end
  end
  local entry = { id = id }
  table.insert(entries, 1, entry)
  entries[M.limit + 1] = nil
  return entry
end

---Forgets all handles.
function M.clear()
  entries = {}
end

---Gemini's names of kept prompts; a key of another provider is no handle.
---@return boolean
function M.is_handle(key)
  return type(key) == "string"
    and (key:match("^cachedContents/[%w_-]+$")
      or key:match("^projects/[%w_.:-]+/locations/[%w-]+/cachedContents/[%w_-]+$")) ~= nil
end

local cache = {}

-- The handle as it is now: it may have come while the call runs.
function cache.__index(self, name)
  if name == "handle" then
    return rawget(self, "entry").handle
  end
  return cache[name]
end

-- (waits)
local function recreate(self)
  local target = ("%s/bots/%s/live-prompt-cache/recreate"):format(self.api, self.bot_id)
  local answer, code, message = cxb.http.request({
    url = target, method = "POST", timeout_ms = recreate_ms,
    headers = outgoing.headers(self.settings, target, { ["content-type"] = "application/json" }),
    body = json.encode({ static_version = self.version }),
  })
  local body = answer and answer.status == 200 and json.decode_object(answer.body) or {}
  if M.is_handle(body.prompt_cache_key) then
    self.entry.handle = body.prompt_cache_key
  else
    self.entry.again_at = cxb.time.mono() + pause_ms
    cxb.log.warn("the prompt cache was not made again", { code = code or answer.status,
      error = message })
  end
  self.entry.busy = false
end

---Asks the API for a new handle, in the background; one request at a time and after a failure none
---for a minute.
function cache:renew()
  local entry = self.entry
  if entry.busy or not self.api or cxb.time.mono() < (entry.again_at or 0) then
    return
  end
  entry.busy = true
  cxb.task.spawn("prompt_cache", recreate, self)
end

---The provider does not have this handle any more.
function cache:lost(handle)
  if self.entry.handle == handle then
    self.entry.handle, self.entry.gone = nil, handle
    self:renew()
  end
end

---@param settings table
---@param config table of the call
---@param call? table {config_url, bot_id}
---@return table? cache nil: the bot's prompt is not cached
function M.of_call(settings, config, call)
  local parts = config.prompt_parts
  if not parts or parts.mode ~= "direct" or not parts.cache_enabled then
    return nil
  end
  local version = tostring(parts.static_version or "")
  local bot_id = config.bot_id ~= "" and config.bot_id or call and call.bot_id or ""
  local id = ("%s:%s"):format(bot_id, version)
  local entry = entry_of(id)
  -- A handle that was found gone does not come back by a configuration that still names it.
  if M.is_handle(parts.prompt_cache_key) and parts.prompt_cache_key ~= entry.gone
    and not entry.handle then
    entry.handle = parts.prompt_cache_key
  end
  return setmetatable({
    entry = entry, key = parts.prompt_cache_key or id, retention = parts.prompt_cache_retention,
    static = parts.static_system_prompt, version = version, bot_id = bot_id,
    settings = settings, api = outgoing.api(settings, call),
  }, cache)
end

return M
