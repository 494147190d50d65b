-- In the host's place in specs: a `cxb` whose clock the spec moves, tasks on a scheduler of its own
-- (cxb.testing.sched), and a keyed hash in place of cryptography.
local M = {}

-- base64url of the host, in Lua.
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local values = {}
for i = 1, 64 do
  values[alphabet:sub(i, i)] = i - 1
end

local function base64url(data)
  local out = {}
  for i = 1, #data, 3 do
    local a, b, c = data:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for j = 0, b and (c and 3 or 2) or 1 do
      local v = math.floor(n / 64 ^ (3 - j)) % 64
      out[#out + 1] = alphabet:sub(v + 1, v + 1)
    end
  end
  return table.concat(out)
end

local function unbase64url(text)
  local out = {}
  for i = 1, #text, 4 do
    local n, count = 0, 0
    for j = i, i + 3 do
      local v = values[text:sub(j, j)]
      n = n * 64 + (v or 0)
      count = count + (v and 1 or 0)
    end
    for j = 1, count - 1 do
      out[#out + 1] = string.char(math.floor(n / 256 ^ (3 - j)) % 256)
    end
  end
  return table.concat(out)
end

-- Not a cryptographic hash: only a function of key and data that specs can compare.
local function digest(key, data)
  local h1, h2 = 5381, 52711
  for i = 1, #key + #data do
    local c = i <= #key and key:byte(i) or data:byte(i - #key)
    h1 = (h1 * 33 + c) % 4294967296
    h2 = (h2 * 31 + c * i) % 4294967296
  end
  return ("%08x%08x"):format(h1, h2)
end

---A `cxb` whose clock stands until clock.advance(ms) moves it.
function M.fake_cxb()
  local clock = { ms = 1777021200000, start = 1777021200000 }
  local fake = {
    mode = "run", version = "test", generation = 1, args = {},
    root = rawget(_G, "cxb") and rawget(_G, "cxb").root or ".",
    log = { debug = function() end, info = function() end, warn = function() end,
      error = function() end },
    metrics = { count = function() end, set = function() end, observe = function() end,
      declare = function() end },
    time = {
      now = function()
        return clock.ms
      end,
      mono = function()
        return clock.ms - clock.start
      end,
      iso = function(ms)
        ms = ms or clock.ms
        return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(ms / 1000))
          .. (".%03dZ"):format(math.floor(ms % 1000))
      end,
    },
    crypto = {
      base64url = base64url, unbase64url = unbase64url, hmac_sha256 = digest, hmac_sha1 = digest,
      equal = function(a, b)
        return a == b
      end,
      hkdf_sha256 = function(secret, label)
        return digest(secret, label)
      end,
      uuid4 = function()
        return "00000000-0000-4000-8000-000000000000"
      end,
    },
  }
  return setmetatable(fake, { __index = function(_, name)
    error(("cxb.%s is not there on virtual time: a flow in a spec uses tools"):format(name), 2)
  end }), clock
end

local real

---Puts a fake in the place of the global `cxb`; restore() takes it out again.
---@return table clock
function M.install()
  real = rawget(_G, "cxb")
  local fake, clock = M.fake_cxb()
  rawset(_G, "cxb", fake)
  return clock, fake
end

---Calls fn with the host's own `cxb` in its place; its results. Not from a task of virtual time.
function M.really(fn)
  local fake = rawget(_G, "cxb")
  rawset(_G, "cxb", real)
  local function back(ok, ...)
    rawset(_G, "cxb", fake)
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return back(pcall(fn))
end

function M.restore()
  rawset(_G, "cxb", real)
end

return M
