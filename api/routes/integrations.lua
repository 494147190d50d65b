-- Integrations with providers that bring calls by themselves (api.md §5.14): Exotel.
local exotel = require("services.carriers.exotel")
local schema = require("cxb.schema")
local schemas = require("schemas.exotel")

local base = "/api/v1/integrations/exotel"

local function note(ctx, kind, id, name)
  ctx.audit = { target = { type = kind, id = id, name = name } }
end

return {
  {
    verb = "GET", path = base, guard = "super", summary = "The Exotel account and its numbers.",
    output = schemas.shown,
    handler = function(ctx)
      local doc, err = exotel.document(ctx.app)
      return doc and { body = exotel.shown(ctx.app, doc) }, err
    end,
  },
  {
    verb = "PUT", path = base, guard = "super", audit = "integration.update",
    summary = "Sets the account; a blank credential stays as it is.",
    input = schema.partial(schemas.input), output = schemas.shown, errors = { "url_not_allowed" },
    example = { account_sid = "example1" },
    handler = function(ctx)
      local doc, err = exotel.change(ctx, ctx.body)
      if not doc then
        return nil, err
      end
      note(ctx, "integration", "exotel")
      return { body = exotel.shown(ctx.app, doc) }
    end,
  },
  {
    verb = "POST", path = base .. "/dids", guard = "super", status = 201,
    audit = "integration.did_create", summary = "Adds a number.", errors = { "did_taken" },
    input = schemas.did_input, output = schemas.did, example = { number = "+918012345678" },
    handler = function(ctx)
      local did, err = exotel.add_did(ctx, ctx.body)
      if not did then
        return nil, err
      end
      note(ctx, "did", did.id, did.number)
      return { body = did }
    end,
  },
  {
    verb = "PUT", path = base .. "/dids/{did_id}", guard = "super",
    audit = "integration.did_update", summary = "Changes a number.", errors = { "did_taken" },
    input = schema.partial(schemas.did_input), output = schemas.did, example = { label = "Sales" },
    handler = function(ctx)
      local did, err = exotel.change_did(ctx, ctx.params.did_id, ctx.body)
      if not did then
        return nil, err
      end
      note(ctx, "did", did.id, did.number)
      return { body = did }
    end,
  },
  {
    verb = "DELETE", path = base .. "/dids/{did_id}", guard = "super", status = 204,
    audit = "integration.did_delete", summary = "Removes a number.",
    handler = function(ctx)
      local did, err = exotel.remove_did(ctx, ctx.params.did_id)
      if not did then
        return nil, err
      end
      note(ctx, "did", did.id, did.number)
      return {}
    end,
  },
  {
    verb = "GET", path = base .. "/test-call-options", guard = "admin",
    summary = "Which numbers can be tried.",
    output = { type = "object", properties = { configured = { type = "boolean" },
      items = { type = "array", items = { type = "object", properties = {
        did_id = { type = "string" }, number = { type = "string" }, label = { type = "string" },
        bot_id = { type = "string" }, ready = { type = "boolean" },
        reason = { type = "string" } } } } } },
    handler = function(ctx)
      local options, err = exotel.options(ctx.app)
      return options and { body = options }, err
    end,
  },
  {
    verb = "POST", path = base .. "/dids/{did_id}/test-call", guard = "admin",
    limit = "test", idempotent = true, audit = "call.test",
    summary = "Exotel calls a telephone and connects it with the number's bot.",
    input = { type = "object", required = { "to_number" },
      properties = { to_number = { type = "string", format = "phone" } } },
    output = { type = "object", properties = { status = { type = "string" },
      call_sid = { type = "string" } } },
    errors = { "not_configured", "upstream_failed" }, example = { to_number = "+919876543210" },
    handler = function(ctx)
      local answer, err = exotel.test_call(ctx, ctx.params.did_id, ctx.body.to_number)
      if not answer then
        return nil, err
      end
      note(ctx, "did", ctx.params.did_id)
      return { body = answer }
    end,
  },
}
