-- A real S3 server that checks signatures (versitygw, built from spec/servers), over a folder.
--   local store = ObjectStore.new(world)  -- not started yet; pending where it cannot be built
--   store:start(); store:object("recordings/2026/04/24/s1.wav")

local World = require "support.world"

local M = {}
local store = {}
store.__index = store

M.ACCESS, M.SECRET, M.BUCKET = "AKTESTACCESS", "sk-test/secret+key", "recordings"

local program, why

-- (waits) Path of the server, built the first time.
local function built(world)
  if not program and not why then
    local p = world:start({ cxb.root .. "/spec/servers/build", "versitygw" },
      cxb.process.environ())
    local code = p:wait(540000)
    if code == 0 then program = p.log[#p.log] else why = p:output() end
  end
  return program
end

---(waits)
---@param world table support.world
function M.new(world)
  if not built(world) then
    if cxb.process.env("CXB_REQUIRE_ALL") == "1" then error("no S3 server: " .. why, 2) end
    pending("no S3 server: " .. why)
  end
  local self = setmetatable({ world = world, dir = world:folder(), port = world:port() }, store)
  self.url = "http://127.0.0.1:" .. self.port
  for _, name in ipairs({ "data/" .. M.BUCKET, "meta" }) do
    assert(cxb.fs.mkdir(self.dir .. "/" .. name))
  end
  return self
end

---(waits) Starts it, or starts it again over the same folder.
function store:start()
  self.process = self.world:start({ program, "--port", "127.0.0.1:" .. self.port, "--access",
    M.ACCESS, "--secret", M.SECRET, "--quiet", "posix", "--sidecar", self.dir .. "/meta",
    self.dir .. "/data" }, cxb.process.environ())
  World.wait_until("the S3 server", function()
    return cxb.http.request({ url = self.url .. "/", timeout_ms = 1000 })
  end)
end

function store:stop()
  self.process:stop()
end

---Path of an object's bytes; nil when it is not there.
function store:object(key)
  local path = ("%s/data/%s/%s"):format(self.dir, M.BUCKET, key)
  return cxb.fs.stat(path) and path
end

---Whether two files have the same bytes.
function M.same(a, b)
  return os.execute(("cmp -s '%s' '%s'"):format(a, b)) == 0
end

---What a worker needs to use it.
---@return table<string, string>
function store:env()
  return { S3_ENDPOINT = self.url, S3_ACCESS_KEY = M.ACCESS, S3_SECRET_KEY = M.SECRET,
    S3_BUCKET = M.BUCKET }
end

return M
