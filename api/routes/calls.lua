-- Calls: lists, single ones, files of them, redaction (api.md §5.8).
local call_export = require("services.calls.export")
local call_filter = require("services.calls.filter")
local call_view = require("services.calls.view")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local json = require("cxb.json")
local lists = require("services.web.lists")
local redaction = require("services.calls.redaction")
local shapes = require("schemas.call")

local READERS = { "admin", "key" }

local sort = { type = "string", enum = { "-started_at", "started_at" }, default = "-started_at" }

local function with_sort(properties)
  local all = { sort = sort }
  for name, property in pairs(properties) do
    all[name] = property
  end
  return all
end

-- What the audit tells of hosts that could not be asked to erase their copy of a recording.
local function not_asked(addresses)
  return addresses[1] and { { path = "recording.hosts_not_asked", from = json.null,
    to = json.array(addresses) } } or nil
end

local export_query = { type = "object", properties = with_sort(call_filter.properties) }

return {
  {
    verb = "GET", path = "/api/v1/calls", guard = READERS, scope = "calls:read",
    summary = "Calls, newest first, of the last seven days unless a time is given.",
    query = lists.query(with_sort(call_filter.properties)), output = lists.answer(shapes.row),
    handler = function(ctx)
      local filter, refused = call_filter.of(ctx.query, ctx.principal)
      if not filter then
        return nil, refused
      end
      local answer, err = lists.page(ctx, "calls", filter,
        { sort = { ctx.query.sort }, fields = call_view.row_fields, show = call_view.shown })
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/calls/export.csv", guard = READERS, scope = "calls:read",
    summary = "The calls of a filter as CSV, at most 200,000.", media = "text/csv",
    limit = "export", deadline_ms = 600000, audit = "call.export", query = export_query,
    handler = function(ctx)
      local filter, refused = call_filter.of(ctx.query, ctx.principal)
      if not filter then
        return nil, refused
      end
      ctx.audit = { target = { type = "calls" } }
      return call_export.csv(ctx, filter, ctx.query.sort)
    end,
  },
  {
    verb = "GET", path = "/api/v1/calls/{id}", guard = { "admin", "key", "secret" },
    scope = "calls:read",
    summary = "Everything about one call.", output = shapes.detail,
    query = { type = "object", properties = {
      make_recording_accessible = {
        type = "boolean", default = true, description = "false: without recording_play_url",
      },
    } },
    handler = function(ctx)
      local call, err = call_view.detail(ctx, ctx.params.id,
        { recording_url = ctx.query.make_recording_accessible })
      return call and { body = call, headers = { etag = documents.etag(call) } }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/calls/{id}/export.json", guard = READERS,
    scope = "calls:read", audit = "call.export", limit = "export",
    summary = "One call as it is stored.",
    output = { type = "object", additionalProperties = true },
    handler = function(ctx)
      ctx.audit = { target = { type = "call", id = ctx.params.id } }
      return call_export.json(ctx, ctx.params.id)
    end,
  },
  {
    verb = "POST", path = "/api/v1/calls/{id}/redact", guard = "super", audit = "call.redact",
    summary = "Erases a call's words, variables, numbers and recording; what is counted stays.",
    output = shapes.detail,
    errors = { "invalid_state", "object_store_unavailable", "fleet_unavailable" },
    handler = function(ctx)
      local call, err = call_view.get(ctx, ctx.params.id)
      if not call then
        return nil, err
      elseif call.status == "in_progress" then
        return nil, errors.new(409, "invalid_state", "The call is still on.")
      end
      ctx.audit = { target = { type = "call", id = call._id } }
      call, err = redaction.erase(ctx.app, call)
      if call then
        ctx.audit.changes = not_asked(err)
        return { body = call_view.shown(call) }
      elseif err.code == "recording" then
        cxb.log.warn("a recording was not erased", { session_id = ctx.params.id,
          error = err.message })
        return nil, errors.new(503, err.away,
          ("The recording could not be erased, so nothing was: %s."):format(err.message),
          { headers = { ["retry-after"] = "5" } })
      end
      return nil, errors.of_store(err)
    end,
  },
}
