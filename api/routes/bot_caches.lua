-- Prompts of a bot that its provider keeps, switched on and off and made anew (api.md §5.4, §5.6).
local bots = require("services.bots")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local live_prompt_cache = require("services.bots.live_prompt_cache")
local post_call_cache = require("services.bots.post_call_cache")

local free = { type = "object", additionalProperties = true, nullable = true }

-- (waits) The bot of the path with its defaults.
local function bot_of(ctx)
  local doc, err = documents.get(ctx, "bots", ctx.params.id, "bot")
  if not doc then
    return nil, err
  end
  ctx.audit = { target = { type = "bot", id = doc._id, name = doc.name } }
  local bot, wrong = bots.complete(doc)
  return bot, wrong and errors.invalid(wrong.fields)
end

local function upstream(why)
  return errors.new(502, "upstream_failed", ("The provider refused: %s."):format(why))
end

local live = {}

-- (waits) on, off, anew: what becomes of the bot's live prompt.
local function live_route(ctx, action)
  local bot, err = bot_of(ctx)
  local ok = bot
  if bot and action ~= "disable" then
    ok, err = live_prompt_cache.check(bot)
  elseif bot and not live_prompt_cache.is_direct(bot) then
    ok, err = live_prompt_cache.check(bot)
  end
  if not ok then
    return nil, err
  end
  local why
  ok, why = live[action](ctx.app, bot)
  if not ok then
    return nil, upstream(why)
  end
  local after
  after, err = documents.get(ctx, "bots", bot._id, "bot")
  if not after then
    return nil, err
  end
  return { body = { live_prompt_cache = after.live_prompt_cache,
    live_prompt_cache_state = after.live_prompt_cache_state } }
end

function live.enable(app, bot)
  return live_prompt_cache.make(app, bot, "enable", nil, { live_prompt_cache = { enabled = true } })
end

function live.disable(app, bot)
  return live_prompt_cache.drop(app, bot, "disable", nil,
    { live_prompt_cache = { enabled = false } })
end

function live.refresh(app, bot)
  return live_prompt_cache.make(app, bot, "refresh")
end

local function post_call_route(ctx, action)
  local bot, err = bot_of(ctx)
  if not bot then
    return nil, err
  end
  local set = { post_call_cache_enabled = action ~= "disable" }
  if action == "refresh" then
    if not post_call_cache.has_prompt(bot) then
      return nil, errors.new(422, "no_post_call_prompt",
        "There is neither an analysis nor a QC prompt.")
    end
    set.post_call_cache_enabled = bot.post_call_cache_enabled == true
    set.post_call_cache, err = post_call_cache.refresh(ctx.app, bot)
    if not set.post_call_cache then
      return nil, err
    end
  end
  local after
  after, err = documents.change(ctx, "bots", bot._id, "bot", function()
    return { set = set }
  end)
  if not after then
    return nil, err
  end
  return { body = { post_call_cache_enabled = after.post_call_cache_enabled,
    post_call_cache_version = post_call_cache.version(after),
    post_call_cache = after.post_call_cache } }
end

local routes = {
  {
    verb = "POST", path = "/api/v1/bots/{id}/live-prompt-cache/recreate", guard = "secret",
    summary = "A worker found the kept prompt gone: it is made again.",
    input = { type = "object", additionalProperties = true,
      properties = { static_version = { type = "any" } } },
    optional = true, example = { static_version = "7" },
    output = { type = "object", properties = { prompt_cache_key = { type = "string" } } },
    errors = { "not_direct", "no_static_prompt", "no_handles", "upstream_failed" },
    handler = function(ctx)
      local bot, err = bot_of(ctx)
      local ok = bot
      if bot then
        ok, err = live_prompt_cache.check(bot)
      end
      if not ok then
        return nil, err
      end
      local key
      key, err = live_prompt_cache.recreate(ctx.app, bot)
      return key and { body = { prompt_cache_key = key } }, err
    end,
  },
}

local words = {
  enable = "Switches it on.", disable = "Switches it off.", refresh = "Has it kept anew.",
}
local kinds = {
  {
    name = "live-prompt-cache", what = "The lasting part of the prompt, kept at its provider. ",
    serve = live_route,
    errors = { "not_direct", "no_static_prompt", "upstream_failed", "version_conflict" },
    output = { live_prompt_cache = free, live_prompt_cache_state = free },
  },
  {
    name = "post-call-cache", what = "The post-call prompts, kept at their provider. ",
    serve = post_call_route,
    errors = { "no_post_call_prompt", "upstream_failed", "version_conflict" },
    output = { post_call_cache_enabled = { type = "boolean" }, post_call_cache = free,
      post_call_cache_version = { type = "string" } },
  },
}
for _, kind in ipairs(kinds) do
  for action, sentence in pairs(words) do
    routes[#routes + 1] = {
      verb = "POST", path = ("/api/v1/bots/{id}/%s/%s"):format(kind.name, action),
      guard = "admin", summary = kind.what .. sentence, errors = kind.errors,
      audit = ("bot.%s.%s"):format(kind.name:gsub("-", "_"), action),
      output = { type = "object", properties = kind.output },
      handler = function(ctx)
        return kind.serve(ctx, action)
      end,
    }
  end
end

return routes
