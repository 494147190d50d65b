-- Flows: the scripts of calls, edited and published while calls run (api.md §5.5).
local documents = require("services.web.documents")
local editing = require("services.flows.editing")
local errors = require("services.web.errors")
local flow_check = require("services.flows.check")
local flow_rollout = require("services.flows.rollout")
local flow_types = require("services.flows.types")
local flows = require("services.flows")
local json = require("cxb.json")
local lists = require("services.web.lists")
local publishing = require("services.flows.publishing")

local flow_name = {
  type = "string", minLength = 1, maxLength = flows.name_max,
  rule = function(name)
    return not flows.valid_name(name) and "must be a-z 0-9 _, a letter first" or nil
  end,
}
local by_name = { type = "object", properties = { name = flow_name } }
local time = { type = "integer", format = "time" }
local text, count = { type = "string" }, { type = "integer" }
local sets = { type = "object", additionalProperties = true }

local draft = { type = "object", nullable = true, properties = {
  source = text, base_version = count, by = text, at = time,
} }
local summary = {
  name = text, shipped = { type = "boolean" }, description = text, active_version = count,
  has_draft = { type = "boolean" }, bots = { type = "array", items = sets },
  revision = count, workers_total = count, workers_loaded = count, updated_at = time,
}
local detail = { v = count, draft = draft, source = text, sha256 = text, by = text, note = text,
  status = text }
for name, property in pairs(summary) do
  detail[name] = property
end
local row = { type = "object", title = "FlowRow", properties = summary }
local full = { type = "object", title = "Flow", properties = detail }
local version = { type = "object", title = "FlowVersion", properties = {
  name = text, version = count, source = text, sha256 = text, by = text, note = text,
  status = text, created_at = time,
} }
local published = { type = "object", properties = { version = count, revision = count } }

local function failed(err)
  return err.code == "not_found" and errors.not_found("version of this flow")
    or errors.of_store(err)
end

-- (waits) Which revision is wanted, and how many workers run it.
local function fleet_state(app)
  local revision, err = flow_rollout.revision(app)
  if not revision then
    return nil, errors.of_store(err)
  end
  local workers = flow_rollout.count(app, revision)
  return { revision = revision, workers_total = workers and workers.total or 0,
    workers_loaded = workers and workers.loaded or 0 }
end

local function summarised(shown, bots, state)
  shown.has_draft = shown.draft ~= nil
  shown.bots = json.array(bots[shown.name])
  for name, value in pairs(state) do
    shown[name] = value
  end
  return shown
end

-- (waits) Stored flows by name.
local function all_stored(app)
  local out, after = {}, nil
  repeat
    local page, next_or_err = app.store:find("flows", {}, { sort = { "name" }, limit = 200,
      after = after })
    if not page then
      return nil, errors.of_store(next_or_err)
    end
    for _, flow in ipairs(page) do
      out[flow.name] = flow
    end
    after = next_or_err
  until not after
  return out
end

local function list(ctx)
  local stored, err = all_stored(ctx.app)
  local state, bots, failure
  if stored then
    state, err = fleet_state(ctx.app)
  end
  if state then
    bots, failure = flows.bots(ctx.app)
    err = failure and errors.of_store(failure)
  end
  if not bots then
    return nil, err
  end
  local rows, shipped = {}, {}
  for _, name in ipairs(flows.shipped()) do
    shipped[name] = true
    stored[name] = stored[name] or false
  end
  for name, flow in pairs(stored) do
    rows[#rows + 1] = summarised(editing.shown(name, flow or nil, shipped[name] and "" or nil),
      bots, state)
  end
  local page
  page, err = lists.cut(ctx, rows, "name")
  return page and { body = page }, err
end

local function read(ctx)
  local name = ctx.params.name
  local flow, original = editing.find(ctx.app, name)
  if not flow and type(original) ~= "string" then
    return nil, original
  end
  local shown = editing.shown(name, flow, flow and flows.original(name) or original)
  local bots, err = flows.bots(ctx.app)
  local state = bots and fleet_state(ctx.app)
  if not state then
    return nil, errors.of_store(err or { code = "unavailable" })
  end
  summarised(shown, bots, state)
  local active = flows.active(ctx.app, name, flow)
  for _, field in ipairs(active and { "source", "sha256", "by", "note", "status" } or {}) do
    shown[field] = active[field]
  end
  return { body = shown, headers = flow and { etag = documents.etag(flow) } or nil }
