-- cxbctl admin create: the first administrator, by the setup token of this machine.

local json = require("cxb.json")
local paths = require("cxbctl.paths")

local M = {
  summary = "make the first administrator",
  operands = true,
  usage = "create --email E --name N [options]",
  example = "cxbctl admin create --email ada@example.org --name Ada <password.txt",
  options = {
    { name = "email", value = "E", help = "what the administrator signs in with" },
    { name = "name", value = "N", help = "the administrator's name" },
    { name = "url", value = "URL", help = "of the front; else the API's socket here" },
  },
}

-- CXB_ADMIN_PASSWORD, else a line of standard input; a terminal does not show it.
local function read_password(out)
  local given = cxb.process.env("CXB_ADMIN_PASSWORD")
  if given and given ~= "" then return given end
  local terminal = cxb.process.env("CXB_TTY") == "1"
  if terminal then
    out:say("Password, 10 to 128 characters:")
    os.execute("stty -echo")
  end
  local line = io.read("*l")
  if terminal then os.execute("stty echo") end
  return line
end

local function read_token()
  local path = paths.state_dir() .. "/setup_token"
  local text, code, message = cxb.fs.read(path)
  if text then return text:match("%S+") end
  return nil, code == "not_found" and "there is no setup token: somebody has set up already"
    or ("%s: %s"):format(path, message or code)
end

function M.run(options, rest, out)
  if rest[1] ~= "create" or not options.email or not options.name then
    out:fail("expected: create --email E --name N", "cxbctl admin --help")
    return 2
  end
  local token, why = read_token()
  if not token then
    out:fail(why, "cxbctl status")
    return 1
  end
  local password = read_password(out)
  local base = options.url and options.url:gsub("/+$", "")
    or "http+unix:" .. paths.run_dir() .. "/api-1.sock:"
  local answer, code, message = cxb.http.request({
    url = base .. "/api/v1/auth/bootstrap", method = "POST", timeout_ms = 20000,
    headers = { ["content-type"] = "application/json" },
    body = json.encode({ token = token, email = options.email, name = options.name,
      password = password or "" }),
  })
  if not answer then
    out:fail("the API does not answer: " .. (message or code), "cxbctl status")
    return 1
  end
  local said = json.decode_object(answer.body or "") or {}
  if answer.status ~= 201 then
    local field = said.fields and said.fields[1]
    out:fail(field and ("%s %s"):format(field.path, field.message)
      or tostring(said.message or answer.status))
    return 1
  end
  out:say(("%s may sign in"):format(said.user.email))
  if out.json then out:object({ ok = true, id = said.user.id, email = said.user.email }) end
  return 0
end

return M
