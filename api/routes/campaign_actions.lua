-- A campaign's runs: start, pause, resume, stop, restart and its way back, and its list of
-- contacts (api.md §5.10).
local campaign_actions = require("services.campaigns.actions")
local campaign_schema = require("schemas.campaign")
local campaign_steps = require("services.campaigns.steps")
local campaign_upload = require("services.campaigns.upload")
local campaigns = require("services.campaigns")
local documents = require("services.web.documents")
local view = require("services.campaigns.view")

local BASE = "/api/v1/campaigns/{id}/"

local function answer(ctx, campaign, err)
  if not campaign then
    return nil, err
  end
  ctx.audit = { target = { type = "campaign", id = campaign._id, name = campaign.name } }
  local shown
  shown, err = view.detail(ctx.app, campaign)
  return shown and { body = shown, headers = { etag = documents.etag(campaign) } }, err
end

-- One declaration of an action without a body.
local function action(name, summary, more)
  local route = {
    verb = "POST", path = BASE .. name, guard = "admin", summary = summary,
    audit = "campaign." .. name:gsub("%-", "_"), output = campaign_schema.output,
    errors = { "invalid_state", "in_progress" },
  }
  for key, value in pairs(more) do
    route[key] = value
  end
  return route
end

local start_errors = { "invalid_state", "in_progress", "not_startable" }

local report = {
  type = "object", title = "UploadReport",
  properties = {
    rows_total = { type = "integer" }, accepted = { type = "integer" },
    skipped_invalid = { type = "integer" }, skipped_duplicate = { type = "integer" },
    dnc = { type = "integer" }, over_limit = { type = "integer" },
    unknown_timezone = { type = "integer" },
    columns = { type = "array", items = { type = "string" } },
    errors = { type = "array", items = { type = "object", properties = {
      line = { type = "integer" }, rule = { type = "string" }, value = { type = "string" } } } },
  },
}

return {
  action("start", "Starts a draft or paused campaign, or tells every reason against it.", {
    idempotent = true, errors = start_errors,
    handler = function(ctx)
      return answer(ctx, campaign_actions.start(ctx, "start"))
    end,
  }),
  action("resume", "Goes on with a paused campaign, or tells every reason against it.", {
    errors = start_errors,
    handler = function(ctx)
      return answer(ctx, campaign_actions.start(ctx, "resume"))
    end,
  }),
  action("pause", "Dials nothing new; calls in progress go on.", {
    handler = function(ctx)
      return answer(ctx, campaign_actions.pause(ctx))
    end,
  }),
  action("stop", "Ends a campaign: nobody waits any more, live calls drain.", {
    handler = function(ctx)
      return answer(ctx, campaign_actions.stop(ctx))
    end,
  }),
  action("restart", "Makes the next run's contacts and goes back to draft.", {
    input = {
      type = "object",
      properties = { scope = { type = "string", enum = campaign_steps.scopes, default = "all" } },
    },
    optional = true, example = { scope = "not_connected" },
    handler = function(ctx)
      return answer(ctx, campaign_actions.restart(ctx, ctx.body.scope))
    end,
  }),
  action("cancel-restart", "Takes a restart back that has not been started.", {
    handler = function(ctx)
      return answer(ctx, campaign_actions.cancel_restart(ctx))
    end,
  }),
  {
    verb = "POST", path = BASE .. "upload", guard = "admin", audit = "campaign.upload",
    summary = "Takes a CSV file as the list of contacts; the whole file is judged first.",
    upload = { max = campaign_upload.MAX_BYTES, field = "file" }, limit = "upload",
    query = { type = "object", properties = {
      dry_run = { type = "boolean", default = false, description = "judge and count only" },
    } },
    output = report,
    errors = { "identity_locked", "csv_encoding", "csv_quote", "csv_header",
      "csv_missing_column", "csv_reserved_column", "no_valid_rows", "in_progress" },
    handler = function(ctx)
      local campaign, err = campaigns.get(ctx, ctx.params.id)
      if not campaign then
        return nil, err
      end
      ctx.audit = { target = { type = "campaign", id = campaign._id, name = campaign.name } }
      local taken
      taken, err = campaign_upload.take(ctx, campaign, ctx.query.dry_run)
      return taken and { body = taken }, err
    end,
  },
}
