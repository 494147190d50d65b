-- The lasting part of a bot's prompt, kept at its provider while calls are expected (api.md §5.6):
-- made in the morning, forgotten at night unless the bot has it for good, made again when a worker
-- finds it gone. Only bots in `direct` mode without a policy; never the rendered prompt of a
-- customer. What is kept is told by `live_prompt_cache_state` of the bot.
local errors = require("services.web.errors")
local json = require("cxb.json")
local kept_prompts = require("cxb.kept_prompts")
local policy = require("cxb.policy")
local provider_keys = require("services.runtime_config.provider_keys")
local tenant_url = require("services.web.tenant_url")
local tools = require("cxb.tools")

local M = {}

local EVENT_MS = 90 * 86400 * 1000
local FRESH_MS = 30000 -- a handle this young was not found gone by the worker that asks

---Whether the bot's prompt has a part that can be kept, by its mode.
---@return boolean
function M.is_direct(bot)
  local parts = bot.prompt_parts
  return type(parts) == "table" and parts.mode == "direct"
    and not policy.kind_of(bot.conversation_policy)
end

---@return boolean
function M.has_prompt(bot)
  return M.is_direct(bot) and (bot.prompt_parts.static_system_prompt or "") ~= ""
end

-- What the model is offered is kept with the prompt.
local function definitions(bot)
  return tools.new({ config = bot }):definitions()
end

local function version_of(bot)
  local llm = bot.llm or {}
  local hash = cxb.crypto.hex(cxb.crypto.sha256(table.concat({
    bot.prompt_parts.static_system_prompt or "", json.encode(definitions(bot), true),
    llm.provider or "", llm.model or "",
  }, "\0"))):sub(1, 16)
  local given = bot.prompt_parts.static_version
  return (given and given ~= json.null) and ("%s-%s"):format(tostring(given), hash) or hash
end

-- By bot, as it is read for calls again and again.
local versions = setmetatable({}, { __mode = "k" })

---The version of what is kept: the operator's, with a hash of the text, the tools and the model.
---@return string
function M.version(bot)
  versions[bot] = versions[bot] or version_of(bot)
  return versions[bot]
end

local function state_of(bot)
  local state = bot.live_prompt_cache_state
  return type(state) == "table" and state or {}
end

-- The handle that may be used now.
local function handle_of(bot, version)
  local state = state_of(bot)
  if state.prompt_cache_key and state.version == version
    and (state.expires_at or 0) > cxb.time.now() then
    return state.prompt_cache_key
  end
end

---The prompt's parts of a call with the handle of what is kept.
---@param bot table
---@param parts? table rendered
---@return {prompt_parts?: table}
function M.of_call(bot, parts)
  if not parts or parts.mode ~= "direct" or not parts.cache_enabled then
    return { prompt_parts = parts }
  end
  parts.static_version = M.version(bot)
  local handle = handle_of(bot, parts.static_version)
  parts.prompt_cache_key = handle or parts.prompt_cache_key
  return { prompt_parts = parts }
end

local function note(app, bot, action, result, reason)
  local now = cxb.time.now()
  app.store:insert("live_prompt_cache_events", { bot_id = bot._id, action = action,
    result = result, reason = reason, at = now, expires_at = now + EVENT_MS })
end

local function public_only(app, stage)
  return (stage.base_url or "") ~= "" and tenant_url.exceptions(app) or nil
end

-- (waits) The stage of the model with its key.
local function model_of(app, bot)
  local stages, err = provider_keys.stages(app, bot)
  if not stages then
    return nil, err.message
  end
  return stages.llm
end

local function remember(app, bot, state, more)
  local set = { live_prompt_cache_state = state }
  for name, value in pairs(more or {}) do
    set[name] = value
  end
  return app.store:update("bots", bot._id, { set = set })
end

local function forget(app, bot)
  local state = state_of(bot)
  local stage = state.prompt_cache_key and model_of(app, bot)
  if stage and stage.provider == state.provider then
    return kept_prompts.forget(stage, state.prompt_cache_key, public_only(app, stage))
  end
  return true
end

local function failed(app, bot, action, reason, more)
  note(app, bot, action, "failed", reason)
  local state = state_of(bot)
  state.status, state.error, state.at = "failed", reason, cxb.time.now()
  remember(app, bot, state, more)
  return nil, reason
end

---(waits) Has the bot's prompt kept, anew if it was before.
---@param action string for the record: "prewarm", "enable", "refresh", "recreate"
---@param reason? string
---@param more? table other fields of the bot that change with it
---@return table? state, string? why
function M.make(app, bot, action, reason, more)
  local stage, why = model_of(app, bot)
  if not stage then
    return failed(app, bot, action, why, more)
  end
  local now = cxb.time.now()
  local ttl_s = app.settings.LIVE_PROMPT_CACHE_TTL_HOURS * 3600
  local state = { status = "implicit", provider = stage.provider, model = stage.model,
    version = M.version(bot), at = now }
  if kept_prompts.has_handles(stage.provider) then
    local handle, code = kept_prompts.make(stage, {
      static = bot.prompt_parts.static_system_prompt, tools = definitions(bot),
      ttl_seconds = ttl_s,
    }, public_only(app, stage))
    if not handle then
      return failed(app, bot, action, code, more)
    end
    forget(app, bot)
    state.status, state.prompt_cache_key = "ready", handle
    state.expires_at = now + ttl_s * 1000
  end
  local kept, err = remember(app, bot, state, more)
  if not kept then
    return nil, err.message
  end
  note(app, bot, action, "ok", reason)
  return state
end

---(waits) Has it forgotten.
---@return true?, string? why
function M.drop(app, bot, action, reason, more)
  local ok, code = forget(app, bot)
  if not ok then
    return failed(app, bot, action, code, more)
  end
  remember(app, bot, { status = "none", at = cxb.time.now() }, more)
  note(app, bot, action, "ok", reason)
  return true
end

local not_direct = "Only bots in direct mode without a policy have a prompt that is kept."

---Whether a route may act on this bot.
---@return true?, api.error?
function M.check(bot)
  if not M.is_direct(bot) then
    return nil, errors.new(422, "not_direct", not_direct)
  elseif not M.has_prompt(bot) then
    return nil, errors.new(422, "no_static_prompt", "There is no static prompt to be kept.")
  end
  return true
end

-- One request a bot at a time goes to the provider; those that wait get its answer.
local making = {}

local function remake(app, bot)
  local fresh, err = app.store:get("bots", bot._id)
  if not fresh then
    return nil, errors.of_store(err)
  end
  bot.live_prompt_cache_state = fresh.live_prompt_cache_state
  local state = state_of(bot)
  if state.status == "ready" and state.version == M.version(bot)
    and state.at > cxb.time.now() - FRESH_MS then
    return state.prompt_cache_key
  end
  local made, why = M.make(app, bot, "recreate")
  if not made then
    return nil, errors.new(502, "upstream_failed", ("The provider did not keep it: %s.")
      :format(why))
  elseif not made.prompt_cache_key then
    return nil, errors.new(422, "no_handles", "This provider keeps prompts by itself.")
  end
  return made.prompt_cache_key
end

---(waits) A worker found the handle gone.
---@return string? prompt_cache_key, api.error? err
function M.recreate(app, bot)
  while making[bot._id] do
    cxb.time.sleep(50)
  end
  making[bot._id] = true
  local ok, key, err = pcall(remake, app, bot)
  making[bot._id] = nil
  if not ok then
    error(key, 0)
  end
  return key, err
end

return M
