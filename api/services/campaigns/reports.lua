-- Reports of a campaign (api.md §5.10, dialler.md §12): attempts and refused rows as streamed CSV,
-- abandons by day.
local csv = require("cxb.csv")
local download = require("services.web.download")
local errors = require("services.web.errors")
local json = require("cxb.json")
local times = require("cxb.times")
local tz = require("cxb.tz")
local windows = require("cxb.campaign.windows")

local M = {}

local PAGE = 200

-- One line of n cells, some of them absent.
local function line(values, n)
  for i = 1, n do
    if values[i] == nil then
      values[i] = ""
    end
  end
  return csv.row(values)
end

-- A time in the campaign's zone, RFC 3339.
local function local_time(zone, ms)
  if not ms then
    return nil
  end
  local offset = tz.offset(zone, ms)
  local sign, minutes = offset < 0 and "-" or "+", math.floor(math.abs(offset) / 60)
  return times.format(ms + offset * 1000):sub(1, -2)
    .. ("%s%02d:%02d"):format(sign, math.floor(minutes / 60), minutes % 60)
end

local function seconds(from, to)
  return from and to and math.floor((to - from) / 1000 + 0.5) or nil
end

-- Pages of a collection, each to `take`, which answers the text to send; the first page is read
-- before the answer begins, so that a store that is away is an ordinary refusal.
local function stream(ctx, name, header, collection, filter, sort, take)
  local after, begun = nil, false
  repeat
    local docs, next_or_err = ctx.app.store:find(collection, filter,
      { sort = sort, limit = PAGE, after = after })
    if not docs and not begun then
      return nil, errors.of_store(next_or_err)
    elseif not docs then
      return "answered" -- cut short: the connection ends without its last piece
    end
    if not begun then
      download.csv(ctx, name .. ".csv")
      ctx.req:write(header)
      begun = true
    end
    local text = take(docs)
    if not text or (text ~= "" and not ctx.req:write(text)) then
      return "answered"
    end
    after = next_or_err
  until not after
  ctx.req:finish()
  return "answered"
end

local attempt_columns = {
  "campaign_id", "run_number", "contact_id", "phone_number", "external_id", "attempt", "kind",
  "callback_sequence", "counted", "from_number", "carrier", "instance", "dialled_at",
  "ringing_at", "answered_at", "ended_at", "ring_seconds", "talk_seconds", "sip_code",
  "amd_verdict", "amd_cause", "outcome", "disconnected_by", "disposition", "sub_disposition",
  "abandon_reason", "host_id", "session_id",
}

local reserved = { phone_number = true, timezone = true, external_id = true }

