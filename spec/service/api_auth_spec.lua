-- stores: both
-- timeout: 300
local support = require("support.world")
local process = require("support.api_process")
local redis_server = require("support.redis_server")
local json = require("cxb.json")
local times = require("cxb.times")

local PASSWORD = "a long enough word"

describe("the first administrator", function()
  local world = support.new()
  after_each(function()
    world:close()
  end)

  local function bootstrap(api, token, email)
    return api:ask("POST", "/api/v1/auth/bootstrap", { secret = false, body = {
      token = token, email = email or "Ada@Example.org", name = "Ada", password = PASSWORD } })
  end

  local function printed(api)
    return world:wait_until("the setup link", function()
      return api.process:output():match("setup: %S*/setup#token=([%w_-]+)")
    end)
  end

  it("is made once, by who holds the token that the first start prints once", function()
    local api = process.start(world, { env = { CXB_ADMIN_EMAIL = "", CXB_ADMIN_PASSWORD = "" } })
    local path = api.dir .. "/state/setup_token"
    local token = printed(api)
    assert.same({ 384, token, 32 }, { cxb.fs.stat(path).mode % 512,
      world:read(path):match("%S+"), #token })
    assert.is_true(api:ask("GET", "/api/v1/auth/bootstrap", { secret = false }).answer.needed)
    api.process:stop()
    api:run()
    assert.is_nil(api.process:output():find(token, 1, true))
    assert.equal("bad_setup_token", bootstrap(api, ("x"):rep(32)).answer.error)
    assert.equal(422, bootstrap(api, token, "nobody").status)
    local made = process.at_once(2, function()
      return bootstrap(api, token)
    end)
    table.sort(made, function(a, b)
      return a.status < b.status
    end)
    assert.same({ 201, 409, "already_bootstrapped" }, { made[1].status, made[2].status,
      made[2].answer.error })
    assert.same({ "ada@example.org", "super_admin" }, { made[1].answer.user.email,
      made[1].answer.user.role })
    assert.equal(200, api:ask("GET", "/api/v1/auth/me",
      { token = made[1].answer.access_token }).status)
    assert.is_false(api:ask("GET", "/api/v1/auth/bootstrap", { secret = false }).answer.needed)
    assert.is_nil(cxb.fs.stat(path))
    assert.equal(409, bootstrap(api, token).status)
    for _, guess in ipairs({ "admin", "password", "changeme", "cxb", "" }) do
      assert.equal(401, api:ask("POST", "/api/v1/auth/login", { secret = false,
        body = { email = "admin@example.org", password = guess } }).status)
    end
  end)

  it("comes from the environment, and later starts change nothing", function()
    local api = process.start(world)
    local function sign_in(password)
      return api:ask("POST", "/api/v1/auth/login", { secret = false,
        body = { email = process.ADMIN, password = password } }).status
    end
    assert.is_nil(api.process:output():match("setup:"))
    assert.equal(200, sign_in(process.PASSWORD))
    api.env.CXB_ADMIN_PASSWORD = "another long word"
    api.process:stop()
    api:run()
    assert.same({ 200, 401 }, { sign_in(process.PASSWORD), sign_in("another long word") })
  end)
end)

describe("a person", function()
  local world, api, made = support.new(), nil, 0

  setup(function()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  -- A user of a role, and a session of theirs.
  local function person(role, more)
    made = made + 1
    local body = { email = ("%s-%d@example.org"):format(role, made), name = "P" .. made,
      role = role, password = PASSWORD }
    for name, value in pairs(more or {}) do
      body[name] = value ~= "" and value or nil
    end
    local answer = api:ask("POST", "/api/v1/auth/register", { body = body })
    assert.equal(201, answer.status)
    answer.answer.token = process.token(body.email)
    return answer.answer
  end

  local function sign_in(email, password, headers)
    return api:ask("POST", "/api/v1/auth/login", { secret = false, headers = headers,
      body = { email = email, password = password } })
  end

  local function as(token, method, path, body)
    return api:ask(method, "/api/v1" .. path, { token = token, body = body })
  end

  it("signs in with any case of the address, and out", function()
    local user = person("agent")
    local session = sign_in(user.email:upper(), PASSWORD)
    assert.same({ 200, "bearer", 28800, user.id }, { session.status, session.answer.token_type,
      session.answer.expires_in, session.answer.user.id })
    assert.is_nil(session.body:find("password_hash", 1, true))
    local token = session.answer.access_token
    assert.equal(200, as(token, "GET", "/auth/me").status)
    assert.equal(204, as(token, "POST", "/auth/logout").status)
    assert.equal(401, as(token, "GET", "/auth/me").status)
    assert.equal(200, as(sign_in(user.email, PASSWORD).answer.access_token, "GET", "/auth/me").status)
  end)

  it("who is switched off, or whose sessions ended, is refused from the next request on", function()
    local user = person("admin")
    assert.equal(200, as(user.token, "GET", "/users").status)
    local off = api:ask("POST", "/api/v1/users/" .. user.id .. "/deactivate")
    assert.same({ 200, false }, { off.status, off.answer.is_active })
    assert.equal(401, as(user.token, "GET", "/users").status)
    assert.equal("invalid_credentials", sign_in(user.email, PASSWORD).answer.error)
    assert.is_true(api:ask("POST", "/api/v1/users/" .. user.id .. "/deactivate").answer.is_active)
    assert.equal(401, as(user.token, "GET", "/users").status)
    assert.equal(200, sign_in(user.email, PASSWORD).status)
  end)

  it("gains nothing by a raised claim", function()
    local user = person("agent")
    local raised = process.token(user.email, { role = "super_admin" })
    assert.equal("agent", as(raised, "GET", "/auth/me").answer.role)
    assert.equal(403, as(raised, "GET", "/users").status)
    assert.equal(403, as(raised, "GET", "/settings").status)
  end)

  it("with a temporary password may only change it", function()
    local user = person("admin", { password = "" })
    assert.equal(16, #user.temporary_password)
    local token = sign_in(user.email, user.temporary_password).answer.access_token
    assert.equal("password_change_required", as(token, "GET", "/users").answer.error)
    assert.is_true(as(token, "GET", "/auth/me").answer.must_change_password)
    assert.equal(204, as(token, "PUT", "/auth/me/password", {
      current_password = user.temporary_password, new_password = PASSWORD }).status)
    assert.equal(200, as(token, "GET", "/users").status)
  end)

  it("who changes the password keeps this session and ends the others", function()
    local user = person("supervisor")
    local one = sign_in(user.email, PASSWORD).answer.access_token
    local other = sign_in(user.email, PASSWORD).answer.access_token
    local function change(current, new)
      return as(one, "PUT", "/auth/me/password", { current_password = current, new_password = new })
    end
    assert.equal("wrong_password", change("wrong word here", "another long word").answer.error)
    for _, bad in ipairs({ "short", user.email, ("x"):rep(129) }) do
      assert.equal("new_password", change(PASSWORD, bad).answer.fields[1].path)
    end
    assert.equal(204, change(PASSWORD, "another long word").status)
    assert.same({ 200, 401 }, { as(one, "GET", "/auth/me").status,
      as(other, "GET", "/auth/me").status })
    assert.same({ 401, 200 }, { sign_in(user.email, PASSWORD).status,
      sign_in(user.email, "another long word").status })
  end)

  it("keeps preferences, up to a size", function()
    local user = person("agent")
    local views = { calls = { { name = "mine", filter = { status = "failed" } } } }
    assert.equal(200, as(user.token, "PUT", "/auth/me", { prefs = views, name = "Asha" }).status)
    local me = as(user.token, "GET", "/auth/me").answer
    assert.same({ "Asha", "mine" }, { me.name, me.prefs.calls[1].name })
    assert.equal(422, as(user.token, "PUT", "/auth/me", { prefs = { x = ("x"):rep(33000) } }).status)
    assert.equal(422, as(user.token, "PUT", "/auth/me", { role = "admin" }).status)
    assert.equal("agent", as(user.token, "GET", "/auth/me").answer.role)
  end)

  it("is changed by who ranks above, and given no role above the giver's", function()
    local agent, supervisor, admin, other = person("agent"), person("supervisor"),
      person("admin"), person("admin")
    local super = person("super_admin")
    local function put(who, whom, body)
      local answer = as(who.token, "PUT", "/users/" .. whom.id, body)
      return answer.status == 200 and 200 or answer.answer.error
    end
    assert.equal("forbidden", put(supervisor, agent, { name = "X" }))
    assert.equal(200, put(admin, agent, { role = "supervisor" }))
    assert.equal(200, put(admin, supervisor, { role = "admin" }))
    assert.equal("rank", put(admin, agent, { role = "super_admin" }))
    assert.equal("rank", put(admin, other, { name = "X" }))
    assert.equal("rank", put(admin, super, { name = "X" }))
    assert.equal(200, put(admin, admin, { name = "X" }))
    assert.equal("rank", put(admin, admin, { role = "agent" }))
    assert.equal("rank", put(admin, admin, { role = "super_admin" }))
    assert.equal("rank", put(super, super, { role = "admin" }))
    assert.equal(200, put(super, other, { role = "super_admin" }))
    assert.equal(200, put(super, other, { role = "agent" }))
    assert.equal("rank", as(admin.token, "POST", "/users/" .. super.id .. "/deactivate").answer.error)
    assert.equal("rank", as(admin.token, "POST", "/users/" .. admin.id .. "/deactivate").answer.error)
    assert.equal("rank", as(admin.token, "POST", "/users/" .. super.id .. "/reset-password",
      {}).answer.error)
    assert.equal("forbidden", as(admin.token, "DELETE", "/users/" .. agent.id).answer.error)
    assert.equal("rank", as(super.token, "DELETE", "/users/" .. super.id).answer.error)
    assert.equal(204, as(super.token, "DELETE", "/users/" .. agent.id).status)
    assert.equal(404, as(super.token, "GET", "/users/" .. agent.id).status)
    assert.equal("duplicate", as(super.token, "POST", "/auth/register", { email = super.email,
      name = "X", role = "agent" }).answer.error)
    assert.equal("rank", as(admin.token, "POST", "/auth/register", { email = "z@example.org",
      name = "X", role = "super_admin" }).answer.error)
    local reset = as(admin.token, "POST", "/users/" .. other.id .. "/reset-password", {})
    assert.equal(200, reset.status)
    assert.equal(401, as(other.token, "GET", "/auth/me").status)
    assert.equal(200, sign_in(other.email, reset.answer.temporary_password).status)
  end)

  it("who is switched off leaves the Agent Desk, and is not removed while on a call", function()
    local user = person("agent")
    local function status()
      for _, agent in ipairs(api:ask("GET", "/api/v1/agent-desk/supervisor/dashboard",
        { token = process.token() }).answer.agents) do
        if agent.agent_id == user.id then
          return agent.status
        end
      end
    end
    assert.equal(200, as(user.token, "POST", "/agent-desk/status", { status = "available" }).status)
    assert.equal("available", status())
    assert.equal(200, api:ask("POST", "/api/v1/agent-desk/enqueue", { body = { call_id = "held" } })
      .status)
    assert.equal(200, as(user.token, "POST", "/agent-desk/calls/held/accept", {}).status)
    local kept = api:ask("DELETE", "/api/v1/users/" .. user.id)
    assert.same({ 409, "on_call" }, { kept.status, kept.answer.error })
    assert.equal(200, as(user.token, "POST", "/agent-desk/calls/held/end",
      { disposition = "DONE" }).status)
    assert.equal("available", status())
    assert.equal(200, api:ask("POST", "/api/v1/users/" .. user.id .. "/deactivate").status)
    assert.equal("offline", status())
    assert.equal(204, api:ask("DELETE", "/api/v1/users/" .. user.id).status)
  end)

  it("who is the last active super_admin stays", function()
    local lone = process.start(world)
    local me = lone:ask("GET", "/api/v1/auth/me").answer
    local path = "/api/v1/users/" .. me.id
    assert.same({ "last_super_admin", "last_super_admin", "last_super_admin" }, {
      lone:ask("POST", path .. "/deactivate").answer.error,
      lone:ask("PUT", path, { body = { role = "agent" } }).answer.error,
      lone:ask("DELETE", path).answer.error })
    assert.equal(201, lone:ask("POST", "/api/v1/auth/register", { body = { email = "c@example.org",
      name = "C", role = "admin", password = PASSWORD } }).status)
    local below = process.token("c@example.org")
    assert.same({ "rank", "rank" }, {
      lone:ask("POST", path .. "/deactivate", { token = below }).answer.error,
      lone:ask("PUT", path, { token = below, body = { role = "agent" } }).answer.error })
    local second = lone:ask("POST", "/api/v1/auth/register", { body = { email = "b@example.org",
      name = "B", role = "super_admin", password = PASSWORD } }).answer
    -- Each switches the other off at the same moment.
    local answers = process.at_once(2, function(i)
      local token = i == 1 and process.token() or process.token("b@example.org")
      return lone:ask("POST", "/api/v1/users/" .. (i == 1 and second.id or me.id) .. "/deactivate",
        { token = token }).status
    end)
    assert.is_true(answers[1] ~= 200 or answers[2] ~= 200)
    local active = 0
    for _, email in ipairs({ process.ADMIN, "b@example.org" }) do
      for tv = 1, 3 do
        local status = lone:ask("GET", "/api/v1/auth/me",
          { token = process.token(email, { tv = tv }) }).status
        active = active + (status == 200 and 1 or 0)
      end
    end
    assert.is_true(active >= 1)
  end)

  it("is refused after ten failures from one address, known or not", function()
    local user = person("agent")
    for _, email in ipairs({ user.email, "nobody@example.org" }) do
      for _ = 1, 10 do
        assert.equal("invalid_credentials", sign_in(email, "wrong word here").answer.error)
      end
      local refused = sign_in(email, PASSWORD)
      assert.same({ 429, "rate_limited" }, { refused.status, refused.answer.error })
      assert.is_true(tonumber(refused.headers["retry-after"]) > 0)
    end
    assert.equal(200, sign_in(user.email, PASSWORD, { ["x-forwarded-for"] = "203.0.113.9" }).status)
  end)

  it("is found by role and by how name or email begin", function()
    local user = person("supervisor", { name = "Zorawar" })
    local function ids(query)
      local found = {}
      for i, item in ipairs(api:ask("GET", "/api/v1/users?" .. query).answer.items) do
        found[i] = item.id
      end
      return found
    end
    assert.same({ user.id }, ids("q=Zora"))
    assert.same({ user.id }, ids("role=supervisor&q=" .. user.email:sub(1, 12):upper()
      .. user.email:sub(13)))
    assert.same({}, ids("role=agent&q=Zora"))
    assert.equal(400, api:ask("GET", "/api/v1/users?role[$gt]=").status)
  end)
end)

describe("two processes of one deployment", function()
  local world = support.new()
  after_each(function()
    world:close()
  end)

  it("both know at once who signed out and what the settings say", function()
    local redis = redis_server.start(world)
    local dir = world:folder()
    local one = process.start(world, { env = { REDIS_URL = redis.url, CXB_API_INSTANCES = "2",
      CXB_STATE_DIR = dir } })
    local other = process.start(world, { env = { REDIS_URL = redis.url, CXB_API_INSTANCES = "2",
      CXB_STATE_DIR = dir, MONGODB_DB = one.env.MONGODB_DB,
      CXB_REDIS_PREFIX = one.env.CXB_REDIS_PREFIX } })
    local token = process.token()
    assert.equal(200, other:ask("GET", "/api/v1/auth/me", { token = token }).status)
    assert.equal(204, one:ask("POST", "/api/v1/auth/logout", { token = token }).status)
    assert.equal(401, other:ask("GET", "/api/v1/auth/me", { token = token }).status)
    local function zone()
      return other:ask("GET", "/api/v1/settings/display").answer.display_timezone
    end
    assert.equal("UTC", zone())
    assert.equal(200, one:ask("PUT", "/api/v1/settings/timezone",
      { body = { display_timezone = "Asia/Kolkata" } }).status)
    support.wait_until("the other process to know", function()
      return zone() == "Asia/Kolkata"
    end)
    for i = 1, 10 do
      local api = i % 2 == 0 and one or other
      assert.equal(401, api:ask("POST", "/api/v1/auth/login", { secret = false,
        body = { email = "x@example.org", password = "wrong word here" } }).status)
    end
    assert.equal(429, one:ask("POST", "/api/v1/auth/login", { secret = false,
      body = { email = "x@example.org", password = "wrong word here" } }).status)
  end)
end)

describe("an API key", function()
  local world, api = support.new(), nil

  setup(function()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function make(body)
    body.name = body.name or "CRM"
    return api:ask("POST", "/api/v1/api-keys", { body = body })
  end

  local function with(key, path)
    return api:ask("GET", path or "/api/v1/calls", { secret = false,
      headers = { ["x-api-key"] = key } })
  end

  it("is for bots that there are, or were: a typing mistake would shut it out unsaid", function()
    local refused = make({ bot_ids = { "demo", "dmeo" } })
    assert.same({ 422, "bot_ids[1]" }, { refused.status, refused.answer.fields[1].path })
    local gone = api:ask("POST", "/api/v1/bots", { body = { name = "Gone" } }).answer.id
    assert.equal(204, api:ask("DELETE", "/api/v1/bots/" .. gone).status)
    local made = make({ bot_ids = { "demo", gone } })
    assert.equal(201, made.status)
    local path = "/api/v1/api-keys/" .. made.answer.id
    assert.equal(422, api:ask("PATCH", path, { body = { bot_ids = { "nobody" } } }).status)
    assert.equal(200, api:ask("PATCH", path, { body = { bot_ids = {} } }).status)
  end)

  it("is shown once and reaches its scopes only", function()
    local made = make({ scopes = { "calls:read" } }).answer
    assert.matches("^vx_[%w_-]+$", made.key)
    assert.same({ 35, made.key:sub(1, 7) }, { #made.key, made.key_prefix })
    local list = api:ask("GET", "/api/v1/api-keys")
    assert.is_nil(list.body:find(made.key, 1, true))
    assert.is_nil(list.body:find("key_hash", 1, true))
    assert.equal(200, with(made.key).status)
    assert.same({ 403, "forbidden" }, { with(make({}).answer.key).status,
      with(make({}).answer.key).answer.error })
    assert.same({ "dialout" }, make({}).answer.scopes)
    assert.equal(401, with(made.key, "/api/v1/users").status)
    support.wait_until("the note of its use", function()
      return api:ask("GET", "/api/v1/api-keys").body:find("last_used_at", 1, true)
    end)
  end)

  it("that is unknown, switched off or expired is refused as what it is", function()
    local made = make({ scopes = { "calls:read" } }).answer
    local path = "/api/v1/api-keys/" .. made.id
    assert.equal(200, with(made.key).status)
    assert.equal(200, api:ask("PATCH", path, { body = { is_active = false } }).status)
    assert.same({ 403, "key_inactive" }, { with(made.key).status, with(made.key).answer.error })
    support.wait_until("an end that is not over yet", function()
      return api:ask("PATCH", path, { body = { is_active = true,
        expires_at = times.format(cxb.time.now() + 1000) } }).status == 200
    end)
    support.wait_until("its end", function()
      return with(made.key).answer.error == "key_expired"
    end)
    assert.equal(403, with(made.key).status)
    api:ask("PATCH", path, { body = { expires_at = json.null } })
    assert.equal(200, with(made.key).status)
    local unknown = with("vx_" .. ("x"):rep(32))
    assert.same({ 401, "invalid_api_key" }, { unknown.status, unknown.answer.error })
    assert.equal(422, api:ask("PATCH", path,
      { body = { expires_at = "2020-01-01T00:00:00Z" } }).status)
    assert.equal(204, api:ask("DELETE", path).status)
    assert.equal(401, with(made.key).status)
  end)
end)
