-- What becomes of a contact when the result of its call is known: rows 17 and 18 of the table of
-- transitions. A pure function of contact, campaign, call and time, shared by API and Dialler.
local callback_time = require("cxb.campaign.callback_time")
local list = require("cxb.list")
local windows = require("cxb.campaign.windows")

local M = {}

local MINUTE = 60000
local SPREAD = 0.1 -- of the retry delay
local CONFIDENCE_MIN = 0.5

local defaults = {
  max_attempts = 3, retry_delay_minutes = 30,
  retry_on_system = { "no_answer", "rejected", "RNR", "error", "timeout" }, retry_on_custom = {},
}

-- Ends that are outcomes of their own; every other end is a conversation.
local named = {
  error = true, no_answer = true, rejected = true, timeout = true, RNR = true, voicemail = true,
  outside_hours = true, invalid_number = true, abandoned = true, amd_machine = true,
}

---@param disconnected_by? string of a result
---@return string "conversation" or the named one
function M.outcome(disconnected_by)
  return named[disconnected_by] and disconnected_by or "conversation"
end

local function rule_of(campaign, name)
  local rules = campaign.config.redial_rules or {}
  return rules[name] == nil and defaults[name] or rules[name]
end

-- Models answer in words, too.
local function is_yes(value)
  local word = type(value) == "string" and value:lower() or value
  return word == true or word == "true" or word == "yes"
end

---What a call's analysis says of a wish to be called again; no other key is read.
---@return {time_text?: string, reason?: string, confidence?: number}? nil: none, or not sure enough
function M.extract_callback_request(analysis)
  if type(analysis) ~= "table" or not is_yes(analysis.callback_requested) then
    return nil
  end
  local confidence = tonumber(analysis.callback_confidence)
  if confidence and confidence < CONFIDENCE_MIN then
    return nil
  end
  local function text(name)
    local value = analysis[name]
    return type(value) == "string" and value ~= "" and value:sub(1, 1000) or nil
  end
  return { time_text = text("callback_preferred_time_text"), reason = text("callback_reason"),
    confidence = confidence }
end

-- Whether a callback could still take place: not in a stopped campaign, nor after a single day.
local function may_follow(campaign, at, now)
  if campaign.status ~= "running" and campaign.status ~= "paused" then
    return false
  elseif campaign.config.campaign_mode ~= "single_day" then
    return true
  end
  local window = windows.of_campaign(campaign.config)
  return at < windows.cut_off(window, campaign.run_started_at or now)
end

local function callback(input, wish)
  local contact, campaign, now = input.contact, input.campaign, input.ended_at
  local before = contact.callback or {}
  local sequence = (before.sequence or 0) + 1
  local resolved = callback_time.resolve(wish.time_text, now, campaign, contact.zone_key)
  local record = {
    active = true, requested = true, status = "scheduled", sequence = sequence, requested_at = now,
    scheduled_at = resolved.at, time_text = wish.time_text, reason = wish.reason,
    confidence = wish.confidence, resolved_by = resolved.reason,
  }
  if not resolved.at or not may_follow(campaign, resolved.at, now) then
    record.active, record.status, record.scheduled_at = false, "cancelled", nil
    return { status = "completed", callback = record }
  elseif sequence > input.max_reschedules + 1 then
    record.active, record.status, record.scheduled_at = false, "cancelled", nil
    return { status = "exhausted", cause = "callback_limit", callback = record }
  end
  return { status = "callback_scheduled", next_retry_at = resolved.at, callback = record }
end

-- A callback that was dialled is over, whatever followed from it.
local function closed_callback(contact)
  local record = contact.callback
  if not record or not record.active then
    return nil
  end
  local twin = {}
  for key, value in pairs(record) do
    twin[key] = value
  end
  twin.active, twin.status = false, "completed"
  return twin
end

local function next_open(input, at)
  return windows.next_open(windows.of(input.campaign.config, input.contact.zone_key), at)
end

-- The contact's one budget, over all outcomes and rules.
local function retry(input, at, uncounted)
  if input.campaign.status ~= "running" and input.campaign.status ~= "paused" then
    return { status = "exhausted", cause = "campaign_over", uncounted = uncounted }
  end
  local open = next_open(input, at)
  if not open then
    return { status = "exhausted", cause = "window_never_opens", uncounted = uncounted }
  end
  return { status = "retry_scheduled", next_retry_at = open, uncounted = uncounted }
end

local function by_outcome(input, outcome)
  local contact, campaign = input.contact, input.campaign
  if outcome == "outside_hours" then
    return retry(input, input.now, true)
  end
  local retryable = list.has(rule_of(campaign, "retry_on_system"), outcome)
    or (input.disposition ~= nil
      and list.has(rule_of(campaign, "retry_on_custom"), input.disposition))
  if retryable and contact.attempts_made < rule_of(campaign, "max_attempts") then
    local delay = rule_of(campaign, "retry_delay_minutes") * MINUTE
    return retry(input, input.ended_at + math.floor(delay * (1 + SPREAD * input.spread)))
  elseif retryable then
    return { status = "exhausted", cause = "attempts_used" }
  elseif outcome == "conversation" or outcome == "voicemail" then
    return { status = "completed" }
  end
  return { status = "exhausted", cause = "not_retried" }
end

---@class cxb.campaign.result
---@field contact table
---@field campaign table
---@field now number ms
---@field ended_at number ms of the call
---@field disconnected_by? string
---@field disposition? string
---@field analysis? table
---@field spread number 0 … 1, the same each time for the same attempt
---@field max_reschedules integer
---@param input cxb.campaign.result
---@return {status: string, outcome: string, next_retry_at?: number, cause?: string,
---callback?: table, uncounted?: boolean} uncounted: the attempt does not use the budget
function M.decide(input)
  local outcome = M.outcome(input.disconnected_by)
  local wish = M.extract_callback_request(input.analysis)
  local enabled = (input.campaign.config.callback_detection or {}).enabled == true
  local decision
  if type(input.analysis) == "table" and is_yes(input.analysis.do_not_call) then
    decision = { status = "dnc" }
  elseif enabled and wish then
    decision = callback(input, wish)
  else
    decision = by_outcome(input, outcome)
  end
  decision.outcome = outcome
  decision.callback = decision.callback or closed_callback(input.contact)
  return decision
end

return M
