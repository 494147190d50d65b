-- Gemini models through the Gemini API (generativelanguage.googleapis.com), by API key.
local exchange = require("cxb.llm_exchange")
local gemini = require("providers.llm_gemini")

local M = {}

---@param options table {stage, settings, vars}
---@return table? llm, string? code, string? message
function M.open(options)
  local stage = options.stage
  local base = (stage.base_url or "https://generativelanguage.googleapis.com/v1beta")
    :gsub("/+$", "")
  if not base:match("^https?://") then
    return nil, "invalid", "base_url is no http URL"
  end
  if not options.cold then
    exchange.warm(base .. "/models", { ["x-goog-api-key"] = stage.api_key })
  end
  return gemini.open(options, {
    name = "google",
    model_url = ("%s/models/%s"):format(base, (stage.model:gsub("^models/", ""))),
    authorize = function(headers)
      headers["x-goog-api-key"] = stage.api_key
      return true
    end,
  })
end

return M
