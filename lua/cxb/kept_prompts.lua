-- Prompts that a provider keeps for a while: made, and forgotten again. Only Gemini's two doors
-- have handles for them; others keep what they have seen by themselves.
local gemini = require("cxb.gemini")
local json = require("cxb.json")
local prompt_cache = require("cxb.prompt_cache")

local M = {}

local doors = { google = "providers.llm_google", vertex = "providers.llm_vertex" }
local TIMEOUT_MS = 10000

---@return boolean whether this provider hands out handles
function M.has_handles(provider)
  return doors[provider] ~= nil
end

-- {url, headers} of a stage's door for a request of this method.
local function request_to(stage, method, public_only)
  local door, code, message = require(doors[stage.provider]).door(stage)
  if not door then
    return nil, code, message
  end
  local headers = { ["content-type"] = "application/json" }
  local ok
  ok, code, message = door.authorize(headers)
  if not ok then
    return nil, code, message
  end
  return {
    method = method, headers = headers, timeout_ms = TIMEOUT_MS, max_body = 256 * 1024,
    public_only = public_only,
  }, door
end

local function sent(o)
  local answer, code, message = cxb.http.request(o)
  if not answer then
    return nil, code, message
  elseif answer.status < 200 or answer.status > 299 then
    return nil, "http_" .. answer.status, "the provider refused it"
  end
  return answer
end

---(waits)
---@param stage table provider, api_key, model, base_url, extra
---@param prompt {static: string, tools?: table[], ttl_seconds: integer}
---@param public_only boolean|string of cxb.http
---@return string? handle, string? code, string? message
function M.make(stage, prompt, public_only)
  local o, door, message = request_to(stage, "POST", public_only)
  if not o then
    return nil, door, message
  end
  o.url = door.kept_url
  o.body = gemini.kept_body(door.kept_model, prompt.static, prompt.tools, prompt.ttl_seconds)
  local answer, code
  answer, code, message = sent(o)
  if not answer then
    return nil, code, message
  end
  local handle = (json.decode_object(answer.body or "") or {}).name
  if not prompt_cache.is_handle(handle) then
    return nil, "bad_response", "the answer names no kept prompt"
  end
  return handle
end

---(waits) One that is gone already counts as forgotten.
---@return true?, string? code, string? message
function M.forget(stage, handle, public_only)
  local o, door, message = request_to(stage, "DELETE", public_only)
  if not o then
    return nil, door, message
  end
  o.url = ("%s/%s"):format(door.base, handle)
  local answer, code
  answer, code, message = sent(o)
  if not answer and code ~= "http_404" and code ~= "http_403" then
    return nil, code, message
  end
  return true
end

return M
