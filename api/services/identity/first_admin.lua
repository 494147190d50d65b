-- The first administrator (api.md §3.4): from the environment, or by who holds the setup token, a
-- file of the state folder (0600) whose content is printed once. There is no default password.
local errors = require("services.web.errors")
local schema = require("cxb.schema")
local users = require("services.identity.users")

local M = {}

local TOKEN_MS = 24 * 60 * 60 * 1000

local function token_path(app)
  return app.settings.CXB_STATE_DIR .. "/setup_token"
end

-- Age of the token's file; nil when there is none.
local function token_age(app)
  local stat = cxb.fs.stat(token_path(app))
  return stat and cxb.time.now() - stat.mtime
end

local function print_once(app, token)
  local settings = app.settings
  local listen = settings.CXB_API_LISTEN
  local base = settings.CXB_PUBLIC_URL or (listen:match("^unix:") and "" or "http://" .. listen)
  cxb.process.print(("setup: %s/setup#token=%s\n"):format((base:gsub("/+$", "")), token))
end

---(waits) Once the process listens, and nobody is there yet: makes the token and prints it. Not
---before: a start that fails, as its port is taken, would have shown the link for nothing. Of
---several processes that start at once one makes it.
---@return true?, string? why
function M.offer(app)
  if not app.nobody_yet then
    return true
  end
  local age = token_age(app)
  if age and age < TOKEN_MS then
    return true
  elseif age then
    cxb.fs.remove(token_path(app))
  end
  local token = cxb.crypto.base64url(cxb.crypto.random(24))
  local ok, code, message = cxb.fs.write(token_path(app), token .. "\n",
    { mode = 384, exclusive = true })
  if ok then
    print_once(app, token)
  elseif code ~= "already_exists" then
    return nil, ("CXB_STATE_DIR: %s: %s"):format(token_path(app), message or code)
  end
  return true
end

local function from_environment(app)
  local settings = app.settings
  local email = schema.check({ type = "string", format = "email" }, settings.CXB_ADMIN_EMAIL)
  if not email then
    return nil, "CXB_ADMIN_EMAIL: the value is not valid, expected an address like ada@example.org"
  end
  local user, err = users.create(app.store, {
    email = email, name = email:match("^[^@]+"), role = "super_admin",
    password = settings.CXB_ADMIN_PASSWORD, first = true,
  })
  if not user and err.fields then
    return nil, "CXB_ADMIN_PASSWORD: the value " .. err.fields[1].message
  elseif not user and err.code ~= "duplicate" then
    return nil, err.message
  end
  return true
end

---(waits) At the start: makes the first user of the environment, when nobody is there yet.
---@return true?, string? why
function M.prepare(app)
  local email, password = app.settings.CXB_ADMIN_EMAIL, app.settings.CXB_ADMIN_PASSWORD
  if (email == nil) ~= (password == nil) then
    return nil, ("CXB_ADMIN_%s: is not set, expected with CXB_ADMIN_%s"):format(
      email and "PASSWORD" or "EMAIL", email and "EMAIL" or "PASSWORD")
  end
  local any, err = users.any(app.store)
  if any == nil then
    return nil, err.message
  elseif any then
    cxb.fs.remove(token_path(app))
    return true
  end
  if email then
    return from_environment(app)
  end
  app.nobody_yet = true
  return true
end

---(waits) Makes the first administrator for who holds the token.
---@param input {token: string, email: string, name: string, password: string}
---@return table? user, api.error? err 409 already_bootstrapped, 403 bad_setup_token
function M.claim(app, input)
  local done = errors.new(409, "already_bootstrapped", "There is an administrator already.")
  local any, err = users.any(app.store)
  if any == nil then
    return nil, errors.of_store(err)
  elseif any then
    return nil, done
  end
  local age = token_age(app)
  local token = age and age < TOKEN_MS and (cxb.fs.read(token_path(app)) or ""):match("%S+")
  if not token or not cxb.crypto.equal(token, input.token) then
    return nil, errors.new(403, "bad_setup_token", "The setup token is wrong or too old.")
  end
  local user, refused = users.create(app.store, {
    email = input.email, name = input.name, password = input.password, role = "super_admin",
    first = true,
  })
  if not user then
    return nil, refused.code == "duplicate" and done or refused
  end
  cxb.fs.remove(token_path(app))
  return user
end

return M
