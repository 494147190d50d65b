-- What a language model makes of the bot's part of a call, for the agent who takes it. Made while
-- the caller waits; when that fails there is none.
local errors = require("services.web.errors")
local provider_keys = require("services.runtime_config.provider_keys")
local providers = require("providers")
local system_settings = require("services.system.settings")
local tenant_url = require("services.web.tenant_url")
local views = require("services.desk.views")

local M = {}

local LINES, TOKENS, FIRST_MS, TOTAL_MS, BYTES_MAX = 60, 400, 10000, 20000, 1000

local prompt = "You prepare a human agent for a telephone call that a bot hands over. Say in at "
  .. "most three short sentences who calls, what they want and what has been settled. Plain text."

-- (waits) The model: that of the settings, else the bot's own.
local function stage_of(app, call)
  local settings, err = system_settings.get(app)
  if not settings then
    return nil, errors.of_store(err)
  end
  local assist = settings.agent_assist
  if assist.llm_provider and assist.llm_model then
    local stage = { provider = assist.llm_provider, model = assist.llm_model }
    local missing
    stage.api_key, missing = provider_keys.of(settings.api_keys, stage)
    return not missing and stage or nil
  end
  local bot = call.bot_id and app.store:get("bots", call.bot_id)
  local stages = bot and provider_keys.stages(app, bot)
  return stages and stages.llm
end

local speakers = { bot = "Bot", customer = "Customer", agent = "Agent" }

local function conversation(call)
  local lines, from = {}, math.max(1, #call.transcript - LINES + 1)
  for i = from, #call.transcript do
    local line = call.transcript[i]
    lines[#lines + 1] = ("%s: %s"):format(speakers[line.role] or line.role, line.text)
  end
  if call.escalation_reason then
    lines[#lines + 1] = "Handed over because: " .. call.escalation_reason
  end
  return table.concat(lines, "\n")
end

---(waits) The summary; nil when there is none.
---@return string? summary, string? code, string? message
function M.make(app, call)
  local stage = stage_of(app, call)
  if not stage or stage.provider == "rules" or stage.provider == "none" then
    return nil, "no_model"
  elseif (stage.base_url or "") ~= "" and tenant_url.refused(app, stage.base_url) then
    return nil, "url_not_allowed"
  end
  local provider = providers.get("llm", stage.provider)
  if not provider then
    return nil, "no_model"
  end
  local llm, code, message = provider.open({ stage = stage, settings = app.settings, vars = {},
    cold = true })
  if not llm then
    return nil, code, message
  end
  local answer
  answer, code, message = llm:stream({
    messages = { { role = "system", content = prompt },
      { role = "user", content = conversation(call) } },
    temperature = 0, max_tokens = TOKENS, first_ms = FIRST_MS, total_ms = TOTAL_MS,
  })
  llm:close()
  if not answer or answer.text == "" then
    return nil, code or "empty", message
  end
  return answer.text:sub(1, BYTES_MAX)
end

---Begins a summary in the background.
function M.begin(app, call)
  if #call.transcript == 0 then
    return
  end
  cxb.task.spawn("summary", function()
    local summary, code, message = M.make(app, call)
    if not summary then
      if code ~= "no_model" then
        cxb.log.warn("no summary for the agent", { call_id = call._id, code = code,
          error = message })
      end
      return
    end
    local changed = app.store:update("agent_desk_calls", call._id, { set = { summary = summary } })
    if changed and changed.state == "waiting" then
      app.events:publish("desk", "call.updated", views.queued(changed, cxb.time.now()))
    elseif changed then
      app.events:publish("desk", "call.updated", views.brief(changed))
    end
  end)
end

return M
