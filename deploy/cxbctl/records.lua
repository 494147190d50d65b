-- Stored calls, read from the API.

local json = require("cjson.safe")
local envfile = require("cxb.envfile")
local paths = require("cxbctl.paths")

local M = {}

-- The header that opens internal routes; empty when there is no secret to be read.
local function secret_header()
  local secret = cxb.process.env("CXBCORE_SECRET")
  if not secret or secret == "" then
    local values = envfile.read(paths.state_dir() .. "/secrets.env")
    secret = values and values.CXBCORE_SECRET
  end
  return secret and { ["X-CXB-Core-Secret"] = secret } or {}
end

-- One request to the API; through the front's URL when one is given, else over its socket here.
local function request(method, path, url, body)
  local headers = secret_header()
  headers["Content-Type"] = body and "application/json" or nil
  local answer, code, message = cxb.http.request({
    url = (url or "http+unix:" .. paths.run_dir() .. "/api-1.sock:") .. path, method = method,
    headers = headers, body = body and json.encode(body), timeout_ms = 10000,
  })
  if not answer then return nil, ("the API does not answer: %s"):format(message or code) end
  local said = json.decode(answer.body or "")
  if answer.status ~= 200 then
    return nil, ("the API answers %d: %s"):format(answer.status,
      type(said) == "table" and (said.message or said.error) or (answer.body or ""):sub(1, 200))
  end
  if type(said) ~= "table" then return nil, "the API's answer is not JSON" end
  return said
end

---(waits) GET of an API path.
---@param path string "/api/v1/calls"
---@param url? string
---@return table? body, string? why
function M.get(path, url)
  return request("GET", path, url)
end

---(waits) What opens the browser's socket for one test call: {ticket, session_id}.
---@return table? ticket, string? why
function M.ticket(bot, url)
  return request("POST", ("/api/v1/bots/%s/test-call"):format(bot), url, { kind = "browser" })
end

---(waits) The newest calls.
---@return table[]? items, string? why
function M.list(limit, url)
  local body, why = M.get("/api/v1/calls?limit=" .. limit, url)
  return body and body.items, why
end

---(waits) The stored result of the call that `matches` a row of the list, once it is there.
---@param matches fun(row: table): boolean
---@return table? call, string? why
function M.wait_result(matches, timeout_ms, url)
  local deadline = cxb.time.mono() + timeout_ms
  local why = "no such call"
  repeat
    local items, failure = M.list(50, url)
    why = failure or why
    for _, row in ipairs(items or {}) do
      if matches(row) then
        why = "the call has not ended"
        if row.status ~= "in_progress" then
          return M.get("/api/v1/calls/" .. row.session_id, url)
        end
      end
    end
    cxb.time.sleep(100)
  until cxb.time.mono() >= deadline
  return nil, why
end

return M
