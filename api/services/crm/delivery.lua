-- One attempt to deliver a row to a CRM: what is sent, how it is signed, what becomes of the row.
local crm = require("services.crm")
local crm_body = require("services.crm.body")
local crm_schedule = require("services.crm.schedule")
local template = require("cxb.template")
local tenant_url = require("services.web.tenant_url")
local utf8 = require("cxb.utf8")
local webhook = require("cxb.webhook")

local M = {}

local EXCERPT_MAX, LOG_MAX = 2048, 10

-- A stored credential as it is used.
local function opened(app, text)
  text = tostring(text)
  if text:match("^enc:") then
    return require("services.identity.vault").open(app, text)
  end
  return text
end

-- Keys of a bot's signing secrets; one that cannot be read signs nothing.
local function signing_keys(app, push)
  local keys = {}
  for _, sealed in ipairs(push.signing_secrets or {}) do
    local secret = opened(app, sealed)
    for _, key in ipairs(secret and webhook.keys(secret) or {}) do
      keys[#keys + 1] = key
    end
  end
  return keys
end

local function nothing()
  return ""
end

local function headers_of(app, push, vars)
  local headers = {}
  for name, value in pairs(push.headers or {}) do
    local value_now = template.render(opened(app, value) or "", vars, nothing)
    headers[name:lower()] = template.escapes.header(value_now)
  end
  return headers
end

---The request a row is delivered by.
---@return cxb.http.options
function M.request(app, row, call, bot)
  local push = bot.post_call_push
  local vars = crm_body.variables(app, call, bot)
  local body = row.body or crm_body.render(push.key_mapper or {}, vars)
  local headers = headers_of(app, push, vars)
  headers["content-type"] = "application/json"
  headers["user-agent"] = "cxbrt/" .. cxb.version
  headers["x-request-id"], headers["webhook-id"] = row._id, row._id
  local keys = signing_keys(app, push)
  if keys[1] then
    for name, value in pairs(webhook.sign_as(keys, row._id, body)) do
      headers[name] = value
    end
  end
  return {
    url = template.render(push.url, vars, nothing, template.escapes.url),
    method = push.method or "POST", headers = headers, body = body,
    timeout_ms = push.timeout_ms or 10000, public_only = tenant_url.exceptions(app),
  }
end

local function excerpt(text)
  text = text:sub(1, EXCERPT_MAX):gsub("[%z\1-\8\11-\31\127]", "?")
  local bad = utf8.first_bad(text)
  return bad and text:sub(1, bad - 1) or text
end

-- (waits) What came of one request.
local function send(request)
  local from, seen = cxb.time.mono(), ""
  request.on_data = function(piece)
    seen = #seen < EXCERPT_MAX and seen .. piece:sub(1, EXCERPT_MAX) or seen
  end
  local answer, code, message = cxb.http.request(request)
  local outcome = { at = cxb.time.now(), ms = math.floor(cxb.time.mono() - from) }
  if answer then
    outcome.status = answer.status
    outcome.retry_after = answer.headers["retry-after"]
    outcome.excerpt = excerpt(seen ~= "" and seen or answer.body or "")
    outcome.delivered = answer.status >= 200 and answer.status < 300
  else
    outcome.code, outcome.error = code, ("%s: %s"):format(code, message or "")
  end
  return outcome
end

-- What a row that cannot be sent at all is told.
local function impossible(why)
  return { at = cxb.time.now(), ms = 0, code = "impossible", error = why, give_up = true }
end

---(waits) What a row is about: its call and its bot.
---@return table? call, table|string bot_or_why, boolean? store_away
function M.subject(app, row)
  local call, err = app.store:get("calls", row.session_id)
  if not call then
    return nil, "there is no such call any more", err.code ~= "not_found"
  elseif call.redacted_at then
    return nil, "the call was redacted"
  end
  local bot
  bot, err = app.store:get("bots", row.bot_id)
  if not bot then
    return nil, "there is no such bot any more", err.code ~= "not_found"
  elseif not crm.push_of(bot) then
    return nil, "the bot's push has been switched off"
  end
  return call, bot
end

local function log_of(row, outcome)
  local log = {}
  for i = math.max(1, #(row.log or {}) - LOG_MAX + 2), #(row.log or {}) do
    log[#log + 1] = row.log[i]
  end
  log[#log + 1] = { at = outcome.at, status = outcome.status, ms = outcome.ms,
    error = outcome.error, excerpt = outcome.excerpt }
  return log
end

-- What an outcome does to a row.
local function changes(row, outcome, request, chance)
  local now = cxb.time.now()
  local attempts = row.attempts + 1
  local set = { attempts = attempts, log = log_of(row, outcome) }
  if outcome.delivered then
    set.state, set.body, set.delivered_at = "delivered", request.body, now
    return { set = set, unset = { "lease", "next_at" } }
  end
  local next_at = not outcome.give_up
    and crm_schedule.next({ attempts = attempts, since = row.since }, outcome, now, chance)
  if next_at then
    set.state, set.next_at = "pending", next_at
    return { set = set, unset = { "lease" } }
  end
  set.state = "dead"
  return { set = set, unset = { "lease", "next_at" } }
end

---(waits) Tries a leased row once and writes down what came of it.
---@param row table
---@param chance? number 0 … 1
---@return table? outcome nil: nothing was tried
function M.attempt(app, row, chance)
  local call, bot, away = M.subject(app, row)
  local outcome, request
  if away then
    return nil -- the lease runs out and somebody tries again
  elseif not call then
    outcome = impossible(bot)
  else
    request = M.request(app, row, call, bot)
    outcome = send(request)
  end
  cxb.fault.pass("crm.answered")
  app.store:update("crm_deliveries", row._id, changes(row, outcome, request,
    chance or math.random()), { expect = { ["lease.token"] = row.lease.token } })
  cxb.metrics.count("cxb_crm_attempts_total",
    { outcome = outcome.delivered and "delivered" or outcome.code or "refused" })
  cxb.log.info("crm delivery", { delivery = row._id, session_id = row.session_id,
    status = outcome.status, error = outcome.code, ms = outcome.ms })
  return outcome
end

return M
