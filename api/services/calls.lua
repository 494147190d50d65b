-- The calls collection: how skeletons and later changes get into it.
local bots = require("services.bots")

local M = {}

local ATTEMPTS = 50

local small = { bulk = false }

---(waits) Reads a call, asks what to change, writes it if nobody else did meanwhile; else again.
---The call is read and answered without its bulk fields (cxb.store.collections).
---@param change fun(found?: table): table?, table? what to set, names to unset; nil: nothing is;
---nil and an error {code=}: that is the answer
---@return table? call, table|string? err_or_outcome "created" | "changed" | "unchanged"
function M.change(store, id, change)
  local err
  for _ = 1, ATTEMPTS do
    local found
    found, err = store:get("calls", id, small)
    if not found and err.code ~= "not_found" then
      return nil, err
    end
    local set, unset = change(found)
    if not set then
      return not unset and found or nil, unset or "unchanged"
    end
    local call
    if found then
      call, err = store:update("calls", id, { set = set, unset = unset },
        { expect = { v = found.v }, bulk = false })
    else
      set._id = id
      call, err = store:insert("calls", set)
    end
    if call then
      return call, found and "changed" or "created"
    elseif err.code ~= "conflict" and err.code ~= "duplicate" and err.code ~= "not_found" then
      return nil, err
    end
  end
  return nil, { code = "unavailable", message = "call " .. id .. " is written by too many at once" }
end

---(waits) The skeleton of a call that begins now. What a result has already told stays.
---@param skeleton fun(found?: table): table
---@return table? call, table? err
function M.begin(store, id, skeleton)
  return M.change(store, id, function(found)
    local fields = skeleton(found)
    if not found or found.status == "in_progress" then
      fields.status = "in_progress"
      fields.call_type = found and found.call_type or "bot"
      fields.started_at = cxb.time.now()
      return fields
    end
    for name in pairs(fields) do
      if found[name] ~= nil then
        fields[name] = nil
      end
    end
    return next(fields) and fields or nil
  end)
end

---(waits) The same for an id that was made just now: nobody has written it yet.
---@param fields table
---@return table? call, table? err
function M.begin_new(store, id, fields)
  fields._id, fields.status, fields.call_type = id, "in_progress", "bot"
  fields.started_at = cxb.time.now()
  return store:insert("calls", fields)
end

---(waits) The skeleton of a test call that a browser is about to begin.
---@return table? call, table? err
function M.begin_test(store, id, bot, request)
  return store:insert("calls", {
    _id = id, call_type = "test", status = "in_progress", bot_id = bot._id,
    bot_version = bots.version(bot), flow = bot.flow, direction = "incoming",
    started_at = cxb.time.now(), skip_post_push = true,
    test = { variables = request.variables, mock_crm = request.mock_crm,
      use_draft = request.use_draft },
  })
end

---The digits of a number from the last to the first: numbers are found by their end.
---@return string?
function M.reversed(number)
  local digits = type(number) == "string" and number:gsub("%D", "") or ""
  return digits ~= "" and digits:reverse() or nil
end

return M
