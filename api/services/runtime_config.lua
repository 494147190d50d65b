-- What a call worker asks for before a call: GET /config/{bot_id} (api.md §5.6, core.md §4).
local body = require("services.web.body")
local bot_cache = require("services.bots.cache")
local bots = require("services.bots")
local calls = require("services.calls")
local errors = require("services.web.errors")
local fixed_parts = require("services.runtime_config.fixed")
local flows = require("services.flows")
local hours = require("services.runtime_config.hours")
local json = require("cxb.json")
local live_prompt_cache = require("services.bots.live_prompt_cache")
local post_call_cache = require("services.bots.post_call_cache")
local prefetch = require("services.runtime_config.prefetch")
local prompts = require("services.runtime_config.prompts")
local template = require("cxb.template")
local variables = require("services.runtime_config.variables")

local M = {}

local function event_of(text)
  return text and body.parse(text) or {}
end

-- The JSON of an answer: what all calls of the bot have, and what this one has.
local function answer(bot, call, parts, webhook_url)
  local out = {
    session_id = call._id, variables = next(parts.vars) and parts.vars or json.object({}),
    callback_detection_enabled = parts.listens,
    flow_version = parts.flow_version, flow_source = parts.flow_source,
    sip_context = parts.sip_context, webhook_url = webhook_url,
  }
  for _, source in ipairs({ parts.texts, post_call_cache.of_call(bot),
    live_prompt_cache.of_call(bot, parts.texts.prompt_parts) }) do
    for name, value in pairs(source) do
      out[name] = value
    end
  end
  return parts.fixed.text:sub(1, -2) .. "," .. json.encode(out):sub(2)
end

local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- The skeleton of the call: what is known before it begins.
local function skeleton(bot, query, flags, parts)
  local event, crm, warnings = parts.event, parts.crm, parts.warnings
  local caller = text(query.caller_id) or text(event.callerId)
  return {
    bot_id = bot._id, bot_version = bots.version(bot), flow = bot.flow,
    direction = event.callDirection == "outgoing" and "outgoing" or "incoming",
    stream_id = text(query.stream_id) or text(event.streamId),
    caller_id = caller, customer_number = caller, did = text(event.did),
    number_rev = calls.reversed(caller),
    campaign_id = flags.campaign_id, campaign_call_id = flags.campaign_call_id,
    campaign_attempt = flags.campaign_attempt, run_number = flags.campaign_run_number,
    skip_post_push = flags.skip_post_push or nil, sip_context = parts.sip_context,
    connected_event = next(event) and event or nil, crm_data = next(crm) and crm or nil,
    config_warnings = warnings[1] and json.array(warnings) or nil,
  }
end

local function active_bot(app, bot_id)
  local bot, err = bot_cache.active(app, bot_id)
  if bot then
    return bot
  elseif err.code == "not_found" then
    return nil, errors.new(404, "unknown_bot", "There is no active bot of this id.")
  elseif err.code == "invalid" then
    return nil, errors.new(503, "bot_invalid", ("The bot is not valid: %s %s."):format(
      err.fields[1].path, err.fields[1].message), { fields = err.fields })
  end
  return nil, errors.of_store(err)
end

-- A call that began before its configuration was asked for: a test call, with what it is to know.
local function test_of(app, session_id)
  if not session_id then
    return {}
  end
  local call, err = app.store:get("calls", session_id, { bulk = false })
  if not call and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  end
  return call and call.call_type == "test" and call.test or {}
end

-- Callbacks are listened for when both the campaign and the bot want it.
local function listens_for_callbacks(app, bot, campaign_id)
  if not bot.callback_prompt_injection or not campaign_id then
    return false
  end
  local campaign, err = app.store:get("campaigns", campaign_id)
  if not campaign and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  end
  local detection = campaign and campaign.config and campaign.config.callback_detection
  return type(detection) == "table" and detection.enabled == true
end

-- Steps 3 and 4: what is known of the caller.
local function gather(app, bot, flags, event, test)
  for name, value in pairs(test.variables or {}) do
    event[name] = value
  end
  local sip_event, headers = variables.sip_headers(flags.sip_candidate_headers,
    bot.sip_header_config)
  for name, value in pairs(sip_event) do
    event[name] = value
  end
  local parts = { event = event, warnings = {}, now = cxb.time.now(),
    sip_context = headers and { headers = headers } or nil }
  local mock = test.mock_crm or flags.mock_crm
  parts.crm = mock or {}
  parts.vars = variables.all(event, parts.crm, bot.timezone, parts.now)
  if not mock and not flags.skip_prefetch then
    local warning
    parts.crm, warning = prefetch.fetch(app, bot.crm_prefetch, parts.vars)
    parts.warnings[1] = warning
    template.flatten(parts.vars, "crm.", parts.crm)
  end
  return parts
end

-- The flow's code that this call runs: the published version, or the draft a test call asks for.
local function choose_flow(app, bot, test, parts)
  local version, err = flows.active_version(app, bot.flow)
  local flow
  if not err and test.use_draft then
    flow, err = flows.stored(app, bot.flow)
  end
  if err then
    return nil, errors.of_store(err)
  end
  parts.flow_version, parts.flow_source = version, flow and flow.draft and flow.draft.source
  return true
end

-- Step 9. A session that somebody else named may be there already.
local function begin(app, bot, query, flags, parts)
  local given = flags.campaign_session_id
  if not given then
    return calls.begin_new(app.store, cxb.crypto.uuid7(), skeleton(bot, query, flags, parts))
  end
  return calls.begin(app.store, given, function()
    return skeleton(bot, query, flags, parts)
  end)
end

---(waits) The configuration of one call, its skeleton durable.
---@param app table
---@param bot_id string
---@param query {caller_id?: string, stream_id?: string, connected_event?: string}
---@param webhook_url string
---@return string? answer JSON, api.error? err
function M.build(app, bot_id, query, webhook_url)
  local flags, event = variables.part(event_of(query.connected_event))
  local bot, err = active_bot(app, bot_id)
  if not bot then
    return nil, err
  end
  local open, why = hours.open(bot.active_hours, bot.timezone, cxb.time.now())
  if not open then
    return nil, errors.new(503, "outside_active_hours", why)
  end
  local fixed, test, parts, ok
  fixed, err = fixed_parts.of(app, bot)
  if not fixed then
    return nil, err
  end
  test, err = test_of(app, flags.campaign_session_id)
  if not test then
    return nil, err
  end
  parts = gather(app, bot, flags, event, test)
  parts.fixed = fixed
  for _, warning in ipairs(fixed.warnings) do
    table.insert(parts.warnings, warning)
  end
  parts.listens, err = listens_for_callbacks(app, bot, flags.campaign_id)
  if parts.listens == nil then
    return nil, err
  end
  ok, err = choose_flow(app, bot, test, parts)
  if not ok then
    return nil, err
  end
  parts.texts = prompts.of_call(bot, parts.vars, parts.listens)
  local call, failed = begin(app, bot, query, flags, parts)
  if not call then
    return nil, errors.of_store(failed)
  end
  return answer(bot, call, parts, webhook_url)
end

return M