-- Documents of a collection by their id.
local function by_id(app, collection, docs, field)
  local ids, out = {}, {}
  for _, doc in ipairs(docs) do
    ids[#ids + 1] = doc[field]
  end
  local found = app.store:find(collection, { _id = { ["in"] = ids } }, { limit = #ids + 1 })
  if not found then
    return nil
  end
  for _, doc in ipairs(found) do
    out[doc._id] = doc
  end
  return out
end

local function attempt_values(attempt, contact, carrier, zone)
  local function at(ms)
    return local_time(zone, ms)
  end
  local amd = attempt.amd or {}
  local counted = attempt.counted
  return {
    attempt.campaign_id, attempt.run_number, attempt.campaign_call_id, contact.phone_number,
    contact.external_id, attempt.attempt, attempt.kind, attempt.callback_sequence,
    counted == nil and true or counted, attempt.from_number, carrier.name or attempt.carrier_id,
    attempt.instance, at(attempt.dialled_at), at(attempt.ringing_at), at(attempt.answered_at),
    at(attempt.ended_at),
    seconds(attempt.ringing_at or attempt.dialled_at, attempt.answered_at or attempt.ended_at),
    attempt.talk_seconds, attempt.sip_code, amd.verdict, amd.cause, attempt.outcome,
    attempt.disconnected_by, attempt.disposition, attempt.sub_disposition, attempt.reason,
    attempt.host_id, attempt.session_id,
  }
end

---(waits) Answers with one row an attempt, open ones among them.
function M.attempts(ctx, campaign)
  local zone = campaign.config.time_window.timezone or windows.DEFAULT_ZONE
  local names, variables = { unpack(attempt_columns) }, {}
  for _, column in ipairs((campaign.upload or {}).columns or {}) do
    if not reserved[column] then
      variables[#variables + 1] = column
      names[#names + 1] = column
    end
  end
  local first = #attempt_columns
  return stream(ctx, "attempts-" .. campaign._id, line(names, #names), "campaign_attempts",
    { campaign_id = campaign._id }, { "dialled_at" }, function(attempts)
      local contacts = by_id(ctx.app, "campaign_calls", attempts, "campaign_call_id")
      local carriers = by_id(ctx.app, "carriers", attempts, "carrier_id")
      if not contacts or not carriers then
        return nil
      end
      local lines = {}
      for i, attempt in ipairs(attempts) do
        local contact = contacts[attempt.campaign_call_id] or {}
        local values = attempt_values(attempt, contact, carriers[attempt.carrier_id] or {}, zone)
        for k, name in ipairs(variables) do
          values[first + k] = (contact.variables or {})[name]
        end
        lines[i] = line(values, #names)
      end
      return table.concat(lines)
    end)
end

---(waits) Answers with the refused rows of the list the campaign has.
function M.rejects(ctx, campaign)
  local upload_id = campaign.upload and campaign.upload.id or ""
  return stream(ctx, "upload-" .. campaign._id, "line,rule,value\r\n", "campaign_upload_rejects",
    { campaign_id = campaign._id, upload_id = upload_id }, { "line" }, function(rejects)
      local lines = {}
      for i, reject in ipairs(rejects) do
        lines[i] = line({ reject.line, reject.rule, reject.value }, 3)
      end
      return table.concat(lines)
    end)
end

-- Attempts of some time that a person answered, and those of them that nobody took.
local function counts(app, campaign, from, to)
  local filter = {
    campaign_id = campaign._id, dialled_at = { gte = from, lt = to },
    answered_at = { exists = true },
    any_of = { { ["amd.verdict"] = { exists = false } },
      { ["amd.verdict"] = { ["in"] = { "human", "unknown" } } } },
  }
  local answered, err = app.store:count("campaign_attempts", filter)
  if not answered then
    return nil, err
  end
  filter.outcome = "abandoned"
  local abandoned
  abandoned, err = app.store:count("campaign_attempts", filter)
  return abandoned and answered, abandoned or err
end

local function row(answered, abandoned, cap)
  local percent = answered > 0 and math.floor(abandoned / answered * 10000 + 0.5) / 100 or 0
  return { answered_person = answered, abandoned = abandoned, percent = percent, cap = cap,
    over = answered > 0 and abandoned / answered * 100 > cap }
end

---(waits) Abandons of the last days, by day of the campaign's zone and together.
---@param days integer
---@return {days: table[], window: table}?, api.error? err
function M.abandons(app, campaign, days)
  local zone = campaign.config.time_window.timezone or windows.DEFAULT_ZONE
  local cap = campaign.config.abandon_cap_percent or 3
  local now = cxb.time.now()
  local today = math.floor((now / 1000 + tz.offset(zone, now)) / 86400)
  local out, answered_all, abandoned_all = json.array(), 0, 0
  for day = today - days + 1, today do
    local from, to = tz.utc(zone, day, 0), tz.utc(zone, day + 1, 0)
    local answered, abandoned = counts(app, campaign, from, to)
    if not answered then
      return nil, errors.of_store(abandoned)
    end
    local item = row(answered, abandoned, cap)
    item.day = ("%04d-%02d-%02d"):format(times.date(day))
    out[#out + 1] = item
    answered_all, abandoned_all = answered_all + answered, abandoned_all + abandoned
  end
  local window = row(answered_all, abandoned_all, cap)
  window.days = days
  return { campaign_id = campaign._id, timezone = zone, days = out, window = window }
end

---The same as CSV, the window last.
function M.abandons_csv(report)
  local lines = { "day,answered_person,abandoned,percent,cap,over\r\n" }
  local function add(name, item)
    lines[#lines + 1] = line({ name, item.answered_person, item.abandoned, item.percent,
      item.cap, item.over }, 6)
  end
  for _, item in ipairs(report.days) do
    add(item.day, item)
  end
  add(("%dd"):format(report.window.days), report.window)
  return table.concat(lines)
end

return M
