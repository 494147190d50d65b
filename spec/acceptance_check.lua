-- Reads docs/acceptance.md: each row of its tables names what proves a statement, either
--   `path/of/spec.lua` "title of the test"      (C: the name of the test function)
-- or a command with what it printed:            `$ command` → output
-- A named test that does not exist, or a row without proof, is a failure: exit 1.
--   cxbrt spec/acceptance_check.lua docs/acceptance.md

local cxb = rawget(_G, "cxb")
local args = cxb and cxb.args or arg or {}
local script = cxb and cxb.script or args[0] or ""
local M = {}

-- Whether `text`, the source of a test file, holds a test of that title.
local function has_test(text, title, path)
  if path:match("%.c$") then
    return text:find("cmocka_unit_test[%w_]*%(%s*" .. title .. "[%s,)]") ~= nil
  end
  for _, quote in ipairs({ '"', "'" }) do
    for _, word in ipairs({ "it", "pending" }) do
      local open = word .. "(" .. quote .. title .. quote
      local at = text:find(open, 1, true)
      if at then return word == "it" end
    end
  end
  return false
end

---@param text string the page
---@param read fun(path: string): string? a test file's source
---@return string[] faults, integer statements
function M.check(text, read)
  local faults, statements, line_number = {}, 0, 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    line_number = line_number + 1
    local cells = {}
    if line:match("^|") then
      for cell in line:gsub("\\|", "\1"):gmatch("|([^|]*)") do
        cells[#cells + 1] = (cell:gsub("\1", "|"):match("^%s*(.-)%s*$"))
      end
    end
    local statement, proof = cells[1], cells[2]
    local is_row = proof and statement ~= "" and not statement:match("^%-+$")
      and statement:lower() ~= "statement"
    if is_row then
      statements = statements + 1
      local function fault(why)
        faults[#faults + 1] = ("line %d: %s: %s"):format(line_number, statement, why)
      end
      local proofs = 0
      for path, title in proof:gmatch('`([^`$]+)`%s*"(.-)"') do
        proofs = proofs + 1
        local source = read(path)
        if not source then
          fault("no file " .. path)
        elseif not has_test(source, title, path) then
          fault(('no test "%s" in %s'):format(title, path))
        end
      end
      for _, output in proof:gmatch("`%$ ([^`]+)`%s*→%s*(%S)") do
        if output ~= "" then proofs = proofs + 1 end
      end
      if proofs == 0 then fault("neither a test nor a command with its output") end
    end
  end
  if statements == 0 then faults[1] = "no statements" end
  return faults, statements
end

if script:match("acceptance_check%.lua$") then
  local root = cxb and cxb.root or "."
  local function read(path)
    local file = io.open(path:match("^/") and path or root .. "/" .. path)
    local text = file and file:read("*a")
    if file then file:close() end
    return text
  end
  local page = args[1] or "docs/acceptance.md"
  local text = read(page)
  if not text then
    io.stderr:write("no page ", page, "\n")
    return 1
  end
  local faults, statements = M.check(text, read)
  for _, fault in ipairs(faults) do io.stdout:write(fault, "\n") end
  io.stdout:write(("%d statements, %d without proof\n"):format(statements, #faults))
  if not cxb then os.exit(#faults > 0 and 1 or 0) end
  return #faults > 0 and 1 or 0
end

return M
