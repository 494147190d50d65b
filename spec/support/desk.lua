-- The Agent Desk in a unit spec: an API with agents, a clock the spec moves, requests by role.
--   local desk = Desk.new()   after api.install()
--   desk:agent("ann", {"en"}); desk:enqueue("c1"); desk:as("ann", "POST", "/calls/c1/accept")
local api = require("spec.support.api")
local json = require("cxb.json")

local M = {}
local desk = {}
desk.__index = desk

M.BASE = "/api/v1/agent-desk"

local function defaults()
  local settings = {}
  for _, entry in ipairs(require("schemas.settings")) do
    if entry.name:match("^AGENT_DESK_") then
      settings[entry.name] = entry.default
    end
  end
  return settings
end

function M.new(settings)
  rawset(cxb.log, "error", function(message, fields)
    if message == "request failed" then -- nothing may go wrong quietly
      error(message .. ": " .. json.encode(fields), 0)
    end
  end)
  local all = defaults()
  for name, value in pairs(settings or {}) do
    all[name] = value
  end
  local self = setmetatable({ ids = {} }, desk)
  self.app = api.app(all)
  local pipeline = require("services.web.pipeline")
  self.serve = pipeline.server(self.app, pipeline.routes())
  self.policy = require("services.desk.policy")
  return self
end

---A person of a role.
---@param languages? string[]
function desk:person(name, role, languages)
  local user = api.user(self.app, name .. "@x.org", role, { agent_languages = languages or { "en" } })
  self.ids[name] = user._id
  return user._id
end

---An agent who is here and takes calls.
function desk:agent(name, languages)
  local id = self:person(name, "agent", languages)
  assert(self:as(name, "POST", "/status", { status = "available" }).status == 200)
  return id
end

local function request(self, headers, method, path, body)
  local req = api.request(method, path:match("^/api") and path or M.BASE .. path, {
    headers = headers, body = body and json.encode(body) or nil,
  })
  self.serve(req)
  return req
end

---A request of a person.
function desk:as(name, method, path, body)
  return request(self, { authorization = "Bearer " .. api.token(name .. "@x.org") }, method, path,
    body)
end

---A request of our own services.
function desk:core(method, path, body)
  return request(self, { ["x-cxb-core-secret"] = api.SECRET }, method, path, body)
end

function desk:enqueue(id, more)
  local body = { call_id = id, session_id = "s-" .. id, caller = "+919876543210", language = "en" }
  for name, value in pairs(more or {}) do
    body[name] = value
  end
  local req = self:core("POST", "/enqueue", body)
  assert(req.status == 200, req.text)
  return req.answer
end

---The stored record.
function desk:call(id)
  return assert(self.app.store:get("agent_desk_calls", id))
end

function desk:state(id)
  return self:call(id).state
end

---Lets time pass, a look of the policy each second; `each` is called before it.
function desk:pass(seconds, each)
  for _ = 1, seconds do
    api.now = api.now + 1000
    if each then
      each()
    end
    assert(self.policy.run(self.app))
  end
end

---Time passes while these agents' browsers give signs of life.
function desk:pass_with(seconds, ...)
  local names, beats = { ... }, 0
  self:pass(seconds, function()
    beats = beats + 1
    if beats % 15 == 0 then
      for _, name in ipairs(names) do
        assert(self:as(name, "POST", "/status/heartbeat").status == 200)
      end
    end
  end)
end

function desk:status(name)
  return self:as(name, "GET", "/status").answer.status
end

return M
