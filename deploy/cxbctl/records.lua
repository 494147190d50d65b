-- Stored calls, read from the API: over its control socket here, which the operator of the machine
-- may open; of another host with an API key (CXB_API_KEY, scope calls:read).

local json = require("cxb.json")
local paths = require("cxbctl.paths")

local M = {}

local function said(status, body)
  if status == 200 then return body end
  return nil, ("the API answers %s: %s"):format(tostring(status),
    type(body) == "table" and tostring(body.message or body.error) or tostring(body):sub(1, 200))
end

-- (waits) One request to the API of this machine.
local function ask_here(method, path, query, body)
  local answer, code, message = cxb.process.control(paths.run_dir() .. "/ctl/api.sock",
    { verb = "request", method = method, path = path, query = query, body = body }, 10000)
  if not answer then return nil, ("the API does not answer: %s"):format(message or code) end
  if answer.ok ~= true then return nil, tostring(answer.error) end
  return said(answer.status, answer.body)
end

-- (waits) A GET through a front.
local function ask_there(url, path, query)
  local answer, code, message = cxb.http.request({
    url = url .. path .. (query and "?" .. query or ""), timeout_ms = 10000,
    headers = { ["X-API-Key"] = cxb.process.env("CXB_API_KEY") },
  })
  if not answer then return nil, ("the API does not answer: %s"):format(message or code) end
  return said(answer.status, json.decode_object(answer.body or "") or answer.body)
end

---(waits) GET of an API path.
---@param path string "/api/v1/calls"
---@param query? string
---@param url? string of another host's front
---@return table? body, string? why
function M.get(path, query, url)
  if url then return ask_there((url:gsub("/+$", "")), path, query) end
  return ask_here("GET", path, query)
end

---(waits) What opens the browser's socket for one test call here: {ticket, session_id}.
---@return table? ticket, string? why
function M.ticket(bot)
  return ask_here("POST", ("/api/v1/bots/%s/test-call"):format(bot), nil, { kind = "browser" })
end

---(waits) The newest calls.
---@return table[]? items, string? why
function M.list(limit, url)
  local body, why = M.get("/api/v1/calls", "limit=" .. limit, url)
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
          return M.get("/api/v1/calls/" .. row.session_id, nil, url)
        end
      end
    end
    cxb.time.sleep(100)
  until cxb.time.mono() >= deadline
  return nil, why
end

return M
