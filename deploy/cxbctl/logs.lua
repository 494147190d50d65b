-- The services' log files, <state>/logs/<service>.log, rotated at 64 MiB × 4, and what of them a
-- person sees while `cxbctl up` runs: warnings, errors, and one line a call.

local json = require("cjson.safe")

local M = {}
local file = {}
file.__index = file

local LIMIT, KEPT = 64 * 1024 * 1024, 4

---@param path string
---@param limit? integer bytes
function M.open(path, limit)
  local self = setmetatable({ path = path, limit = limit or LIMIT }, file)
  local ok, why = self:reopen()
  if not ok then return nil, why end
  return self
end

function file:reopen()
  local handle, why = io.open(self.path, "a")
  if not handle then return nil, why end
  handle:setvbuf("line")
  self.handle, self.size = handle, handle:seek("end")
  return true
end

function file:write(line)
  if self.size + #line >= self.limit then
    self.handle:close()
    for n = KEPT - 1, 1, -1 do
      os.rename(n == 1 and self.path or self.path .. "." .. n - 1, self.path .. "." .. n)
    end
    if not self:reopen() then return end
  end
  self.handle:write(line, "\n")
  self.size = self.size + #line + 1
end

function file:close()
  self.handle:close()
end

local shown_levels = { warn = "yellow", error = "red" }

-- Fields worth a person's line, in this order.
local told = { "bot_id", "transport", "provider", "stage", "disconnected_by", "seconds", "turns",
  "result", "error", "route", "status", "code", "file", "line", "reason", "path" }

local function details(record)
  local out = {}
  for _, key in ipairs(told) do
    local value = record[key]
    if value ~= nil and value ~= json.null then
      out[#out + 1] = ("%s=%s"):format(key, tostring(value))
    end
  end
  return table.concat(out, " ")
end

---What a person sees of one line of a service; nil: nothing.
---@param service string
---@param line string
---@param out table for colours
---@param verbose? boolean everything
---@param starting? boolean only what is no log record, and of nginx what ends it: that it does not
--- reach a service that is not there yet means nothing
---@return string?
function M.view(service, line, out, verbose, starting)
  local record = json.decode(line)
  if type(record) ~= "table" then
    -- nginx's own lines and what was written before the log was open
    local fatal = line:match("%[emerg%]") or line:match("%[alert%]")
    local failing = not starting and (line:match("%[error%]") or line:match("%[crit%]"))
    if verbose or fatal or failing or service ~= "nginx" then
      return out:paint("grey", ("%-8s"):format(service)) .. " " .. line
    end
    return nil
  end
  local level, msg = tostring(record.level), tostring(record.msg)
  local colour = shown_levels[level] or (msg == "call ended" and "green" or nil)
  if starting and not verbose then return nil end
  if not colour and not verbose then return nil end
  local clock = tostring(record.ts or ""):match("T(%d+:%d+:%d+)") or "        "
  local text = ("%s %-8s %s %s"):format(clock, service, msg, details(record))
  return colour and out:paint(colour, text) or text
end

return M
