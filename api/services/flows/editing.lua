-- Flows as people write them: made, looked at, kept as drafts (api.md §5.5).
local documents = require("services.web.documents")
local editing = require("services.bots.editing")
local errors = require("services.web.errors")
local flows = require("services.flows")
local schema = require("cxb.schema")

local M = {}

local blank = [[
return function(call)
  call:say("Hello.")
end
]]

-- A store's error, or a 404.
local function failed(err)
  return err.code == "not_found" and errors.not_found("flow") or errors.of_store(err)
end

---(waits) The stored flow and whether there is one of that name at all.
---@return table? flow nil: only shipped (second result), string|api.error original_or_err
function M.find(app, name)
  local flow, err = flows.stored(app, name)
  if err then
    return nil, errors.of_store(err)
  elseif flow then
    return flow
  end
  local original = flows.original(name)
  return nil, original or errors.not_found("flow")
end

---(waits) The stored flow, made when the name is only shipped.
---@return table? flow, api.error? err
function M.stored(app, name)
  local flow, original = M.find(app, name)
  if flow or type(original) ~= "string" then
    return flow, original
  end
  local made, err = app.store:upsert("flows", { name = name }, { on_insert = {} })
  if not made then
    return nil, errors.of_store(err)
  end
  return made
end

local time = { type = "integer", format = "time" }
local with_times = { type = "object", additionalProperties = true, properties = {
  updated_at = time,
  draft = { type = "object", additionalProperties = true, properties = { at = time } },
} }

---A refusal that shows what stands.
---@param shown table by M.shown()
function M.conflict(message, shown)
  return nil, errors.new(409, "version_conflict", message,
    { current = schema.shape(with_times, shown) })
end

---What of a stored flow a client is shown.
function M.shown(name, flow, original)
  flow = flow or {}
  return {
    name = name, shipped = original ~= nil, description = flow.description,
    active_version = flow.active_version or (original and 0 or nil), v = flow.v or 0,
    draft = flow.draft, updated_at = flow.updated_at,
  }
end

---(waits) A new flow with a draft, blank or from another.
---@return table? flow, api.error? err
function M.create(ctx, body)
  local app, source = ctx.app, blank
  if flows.original(body.name) then
    return nil, errors.new(409, "duplicate", "There is a shipped flow of this name.")
  end
  if body.from then
    local other, original = M.find(app, body.from)
    if not other and type(original) ~= "string" then
      return nil, original
    end
    local row, err = flows.active(app, body.from, other)
    if not row and not (other and other.draft) then
      return nil, failed(err)
    end
    source = row and row.source or other.draft.source
  end
  local flow, err = app.store:insert("flows", { name = body.name, description = body.description,
    draft = { source = source, base_version = 0, by = editing.author(ctx), at = cxb.time.now() } })
  if not flow then
    return nil, errors.of_store(err)
  end
  return flow
end

-- Why a draft may not be written over what stands; nil when it may.
local function in_the_way(ctx, flow, base_version)
  local active = flow.active_version or 0
  local shown = M.shown(flow.name, flow)
  if base_version ~= active then
    return M.conflict(("Version %d is published, the draft is of %d."):format(active, base_version),
      shown)
  end
  local other = flow.draft and flow.draft.by ~= editing.author(ctx)
  if other and not ctx.req.headers["if-match"] then
    return M.conflict(("There is a draft by %s."):format(flow.draft.by), shown)
  end
  return true
end

---(waits) Keeps a draft, whatever is in it.
---@return table? flow, api.error? err
function M.draft(ctx, name, body)
  local flow, err = M.stored(ctx.app, name)
  if not flow then
    return nil, err
  end
  return documents.change(ctx, "flows", flow._id, "flow", function(doc)
    local ok, refused = in_the_way(ctx, doc, body.base_version)
    if not ok then
      return nil, refused
    end
    return { set = { draft = { source = body.source, base_version = body.base_version,
      by = editing.author(ctx), at = cxb.time.now() } } }
  end, function(doc)
    return schema.shape(with_times, M.shown(name, doc))
  end)
end

return M
