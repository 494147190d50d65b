-- The do-not-call list (api.md §5.10): numbers, or all numbers that begin as one, for everybody
-- ("global") or for one campaign. What has expired does not count.
local errors = require("services.web.errors")
local json = require("cxb.json")
local suppression = require("services.campaigns.suppression")

local M = {}

M.GLOBAL = "global"
M.sources = { "manual", "csv", "api", "caller_request", "regulator" }

local PREFIX_DIGITS_MIN = 2
local FILE_ROWS = 200

---An entry of the list as it is stored: "+919876543210", or "+9198*" for all that begin so.
---@param text string
---@param region string
---@return string? number nil: neither
function M.normal(text, region)
  local prefix = text:match("^%s*(%+%d+)%*%s*$")
  if prefix then
    return #prefix - 1 >= PREFIX_DIGITS_MIN and #prefix <= 16 and prefix .. "*" or nil
  end
  local number = cxb.phone.parse(text, region)
  return number and number.possible and number.e164 or nil
end

-- The number itself and every prefix that could cover it.
local function candidates(number)
  local list = { number }
  for n = PREFIX_DIGITS_MIN + 1, #number do
    list[#list + 1] = number:sub(1, n) .. "*"
  end
  return list
end

local function scopes(campaign_id)
  return { ["in"] = { M.GLOBAL, campaign_id } }
end

-- Of entries that have not expired, the one for everybody first.
local function still_valid(found)
  local now, best = cxb.time.now(), nil
  for _, entry in ipairs(found) do
    if not entry.expires_at or entry.expires_at > now then
      if not best or entry.scope == M.GLOBAL then
        best = entry
      end
    end
  end
  return best
end

---(waits) Whether a number must not be called.
---@param number string E.164
---@param campaign_id? string
---@return {listed: boolean, scope?: string, reason?: string, id?: string}?, table? err of the store
function M.listed(app, number, campaign_id)
  local found, err = app.store:find("dnc",
    { number = { ["in"] = candidates(number) }, scope = scopes(campaign_id) }, { limit = 50 })
  if not found then
    return nil, err
  end
  local entry = still_valid(found)
  if not entry then
    return { listed = false }
  end
  return { listed = true, scope = entry.scope, reason = entry.reason, id = entry._id }
end

---(waits) Which of some numbers must not be called, exact entries only.
---@param numbers string[] at most some hundred
---@return string[]? listed, table? err
function M.exact(app, numbers, campaign_id)
  local found, err = app.store:find("dnc",
    { number = { ["in"] = numbers }, scope = scopes(campaign_id) },
    { fields = { "number", "expires_at" }, limit = 2 * #numbers })
  if not found then
    return nil, err
  end
  local now, listed = cxb.time.now(), {}
  for _, entry in ipairs(found) do
    if not entry.expires_at or entry.expires_at > now then
      listed[#listed + 1] = entry.number
    end
  end
  return listed
end

---(waits) All prefixes that count, without their star.
---@return string[]? prefixes, table? err
function M.prefixes(app, campaign_id)
  local prefixes, now, after = {}, cxb.time.now(), nil
  repeat
    local found, next_or_err = app.store:find("dnc",
      { is_prefix = true, scope = scopes(campaign_id) }, { limit = 500, after = after })
    if not found then
      return nil, next_or_err
    end
    for _, entry in ipairs(found) do
      if not entry.expires_at or entry.expires_at > now then
        prefixes[#prefixes + 1] = entry.number:sub(1, -2)
      end
    end
    after = next_or_err
  until not after
  return prefixes
end

-- (waits) What has expired makes room, also where the sweep has not come by.
local function clear_expired(app, scope, numbers)
  return app.store:delete_many("dnc", { scope = scope, expires_at = { lte = cxb.time.now() },
    number = numbers and { ["in"] = numbers } })
end

-- (waits) An entry that is there already never gets weaker: it lasts as long as the longer of the
-- two, and what a regulator says is a regulator's.
local function strengthen(app, numbers, entry)
  local there = { scope = entry.scope, number = { ["in"] = numbers } }
  local function with(name, wanted)
    return { scope = there.scope, number = there.number, [name] = wanted }
  end
  local lasts = entry.expires_at
  local ok, err = app.store:update_many("dnc",
    with("expires_at", lasts and { lt = lasts } or { exists = true }),
    lasts and { set = { expires_at = lasts } } or { unset = { "expires_at" } })
  if ok and entry.source == "regulator" then
    ok, err = app.store:update_many("dnc", with("source", { ne = "regulator" }),
      { set = { source = "regulator" } })
  end
  return ok, err
end

---(waits) Puts numbers on the list; those that stand there already are made stronger at most. Who
---waits under one of them in a campaign is not called any more.
---@param numbers string[] as normal() gives them
---@param entry {scope: string, reason?: string, source: string, by?: string, expires_at?: number}
---@return integer? added, table? err
function M.add(app, numbers, entry)
  local docs = {}
  for i, number in ipairs(numbers) do
    docs[i] = {
      number = number, scope = entry.scope, reason = entry.reason, source = entry.source,
      by = entry.by, expires_at = entry.expires_at, is_prefix = number:sub(-1) == "*",
    }
  end
  local answer, err = clear_expired(app, entry.scope, numbers)
  if answer then
    answer, err = app.store:insert_many("dnc", docs)
  end
  local ok = answer
  if answer and answer.inserted < #docs then
    ok, err = strengthen(app, numbers, entry)
  end
  local campaigns
  if ok then
    campaigns, err = suppression.campaigns(app, entry.scope)
  end
  if campaigns then
    ok, err = suppression.apply(app, campaigns, numbers)
  end
  return campaigns and ok and answer.inserted or nil, err
end

-- The numbers of rows that a file's import wrote as JSON.
local function numbers_of(rows)
  local numbers = {}
  for i, row in ipairs(json.decode(rows)) do
    numbers[i] = row[2].number
  end
  return numbers
end

-- A file's numbers, so many at a time.
local function add_rows(app, import, entry)
  local base = json.encode({
    scope = entry.scope, reason = entry.reason, source = "csv", by = entry.by,
    expires_at = entry.expires_at, is_prefix = false,
  }):sub(1, -2)
  local cleared, failed = clear_expired(app, entry.scope)
  if not cleared then
    return nil, errors.of_store(failed)
  end
  local campaigns
  campaigns, failed = suppression.campaigns(app, entry.scope)
  if not campaigns then
    return nil, errors.of_store(failed)
  end
  local added, more = 0, true
  while more do
    local rows
    more, rows = import:write(FILE_ROWS, base)
    if more == nil then
      return nil, errors.new(500, "internal", "The file could not be read again.")
    end
    local n, err = 0, nil
    if rows then
      n, err = app.store:insert_rows("dnc", rows)
    end
    local numbers = rows and n and (n < FILE_ROWS or campaigns[1]) and numbers_of(rows)
    local ok = n
    if numbers and n < FILE_ROWS then
      ok, err = strengthen(app, numbers, { scope = entry.scope, source = "csv",
        expires_at = entry.expires_at })
    end
    if ok and numbers then
      ok, err = suppression.apply(app, campaigns, numbers)
    end
    n = ok and n
    if not n then
      return nil, errors.of_store(err)
    end
    added = added + n
  end
  return added
end

---(waits) Puts the numbers of a CSV file (column phone_number) on the list.
---@param path string
---@param entry table as add()
---@param region string
---@return table? report, api.error? err
function M.load(app, path, entry, region)
  local csv_import = require("services.campaigns.csv_import")
  local import, err = csv_import.scan(path, { region = region, numbers_only = true })
  if not import then
    return nil, err
  end
  local report = csv_import.report(import)
  report.added, err = add_rows(app, import, entry)
  import:close()
  if not report.added then
    return nil, err
  end
  report.existing = report.accepted - report.added
  report.dnc, report.unknown_timezone = nil, nil
  return report
end

return M
