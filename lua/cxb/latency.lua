-- One answer's delay, from the caller's last voiced frame to the first frame of the bot's words, in
-- parts that do not overlap and sum exactly (core spec §7). All times are monotonic milliseconds.
local M = {}

local function whole(ms)
  return math.max(0, math.floor(ms + 0.5))
end

---@class cxb.latency.times
---@field turn integer
---@field voiced_at number the caller's last voiced frame
---@field decided_at number the turn was over
---@field final_at number its words were there
---@field speak_at? number the voice was asked for
---@field audio_at? number its first audio came
---@field frame_at number the first frame was given to the transport
---@field rag_ms? number
---@field tool_ms? number
---@field llm_ms? number

---@param t cxb.latency.times
---@return table sample
function M.sample(t)
  local total = whole(t.frame_at - t.voiced_at)
  local left = total
  local function take(ms)
    local part = math.min(left, whole(ms))
    left = left - part
    return part
  end
  -- In the order in which they happen; what a later part cannot have is not there to be had.
  local endpoint = take(t.decided_at - t.voiced_at)
  local stt = take(t.final_at - t.decided_at)
  local rag = take(t.rag_ms or 0)
  local tool = take(t.tool_ms or 0)
  local llm = take(t.llm_ms or 0)
  local tts = take(t.speak_at and t.audio_at and t.audio_at - t.speak_at or 0)
  return {
    turn = t.turn, endpoint_ms = endpoint, stt_ms = stt, rag_ms = rag, tool_ms = tool,
    llm_ttft_ms = llm, tts_ttfb_ms = tts, host_ms = left, total_ms = total,
  }
end

local parts = { "endpoint_ms", "stt_ms", "rag_ms", "tool_ms", "llm_ttft_ms", "tts_ttfb_ms",
  "host_ms" }

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))]
end

---@param samples table[]
---@param framing_ms? integer the wire's own chunk
---@return table? summary nil without samples
function M.summary(samples, framing_ms)
  if #samples == 0 then
    return nil
  end
  local out, totals, sum = { turns = #samples, framing_ms = framing_ms or 0 }, {}, 0
  for i, sample in ipairs(samples) do
    totals[i] = sample.total_ms
    sum = sum + sample.total_ms
  end
  table.sort(totals)
  out.total_avg_response_ms = whole(sum / #samples)
  out.p50_ms, out.p95_ms = percentile(totals, 0.5), percentile(totals, 0.95)
  for _, part in ipairs(parts) do
    local of_part = 0
    for _, sample in ipairs(samples) do
      of_part = of_part + sample[part]
    end
    out[part] = whole(of_part / #samples)
  end
  return out
end

return M
