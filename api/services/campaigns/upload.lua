-- A campaign's list of contacts from a CSV file (api.md §5.10): the whole file is judged first,
-- rows load under a new upload id, then one update points the campaign to them and the old rows
-- go. Whatever dies in between, the campaign has the old list or the new one.
local campaign_steps = require("services.campaigns.steps")
local campaigns = require("services.campaigns")
local csv_import = require("services.campaigns.csv_import")
local dnc = require("services.dnc")
local errors = require("services.web.errors")
local json = require("cxb.json")
local windows = require("cxb.campaign.windows")

local M = {}

M.MAX_BYTES = 50 * 1000 * 1000

local ROWS, ASKED = 250, 400 -- in one write, in one question to the DNC list
local GARBAGE_STEP = 20

local function may_upload(campaign)
  if campaigns.locked(campaign) then
    return campaigns.identity_locked("The list of contacts")
  elseif campaign.status ~= "draft" then
    return campaigns.wrong_state(campaign, "given a list")
  elseif campaign.job then
    return campaigns.busy(campaign)
  end
end

-- Marks the numbers that must not be called.
local function suppress(app, import, campaign_id)
  local any, err = app.store:count("dnc", { scope = { ["in"] = { dnc.GLOBAL, campaign_id } } },
    { max = 1 })
  if not any or any == 0 then
    return any and true, err
  end
  local numbers, row = import:numbers(0, ASKED)
  while numbers[1] do
    local listed
    listed, err = dnc.exact(app, numbers, campaign_id)
    if not listed then
      return nil, err
    end
    import:suppress(listed)
    numbers, row = import:numbers(row, ASKED)
  end
  local prefixes
  prefixes, err = dnc.prefixes(app, campaign_id)
  if not prefixes then
    return nil, err
  end
  return prefixes[1] == nil or import:suppress_prefixes(prefixes)
end

local function base(fields)
  return json.encode(fields):sub(1, -2)
end

local function put(app, collection, rows)
  if not rows then
    return true
  end
  local n, err = app.store:insert_rows(collection, rows)
  return n and true, err
end

-- The next rows, made while those before them are written.
local function ahead(import, contact, reject)
  local function make()
    return import:write(ROWS, contact, reject)
  end
  local task = cxb.task.spawn("rows", make)
  return function()
    local more, contacts, rejects = task:wait()
    task = more and cxb.task.spawn("rows", make) or nil
    return more, contacts, rejects
  end
end

-- Loads all rows under the upload's id.
local function load(app, import, campaign, upload_id)
  local rows = ahead(import,
    base({ campaign_id = campaign._id, upload_id = upload_id, run_number = 1 }),
    base({ campaign_id = campaign._id, upload_id = upload_id }))
  local beat = campaign_steps.keeper(app, campaign._id, campaign.job.token)
  local more = true
  while more do
    local contacts, rejects
    more, contacts, rejects = rows()
    if more == nil then
      return nil, { code = "unavailable", message = contacts }
    end
    local ok, err = put(app, "campaign_calls", contacts)
    if ok then
      ok, err = put(app, "campaign_upload_rejects", rejects)
    end
    if not ok then
      return nil, err
    elseif not beat() then
      return nil, { code = "conflict" }
    end
    collectgarbage("step", GARBAGE_STEP) -- each batch is a text that nobody needs any more
    cxb.fault.pass("campaign_upload.rows")
  end
  return true
end

local function kept_report(report, ctx, upload_id)
  return {
    id = upload_id, at = cxb.time.now(), file_name = ctx.upload.name,
    rows_total = report.rows_total, accepted = report.accepted, dnc = report.dnc,
    skipped_invalid = report.skipped_invalid, skipped_duplicate = report.skipped_duplicate,
    over_limit = report.over_limit, unknown_timezone = report.unknown_timezone,
    columns = report.columns,
  }
end

-- From here on the campaign has the new list.
local function point(ctx, campaign, upload)
  local after, err = ctx.app.store:update("campaigns", campaign._id, {
    set = {
      upload = upload, job = campaign_steps.job("purge", { token = campaign.job.token }),
      activity_log = campaigns.logged(campaign, ctx, "upload",
        ("%d contacts"):format(upload.accepted)),
      stats = { total = upload.accepted + upload.dnc, waiting = upload.accepted, active = 0,
        finished = upload.dnc, by_status = { pending = upload.accepted, dnc = upload.dnc },
        at = cxb.time.now() },
    },
  }, { expect = { status = "draft", ["job.token"] = campaign.job.token } })
  if after then
    campaigns.announce(ctx.app, after)
  end
  return after, err
end

local function replace(ctx, campaign, import, report)
  local app, upload_id = ctx.app, campaign.job.upload_id
  local ok, err = load(app, import, campaign, upload_id)
  if ok then
    cxb.fault.pass("campaign_upload.loaded")
    ok, err = point(ctx, campaign, kept_report(report, ctx, upload_id))
  end
  if not ok then
    campaign_steps.start(app, campaign) -- what was loaded goes
    return nil, errors.of_store(err.code == "not_found" and { code = "conflict" } or err)
  end
  cxb.fault.pass("campaign_upload.pointed")
  campaign_steps.start(app, ok)
  return true
end

-- The campaign may have changed while its file was judged.
local function begin(ctx, id)
  local campaign, err = campaigns.get(ctx, id)
  if not campaign then
    return nil, err
  end
  local refused = may_upload(campaign)
  if refused then
    return nil, refused
  end
  return campaigns.write(ctx, campaign, { set = { job = campaign_steps.job("upload",
    { upload_id = ctx.app.store:id("upl") }) } })
end

---(waits) Takes the uploaded file as the campaign's list.
---@param dry_run boolean judged and counted only
---@return table? report, api.error? err
function M.take(ctx, campaign, dry_run)
  local refused = may_upload(campaign)
  if refused then
    return nil, refused
  end
  local config = campaign.config
  local import, err = csv_import.scan(ctx.upload.path, {
    region = config.default_region or "IN",
    zone = (config.time_window or {}).timezone or windows.DEFAULT_ZONE,
  })
  if not import then
    return nil, err
  end
  local ok
  ok, err = suppress(ctx.app, import, campaign._id)
  local report = csv_import.report(import)
  if not ok then
    err = errors.of_store(err)
  elseif not dry_run then
    campaign, err = campaigns.persistently(begin, ctx, campaign._id)
    ok = campaign and true
    if campaign then
      ok, err = replace(ctx, campaign, import, report)
    end
  end
  import:close()
  return ok and report, err
end

return M
