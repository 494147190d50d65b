-- Carriers and their numbers (api.md §5.13).
local audit = require("services.identity.audit")
local carriers = require("services.carriers")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local lists = require("services.web.lists")
local livekit = require("cxb.livekit")
local schema = require("cxb.schema")
local schemas = require("schemas.carrier")
local sync = require("services.carriers.sync")

local base = "/api/v1/carriers"
local did_example = { number = "+912212345678", label = "Support", direction = "both" }

local function shown(doc, status)
  return { status = status, body = carriers.shown(doc), headers = { etag = documents.etag(doc) } }
end

local function note(ctx, kind, id, name, changes)
  ctx.audit = { target = { type = kind, id = id, name = name }, changes = changes }
end

return {
  {
    verb = "GET", path = base, guard = "admin", summary = "Carriers by name.",
    query = lists.query(), output = lists.answer(schemas.carrier),
    handler = function(ctx)
      local page, err = lists.page(ctx, "carriers", { deleted_at = { exists = false } },
        { sort = { "name" }, show = carriers.shown })
      return page and { body = page }, err
    end,
  },
  {
    verb = "POST", path = base, guard = "super", status = 201, audit = "carrier.create",
    summary = "Adds a carrier.", input = schemas.create, output = schemas.carrier,
    example = { name = "Example Telecom", sip_address = "sip.example.net" },
    handler = function(ctx)
      local doc, err = carriers.create(ctx, ctx.body)
      if not doc then
        return nil, err
      end
      note(ctx, "carrier", doc._id, doc.name)
      return shown(doc)
    end,
  },
  {
    verb = "GET", path = base .. "/{id}", guard = "admin", summary = "One carrier.",
    output = schemas.carrier,
    handler = function(ctx)
      local doc, err = documents.get(ctx, "carriers", ctx.params.id, "carrier")
      if not doc then
        return nil, err
      end
      return shown(doc)
    end,
  },
  {
    verb = "PUT", path = base .. "/{id}", guard = "super", audit = "carrier.update",
    summary = "Changes a carrier; a blank password stays as it is.",
    input = schema.partial(schemas.create), output = schemas.carrier,
    errors = { "version_conflict" }, example = { outbound_cps = 5, outbound_channels = 60 },
    handler = function(ctx)
      local doc, before = carriers.change(ctx, ctx.params.id, ctx.body)
      if not doc then
        return nil, before
      end
      note(ctx, "carrier", doc._id, doc.name, audit.changes(before, doc))
      return shown(doc)
    end,
  },
  {
    verb = "DELETE", path = base .. "/{id}", guard = "super", status = 204,
    audit = "carrier.delete", summary = "Removes a carrier that nothing uses.",
    errors = { "carrier_in_use" },
    handler = function(ctx)
      local doc, err = carriers.remove(ctx, ctx.params.id)
      if not doc then
        return nil, err
      end
      note(ctx, "carrier", doc._id, doc.name)
      return {}
    end,
  },
  {
    verb = "POST", path = base .. "/{id}/sync", guard = "super", audit = "carrier.sync",
    summary = "Mirrors a carrier at LiveKit now.", output = schemas.carrier,
    errors = { "livekit_unavailable" },
    handler = function(ctx)
      if not livekit.configured(ctx.app.settings) then
        return nil, errors.new(503, "livekit_unavailable", "LiveKit not configured")
      end
      local doc, err = documents.get(ctx, "carriers", ctx.params.id, "carrier")
      if not doc then
        return nil, err
      end
      note(ctx, "carrier", doc._id, doc.name)
      sync.run(ctx.app, doc)
      doc, err = documents.get(ctx, "carriers", ctx.params.id, "carrier")
      if not doc then
        return nil, err
      end
      return shown(doc)
    end,
  },
  {
    verb = "POST", path = base .. "/{id}/dids", guard = "super", status = 201,
    audit = "carrier.did_create", summary = "Adds a number.",
    input = schemas.did_create, output = schemas.did, errors = { "did_taken" },
    example = did_example,
    handler = function(ctx)
      local did, err = carriers.add_did(ctx, ctx.params.id, ctx.body)
      if not did then
        return nil, err
      end
      note(ctx, "did", did.id, did.number)
      return { body = did }
    end,
  },
  {
    verb = "PUT", path = base .. "/{id}/dids/{did_id}", guard = "super",
    audit = "carrier.did_update", summary = "Changes a number or the bot that answers it.",
    input = schema.partial(schemas.did_create), output = schemas.did, errors = { "did_taken" },
    example = { label = "Sales" },
    handler = function(ctx)
      local did, before = carriers.change_did(ctx, ctx.params.id, ctx.params.did_id, ctx.body)
      if not did then
        return nil, before
      end
      note(ctx, "did", did.id, did.number, audit.changes(before, did))
      return { body = did }
    end,
  },
  {
    verb = "DELETE", path = base .. "/{id}/dids/{did_id}", guard = "super", status = 204,
    audit = "carrier.did_delete", summary = "Removes a number.", errors = { "did_in_use" },
    handler = function(ctx)
      local did, err = carriers.remove_did(ctx, ctx.params.id, ctx.params.did_id)
      if not did then
        return nil, err
      end
      note(ctx, "did", did.id, did.number)
      return {}
    end,
  },
}
