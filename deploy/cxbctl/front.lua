-- The rendered front on disk: written for `cxbctl up`, printed, compared, tested with `nginx -t`.

local nginx = require("cxbctl.nginx")
local paths = require("cxbctl.paths")

local M = {}

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

local function sha256_hex(data)
  return cxb.crypto.hex(cxb.crypto.sha256(data))
end

---@return string
local function template(name)
  return assert(read(cxb.root .. "/nginx/" .. name), "nginx/" .. name .. " is missing")
end

---The front for these settings, as text.
---@param settings cxbctl.front
---@return string
function M.render(settings)
  return nginx.render(settings, template("cxb.conf.tmpl"), cxb.version, sha256_hex)
end

-- Whose name nginx's processes run under: the user's own, so that they reach the sockets.
local function user()
  local status = read("/proc/self/status") or ""
  return status:match("\nUid:%s+(%d+)") == "0" and "root" or nil
end

---(waits) Writes the front and a main file that includes it, and asks nginx whether they are right.
---@param settings cxbctl.front
---@return string? path of the main file, string? why
function M.write(settings)
  local conf, main = settings.run_dir .. "/cxb.conf", settings.run_dir .. "/nginx.conf"
  cxb.fs.mkdir(settings.run_dir .. "/nginx", 448)
  local files = {
    [conf] = M.render(settings),
    [main] = nginx.standalone(settings, template("standalone.conf.tmpl"), {
      front = conf, error_log = "stderr", user = user(),
    }),
  }
  for path, text in pairs(files) do
    local ok, code, message = cxb.fs.write(path, text, { mode = 384 })
    if not ok then return nil, ("%s: %s"):format(path, message or code) end
  end
  local ok, why = M.test(main, settings.run_dir)
  if not ok then return nil, why end
  return main
end

---(waits) `nginx -t` on a main file.
---@return true?, string? why what nginx said
function M.test(main, prefix)
  local child, _, message = cxb.process.spawn({
    args = { paths.nginx(), "-t", "-q", "-e", "stderr", "-p", prefix, "-c", main }, capture = true,
  })
  if not child then return nil, "nginx could not be run: " .. tostring(message) end
  local said = {}
  for line in function() return child:line() end do said[#said + 1] = line end
  if child:wait() == 0 then return true end
  return nil, table.concat(said, "\n")
end

---Compares a rendered file on disk with what the settings give.
---@return boolean same, string[] difference lines: "-12 on disk", "+12 expected"
function M.compare(path, settings)
  local have, want = read(path), M.render(settings)
  if have == want then return true, {} end
  if not have then return false, { path .. " does not exist" } end
  local difference, n = {}, 0
  local function lines(text)
    local list = {}
    for line in (text .. "\n"):gmatch("(.-)\n") do list[#list + 1] = line end
    return list
  end
  local a, b = lines(have), lines(want)
  while (a[n + 1] or b[n + 1]) and #difference < 40 do
    n = n + 1
    if a[n] ~= b[n] then
      if a[n] then difference[#difference + 1] = ("-%d %s"):format(n, a[n]) end
      if b[n] then difference[#difference + 1] = ("+%d %s"):format(n, b[n]) end
    end
  end
  return false, difference
end

return M
