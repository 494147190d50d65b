-- Contacts of a campaign: listed, looked at, added while it runs, excluded (api.md §5.10).
local campaign_steps = require("services.campaigns.steps")
local dnc = require("services.dnc")
local errors = require("services.web.errors")
local json = require("cxb.json")
local states = require("cxb.campaign.states")
local times = require("cxb.times")
local tz = require("cxb.tz")
local windows = require("cxb.campaign.windows")

local M = {}

local ATTEMPTS_MAX = 200

-- ---- lists ----

local callbacks = {
  requested = { ["callback.requested"] = true },
  pending = { ["callback.status"] = "scheduled" },
  completed = { ["callback.status"] = "completed" },
  cancelled = { ["callback.status"] = "cancelled" },
}

-- A day of the campaign's zone.
local function day_filter(campaign, text)
  local zone = campaign.config.time_window.timezone
  local day = math.floor(times.parse(text .. "T00:00:00Z") / 86400000)
  return { gte = tz.utc(zone, day, 0), lt = tz.utc(zone, day + 1, 0) }
end

local function phone_filter(campaign, text)
  local number = cxb.phone.parse(text, campaign.config.default_region or "IN")
  if number and number.possible then
    return number.e164
  end
  local digits = text:gsub("%D", "")
  return { prefix = "+" .. digits }
end

---The filter and order of a campaign's contacts, those of the run that is on. The order is that of
---the index which finds the fewest: a list of half a million is not read through.
---@param query {status?: string, date?: string, phone?: string, callback?: string}
---@return table filter, string[] sort
function M.filter(campaign, query)
  local filter = {
    campaign_id = campaign._id, run_number = campaign.run_number, status = query.status,
  }
  local sort = query.status and "next_retry_at" or "phone_number"
  local callback = callbacks[query.callback]
  for name, value in pairs(callback or {}) do
    filter[name] = value
  end
  if callback then
    filter["callback.requested_at"], sort = { gte = 0 }, "callback.requested_at"
  end
  if query.date then
    filter["dial.at"], sort = day_filter(campaign, query.date), "dial.at"
  end
  if query.phone then
    filter.phone_number, sort = phone_filter(campaign, query.phone), "phone_number"
  end
  if sort == "phone_number" then -- its index goes by the upload
    filter.upload_id = campaign.upload and campaign.upload.id
  end
  return filter, { sort }
end

---A document as the wire has it: `id` for `_id`.
function M.shown(doc)
  local twin = {}
  for name, value in pairs(doc) do
    twin[name] = value
  end
  twin.id, twin._id = doc._id, nil
  return twin
end

---(waits) A contact with its attempts.
---@return table? contact, api.error? err
function M.detail(ctx, campaign, id)
  local contact, err = ctx.app.store:get("campaign_calls", id)
  if not contact and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  elseif not contact or contact.campaign_id ~= campaign._id then
    return nil, errors.not_found("contact")
  end
  local attempts
  attempts, err = ctx.app.store:find("campaign_attempts", { campaign_call_id = id },
    { sort = { "run_number", "attempt" }, limit = ATTEMPTS_MAX })
  if not attempts then
    return nil, errors.of_store(err)
  end
  local shown = M.shown(contact)
  shown.attempts = json.array()
  for i, attempt in ipairs(attempts) do
    shown.attempts[i] = M.shown(attempt)
  end
  return shown
end

-- ---- add ----

