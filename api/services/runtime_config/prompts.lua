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

-- By bot, as it is read for calls again and again: its texts taken apart. `fixed`: what is the same
-- for every call, by name; `open`: the others.
local taken_apart = setmetatable({}, { __mode = "k" })

local function take_apart(bot)
  local kind = policy.kind_of(bot.conversation_policy)
  local made = { fixed = {}, open = {}, has_policy = kind ~= nil }
  for _, name in ipairs(M.texts) do
    if type(bot[name]) == "string" then
      local compiled = template.compile(bot[name])
      made[compiled.open and "open" or "fixed"][name] = compiled.open and compiled or bot[name]
    end
  end
  made.system = template.compile(bot.system_prompt or "")
  if not made.has_policy and not made.system.open and not bot.callback_prompt_injection then
    made.fixed.system_prompt = bot.system_prompt or ""
  end
  local parts = type(bot.prompt_parts) == "table" and not made.has_policy and bot.prompt_parts
  if parts and parts.mode ~= "direct" then
    made.fixed.prompt_parts = parts
  elseif parts then
    made.parts, made.dynamic = parts, template.compile(parts.dynamic_runtime_prompt or "")
    made.static = template.compile(parts.static_system_prompt or "")
  end
  taken_apart[bot] = made
  return made
end

local function of_bot(bot)
  return taken_apart[bot] or take_apart(bot)
end

---The texts that are the same for every call of a bot, by name. Not to be changed.
---@param bot table complete, not changed from now on
---@return table<string, any>
function M.fixed(bot)
  return of_bot(bot).fixed
end

-- Direct mode: a static block that a provider keeps is the same for every caller, so nothing is
-- filled into it.
local function parts_of(made, view, callback, unresolved)
  local out = {}
  for name, value in pairs(made.parts) do
    out[name] = value
  end
  local text, names = template.render_compiled(made.dynamic, view)
  gather(unresolved, names)
  out.dynamic_runtime_prompt = with(text, callback)
  if not made.parts.cache_enabled then
    out.static_system_prompt, names = template.render_compiled(made.static, view)
    gather(unresolved, names)
  end
  return out
end

local function system_prompt(bot, made, vars)
  if made.has_policy then
    return policy.build_policy_system_prompt(bot.system_prompt or "", bot.conversation_policy, vars)
  end
  return template.render_compiled(made.system, vars)
end

---The texts that differ from call to call: those M.fixed() has not.
---@param bot table complete, not changed from now on
---@param vars table<string, any> of the call
---@param listens boolean for callbacks, which only a bot with callback_prompt_injection does
---@return table<string, any> out system_prompt, prompt_parts and texts
---@return string[] unresolved names, some more than once
function M.of_call(bot, vars, listens)
  local made, out, unresolved = of_bot(bot), {}, {}
  local view = policy.view(bot.conversation_policy, vars)
  local callback = listens and callback_context(vars) or ""
  if not made.fixed.system_prompt then
    local prompt, names = system_prompt(bot, made, vars)
    gather(unresolved, names)
    out.system_prompt = with(prompt, callback)
  end
  for _, name in ipairs(M.texts) do
    if made.open[name] then
      local names
      out[name], names = template.render_compiled(made.open[name], view)
      gather(unresolved, names)
    end
  end
  out.prompt_parts = made.parts and parts_of(made, view, callback, unresolved)
  return out, unresolved
end

---All of them.
---@param bot table complete
---@param vars table<string, any> of the call
---@param listens boolean as above
---@return table<string, any> out system_prompt, prompt_parts and each text
---@return string[] unresolved names
function M.render(bot, vars, listens)
  local out, unresolved = M.of_call(bot, vars, listens)
  for name, value in pairs(M.fixed(bot)) do
    out[name] = value
  end
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
