-- Bots as calls read them, complete with their defaults, kept for a minute (api.md §2.3). Each
-- write of a bot, in this process or another, drops it. What is kept is not to be changed by who
-- reads it.
local bots = require("services.bots")
local bounded = require("cxb.bounded")
local json = require("cxb.json")

local M = {}

local KEPT_MS, MOST = 60000, 1000

local function forget(app, id)
  local kept = app.bots_kept
  kept.epoch = kept.epoch + 1
  if id then
    kept.bots:set(id, nil)
  else
    kept.bots = bounded.new(MOST)
  end
end

---Keeps bots from now on; until then each is read anew.
---@return fun() unsubscribe
function M.follow(app)
  app.bots_kept = { epoch = 0, bots = bounded.new(MOST) }
  for _, op in ipairs({ "update", "delete" }) do
    local write = app.store[op]
    app.store[op] = function(store, collection, id, ...)
      local value, err = write(store, collection, id, ...)
      if collection == "bots" then
        forget(app, id)
        app.events:publish("inv", "bot", { id = id })
      end
      return value, err
    end
  end
  return app.cache:subscribe("inv", function(event)
    if not event then
      forget(app) -- some may have been missed
    elseif event.name == "bot" then
      forget(app, (json.decode_object(event.data) or {}).id)
    end
  end)
end

---(waits)
---@return table? bot, table? err as of bots.active
function M.active(app, id)
  local kept = app.bots_kept
  local known = kept and kept.bots:get(id)
  if known and known.until_ms > cxb.time.mono() then
    return known.bot
  end
  local epoch = kept and kept.epoch
  local bot, err = bots.active(app.store, id)
  if bot and kept and kept.epoch == epoch then -- nobody wrote while it was read
    kept.bots:set(id, { bot = bot, until_ms = cxb.time.mono() + KEPT_MS })
  end
  return bot, err
end

return M
