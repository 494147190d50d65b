-- Where a running platform keeps its sockets and its state. `cxbctl up` uses .run and .state of the
-- working directory; an installed host /run/cxb and /var/lib/cxb. The variables win.

local json = require("cjson.safe")

local M = {}

local function exists(path)
  return cxb.fs.stat(path) ~= nil
end

---The working directory.
---@return string
function M.here()
  local here = cxb.process.env("PWD")
  return here and here:match("^/") and here or cxb.root
end

local function base()
  for _, folder in ipairs({ M.here(), cxb.root }) do
    if exists(folder .. "/.run") then return folder end
  end
end

---@return string folder of sockets and control sockets
function M.run_dir()
  local given, folder = cxb.process.env("CXB_RUN_DIR"), base()
  return given or (folder and folder .. "/.run") or "/run/cxb"
end

---@return string folder of outboxes, journals, recordings, secrets
function M.state_dir()
  local given, folder = cxb.process.env("CXB_STATE_DIR"), base()
  return given or (folder and folder .. "/.state") or "/var/lib/cxb"
end

---The program to run scripts with.
---@return string
function M.program()
  return cxb.process.env("CXB_EXE") or cxb.root .. "/build/cxbrt"
end

---nginx, which Debian keeps out of an ordinary user's PATH.
---@return string
function M.nginx()
  for dir in ((cxb.process.env("PATH") or "") .. ":/usr/sbin:/usr/local/sbin"):gmatch("[^:]+") do
    if exists(dir .. "/nginx") then return dir .. "/nginx" end
  end
  return "nginx"
end

---Where `cxbctl up` writes about itself and its children.
function M.up_file(run_dir)
  return run_dir .. "/up.json"
end

---What it wrote: {pid, started, url, version, state_dir, front, services}; nil when nothing runs.
---@return table?
function M.read_up(run_dir)
  local file = io.open(M.up_file(run_dir))
  if not file then return nil end
  local up = json.decode(file:read("*a") or "")
  file:close()
  return type(up) == "table" and up or nil
end

return M
