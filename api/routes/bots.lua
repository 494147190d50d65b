-- Bots: made, read, changed, copied, removed (api.md §5.4).
local audit = require("services.identity.audit")
local bot_schema = require("schemas.bot")
local documents = require("services.web.documents")
local editing = require("services.bots.editing")
local errors = require("services.web.errors")
local bots = require("services.bots")
local lists = require("services.web.lists")
local live_prompt_cache = require("services.bots.live_prompt_cache")
local schema = require("cxb.schema")
local view = require("services.bots.view")

local patch_schema = schema.partial(bot_schema.input)
patch_schema.title = "BotPatch"

local function current(ctx)
  return function(doc)
    return schema.shape(bot_schema.output, view.shown(ctx.app, doc))
  end
end

local function answer(ctx, doc, status)
  local shown, err = view.one(ctx.app, doc)
  if not shown then
    return nil, errors.of_store(err)
  end
  return { status = status, body = shown, headers = { etag = documents.etag(doc) } }
end

local function note(ctx, before, after)
  local doc = after or before
  ctx.audit = {
    target = { type = "bot", id = doc._id, name = doc.name },
    changes = audit.changes(before and editing.content(before), after and editing.content(after)),
  }
end

local function list(ctx)
  local filter, err = bots.filter(ctx.app.store, ctx.query.q)
  if not filter then
    return nil, errors.of_store(err)
  end
  local page
  page, err = lists.page(ctx, "bots", filter, { sort = { "name" } })
  if not page then
    return nil, err
  end
  page.items, err = view.all(ctx.app, page.items)
  if not page.items then
    return nil, errors.of_store(err)
  end
  return { body = page }
end

local example = {
  name = "Reception", opening_message = "Hello {{crm.name}}, how can I help?",
  system_prompt = "You answer for a dentist.", timezone = "Asia/Kolkata",
  active_hours = { enabled = true, days = { "mon", "tue" }, start_time = "09:00",
    end_time = "18:00" },
}

return {
  {
    verb = "GET", path = "/api/v1/bots", guard = "admin",
    summary = "Bots by name, without their texts.",
    query = lists.query({ q = { type = "string", maxLength = 120 } }),
    output = lists.answer(view.row), handler = list,
  },
  {
    verb = "POST", path = "/api/v1/bots", guard = "admin", status = 201, audit = "bot.create",
    summary = "Makes a bot.",
    input = bot_schema.input, output = bot_schema.output, errors = { "url_not_allowed" },
    example = example,
    handler = function(ctx)
      local bot, err = editing.create(ctx, ctx.body)
      if not bot then
        return nil, err
      end
      note(ctx, nil, bot)
      return answer(ctx, bot)
    end,
  },
  {
    verb = "GET", path = "/api/v1/bots/{id}", guard = "admin",
    summary = "A bot with who uses it and what is doubtful about it.",
    output = bot_schema.output,
    handler = function(ctx)
      local bot, err = documents.get(ctx, "bots", ctx.params.id, "bot")
      if not bot then
        return nil, err
      end
      return answer(ctx, bot)
    end,
  },
  {
    verb = "PUT", path = "/api/v1/bots/{id}", guard = "admin", audit = "bot.update",
    summary = "Changes the fields given; each change of the content is a version.",
    input = patch_schema, output = bot_schema.output,
    errors = { "version_conflict", "url_not_allowed" },
    example = { opening_message = "Good morning." },
    handler = function(ctx)
      local after, before = editing.patch(ctx, ctx.params.id, ctx.body, current(ctx))
      if not after then
        return nil, before
      end
      note(ctx, before, after)
      return answer(ctx, after)
    end,
  },
  {
    verb = "DELETE", path = "/api/v1/bots/{id}", guard = "admin", status = 204,
    summary = "Hides a bot; calls keep its name.", audit = "bot.delete",
    errors = { "bot_in_use", "version_conflict" },
    handler = function(ctx)
      local bot, err = editing.remove(ctx, ctx.params.id)
      if not bot then
        return nil, err
      end
      note(ctx, bot, nil)
      local state = bot.live_prompt_cache_state
      if type(state) == "table" and state.prompt_cache_key then
        cxb.task.spawn("prompt cache", live_prompt_cache.drop, ctx.app, bots.complete(bot) or bot,
          "disable", "the bot is deleted")
      end
      return { status = 204 }
    end,
  },
  {
    verb = "POST", path = "/api/v1/bots/{id}/clone", guard = "admin", status = 201,
    summary = "A new bot with the content of this one.", audit = "bot.clone",
    input = { type = "object", properties = { name = bot_schema.input.properties.name } },
    optional = true, output = bot_schema.output, example = { name = "Reception 2" },
    handler = function(ctx)
      local bot, err = editing.clone(ctx, ctx.params.id, ctx.body.name)
      if not bot then
        return nil, err
      end
      note(ctx, nil, bot)
      return answer(ctx, bot)
    end,
  },
}
