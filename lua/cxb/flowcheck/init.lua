-- What is wrong with a flow, told before anybody calls it (api.md §5.5): syntax, names that nobody
-- has, the script API used in ways it has not, no entry function. The flow is run up to its return,
-- in the environment it would have; so this belongs into a confined process.
local api = require("cxb.flowcheck.api")
local draft = require("cxb.core.draft")
local lint = require("cxb.core.lint")
local tokens = require("cxb.flowcheck.tokens")

local M = {}

---@class cxb.flowcheck.diagnostic
---@field line integer
---@field column integer
---@field severity "error"|"warning"
---@field code string
---@field message string

local function diagnostic(at, code, message, severity)
  return { line = at.line or 1, column = at.column or 1, severity = severity or "error",
    code = code, message = message }
end

-- Where a variable stands in a line: the bytecode knows lines only.
local function find(words, line, name, assigned)
  for i, token in ipairs(words) do
    local before, after = words[i - 1], words[i + 1]
    local is_field = before and (before.text == "." or before.text == ":")
    local is_key = not assigned and after and after.text == "="
    if token.line == line and token.text == name and not is_field and not is_key then
      return token
    end
  end
  return { line = line, column = 1 }
end

-- "mine:12: unexpected symbol" of the compiler or of an error: line and words.
local function parted(why)
  local line, message = tostring(why):match("^[^\n]-:(%d+): ([^\n]*)")
  return tonumber(line) or 1, message or tostring(why):match("^[^\n]*")
end

-- The word a compiler stumbled over: of those that look like it, the last one up to which the text
-- is only unfinished.
local function culprit(source, words, line, near)
  local found
  for _, token in ipairs(words) do
    if token.line == line and token.text == near then
      local _, why = loadstring(source:sub(1, token.at - 1))
      if not why or why:find("near '<eof>'", 1, true) then
        found = token
      end
    end
  end
  return found or { line = line, column = 1 }
end

local function syntax_error(source, words, why)
  local line, message = parted(why)
  local near = message:match("near '(.-)'$")
  return diagnostic(near and culprit(source, words, line, near) or { line = line }, "syntax",
    message)
end

local function unknown_globals(out, words, chunk, env)
  for _, wrong in ipairs(lint.all(chunk, env)) do
    local code = wrong.assigned and "global_assigned" or "unknown_global"
    local message = wrong.message
    if not wrong.assigned and rawget(_G, wrong.name) ~= nil then
      message = ("%s is not for flows"):format(wrong.name)
    end
    out[#out + 1] = diagnostic(find(words, wrong.line, wrong.name, wrong.assigned),
      code, message)
  end
end

-- cxb.part.name: what is not there, or not for flows.
local function judge_cxb(out, words, i, env)
  local part = words[i + 2]
  if not part or words[i + 1].text ~= "." or part.kind ~= "name" then
    return
  end
  local value = env.cxb[part.text]
  if value == nil then
    local there = cxb[part.text] ~= nil
    out[#out + 1] = diagnostic(part, "cxb_api", there
      and ("cxb.%s is not for flows"):format(part.text)
      or ("there is no cxb.%s"):format(part.text))
    return
  end
  local name = words[i + 4]
  if type(value) == "table" and name and words[i + 3].text == "." and name.kind == "name"
    and value[name.text] == nil then
    out[#out + 1] = diagnostic(name, "cxb_api",
      ("there is no cxb.%s.%s"):format(part.text, name.text))
  end
end

-- call:name(…).
local function judge_call(out, words, i)
  local joint, name, after = words[i + 1], words[i + 2], words[i + 3]
  if not name or name.kind ~= "name" then
    return
  end
  local called = after and (after.text == "(" or after.text == "{" or after.kind == "string")
  if joint.text == ":" and not api.methods[name.text] then
    out[#out + 1] = diagnostic(name, "call_api", ("there is no call:%s"):format(name.text))
  elseif joint.text == "." and called and api.methods[name.text] then
    out[#out + 1] = diagnostic(name, "call_api", ("write call:%s(…)"):format(name.text))
  end
end

local function api_misuse(out, words, env)
  for i, token in ipairs(words) do
    local before, after = words[i - 1], words[i + 1]
    local is_field = before and (before.text == "." or before.text == ":")
    if token.kind == "name" and after and not is_field then
      if token.text == "cxb" then
        judge_cxb(out, words, i, env)
      elseif token.text == "call" then
        judge_call(out, words, i)
      end
    end
  end
end

local function entry_function(out, words, chunk)
  local ok, flow = pcall(chunk)
  local last = words[#words] or { line = 1, column = 1 }
  if not ok and #out > 0 then
    return -- it fails by what was told already
  elseif not ok then
    local why = tostring(flow)
    out[#out + 1] = why:find("not enough memory", 1, true)
      and diagnostic(last, "memory_limit", "the flow takes more than 128 MiB")
      or diagnostic({ line = (parted(why)) }, "load_error", select(2, parted(why)))
  elseif type(flow) ~= "function" then
    out[#out + 1] = diagnostic(last, "no_entry", "a flow returns function(call)")
  end
end

local function by_place(a, b)
  if a.line ~= b.line then
    return a.line < b.line
  end
  return a.column < b.column
end

---@param source string
---@param name string of the flow
---@return cxb.flowcheck.diagnostic[] by line and column
function M.check(source, name)
  if source:sub(1, 1) == "\27" then
    return { diagnostic({}, "syntax", "this is no Lua text") }
  end
  local words, out = tokens.read(source), {}
  local chunk, why = loadstring(source, "@" .. name)
  if not chunk then
    return { syntax_error(source, words, why) }
  end
  local env = draft.environment()
  unknown_globals(out, words, chunk, env)
  api_misuse(out, words, env)
  entry_function(out, words, setfenv(chunk, env))
  table.sort(out, by_place)
  return out
end

---@return boolean whether nothing of it is an error
function M.is_ok(diagnostics)
  for _, one in ipairs(diagnostics) do
    if one.severity == "error" then
      return false
    end
  end
  return true
end

return M
