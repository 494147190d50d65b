-- The texts of a call: a bot's templates filled in with the call's variables, its policy, and what
-- is added when callbacks are listened for (api.md §5.6 steps 5 to 7).
local json = require("cxb.json")
local policy = require("cxb.policy")
local template = require("cxb.template")

local M = {}

M.texts = {
  "opening_message", "voicemail_message", "pre_transfer_message", "apology_message",
  "timeout_message", "post_call_analysis_prompt", "qc_prompt",
}

local callback_block = [[
## Callbacks
When the caller cannot speak now, or asks to be called at another time, agree to it: ask for the day
and the time that suit, read them back once, and end the call politely. Never promise a time that
the caller has not named.]]

-- This call is one that was asked for.
local function asked_for(vars)
  local at, why = vars["call.callback_time_text"], vars["call.callback_reason"]
  if type(at) ~= "string" or at == "" then
    return ""
  end
  local reason = type(why) == "string" and why ~= "" and ("; the reason: " .. why) or ""
  return ("\nThis call is a callback that the caller asked for (%s%s). Say so at the beginning.")
    :format(at, reason)
end

local function callback_context(vars)
  return callback_block .. asked_for(vars)
end

local function with(text, block)
  return (text ~= "" and block ~= "") and text .. "\n\n" .. block or text .. block
end

local function gather(into, names)
  for _, name in ipairs(names) do
    into[#into + 1] = name
  end
end

-- Direct mode: a static block that a provider keeps is the same for every caller, so nothing is
-- filled into it.
local function parts_of(bot, view, callback, unresolved)
  local parts = bot.prompt_parts
  if type(parts) ~= "table" or policy.kind_of(bot.conversation_policy) then
    return nil
  end
  local out = {}
  for name, value in pairs(parts) do
    out[name] = value
  end
  if parts.mode == "direct" then
    local text, names = template.render(parts.dynamic_runtime_prompt or "", view)
    gather(unresolved, names)
    out.dynamic_runtime_prompt = with(text, callback)
    if not parts.cache_enabled then
      out.static_system_prompt, names = template.render(parts.static_system_prompt or "", view)
      gather(unresolved, names)
    end
  end
  return out
end

---@param bot table complete
---@param vars table<string, any> of the call
---@param listens boolean for callbacks
---@return table<string, any> out system_prompt, prompt_parts and each text
---@return string[] unresolved names
function M.render(bot, vars, listens)
  local view = policy.view(bot.conversation_policy, vars)
  local callback = listens and callback_context(vars) or ""
  local prompt, unresolved = policy.build_policy_system_prompt(bot.system_prompt or "",
    bot.conversation_policy, vars)
  local out = { system_prompt = with(prompt, callback) }
  for _, name in ipairs(M.texts) do
    if type(bot[name]) == "string" then
      local names
      out[name], names = template.render(bot[name], view)
      gather(unresolved, names)
    end
  end
  out.prompt_parts = parts_of(bot, view, callback, unresolved)
  local once, list = {}, json.array()
  for _, name in ipairs(unresolved) do
    -- these exist only after a call
    local later = name:match("^result%.") or name:match("^analysis%.") or name:match("^qc%.")
    if not once[name] and not later then
      once[name] = true
      list[#list + 1] = name
    end
  end
  return out, list
end

return M
