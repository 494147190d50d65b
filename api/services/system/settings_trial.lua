-- Tries what the settings say (api.md §5.15): each answers whether it worked and a sentence; the
-- sentence never holds a credential.
local json = require("cxb.json")
local recording_store = require("services.recordings.store")
local tenant_url = require("services.web.tenant_url")
local vectors = require("services.knowledge.vectors")

local M = {}

local TIMEOUT_MS, ANSWER_MAX = 8000, 4 * 1024 * 1024

-- (waits) One request; nil and why when there was no answer below 300.
local function ask(options)
  options.timeout_ms, options.max_body = TIMEOUT_MS, ANSWER_MAX
  local answer, code, message = cxb.http.request(options)
  if not answer then
    return nil, ("no answer: %s"):format(message or code)
  elseif answer.status == 401 or answer.status == 403 then
    return nil, ("the credential is refused (%d)"):format(answer.status)
  elseif answer.status >= 300 then
    return nil, ("it answers %d"):format(answer.status)
  end
  return answer
end

---(waits) Writes an object, reads it back, removes it.
function M.minio(app)
  local key = ".cxb-trial-" .. cxb.crypto.hex(cxb.crypto.random(6))
  local there = recording_store.object(app, key)
  if not there then
    return true, "no keys are set: recordings are kept in the local folder"
  end
  local text = "cxb"
  local function step(method, body)
    local headers = {
      ["x-amz-content-sha256"] = cxb.crypto.hex(cxb.crypto.sha256(body or "")),
    }
    return ask({ url = there.url, method = method, headers = headers, s3 = there.s3, body = body })
  end
  local answer, why = step("PUT", text)
  if not answer then
    return false, "writing: " .. why
  end
  answer, why = step("GET")
  if not answer or answer.body ~= text then
    return false, "reading: " .. (why or "another content came back")
  end
  answer, why = step("DELETE")
  if not answer then
    return false, "removing: " .. why
  end
  return true, "an object was written, read and removed"
end

---(waits) Makes a vector, and asks the store of vectors for its collections.
function M.knowledge(_, settings)
  if not vectors.wanted(settings) then
    return true, "search by words needs no other server"
  end
  local made, err = vectors.embed(settings, { "test" }, TIMEOUT_MS)
  if not made then
    return false, "embedding: " .. err.message
  end
  local answer, why = ask({
    url = settings.knowledge.vectordb_url:gsub("/+$", "") .. "/collections",
    headers = { ["api-key"] = settings.knowledge.vectordb_api_key },
  })
  if not answer then
    return false, "store of vectors: " .. why
  end
  return true, "a vector was made, the store of vectors answers"
end

local function bearer(key)
  return { authorization = "Bearer " .. key }
end

-- The cheapest request of each provider that needs the key.
local providers = {
  openai = { "https://api.openai.com/v1", "/models", bearer },
  google = { "https://generativelanguage.googleapis.com/v1beta", "/models", function(key)
    return { ["x-goog-api-key"] = key }
  end },
  deepgram = { "https://api.deepgram.com", "/v1/projects", function(key)
    return { authorization = "Token " .. key }
  end },
  soniox = { "https://api.soniox.com", "/v1/models", bearer },
  elevenlabs = { "https://api.elevenlabs.io", "/v1/models", function(key)
    return { ["xi-api-key"] = key }
  end },
  sarvam = { "https://api.sarvam.ai", "/text-lid", function(key)
    return { ["api-subscription-key"] = key, ["content-type"] = "application/json" }
  end, { input = "hello" } },
}
local keyless = { embedded = true, rules = true }

---(waits) Asks a provider whether it takes the stored key.
---@return boolean? ok nil: no provider that can be asked
---@return string? message
function M.provider(app, settings, name, input)
  local entry = providers[name]
  if keyless[name] then
    return true, "needs no key"
  elseif not entry then
    return nil
  end
  local key = settings.api_keys[name]
  if not key then
    return false, "no key is stored"
  end
  local base, path, headers, body = entry[1], entry[2], entry[3], entry[4]
  local answer, why = ask({
    url = (input.base_url or base):gsub("/+$", "") .. path, headers = headers(key),
    method = body and "POST" or "GET", body = body and json.encode(body),
    public_only = tenant_url.exceptions(app),
  })
  return answer ~= nil, answer and "the key is taken" or why
end

return M
