-- Contacts of a campaign and its reports (api.md §5.10).
local campaign_contacts = require("services.campaigns.contacts")
local campaign_reports = require("services.campaigns.reports")
local campaign_schema = require("schemas.campaign")
local campaigns = require("services.campaigns")
local lists = require("services.web.lists")

local BASE = "/api/v1/campaigns/{id}/"
local EXPORT_MS = 600000

-- A handler that works on the campaign of the path.
local function of_campaign(fn)
  return function(ctx)
    local campaign, err = campaigns.get(ctx, ctx.params.id)
    if not campaign then
      return nil, err
    end
    return fn(ctx, campaign)
  end
end

local function count(description)
  return { type = "integer", description = description }
end

local function texts(max)
  return { type = "array", maxItems = 1000, items = { type = "string", maxLength = max } }
end

local new_contact = {
  type = "object", title = "NewContact", required = { "phone_number" },
  properties = {
    phone_number = { type = "string", maxLength = 64 },
    variables = { type = "object", additionalProperties = { type = "any" } },
    timezone = { type = "string", format = "zone" },
    external_id = { type = "string", minLength = 1, maxLength = 256 },
  },
}

local day = {
  day = { type = "string" }, answered_person = { type = "integer" },
  abandoned = { type = "integer" }, percent = { type = "number" }, cap = { type = "number" },
  over = { type = "boolean" },
}

return {
  {
    verb = "GET", path = BASE .. "calls", guard = "admin",
    summary = "Contacts of the run that is on.",
    query = lists.query({
      status = campaign_schema.contact_states,
      date = { type = "string", format = "date", description = "last dialled on this day" },
      phone = { type = "string", maxLength = 64, description = "a number, or how one begins" },
      callback = { type = "string",
        enum = { "all", "requested", "pending", "completed", "cancelled" } },
    }),
    output = lists.answer(campaign_schema.contact_row),
    handler = of_campaign(function(ctx, campaign)
      local filter, sort = campaign_contacts.filter(campaign, ctx.query)
      local page, err = lists.page(ctx, "campaign_calls", filter,
        { sort = sort, show = campaign_contacts.shown })
      return page and { body = page }, err
    end),
  },
  {
    verb = "GET", path = BASE .. "calls/{cc_id}", guard = "admin",
    summary = "A contact with its attempts.", output = campaign_schema.contact,
    handler = of_campaign(function(ctx, campaign)
      local contact, err = campaign_contacts.detail(ctx, campaign, ctx.params.cc_id)
      return contact and { body = contact }, err
    end),
  },
  {
    verb = "POST", path = BASE .. "contacts", guard = { "admin", "key" }, scope = "contacts:write",
    summary = "Adds contacts to a running campaign of several days.", idempotent = true,
    audit = "campaign.contacts_add", errors = { "invalid_state" },
    input = {
      type = "object", required = { "contacts" },
      properties = {
        contacts = { type = "array", minItems = 1, maxItems = 1000, items = new_contact },
      },
    },
    output = {
      type = "object",
      properties = { accepted = count(), dnc = count(), skipped_duplicate = count() },
    },
    example = { contacts = { { phone_number = "+919876543210", external_id = "c-1",
      variables = { name = "Asha" } } } },
    handler = of_campaign(function(ctx, campaign)
      local counts, err = campaign_contacts.add(ctx, campaign, ctx.body.contacts)
      ctx.audit = { target = { type = "campaign", id = campaign._id, name = campaign.name } }
      return counts and { body = counts }, err
    end),
  },
  {
    verb = "POST", path = BASE .. "contacts/exclude", guard = { "admin", "key" },
    scope = "contacts:write", summary = "Takes waiting contacts out.", idempotent = true,
    audit = "campaign.contacts_exclude",
    input = { type = "object",
      properties = { phone_numbers = texts(64), external_ids = texts(256) } },
    output = {
      type = "object",
      properties = { excluded = count(), active = count("in a call now"),
        finished = count("done before"), not_found = count() },
    },
    example = { external_ids = { "c-1" } },
    handler = of_campaign(function(ctx, campaign)
      local counts, err = campaign_contacts.exclude(ctx, campaign, ctx.body)
      ctx.audit = { target = { type = "campaign", id = campaign._id, name = campaign.name } }
      return counts and { body = counts }, err
    end),
  },
  {
    verb = "GET", path = BASE .. "attempt-report.csv", guard = "admin", media = "text/csv",
    summary = "One row an attempt.", limit = "export", deadline_ms = EXPORT_MS,
    audit = "campaign.export", handler = of_campaign(campaign_reports.attempts),
  },
  {
    verb = "GET", path = BASE .. "upload-report.csv", guard = "admin", media = "text/csv",
    summary = "Refused rows of the list, with the reason.", limit = "export",
    deadline_ms = EXPORT_MS, audit = "campaign.export",
    handler = of_campaign(campaign_reports.rejects),
  },
  {
    verb = "GET", path = BASE .. "abandon-report", guard = "admin",
    summary = "Abandons of calls answered by a person, by day and together.",
    query = { type = "object", properties = {
      days = { type = "integer", minimum = 1, maximum = 400, default = 30 },
      format = { type = "string", enum = { "json", "csv" }, default = "json" },
    } },
    output = {
      type = "object",
      properties = {
        campaign_id = { type = "string" }, timezone = { type = "string" },
        days = { type = "array", items = { type = "object", properties = day } },
        window = { type = "object", additionalProperties = true },
      },
    },
    handler = of_campaign(function(ctx, campaign)
      local report, err = campaign_reports.abandons(ctx.app, campaign, ctx.query.days)
      if report and ctx.query.format == "csv" then
        return { body = campaign_reports.abandons_csv(report),
          headers = { ["content-type"] = "text/csv; charset=utf-8" } }
      end
      return report and { body = report }, err
    end),
  },
}
