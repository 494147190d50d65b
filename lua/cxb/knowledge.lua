-- Questions to the knowledge base: the API's search, on the model's behalf (core spec §5.3).
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")

local M = {}

local limit_ms = 1500

---The tool the model is offered.
---@param config table of the call
---@return table definition
function M.definition(config)
  local when = config.knowledge_trigger_instructions or ""
  return { type = "function", ["function"] = {
    name = "search_knowledge",
    description = "Searches the knowledge base for facts to answer with."
      .. (when ~= "" and " " .. when or ""),
    parameters = { type = "object", required = { "query" }, properties = {
      query = { type = "string", description = "What to look for, in a few words." } } },
  } }
end

local function ask(settings, api, config, query)
  local target = api .. "/knowledge/search"
  local answer, code = cxb.http.request({
    url = target, method = "POST", timeout_ms = limit_ms, max_body = 1024 * 1024,
    headers = outgoing.headers(settings, target, { ["content-type"] = "application/json" }),
    body = json.encode(json.object({
      { "kb_ids", json.array(config.knowledge_kb_ids) }, { "query", query },
      { "top_k", config.knowledge_top_k },
      { "score_threshold", config.knowledge_score_threshold },
    })),
  })
  if not answer then
    return nil, code == "timeout" and "timeout" or "network"
  elseif answer.status ~= 200 then
    return nil, "http_" .. answer.status
  end
  local body = json.decode_object(answer.body)
  if not body or type(body.results) ~= "table" then
    return nil, "bad_response"
  end
  return body.results
end

-- What the model is told of a search.
local function told(config, results, code)
  local found = json.array()
  for i, result in ipairs(results or {}) do
    found[i] = json.object({ { "title", result.title }, { "text", result.text } })
  end
  local fallback = config.knowledge_fallback_message or ""
  if #found == 0 and config.knowledge_strict and fallback ~= "" then
    return json.encode(json.object({ { "results", found }, { "answer", fallback },
      { "instruction", "Nothing was found. Say the answer given here, and nothing else." } })),
      fallback
  elseif code then
    return json.encode({ error = code })
  end
  return json.encode({ results = found })
end

---(waits at most 1.5 s)
---@param settings table
---@param api string? base URL of the API
---@param config table of the call
---@param query string
---@return string text for the model
---@return {status: string|integer, results: integer, fallback?: string} info fallback: strict
---search found nothing, these words are the answer
function M.search(settings, api, config, query)
  local results, code
  if api then
    results, code = ask(settings, api, config, query)
  else
    code = "no_api"
  end
  local text, fallback = told(config, results, code)
  return text, { status = code or 200, results = results and #results or 0, fallback = fallback }
end

return M
