-- Gemini models through the Gemini API (generativelanguage.googleapis.com), by API key.
local exchange = require("cxb.llm_exchange")
local gemini = require("providers.llm_gemini")

local M = {}

---Where a stage's model is and how one is let in; prompts are kept there too (cxb.kept_prompts).
---@param stage table
---@return table? door, string? code, string? message
function M.door(stage)
  local base = (stage.base_url or "https://generativelanguage.googleapis.com/v1beta")
    :gsub("/+$", "")
  if not base:match("^https?://") then
    return nil, "invalid", "base_url is no http URL"
  end
  local model = (stage.model:gsub("^models/", ""))
  return {
    name = "google", base = base, model_url = ("%s/models/%s"):format(base, model),
    kept_url = base .. "/cachedContents", kept_model = "models/" .. model,
    authorize = function(headers)
      headers["x-goog-api-key"] = stage.api_key
      return true
    end,
  }
end

---@param options table {stage, settings, vars}
---@return table? llm, string? code, string? message
function M.open(options)
  local stage = options.stage
  local door, code, message = M.door(stage)
  if not door then
    return nil, code, message
  end
  if not options.cold then
    exchange.warm(door.base .. "/models", { ["x-goog-api-key"] = stage.api_key })
  end
  return gemini.open(options, door)
end

return M