local function judge(campaign, row, path, wrong)
  local number = cxb.phone.parse(row.phone_number, campaign.config.default_region or "IN")
  if not number or not number.valid then
    wrong[#wrong + 1] = { path = path .. ".phone_number", rule = "number",
      message = "is not a number of its country's plan" }
  end
  for name, value in pairs(row.variables or {}) do
    local at = path .. ".variables." .. name
    if name:sub(1, 1) == "_" then
      wrong[#wrong + 1] = { path = at, rule = "reserved", message = "names beginning _ are ours" }
    elseif #name > 64 or not name:match("^%a[%w_ .-]*$") then
      wrong[#wrong + 1] = { path = at, rule = "format",
        message = "must begin with a letter, then letters, digits, blanks, _ . or -" }
    elseif type(value) == "table" or #tostring(value) > 4096 then
      wrong[#wrong + 1] = { path = at, rule = "length",
        message = "must be text, a number or a boolean of at most 4,096 characters" }
    end
  end
  return number and number.e164
end

local function row_of(campaign, upload_id, given, number, listed)
  local variables = { phone_number = number }
  for name, value in pairs(given.variables or {}) do
    variables[name] = value
  end
  return {
    campaign_id = campaign._id, upload_id = upload_id, run_number = campaign.run_number,
    phone_number = number, variables = variables, timezone = given.timezone,
    external_id = given.external_id, attempts_made = 0, attempt_seq = 0,
    zone_key = given.timezone or cxb.phone.zones(number)
      or campaign.config.time_window.timezone or windows.DEFAULT_ZONE,
    status = listed and "dnc" or "pending", last_outcome = listed and "dnc" or nil,
  }
end

-- The rows of a request, or all that is wrong with them.
local function rows_of(app, campaign, contacts)
  local numbers, wrong = {}, {}
  for i, given in ipairs(contacts) do
    numbers[i] = judge(campaign, given, ("contacts[%d]"):format(i - 1), wrong) or ""
  end
  if wrong[1] then
    return nil, errors.invalid(wrong)
  end
  local rows, upload_id = {}, campaign_steps.upload_of(campaign)
  for i, given in ipairs(contacts) do
    local answer, err = dnc.listed(app, numbers[i], campaign._id)
    if not answer then
      return nil, errors.of_store(err)
    end
    rows[i] = row_of(campaign, upload_id, given, numbers[i], answer.listed)
  end
  return rows
end

local function counts_of(rows, duplicates)
  local counts = { accepted = 0, dnc = 0, skipped_duplicate = #duplicates }
  local left_out = {}
  for _, i in ipairs(duplicates) do
    left_out[i] = true
  end
  for i, row in ipairs(rows) do
    if not left_out[i] then
      local name = row.status == "dnc" and "dnc" or "accepted"
      counts[name] = counts[name] + 1
    end
  end
  return counts
end

---(waits) Adds contacts to a running campaign of several days; numbers that are there stay.
---@param contacts table[] checked
---@return {accepted: integer, dnc: integer, skipped_duplicate: integer}?, api.error? err
function M.add(ctx, campaign, contacts)
  if campaign.status ~= "running" or campaign.config.campaign_mode ~= "multi_day" then
    return nil, errors.new(409, "invalid_state",
      "Contacts are added to a running multi_day campaign only.",
      { more = { status = campaign.status } })
  end
  local rows, err = rows_of(ctx.app, campaign, contacts)
  if not rows then
    return nil, err
  end
  local answer
  answer, err = ctx.app.store:insert_many("campaign_calls", rows)
  if not answer then
    return nil, errors.of_store(err)
  end
  return counts_of(rows, answer.duplicates)
end

-- ---- exclude ----

local function exclude_one(app, contact)
  local kind = states.kind[contact.status]
  if kind ~= "waiting" then
    return kind == "terminal" and "finished" or "active"
  end
  states.check(contact.status, "manual_stopped", "A")
  local set = { status = "manual_stopped", completed_at = cxb.time.now() }
  if contact.callback then
    set["callback.status"], set["callback.active"] = "cancelled", false
  end
  local ok, err = app.store:update("campaign_calls", contact._id, { set = set },
    { expect = { status = contact.status } })
  if ok then
    return "excluded"
  end
  return err.code == "conflict" and "active" or nil, err
end

---(waits) Takes waiting contacts out, by number or external id.
---@param body {phone_numbers?: string[], external_ids?: string[]}
---@return {excluded: integer, active: integer, finished: integer, not_found: integer}?
---@return api.error? err
function M.exclude(ctx, campaign, body)
  local counts = { excluded = 0, active = 0, finished = 0, not_found = 0 }
  local region = campaign.config.default_region or "IN"
  local function take(field, value)
    local found, err = ctx.app.store:find("campaign_calls", { campaign_id = campaign._id,
      run_number = campaign.run_number, [field] = value,
      upload_id = campaign.upload and campaign.upload.id }, { limit = 50 })
    if not found then
      return nil, err
    elseif not found[1] then
      counts.not_found = counts.not_found + 1
    end
    for _, contact in ipairs(found) do
      local what, why = exclude_one(ctx.app, contact)
      if not what then
        return nil, why
      end
      counts[what] = counts[what] + 1
    end
    return true
  end
  local ok, err = true, nil
  for _, text in ipairs(body.phone_numbers or {}) do
    if ok then
      local number = cxb.phone.parse(text, region)
      ok, err = take("phone_number", number and number.e164 or text)
    end
  end
  for _, id in ipairs(body.external_ids or {}) do
    if ok then
      ok, err = take("external_id", id)
    end
  end
  return ok and counts, err and errors.of_store(err)
end

return M
