-- Agent Assist (api.md §5.18): moments whose words in a conversation bring a card to the agent.
local desk = require("services.desk")
local errors = require("services.web.errors")
local json = require("cxb.json")
local media = require("services.desk.media")
local system_settings = require("services.system.settings")
local text = require("cxb.text")
local times = require("cxb.times")

local M = {}

local COLLECTION, MOMENTS_MAX, KEPT_MS = "agent_assist_moments", 1000, 5000

-- A text as its words between single blanks: a phrase in it is found whole.
local function folded(source)
  return " " .. table.concat(text.words(source), " ") .. " "
end

local function has_any(line, phrases)
  for _, phrase in ipairs(phrases or {}) do
    local wanted = folded(phrase)
    if wanted ~= "  " and line:find(wanted, 1, true) then
      return true
    end
  end
  return false
end

local function language_fits(moment, language)
  local codes = moment.language_codes
  if not codes or #codes == 0 or not language then
    return true
  end
  for _, code in ipairs(codes) do
    if code:lower():match("^%a+") == language:lower():match("^%a+") then
      return true
    end
  end
  return false
end

local function first(a, b)
  if a.priority ~= b.priority then
    return a.priority > b.priority
  end
  return a._id < b._id
end

---The moments whose words are in a line, the most important first.
---@param moments table[]
---@param line {text: string, speaker: string, language?: string}
---@return table[]
function M.matches(moments, line)
  local words, out = folded(line.text), {}
  for _, moment in ipairs(moments) do
    local speaks = moment.speaker == "both" or moment.speaker == line.speaker
    if speaks and language_fits(moment, line.language) and has_any(words, moment.trigger_phrases)
      and not has_any(words, moment.negative_phrases) then
      out[#out + 1] = moment
    end
  end
  table.sort(out, first)
  return out
end

-- Whether a moment may be shown again in a call.
local function is_due(moment, tips, now)
  local shown, last = 0, nil
  for _, tip in ipairs(tips or {}) do
    if tip.moment_id == moment._id then
      shown, last = shown + 1, tip.at
    end
  end
  if moment.once_per_call then
    return shown == 0
  end
  return shown < moment.max_per_call
    and (not last or now - last >= moment.cooldown_seconds * 1000)
end

local function card(moment, now)
  return {
    moment_id = moment._id, title = moment.card_title or moment.name,
    suggestion = moment.suggestion, category = moment.category,
    compliance_required = moment.compliance_required, at = now,
  }
end

---The card a line brings, one at most.
---@param tips table[] those of the call so far
---@param pause_ms number the least time between two cards of a call
---@return table? tip
function M.choose(moments, line, tips, now, pause_ms)
  local last = tips and tips[#tips]
  local paused = last and now - last.at < pause_ms
  for _, moment in ipairs(M.matches(moments, line)) do
    if is_due(moment, tips, now) and (not paused or moment.compliance_required) then
      return card(moment, now)
    end
  end
end

-- (waits) The enabled moments, kept for a few seconds.
local function enabled_moments(app)
  local kept = app.moments_kept
  if kept and kept.until_ms > cxb.time.mono() then
    return kept.list
  end
  local list, err = app.store:find(COLLECTION, { enabled = true }, { limit = MOMENTS_MAX })
  if not list then
    return nil, err
  end
  app.moments_kept = { list = list, until_ms = cxb.time.mono() + KEPT_MS }
  return list
end

---Forgets the kept moments: somebody wrote.
function M.drop(app)
  app.moments_kept = nil
end

local function told(tip)
  local out = {}
  for name, value in pairs(tip) do
    out[name] = value
  end
  out.at = times.format(tip.at)
  return out
end

---(waits) A line of a desk call: its card goes to the agent and is kept on the call.
function M.hear(app, call, line)
  local settings = system_settings.get(app)
  local assist = settings and settings.agent_assist
  local speaker = line.role == "agent" and "agent" or "customer"
  if not assist or not assist.enabled or line.role == "bot"
    or (assist.listen_to ~= "both" and assist.listen_to ~= speaker) then
    return
  end
  local moments = enabled_moments(app)
  if not moments or #moments == 0 then
    return
  end
  local tip
  local kept = desk.change(app, call._id, function(found)
    tip = M.choose(moments, { text = line.text, speaker = speaker, language = found.language },
      found.tips, cxb.time.now(), assist.suggestion_cooldown_seconds * 1000)
    return tip and { push = { tips = tip } }
  end)
  if kept and tip then
    media.send(app, kept, "copilot.tip", told(tip))
    app.events:publish("desk", "copilot.tip", { call_id = kept._id, agent_id = kept.agent_id,
      tip = told(tip) })
  end
end

---(waits) What a sentence would bring.
---@param sentence {text: string, speaker: string, language?: string}
---@return table? answer {tip, matches}, api.error? err
function M.try(app, sentence)
  local list, err = app.store:find(COLLECTION, {}, { limit = MOMENTS_MAX })
  if not list then
    return nil, errors.of_store(err)
  end
  local matches, tip = json.array(), json.null
  for _, moment in ipairs(M.matches(list, sentence)) do
    matches[#matches + 1] = { moment_id = moment._id, name = moment.name,
      priority = moment.priority, enabled = moment.enabled }
    if moment.enabled and tip == json.null then
      tip = told(card(moment, cxb.time.now()))
    end
  end
  return { tip = tip, matches = matches }
end

return M
