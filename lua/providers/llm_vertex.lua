-- Gemini models through Vertex AI: project and location in the address, a bearer token. `api_key`
-- is a token as it stands, or the JSON key of a service account, exchanged for tokens (RFC 7523).
local exchange = require("cxb.llm_exchange")
local gemini = require("providers.llm_gemini")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local url = require("cxb.url")

local M = {}

local scope = "https://www.googleapis.com/auth/cloud-platform"
local early_ms = 60000

-- Tokens by key of a service account: they outlive a call. Who has not the whole key gets no token
-- of its account. No more than most_tokens are kept.
local tokens, kept, most_tokens = {}, 0, 64

local function ask_token(account)
  local token_uri = account.token_uri or "https://oauth2.googleapis.com/token"
  local now = math.floor(cxb.time.now() / 1000)
  local assertion, code, message = jwt.sign_rs256({
    iss = account.client_email, scope = scope, aud = token_uri, iat = now, exp = now + 3600,
  }, account.private_key, account.private_key_id)
  if not assertion then
    return nil, code, message
  end
  local answer
  answer, code, message = cxb.http.request({
    url = token_uri, method = "POST", timeout_ms = 5000,
    headers = { ["content-type"] = "application/x-www-form-urlencoded" },
    body = url.encode_query({ { "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer" },
      { "assertion", assertion } }),
  })
  if not answer then
    return nil, code == "timeout" and "timeout" or "network", message
  elseif answer.status ~= 200 then
    return nil, "http_" .. answer.status, "the token was refused"
  end
  local body = json.decode_object(answer.body)
  if not body or type(body.access_token) ~= "string" then
    return nil, "bad_response", "no access_token in the answer"
  end
  return { text = body.access_token,
    expires = cxb.time.mono() + (tonumber(body.expires_in) or 3600) * 1000 }
end

-- (waits) A token of the account, from the last time while it is good.
local function token_of(account)
  local key = cxb.crypto.sha256(account.client_email .. "\n" .. account.private_key)
  local known = tokens[key]
  if known and cxb.time.mono() < known.expires - early_ms then
    return known.text
  end
  local fresh, code, message = ask_token(account)
  if not fresh then
    return nil, code, message
  end
  if kept >= most_tokens then
    tokens, kept = {}, 0
  end
  kept = kept + (tokens[key] and 0 or 1)
  tokens[key] = fresh
  return fresh.text
end

local function account_of(api_key)
  if not api_key:match("^%s*{") then
    return nil
  end
  local account = json.decode_object(api_key)
  if not account or type(account.client_email) ~= "string"
    or type(account.private_key) ~= "string" then
    return nil, "api_key is no service account key: client_email and private_key are expected"
  end
  return account
end

local function host_of(location)
  return location == "global" and "https://aiplatform.googleapis.com"
    or ("https://%s-aiplatform.googleapis.com"):format(location)
end

---Where a stage's model is and how one is let in; prompts are kept there too (cxb.kept_prompts).
---@param stage table with extra.project_id and extra.location
---@return table? door, string? code, string? message
function M.door(stage)
  local extra = stage.extra or {}
  local account, why = account_of(stage.api_key or "")
  if why then
    return nil, "invalid", why
  end
  local project = extra.project_id or (account and account.project_id)
  local location = extra.location or "us-central1"
  if type(project) ~= "string" or not project:match("^[%w._:-]+$")
    or not location:match("^[%w-]+$") then
    return nil, "invalid", "extra.project_id and extra.location are expected"
  end
  local base = (stage.base_url or host_of(location)):gsub("/+$", "")
  local place = ("projects/%s/locations/%s"):format(project, location)
  local model = ("%s/publishers/google/models/%s"):format(place, stage.model)
  return {
    name = "vertex", account = account, base = base .. "/v1",
    model_url = ("%s/v1/%s"):format(base, model),
    kept_url = ("%s/v1/%s/cachedContents"):format(base, place), kept_model = model,
    authorize = function(headers)
      local token, code, message = stage.api_key, nil, nil
      if account then
        token, code, message = token_of(account)
      end
      if not token then
        return nil, code, message
      end
      headers.authorization = "Bearer " .. token
      return true
    end,
  }
end

---@param options table {stage, settings, vars}
---@return table? llm, string? code, string? message
function M.open(options)
  local door, code, message = M.door(options.stage)
  if not door then
    return nil, code, message
  end
  if not options.cold then
    exchange.warm((door.base:gsub("/v1$", "/")))
  end
  if door.account and not options.cold then
    cxb.task.spawn("vertex token", token_of, door.account)
  end
  return gemini.open(options, door)
end

return M
