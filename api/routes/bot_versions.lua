-- The versions of a bot, its widget key, and its prompts as a call would have them (api.md §5.4).
local audit = require("services.identity.audit")
local bot_schema = require("schemas.bot")
local bots = require("services.bots")
local documents = require("services.web.documents")
local editing = require("services.bots.editing")
local errors = require("services.web.errors")
local lists = require("services.web.lists")
local prompts = require("services.runtime_config.prompts")
local schema = require("cxb.schema")
local variables = require("services.runtime_config.variables")
local vault = require("services.identity.vault")
local view = require("services.bots.view")

local free = { type = "object", additionalProperties = true }
local version = {
  type = "object", title = "BotVersion", properties = {
    version = { type = "integer" }, by = { type = "string" }, note = { type = "string" },
    created_at = { type = "integer", format = "time" }, bot = free,
  },
}

local function target(ctx, bot)
  ctx.audit = ctx.audit or {}
  ctx.audit.target = { type = "bot", id = bot._id, name = bot.name }
end

local function current(ctx)
  return function(doc)
    return schema.shape(bot_schema.output, view.shown(ctx.app, doc))
  end
end

local function list(ctx)
  local bot, err = documents.get(ctx, "bots", ctx.params.id, "bot")
  if not bot then
    return nil, err
  end
  local kept
  kept, err = editing.keep_version(ctx.app, bot, "system")
  if not kept then
    return nil, errors.of_store(err)
  end
  local page
  page, err = lists.page(ctx, "bot_versions", { bot_id = bot._id },
    { sort = { "-version" }, fields = { "version", "by", "note" } })
  return page and { body = page }, err
end

local function read(ctx)
  local row, err = editing.version_of(ctx.app, ctx.params.id, ctx.params.version)
  if not row then
    return nil, err
  end
  local content = row.doc
  content._id, content.v = ctx.params.id, row.version
  row.bot = schema.shape(bot_schema.output, view.shown(ctx.app, content))
  return { body = row }
end

local function rollback(ctx)
  local after, before = editing.rollback(ctx, ctx.params.id, ctx.body.version, current(ctx))
  if not after then
    return nil, before
  end
  ctx.audit = { changes = audit.changes(editing.content(before), editing.content(after)) }
  target(ctx, after)
  local shown, err = view.one(ctx.app, after)
  if not shown then
    return nil, errors.of_store(err)
  end
  return { body = shown, headers = { etag = documents.etag(after) } }
end

local function widget_key(ctx)
  local key = "wk_" .. cxb.crypto.base64url(cxb.crypto.random(24))
  local after, err = documents.change(ctx, "bots", ctx.params.id, "bot", function()
    return { set = { widget_api_key = vault.seal(ctx.app, key) } }
  end, current(ctx))
  if not after then
    return nil, err
  end
  target(ctx, after)
  return { body = { widget_api_key = key }, headers = { etag = documents.etag(after) } }
end

local function preview(ctx)
  local doc, err = documents.get(ctx, "bots", ctx.params.id, "bot")
  if not doc then
    return nil, err
  end
  local bot, wrong = bots.complete(doc)
  if not bot then
    return nil, errors.invalid(wrong.fields)
  end
  local vars = variables.all(ctx.body.variables or {}, ctx.body.crm, bot.timezone, cxb.time.now())
  local texts, unresolved = prompts.render(bot, vars, bot.callback_prompt_injection)
  texts.unresolved = unresolved
  return { body = texts }
end

local preview_output = { type = "object", title = "PromptPreview", properties = {
  system_prompt = { type = "string" }, prompt_parts = free,
  unresolved = { type = "array", items = { type = "string" } },
} }
for _, name in ipairs(prompts.texts) do
  preview_output.properties[name] = { type = "string" }
end

return {
  {
    verb = "GET", path = "/api/v1/bots/{id}/versions", guard = "admin",
    summary = "The versions of a bot, the newest first.",
    query = lists.query(), output = lists.answer(version), handler = list,
  },
  {
    verb = "GET", path = "/api/v1/bots/{id}/versions/{version}", guard = "admin",
    summary = "A version of a bot.",
    params = { type = "object", properties = {
      id = { type = "string", format = "id" },
      version = { type = "string", rule = function(text)
        return not text:match("^%d%d?%d?%d?%d?%d?%d?%d?%d?$") and "must be a number" or nil
      end },
    } },
    output = version,
    handler = function(ctx)
      ctx.params.version = tonumber(ctx.params.version)
      return read(ctx)
    end,
  },
  {
    verb = "POST", path = "/api/v1/bots/{id}/rollback", guard = "admin", audit = "bot.rollback",
    summary = "The content of an earlier version becomes that of a new one.",
    input = { type = "object", required = { "version" },
      properties = { version = { type = "integer", minimum = 1 } } },
    output = bot_schema.output, errors = { "version_conflict" }, example = { version = 1 },
    handler = rollback,
  },
  {
    verb = "POST", path = "/api/v1/bots/{id}/widget-key", guard = "admin",
    summary = "A new widget key; the old one ends.", audit = "bot.widget_key",
    errors = { "version_conflict" },
    output = { type = "object", properties = { widget_api_key = { type = "string" } } },
    handler = widget_key,
  },
  {
    verb = "POST", path = "/api/v1/bots/{id}/preview-prompt", guard = "admin",
    audit = false,
    summary = "The bot's texts as a call with these variables would have them.",
    input = { type = "object", properties = {
      variables = { type = "object", additionalProperties = { type = "any" } },
      crm = { type = "object", additionalProperties = { type = "any" } },
    } },
    optional = true, output = preview_output, example = { crm = { name = "Asha" } },
    handler = preview,
  },
}
