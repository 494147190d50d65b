-- What a verb prints: lines for people, or one JSON object. Colour only on a terminal (the wrapper
-- says so in CXB_TTY) and not when NO_COLOR is set.

local json = require("cxb.json")

local M = {}
local output = {}
output.__index = output

local colours = { red = 31, green = 32, yellow = 33, blue = 34, grey = 90, bold = 1 }

---@return table out
function M.new()
  return setmetatable({
    json = false,
    colour = cxb.process.env("CXB_TTY") == "1" and not cxb.process.env("NO_COLOR"),
  }, output)
end

---A line for people; nothing with --json.
function output:say(text)
  if not self.json then cxb.process.print(text .. "\n") end
end

---What failed and what to do next, on standard error; with --json also as the object.
---@param next_step? string
function output:fail(message, next_step)
  if self.json then
    self:object({ ok = false, error = message, next = next_step })
  else
    local hint = next_step and "\n        " .. next_step or ""
    io.stderr:write(self:paint("red", "cxbctl: "), message, hint, "\n")
  end
end

function output:object(value)
  cxb.process.print(json.encode(value) .. "\n")
end

---@return string
function output:paint(colour, text)
  if not self.colour then return text end
  return ("\27[%dm%s\27[0m"):format(colours[colour], text)
end

---Rows of cells, aligned; the first row is the head.
---@param rows string[][]
function output:columns(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, #tostring(cell)) end
  end
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      cells[i] = i == #row and tostring(cell) or ("%-" .. widths[i] .. "s"):format(tostring(cell))
    end
    local line = table.concat(cells, "  ")
    self:say(n == 1 and self:paint("grey", line) or line)
  end
end

return M
