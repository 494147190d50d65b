-- No secret that a spec uses may leave the API: each is looked for in every answer it gives and in
-- every line it writes. What a request or an environment variable calls a secret is one.
local at_end = require("support.at_end")

local M = {}

local SHORTEST = 10 -- anything shorter is found by chance

local secrets, processes = {}, {}

-- Whom the contract gives secrets: a call worker its providers' keys, a joining host the fleet's.
local trusted = { "^/api/v1/config/", "^/api/v1/fleet/join$" }

local function is_secret_name(name)
  name = tostring(name):lower()
  return name:find("password", 1, true) ~= nil or name:find("secret", 1, true) ~= nil
    or name:match("api_?token$") ~= nil or name:match("auth_token$") ~= nil
    or name:match("secrets_key") ~= nil
end

---Notes a secret.
function M.add(text)
  if #text >= SHORTEST and not text:find("•", 1, true) and not text:find("@", 1, true) then
    secrets[text] = true
  end
end

---Notes what is called a secret in a request's body or an environment.
function M.note(value, name)
  if type(value) == "string" and name and is_secret_name(name) then
    M.add(value)
  elseif type(value) == "table" then
    for key, item in pairs(value) do
      M.note(item, type(key) == "string" and key or name)
    end
  end
end

local function look(text, where)
  for secret in pairs(secrets) do
    if text:find(secret, 1, true) then
      error(("a secret (%s…) stands in %s"):format(secret:sub(1, 3), where), 0)
    end
  end
end

---Raises an error when an answer holds a secret.
function M.check(answer, method, path)
  for _, pattern in ipairs(trusted) do
    if path:match(pattern) then
      return
    end
  end
  look(answer.body or "", ("the answer of %s %s"):format(method, path:match("^[^?]*")))
  for name, value in pairs(answer.headers) do
    look(value, ("the header %s of %s"):format(name, path))
  end
end

---A process whose output is looked through at the end of the file.
function M.watch(process)
  processes[#processes + 1] = process
end

at_end.add(function()
  for _, process in ipairs(processes) do
    look(process:output(), "the API's log")
  end
end)

return M
