-- Names in a flow that nobody has: a variable that is assigned without `local`, or one that is read
-- although it is neither the flow's own nor Lua's. Both would fail in the middle of a call.
-- They are found in the bytecode when the flow is loaded.
local bit = require("bit")
local util = require("jit.util")

local M = {}

local function constant(fn, ins)
  return util.funck(fn, -bit.rshift(ins, 16) - 1)
end

-- The opcode by which a text uses the global `lint_probe`: numbers of opcodes are LuaJIT's own.
local function opcode(text)
  local fn = assert(loadstring(text))
  local pc = 1
  while true do
    local ins = util.funcbc(fn, pc)
    if not ins then
      error("lint: this LuaJIT has another bytecode")
    end
    local ok, name = pcall(constant, fn, ins)
    if ok and name == "lint_probe" then
      return bit.band(ins, 0xff)
    end
    pc = pc + 1
  end
end

local GET, SET = opcode("return lint_probe"), opcode("lint_probe = 1")

-- Functions inside a function are constants of it.
local function walk(fn, visit)
  local pc = 1
  local ins = util.funcbc(fn, pc)
  while ins do
    local op = bit.band(ins, 0xff)
    if op == GET or op == SET then
      visit(constant(fn, ins), op == SET, util.funcinfo(fn, pc).currentline)
    end
    pc = pc + 1
    ins = util.funcbc(fn, pc)
  end
  local n = -1
  local k = util.funck(fn, n)
  while k ~= nil do
    if type(k) == "proto" then
      walk(k, visit)
    end
    n = n - 1
    k = util.funck(fn, n)
  end
end

local function by_line(a, b)
  return a.line < b.line
end

---@param fn function a loaded chunk, not yet run
---@param known table names it may read
---@return {line: integer, name: string, assigned: boolean, message: string}[] by line
function M.all(fn, known)
  local list = {}
  walk(fn, function(name, assigned, line)
    local message = assigned and ("global %s is assigned; use a local"):format(name)
      or known[name] == nil and ("%s is not defined"):format(name)
    if message then
      list[#list + 1] = { line = line, name = name, assigned = assigned, message = message }
    end
  end)
  table.sort(list, by_line)
  return list
end

---@param fn function a loaded chunk, not yet run
---@param known table names it may read
---@return {line: integer, message: string}? first by line; nil when all is well
function M.check(fn, known)
  return M.all(fn, known)[1]
end

return M