end

local function versions(ctx)
  local name = ctx.params.name
  local flow, original = editing.find(ctx.app, name)
  if not flow and type(original) ~= "string" then
    return nil, original
  end
  local page, err = lists.page(ctx, "flow_versions", { name = name },
    { sort = { "-version" }, fields = { "name", "version", "sha256", "by", "note", "status" } })
  if not page then
    return nil, err
  end
  local zero = flows.version(ctx.app, name, 0)
  if zero and page.next == json.null then
    zero.source = nil
    page.items[#page.items + 1] = zero
    page.total = page.total + 1
  end
  return { body = page }
end

local function bundle(ctx)
  local found, err = flow_rollout.bundle(ctx.app)
  if not found then
    return nil, errors.of_store(err)
  end
  local etag = ('"%d"'):format(found.revision)
  if ctx.req.headers["if-none-match"] == etag then
    return { status = 304, headers = { etag = etag } }
  end
  return { body = found, headers = { etag = etag } }
end

local function with_name(flow)
  return flow and { body = editing.shown(flow.name, flow, flows.original(flow.name)),
    headers = { etag = documents.etag(flow) } }
end

local number = { type = "string", rule = function(value)
  return not value:match("^%d+$") and "must be a number" or #value > 9 and "is too large" or nil
end }

return {
  {
    verb = "GET", path = "/api/v1/flows", guard = "admin",
    summary = "All flows, shipped and made here, by name.", query = lists.query(),
    output = lists.answer(row), handler = list,
  },
  {
    verb = "POST", path = "/api/v1/flows", guard = "admin", status = 201, audit = "flow.create",
    summary = "A new flow with a draft, blank or from another.",
    input = { type = "object", required = { "name" }, properties = {
      name = flow_name, from = flow_name, description = { type = "string", maxLength = 4000 },
    } },
    output = full, errors = { "duplicate" }, example = { name = "reception", from = "demo" },
    handler = function(ctx)
      local flow, err = editing.create(ctx, ctx.body)
      ctx.audit = flow and { target = { type = "flow", id = flow._id, name = flow.name } }
      return with_name(flow), err
    end,
  },
  {
    verb = "GET", path = "/api/v1/flows/types", guard = "admin",
    summary = "What an editor is to know of the script API.",
    output = { type = "object", properties = { files = { type = "array", items = {
      type = "object", properties = { path = text, content = text } } } } },
    handler = function()
      local files, why = flow_types.files()
      if not files then
        error(why)
      end
      return { body = { files = json.array(files) } }
    end,
  },
  {
    verb = "GET", path = "/api/v1/flows/bundle", guard = "secret",
    summary = "The published flows, for hosts.",
    query = { type = "object", properties = { revision = { type = "integer", minimum = 0 } } },
    output = { type = "object", properties = { revision = count, files = { type = "array", items = {
      type = "object", properties = { path = text, sha256 = text, content = text } } } } },
    handler = bundle,
  },
  {
    verb = "GET", path = "/api/v1/flows/{name}", guard = "admin", params = by_name,
    summary = "A flow: what calls run, and the draft.", output = full, handler = read,
  },
  {
    verb = "DELETE", path = "/api/v1/flows/{name}", guard = "admin", params = by_name,
    summary = "Removes a flow that no bot uses; of a shipped one the edited copy.",
    status = 204, audit = "flow.delete", errors = { "flow_in_use", "invalid_state" },
    handler = function(ctx)
      local ok, err = publishing.remove(ctx, ctx.params.name)
      return ok and { status = 204 }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/flows/{name}/versions", guard = "admin", params = by_name,
    summary = "The versions of a flow, the newest first; 0 is the shipped original.",
    query = lists.query(), output = lists.answer(version), handler = versions,
  },
  {
    verb = "GET", path = "/api/v1/flows/{name}/versions/{n}", guard = "admin",
    params = { type = "object", properties = { name = flow_name, n = number } },
    summary = "A version of a flow with its source.", output = version,
    handler = function(ctx)
      local found, err = flows.version(ctx.app, ctx.params.name, tonumber(ctx.params.n))
      return found and { body = found }, err and failed(err)
    end,
  },
  {
    verb = "PUT", path = "/api/v1/flows/{name}/draft", guard = "admin", params = by_name,
    summary = "Keeps a draft, whatever is in it.", audit = "flow.draft",
    body_max = 2 * 1024 * 1024,
    input = { type = "object", required = { "source", "base_version" }, properties = {
      source = text, base_version = { type = "integer", minimum = 0 } } },
    output = full, errors = { "version_conflict", "body_too_large" },
    example = { source = "return function(call) end", base_version = 0 },
    handler = function(ctx)
      if #ctx.body.source > flows.source_max then
        return nil, errors.new(413, "body_too_large", "A flow has at most 256 KiB.")
      end
      local flow, err = editing.draft(ctx, ctx.params.name, ctx.body)
      if not flow then
        return nil, err
      end
      ctx.audit = { target = { type = "flow", id = flow._id, name = flow.name } }
      return with_name(flow)
    end,
  },
  {
    verb = "POST", path = "/api/v1/flows/{name}/validate", guard = "admin", params = by_name,
    audit = false, summary = "Judges a source, or the draft, and runs the flow's own specs.",
    body_max = 2 * 1024 * 1024, optional = true,
    input = { type = "object", properties = { source = text } },
    output = { type = "object", title = "FlowVerdict", properties = {
      ok = { type = "boolean" }, diagnostics = { type = "array", items = sets },
      tests = { type = "object", additionalProperties = true, nullable = true } } },
    example = { source = "return function(call) end" },
    handler = function(ctx)
      local flow, original = editing.find(ctx.app, ctx.params.name)
      if not flow and type(original) ~= "string" and not ctx.body.source then
        return nil, original
      end
      local code = ctx.body.source or flow and flow.draft and flow.draft.source
      if not code then
        local active, err = flows.active(ctx.app, ctx.params.name, flow)
        if not active then
          return nil, failed(err)
        end
        code = active.source
      elseif #code > flows.source_max then
        return nil, errors.new(413, "body_too_large", "A flow has at most 256 KiB.")
      end
      local verdict, why = flow_check.run(ctx.app, ctx.params.name, code)
      if not verdict then
        return nil, errors.new(503, "check_unavailable", "The flow cannot be checked: " .. why)
      end
      return { body = verdict }
    end,
  },
  {
    verb = "POST", path = "/api/v1/flows/{name}/publish", guard = "admin", params = by_name,
    summary = "The draft becomes what the next calls run.", status = 202,
    audit = "flow.publish", optional = true,
    input = { type = "object", properties = { note = { type = "string", maxLength = 1000 },
      expected_version = { type = "integer", minimum = 0 } } },
    output = published, errors = { "flow_invalid", "version_conflict", "invalid_state" },
    example = { note = "Friendlier." },
    handler = function(ctx)
      local done, err = publishing.publish(ctx, ctx.params.name, ctx.body)
      return done and { body = done }, err
    end,
  },
  {
    verb = "POST", path = "/api/v1/flows/{name}/rollback", guard = "admin", params = by_name,
    summary = "Publishes the source of an earlier version.", status = 202,
    audit = "flow.rollback",
    input = { type = "object", required = { "version" },
      properties = { version = { type = "integer", minimum = 0 } } },
    output = published, errors = { "flow_invalid", "version_conflict" }, example = { version = 1 },
    handler = function(ctx)
      local done, err = publishing.rollback(ctx, ctx.params.name, ctx.body.version)
      return done and { body = done }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/flows/{name}/rollout", guard = "admin", params = by_name,
    summary = "How far the last change of a flow has come.",
    output = { type = "object", properties = { revision = count, version = count,
      workers_total = count, workers_loaded = count, status = text, reason = text,
      failed = { type = "array", items = sets } } },
    handler = function(ctx)
      local progress, err = flow_rollout.progress(ctx.app, ctx.params.name)
      return progress and { body = progress }, err
    end,
  },
}
