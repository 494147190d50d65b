-- Every route of the published document, asked with every credential there is.
-- stores: both
local support = require("support.world")
local process = require("support.api_process")

local ranks = { agent = 0, supervisor = 1, admin = 2, super_admin = 3 }

-- What each guard lets through: by rank of a person, by other credentials.
local people = {
  any = function() return true end,
  agent = function(rank) return rank <= 1 end,
  sup = function(rank) return rank >= 1 end,
  admin = function(rank) return rank >= 2 end,
  super = function(rank) return rank >= 3 end,
  key = function(rank) return rank >= 2 end,
  playback = function(rank) return rank >= 1 end,
}
local secret_opens = { secret = true, near = true }

-- Codes a guard refuses with; a handler has its own.
local refusals = {
  unauthenticated = 401, invalid_api_key = 401, forbidden = 403, bad_secret = 403,
}

local function allows(route, who)
  for _, guard in ipairs(route.guards) do
    if guard == "open" or (who.secret and secret_opens[guard])
      or (who.rank and people[guard] and people[guard](who.rank))
      or (who.scope and guard == "key" and who.scope == route.scope) then
      return true
    end
  end
  return false
end

describe("every route", function()
  local world, api, routes, credentials

  local function key_of(scope)
    local answer = api:ask("POST", "/api/v1/api-keys", { body = { name = "K", scopes = { scope } } })
    return answer.answer.key
  end

  local function published()
    local list = {}
    for path, item in pairs(api:ask("GET", "/openapi.json").answer.paths) do
      for method, operation in pairs(item) do
        local media = {}
        for _, response in pairs(operation.responses) do
          for kind in pairs(response.content or {}) do
            media[kind] = true
          end
        end
        list[#list + 1] = { method = method:upper(), path = (path:gsub("{[^}]+}", "nothing")),
          name = method:upper() .. " " .. path, guards = operation["x-guard"],
          id = path:match("{") and path, scope = operation["x-scope"], body = operation.requestBody ~= nil,
          streams = media["text/event-stream"] }
      end
    end
    table.sort(list, function(a, b)
      return a.name < b.name
    end)
    return list
  end

  setup(function()
    world = support.new()
    api = process.start(world, { env = { CXB_RATE_SCALE = "0" } })
    routes = published()
    credentials = { { name = "nobody", headers = {} },
      { name = "the secret", secret = true, headers = { ["x-cxbcore-secret"] = process.SECRET } } }
    for role, rank in pairs(ranks) do
      local email = role .. "@example.net"
      assert.equal(201, api:ask("POST", "/api/v1/auth/register", { body = { email = email,
        name = role, role = role, password = "a long enough word" } }).status)
      credentials[#credentials + 1] = { name = role, rank = rank, email = email }
    end
    for _, scope in ipairs({ "dialout", "contacts:write", "calls:read", "dnc:write" }) do
      credentials[#credentials + 1] = { name = "a key for " .. scope, scope = scope,
        headers = { ["x-api-key"] = key_of(scope) } }
    end
  end)

  teardown(function()
    world:close()
  end)

  -- From far away, so that being near opens nothing.
  local function ask(route, who)
    local headers = { ["x-forwarded-for"] = "203.0.113.7" }
    for name, value in pairs(who.headers or { authorization = "Bearer "
      .. process.token(who.email or "nobody@example.net") }) do
      headers[name] = value
    end
    return api:ask(route.method, route.path, { secret = false, headers = headers,
      body = route.body and "{}" or nil })
  end

  it("answers each role, key and secret as its guard says", function()
    assert.is_true(#routes > 50)
    local wrong = {}
    for _, route in ipairs(routes) do
      for _, who in ipairs(credentials) do
        local allowed = allows(route, who)
        if not (allowed and route.streams) then
          local answer = ask(route, who)
          local code = answer.answer.error
          -- An open route may look for a proof of its own, like a signature.
          local refused = refusals[code] == answer.status and route.guards[1] ~= "open"
          if answer.status == 0 or refused == allowed or answer.status == 500 then
            wrong[#wrong + 1] = ("%s by %s: %d %s"):format(route.name, who.name, answer.status,
              tostring(code))
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("tells who is missing a credential from who may not", function()
    local agent = { email = "agent@example.net" }
    for _, route in ipairs(routes) do
      local guards = table.concat(route.guards, " ")
      if guards == "admin" or guards == "super" then
        assert.same({ 401, "unauthenticated" }, { ask(route, credentials[1]).status,
          ask(route, credentials[1]).answer.error }, route.name)
        assert.same({ 403, "forbidden" }, { ask(route, agent).status,
          ask(route, agent).answer.error }, route.name)
      end
    end
  end)

  it("that takes an id finds nothing by one of another kind, one that climbs, or 10 kB", function()
    local bot = api:ask("GET", "/api/v1/bots").answer.items[1].id
    local user = api:ask("GET", "/api/v1/auth/me").answer.id
    local long = ("x"):rep(10000)
    local wrong = {}
    for _, route in ipairs(routes) do
      if route.method == "GET" and route.id and not route.path:match("/config/") then
        local other = route.id:match("^/api/v1/bots/") and user or bot
        for id, status in pairs({ [other] = 404, ["..%2Fx"] = 404, [long] = 414 }) do
          if not (route.id:match("/flows/") and id == bot) then
            local path = route.id:gsub("{[^}]+}", (id:gsub("%%", "%%%%")))
            local got = api:ask("GET", path .. (route.id:match("/logs$") and "?id=x" or ""))
            if got.status ~= status then
              wrong[#wrong + 1] = ("%s %s: %d"):format(route.id, id:sub(1, 20), got.status)
            end
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("takes no token of somebody who is gone, nor one signed with another key", function()
    local forged = require("cxb.jwt").sign({ sub = process.ADMIN, role = "super_admin", tv = 1,
      jti = "x", exp = cxb.time.now() / 1000 + 3600 }, ("x"):rep(32))
    local unsigned = cxb.crypto.base64url('{"alg":"none"}') .. "."
      .. cxb.crypto.base64url('{"sub":"' .. process.ADMIN .. '","exp":9999999999}') .. "."
    for _, token in ipairs({ process.token("gone@example.net"), forged, unsigned, "x.y.z" }) do
      local answer = api:ask("GET", "/api/v1/users", { token = token })
      assert.same({ 401, "unauthenticated" }, { answer.status, answer.answer.error })
      answer = api:ask("POST", "/api/v1/agent-desk/status/heartbeat", { token = token, body = {} })
      assert.same({ 401, "unauthenticated" }, { answer.status, answer.answer.error })
    end
    local old = api:ask("GET", "/api/v1/users",
      { token = process.token(nil, { exp = math.floor(cxb.time.now() / 1000) - 60 }) })
    assert.same({ 401, "token_expired" }, { old.status, old.answer.error })
  end)
end)
