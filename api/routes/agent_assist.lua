-- Agent Assist: moments (api.md §5.18).
local assist = require("services.desk.assist")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local lists = require("services.web.lists")
local schema = require("cxb.schema")

local BASE, COLLECTION = "/api/v1/agent-assist/moments", "agent_assist_moments"

local phrase = { type = "string", minLength = 1, maxLength = 200 }
local speaker = { type = "string", enum = { "customer", "agent", "both" }, default = "customer" }
local language = { type = "string", minLength = 2, maxLength = 35 }
local flag = { type = "boolean", default = false }

local moment = {
  type = "object", title = "AssistMoment",
  required = { "name", "trigger_phrases", "suggestion" },
  properties = {
    name = { type = "string", minLength = 1, maxLength = 120 },
    description = { type = "string", maxLength = 500, default = "" },
    category = { type = "string", default = "general",
      enum = { "general", "compliance", "payment", "objection", "escalation", "script" } },
    enabled = flag, priority = { type = "integer", minimum = 0, maximum = 1000, default = 50 },
    speaker = speaker,
    language_codes = { type = "array", items = language, maxItems = 50, default = {} },
    negative_phrases = { type = "array", items = phrase, maxItems = 200, default = {} },
    trigger_phrases = { type = "array", items = phrase, minItems = 1, maxItems = 200 },
    suggestion = { type = "string", minLength = 1, maxLength = 1000 },
    card_title = { type = "string", maxLength = 120 },
    cooldown_seconds = { type = "integer", minimum = 1, maximum = 3600, default = 60 },
    once_per_call = { type = "boolean", default = true },
    max_per_call = { type = "integer", minimum = 1, maximum = 20, default = 1 },
    compliance_required = flag,
  },
}

local shown = { type = "object", title = "AssistMomentRecord", properties = {
  id = { type = "string" }, v = { type = "integer" },
  created_at = { type = "string", format = "time" },
  updated_at = { type = "string", format = "time" },
} }
for name, property in pairs(moment.properties) do
  shown.properties[name] = property
end

local tip = {
  type = "object", title = "AssistTip", nullable = true,
  properties = { moment_id = { type = "string" }, title = { type = "string" },
    suggestion = { type = "string" }, category = { type = "string" },
    compliance_required = { type = "boolean" }, at = { type = "string", format = "time" } },
}
local match = {
  type = "object",
  properties = { moment_id = { type = "string" }, name = { type = "string" },
    priority = { type = "integer" }, enabled = { type = "boolean" } },
}

local function show(doc)
  doc.id = doc._id
  doc.card_title = doc.card_title or doc.name
  return doc
end

local function noted(ctx, doc)
  assist.drop(ctx.app)
  ctx.audit = { target = { type = "moment", id = doc._id, name = doc.name }, changes = {} }
end

return {
  {
    verb = "GET", path = BASE, guard = "sup", summary = "All moments, the most important first.",
    query = lists.query(), output = lists.answer(shown),
    handler = function(ctx)
      local page, err = lists.page(ctx, COLLECTION, {}, { sort = { "-priority" }, show = show })
      return page and { body = page }, err
    end,
  },
  {
    verb = "POST", path = BASE, guard = "sup", summary = "A new moment.", input = moment,
    output = shown, status = 201, audit = "moment.create",
    example = { name = "Refund", trigger_phrases = { "my money back" },
      suggestion = "Offer the refund form." },
    handler = function(ctx)
      local doc, err = ctx.app.store:insert(COLLECTION, ctx.body)
      if not doc then
        return nil, errors.of_store(err)
      end
      noted(ctx, doc)
      return { body = show(doc) }
    end,
  },
  {
    verb = "PATCH", path = BASE .. "/{id}", guard = "sup", summary = "Changes a moment.",
    input = schema.partial(moment), output = shown, errors = { "empty_patch" },
    audit = "moment.update",
    handler = function(ctx)
      if next(ctx.body) == nil then
        return nil, errors.new(400, "empty_patch", "There is nothing to change.")
      end
      local doc, err = documents.patch(ctx, COLLECTION, ctx.params.id, "moment", ctx.body, moment)
      if not doc then
        return nil, err
      end
      noted(ctx, doc)
      return { body = show(doc), headers = { etag = documents.etag(doc) } }
    end,
  },
  {
    verb = "DELETE", path = BASE .. "/{id}", guard = "sup", summary = "Removes a moment.",
    status = 204, audit = "moment.delete",
    handler = function(ctx)
      local doc, err = documents.get(ctx, COLLECTION, ctx.params.id, "moment")
      if not doc then
        return nil, err
      end
      local gone
      gone, err = ctx.app.store:delete(COLLECTION, doc._id)
      if not gone then
        return nil, errors.of_store(err)
      end
      noted(ctx, doc)
      return { status = 204 }
    end,
  },
  {
    verb = "POST", path = BASE .. "/test", guard = "sup", audit = false,
    summary = "Which card a sentence would bring.",
    input = {
      type = "object", title = "AssistSentence", required = { "text" },
      properties = { text = { type = "string", minLength = 1, maxLength = 2000 },
        speaker = { type = "string", enum = { "customer", "agent" }, default = "customer" },
        language = language },
    },
    output = {
      type = "object", title = "AssistTrial", required = { "tip", "matches" },
      properties = { tip = tip, matches = { type = "array", items = match } },
    },
    handler = function(ctx)
      local answer, err = assist.try(ctx.app, ctx.body)
      return answer and { body = answer }, err
    end,
  },
}
