-- A caller who asked not to be called again goes on the list (api.md §5.7): the analysis says so,
-- and the bot has not switched it off.
local dnc = require("services.dnc")

local M = {}

local yes = { [true] = true, ["true"] = true, yes = true }

local function asked(call)
  local analysis = call.post_call_analysis or {}
  local said = analysis.do_not_call
  return yes[type(said) == "string" and said:lower() or said] or false
end

---Whether the caller of a finished call asked for it, and can be told by a number.
---@return boolean
function M.applies(_, call)
  return asked(call) and call.call_type ~= "test"
    and (call.customer_number or ""):match("^%+%d+$") ~= nil
end

---(waits)
---@return true?, table? err
function M.of_call(app, call)
  local number = call.customer_number
  local bot, err = app.store:get("bots", call.bot_id or "")
  if not bot and err.code ~= "not_found" then
    return nil, err
  elseif bot and bot.dnc_auto == false then
    return true
  end
  local added
  added, err = dnc.add(app, { number }, { scope = dnc.GLOBAL, source = "caller_request",
    reason = "The caller asked not to be called.", by = call._id })
  return added and true, err
end

return M
