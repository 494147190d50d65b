-- One call to a person (api.md §5.11): everything that forbids it in a fixed order, then a host.
local bucket = require("cxb.carrier_bucket")
local bots = require("services.bots")
local carriers = require("services.carriers")
local dial_limits = require("services.fleet.dial_limits")
local dids = require("services.carriers.dids")
local dnc = require("services.dnc")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local hours = require("services.runtime_config.hours")
local pipeline = require("services.web.pipeline")

local M = {}

local TIMEOUT_MS, ERROR_MAX = 60000, 300
local REGION = "IN" -- of numbers without country code on the do-not-call list

---What a request that dials may take: a host answers when somebody was reached or not.
M.DEADLINE_MS = 65000

local function not_allowed(message)
  return errors.new(422, "number_not_allowed", message)
end

-- A number as it is dialled. Short ones are emergency and service numbers.
local function read_number(text)
  local number = text:gsub("[%s%-()%[%]]", "")
  local digits = number:match("^%+?(%d+)$")
  if not digits or #digits > 15 then
    return nil, errors.invalid({ { path = "to_number", rule = "format",
      message = "must be a number like +919876543210" } })
  elseif #digits < 7 then
    return nil, not_allowed("Emergency and short numbers are not dialled.")
  end
  return number:sub(1, 1) == "0" and number or "+" .. digits
end

-- (waits) Whether a number is on the do-not-call list, as it is dialled or as the list reads it:
-- carriers take national numbers, too.
local function check_dnc(app, text, number)
  local forms = { number, dnc.normal(text, REGION) }
  for _, form in ipairs(forms) do
    local answer, err = dnc.listed(app, form)
    if not answer then
      return nil, errors.of_store(err)
    elseif answer.listed then
      return nil, errors.new(422, "number_on_dnc", "The number is on the do-not-call list.")
    end
  end
  return true
end

-- (waits) A number that is not ours: a call to oneself would take two slots and never end.
local function check_number(app, number)
  local entry, err = dids.find(app, number)
  if entry then
    return nil, not_allowed("This is one of our own numbers.")
  elseif err.status ~= 404 then
    return nil, err
  end
  return true
end

local function find_bot(ctx, id)
  local bot, err = bots.active(ctx.app.store, id)
  if not bot then
    return nil, err.code == "not_found" and errors.not_found("bot")
      or err.code == "invalid" and errors.invalid(err.fields) or errors.of_store(err)
  end
  local allowed = ctx.principal.kind == "key" and ctx.principal.bot_ids or {}
  for _, bot_id in ipairs(allowed) do
    if bot_id == id then
      return bot
    end
  end
  if allowed[1] then
    return nil, errors.new(403, "forbidden", "The API key may not use this bot.")
  end
  return bot
end

-- (waits) Room in the rate of the carrier that will carry the call, as far as it is known.
local function take_token(app, from_number)
  local carrier, err = carriers.outbound(app, from_number)
  if not carrier then
    return err.status == 404 or nil, err
  end
  local taken, wait = bucket.take(app.store, carrier, 1, cxb.time.now())
  if not taken then
    return nil, errors.of_store(wait)
  elseif taken < 1 then
    return nil, errors.new(429, "at_capacity", "The carrier takes no more calls at this moment.",
      { headers = { ["retry-after"] = tostring(math.max(1, math.ceil(wait / 1000))) } })
  end
  return true
end

---(waits) The answer of the fleet as ours; a host that answers nonsense is a bad gateway.
local function outcome(answer)
  local said = answer.answer
  if answer.status < 300 and type(said.call_id) == "string" then
    return { status = "ok", call_id = said.call_id, room_name = said.room_name,
      host_id = answer.host_id }
  elseif answer.status < 300 then
    return nil, errors.new(502, "upstream_failed", "The host's answer makes no sense.")
  end
  local told = type(said.error) == "string" and said.error:sub(1, ERROR_MAX) or nil
  local code = told and told:match("^%l[%l%d_]*$")
  local message = type(said.message) == "string" and said.message or not code and told
    or ("The host answered %d."):format(answer.status)
  return nil, errors.new(answer.status, code or "upstream_failed", message,
    { headers = { ["retry-after"] = answer.headers["retry-after"] } })
end

---@class api.dialout.request
---@field bot_id string
---@field to_number string
---@field from_number? string
---@field event table what the call knows from the beginning, and flags of ours
---@field purpose? "dialout"|"test"

---(waits) Calls somebody.
---@param ctx table
---@param request api.dialout.request
---@return table? answer {status, call_id, room_name, host_id}, api.error? err
function M.dial(ctx, request)
  local app = ctx.app
  local number, err = read_number(request.to_number)
  local bot, ok
  if number then
    bot, err = find_bot(ctx, request.bot_id)
    ok = bot
  end
  if ok then
    ok, err = check_number(app, number)
  end
  if ok then
    ok, err = check_dnc(app, request.to_number, number)
  end
  if not ok then
    return nil, err
  end
  local open, why = hours.open(bot.active_hours, bot.timezone, cxb.time.now())
  if not open then
    return nil, errors.new(503, "outside_active_hours", why)
  end
  local key = ctx.principal.kind == "key" and ctx.principal or nil
  local undo
  undo, err = dial_limits.take(app, key)
  if not undo then
    return nil, err
  end
  ok, err = take_token(app, request.from_number)
  local answer
  if ok then
    answer, err = fleet.start(app, {
      purpose = request.purpose or "dialout", path = "/livekit/dialout", timeout_ms = TIMEOUT_MS,
      request_id = ctx.request_id,
      body = { bot_id = bot._id, to_number = number, from_number = request.from_number,
        connected_event = request.event,
        config_url = pipeline.internal_base(ctx) .. "/api/v1/config" },
    })
  end
  if answer then
    answer, err = outcome(answer)
  end
  if not answer then
    undo()
  end
  return answer, err
end

return M
