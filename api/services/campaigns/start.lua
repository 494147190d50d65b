-- What keeps a campaign from being started: all reasons at once (api.md §5.10), and the problems
-- that its page shows.
local errors = require("services.web.errors")
local json = require("cxb.json")
local states = require("cxb.campaign.states")
local tz = require("cxb.tz")
local windows = require("cxb.campaign.windows")

local M = {}

local messages = {
  bot_missing = "The bot is gone or inactive.",
  number_pool_empty = "No number of the pool can place calls.",
  concurrency_limit = "At least one conversation at a time is needed.",
  window_invalid = "The window has no valid times, or its zone is unknown.",
  window_never_opens = "The windows are never open for any contact.",
  no_waiting_contacts = "No contact waits to be called.",
  carrier_without_trunk = "A number's carrier has no outbound trunk yet.",
}

local function bot_reason(app, campaign)
  local bot, err = app.store:get("bots", campaign.bot_id)
  if not bot and err.code ~= "not_found" then
    return nil, err
  end
  return (not bot or bot.deleted_at or bot.is_active == false) and "bot_missing" or false
end

-- DIDs that can place calls, with their carriers, by their id.
local function outbound(app)
  local dids, after = {}, nil
  repeat
    local carriers, next_or_err = app.store:find("carriers", {}, { limit = 200, after = after })
    if not carriers then
      return nil, next_or_err
    end
    for _, carrier in ipairs(carriers) do
      for _, did in ipairs(carrier.dids or {}) do
        if did.direction ~= "inbound" then
          dids[did.id] = carrier
        end
      end
    end
    after = next_or_err
  until not after
  return dids
end

local function pool_reasons(app, campaign, add)
  local dids, err = outbound(app)
  if not dids then
    return nil, err
  end
  local usable, without_trunk = false, false
  for _, did_id in ipairs(campaign.number_pool or {}) do
    local carrier = dids[did_id]
    usable = usable or carrier ~= nil
    without_trunk = without_trunk or (carrier ~= nil and not carrier.lk_outbound_trunk_id)
  end
  if not usable then
    add("number_pool_empty")
  elseif without_trunk and app.settings.LIVEKIT_URL then -- simulated calls need none
    add("carrier_without_trunk")
  end
  return true
end

local function window_valid(config)
  local window = config.time_window or {}
  local ok = pcall(windows.of, config, "UTC")
  return ok and tz.known(window.timezone or windows.DEFAULT_ZONE)
end

-- A single day is today: what opens only after its end opens never.
local function opens_in_time(config, zone_key, now)
  local list = windows.of(config, zone_key)
  local open = windows.next_open(list, now)
  if not open or config.campaign_mode ~= "single_day" then
    return open ~= nil
  end
  return open < windows.cut_off(list[1], now)
end

-- The states in which contacts wait, counted by zone.
local function waiting_zones(app, campaign)
  return app.store:group("campaign_calls", {
    campaign_id = campaign._id, run_number = campaign.run_number,
    status = { ["in"] = states.waiting },
  }, { "zone_key" })
end

local function contact_reasons(app, campaign, add)
  local zones, err = waiting_zones(app, campaign)
  if not zones then
    return nil, err
  end
  local now, valid = cxb.time.now(), window_valid(campaign.config)
  local opens = false
  for _, group in ipairs(zones) do
    opens = opens or (valid and opens_in_time(campaign.config, group.by.zone_key, now))
  end
  if not valid then
    add("window_invalid")
  elseif zones[1] and not opens or (not zones[1] and not opens_in_time(campaign.config, nil, now))
  then
    add("window_never_opens")
  end
  if not zones[1] and not campaign.config.keep_open then
    add("no_waiting_contacts")
  end
  return true
end

-- Reasons by the set-up alone.
local function set_up(app, campaign, add)
  local missing, err = bot_reason(app, campaign)
  if missing == nil then
    return nil, err
  elseif missing then
    add(missing)
  end
  if (tonumber(campaign.config.concurrency_limit) or 0) < 1 then
    add("concurrency_limit")
  end
  return pool_reasons(app, campaign, add)
end

---(waits)
---@return string[]? reasons none: it may start, table? err of the store
function M.reasons(app, campaign)
  local reasons = {}
  local function add(reason)
    reasons[#reasons + 1] = reason
  end
  local ok, err = set_up(app, campaign, add)
  if ok then
    ok, err = contact_reasons(app, campaign, add)
  end
  table.sort(reasons)
  return ok and json.array(reasons), err
end

---@return api.error
function M.refusal(campaign, reasons)
  local sentences = {}
  for i, reason in ipairs(reasons) do
    sentences[i] = messages[reason]
  end
  return errors.new(409, "not_startable", table.concat(sentences, " "),
    { more = { reasons = reasons, status = campaign.status } })
end

---(waits) What is wrong with a campaign now, beside what the Dialler tells of it.
---@return {code: string, message: string}[]? problems, table? err
function M.problems(app, campaign)
  local problems = json.array()
  for _, told in ipairs((campaign.live or {}).problems or {}) do
    problems[#problems + 1] = type(told) == "table" and told or { code = told, message = told }
  end
  if campaign.status == "completed" then
    return problems
  end
  local ok, err = set_up(app, campaign, function(reason)
    problems[#problems + 1] = { code = reason, message = messages[reason] }
  end)
  return ok and problems, err
end

return M
