-- Campaigns: made, listed, changed, copied, removed (api.md §5.10).
local audit = require("services.identity.audit")
local campaign_actions = require("services.campaigns.actions")
local campaign_schema = require("schemas.campaign")
local campaigns = require("services.campaigns")
local documents = require("services.web.documents")
local lists = require("services.web.lists")
local schema = require("cxb.schema")
local view = require("services.campaigns.view")

local BASE = "/api/v1/campaigns"

local function answer(ctx, campaign, status)
  local shown, err = view.detail(ctx.app, campaign)
  if not shown then
    return nil, err
  end
  return { status = status, body = shown, headers = { etag = documents.etag(campaign) } }
end

local function target(campaign)
  return { type = "campaign", id = campaign._id, name = campaign.name }
end

-- What of a campaign its operators write.
local function content(campaign)
  return {
    name = campaign.name, description = campaign.description, bot_id = campaign.bot_id,
    number_pool = campaign.number_pool, config = campaign.config,
  }
end

local function current(campaign)
  return schema.shape(campaign_schema.row, view.row(campaign))
end

local function list(ctx)
  local filter, err = campaigns.filter(ctx, ctx.query)
  if not filter then
    return nil, err
  end
  local page
  page, err = lists.page(ctx, "campaigns", filter, { sort = { "-created_at" }, show = view.row })
  return page and { body = page }, err
end

return {
  {
    verb = "GET", path = BASE, guard = "admin", summary = "Campaigns, newest first.",
    query = lists.query({
      status = { type = "string", enum = { "draft", "running", "paused", "completed", "failed" } },
      q = { type = "string", maxLength = 120, description = "part of the name" },
    }),
    output = lists.answer(campaign_schema.row), handler = list,
  },
  {
    verb = "POST", path = BASE, guard = "admin", status = 201, audit = "campaign.create",
    summary = "Makes a draft.", input = campaign_schema.input, output = campaign_schema.output,
    example = { name = "March reminders", bot_id = "demo",
      config = { campaign_mode = "multi_day", concurrency_limit = 10,
        time_window = { start = "10:00", ["end"] = "19:00", timezone = "Asia/Kolkata" } } },
    handler = function(ctx)
      local campaign, err = campaigns.create(ctx, ctx.body)
      if not campaign then
        return nil, err
      end
      ctx.audit = { target = target(campaign), changes = audit.changes(nil, content(campaign)) }
      return answer(ctx, campaign)
    end,
  },
  {
    verb = "GET", path = BASE .. "/{id}", guard = "admin",
    summary = "A campaign with its counts, its problems and what the Dialler writes each tick.",
    output = campaign_schema.output,
    handler = function(ctx)
      local campaign, err = campaigns.get(ctx, ctx.params.id)
      if not campaign then
        return nil, err
      end
      return answer(ctx, campaign)
    end,
  },
  {
    verb = "PATCH", path = BASE .. "/{id}", guard = "admin", audit = "campaign.update",
    summary = "Changes the fields given of a draft or paused campaign.",
    input = campaign_schema.patch, output = campaign_schema.output,
    errors = { "not_editable", "identity_locked", "version_conflict" },
    example = { config = { redial_rules = { max_attempts = 2 } } },
    handler = function(ctx)
      local after, before = campaigns.patch(ctx, ctx.params.id, ctx.body, current)
      if not after then
        return nil, before
      end
      ctx.audit = { target = target(after),
        changes = audit.changes(content(before), content(after)) }
      return answer(ctx, after)
    end,
  },
  {
    verb = "DELETE", path = BASE .. "/{id}", guard = "admin", status = 204,
    summary = "Removes a draft that never ran, with its contacts.", audit = "campaign.delete",
    errors = { "invalid_state", "in_progress" },
    handler = function(ctx)
      local campaign, err = campaign_actions.remove(ctx)
      if not campaign then
        return nil, err
      end
      ctx.audit = { target = target(campaign), changes = audit.changes(content(campaign), nil) }
      return { status = 204 }
    end,
  },
  {
    verb = "POST", path = BASE .. "/{id}/clone", guard = "admin", status = 201,
    audit = "campaign.clone", summary = "A draft with the set-up of this one, without contacts.",
    input = { type = "object", properties = { name = campaign_schema.input.properties.name } },
    optional = true, output = campaign_schema.output, example = { name = "April reminders" },
    handler = function(ctx)
      local campaign, err = campaigns.clone(ctx, ctx.params.id, ctx.body.name)
      if not campaign then
        return nil, err
      end
      ctx.audit = { target = target(campaign) }
      return answer(ctx, campaign)
    end,
  },
}
