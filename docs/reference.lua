-- Writes docs/reference.md from the annotations that editors read: lua/types/cxb.lua for the script
-- API, the annotations beside the code for flows and their specs. One source for both.
--   build/cxbrt docs/reference.lua > docs/reference.md
-- spec/unit/reference_spec.lua fails when the page is out of date.
local M = {}

-- What is not of cxb.*: title, words, as what its methods are called, files, functions in order.
local SECTIONS = {
  { title = "call", words = "What a flow is given ([flows.md](flows.md)).", as = "call:",
    files = { "lua/cxb/call.lua", "lua/cxb/call/speak.lua", "lua/cxb/call/hear.lua",
      "lua/cxb/call/think.lua", "lua/cxb/call/transfer.lua", "lua/cxb/call/handoff.lua" },
    names = { "say", "play", "listen", "ask", "dtmf", "llm", "tool", "transfer", "handoff",
      "voicemail", "hangup", "intent", "event", "set", "record", "every" } },
  { title = "cxb.testing", words = 'Specs of flows ([flows.md](flows.md), "Testing a flow").',
    as = "testing.", files = { "lua/cxb/testing/init.lua" }, names = { "call" } },
  { title = "caller", words = "The caller of a spec.", as = "caller:",
    files = { "lua/cxb/testing/caller.lua" },
    names = { "says", "interrupts", "presses", "plays", "coughs", "silent", "hears", "hangs_up" } },
}

---- reading ----

local function depth_of(text)
  local depth = 0
  for bracket in text:gsub('"[^"]*"', ""):gmatch("[<>(){}%[%]]") do
    depth = depth + (bracket:find("[<({%[]") and 1 or -1)
  end
  return depth
end

-- "table<string, string> words" → type, words: a type ends at a blank outside of brackets.
local function cut_type(text)
  local at = 0
  repeat
    at = text:find("%s", at + 1) or #text + 1
    local kind = text:sub(1, at - 1)
  until at > #text or (depth_of(kind) == 0 and not kind:find("[:,|]$"))
  return text:sub(1, at - 1), text:sub(at + 1)
end

-- One `---` line into the block: words, @param, @return, @field; other tags are the editor's own.
local function take_line(block, line)
  local open = block.open
  if open and depth_of(open.text) > 0 then
    open.text = open.text .. " " .. line
    return
  end
  local tag, rest = line:match("^@(%w+)%s+(.*)$")
  if tag == "param" or tag == "return" or tag == "field" then
    block.open = { tag = tag, text = rest }
    block[#block + 1] = block.open
  elseif open and not tag and line ~= "" and open.tag ~= "return" then
    open.text = open.text .. " " .. line
  elseif not tag then
    block.words[#block.words + 1] = line
  end
end

local function new_block()
  return { words = {} }
end

-- Items of a file in order: {kind="class"|"function"|"table"|"value"|"prose", name, block}.
local function read(path)
  local items, block, class, owners = {}, new_block(), nil, {}
  local prose = {}
  local function add(kind, name, more)
    items[#items + 1] = { kind = kind, name = name, block = block, more = more }
    block = new_block()
  end
  for line in io.lines(path) do
    if prose[1] and not line:match("^%-%- ") then
      items[#items + 1] = { kind = "prose", words = table.concat(prose, " ") }
      prose = {}
    end
    local doc = line:match("^%-%-%-([^%-].*)$") or line:match("^%-%-%-$") and ""
    local class_name = doc and doc:match("^@class%s+([%w_.]+)")
    local name, args, tail = line:match("^function ([%w_.:]+)(%b())(.*)$")
    if class_name then
      if class and items[#items].block == block then
        block = new_block() -- a class right behind another one
      end
      class = class_name
      add("class", class_name)
      block = items[#items].block
    elseif doc then
      local of_class = items[#items] and items[#items].block == block
      if of_class and block[1] and depth_of(block.open.text) == 0 and not doc:find("^@field") then
        block = new_block() -- the words of a function right behind a class
      end
      take_line(block, doc)
    elseif name then
      local owner, method = name:match("^([%w_]+):([%w_]+)$")
      local said = tail:match("end%s*%-%-%-(.*)$")
      if said then
        take_line(block, said)
      end
      add("function", method or name, { args = args, owner = owners[owner] or owner })
    elseif line:match("^local [%w_]+ = {}") and class then
      owners[line:match("^local ([%w_]+)")] = class:match("[%w_]+$")
      block = new_block()
    elseif line:match("^cxb[%w_.]* = ") then
      local value = line:match("^(cxb[%w_.]*) = ")
      add(line:match("= {}$") and "table" or "value", value, { tail = line:match("%-%-%-(.*)$") })
    elseif line:match("^%-%- ") then
      prose[#prose + 1] = line:sub(4)
    else
      block = new_block()
    end
  end
  return items
end

---- writing ----

local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function code(text)
  return "`" .. text .. "`"
end

local function rows(block, tag, head)
  local out = {}
  for _, entry in ipairs(block) do
    if entry.tag == tag then
      local name, rest = entry.text:match("^(%S+)%s+(.*)$")
      local kind, words = cut_type(rest or "")
      out[#out + 1] = ("| %s | %s | %s |"):format(code(name), cell(code(kind)), cell(words))
    end
  end
  if out[1] then
    table.insert(out, 1, ("| %s | type | |\n| --- | --- | --- |"):format(head))
    out[#out + 1] = ""
  end
  return table.concat(out, "\n")
end

local function words_of(block)
  local text = table.concat(block.words, " "):gsub("^%s+", "")
  return text ~= "" and text .. "\n\n" or ""
end

local function returns(block)
  local out = {}
  for _, entry in ipairs(block) do
    if entry.tag == "return" then
      local text = entry.text:gsub("%s+$", "")
      out[#out + 1] = "Answers " .. (text:find("`", 1, true) and text or code(text))
    end
  end
  return out[1] and table.concat(out, "  \n") .. "\n\n" or ""
end

local function write_function(out, shown, item)
  out[#out + 1] = ("### %s\n\n%s%s%s"):format(code(shown .. item.more.args), words_of(item.block),
    rows(item.block, "param", "parameter"):gsub("\n$", "\n\n"), returns(item.block))
end

local function write_class(out, item)
  local fields = rows(item.block, "field", "field")
  if fields ~= "" or item.block.words[1] then
    out[#out + 1] = ("### %s\n\n%s%s\n"):format(item.name, words_of(item.block), fields)
  end
end

local function write_api(out, root)
  for _, item in ipairs(read(root .. "/lua/types/cxb.lua")) do
    if item.kind == "prose" then
      out[#out + 1] = item.words .. "\n\n"
    elseif item.kind == "class" then
      write_class(out, item)
    elseif item.kind == "function" then
      local owner = item.more.owner
      write_function(out, owner and owner .. ":" .. item.name or item.name, item)
    elseif item.kind == "table" and item.name ~= "cxb" then
      out[#out + 1] = ("## %s\n\n%s"):format(item.name, words_of(item.block))
    elseif item.kind == "value" then
      out[#out + 1] = ("### %s\n\n%s"):format(code(item.name),
        item.more.tail and (item.more.tail:gsub("^@type%s+", "")) .. "\n\n" or words_of(item.block))
    end
  end
end

local function write_section(out, root, section)
  local found, classes = {}, {}
  for _, file in ipairs(section.files) do
    for _, item in ipairs(read(root .. "/" .. file)) do
      if item.kind == "class" then
        classes[#classes + 1] = item
      elseif item.kind == "function" then
        found[item.name:match("[%w_]+$")] = found[item.name:match("[%w_]+$")] or item
      end
    end
  end
  out[#out + 1] = ("## %s\n\n%s\n\n"):format(section.title, section.words)
  for _, name in ipairs(section.names) do
    local item = found[name] or error(section.title .. ": no function " .. name)
    write_function(out, section.as .. name, item)
  end
  for _, item in ipairs(classes) do
    if not item.name:find("parts$") then
      write_class(out, item)
    end
  end
end

---The page.
---@param root string the installation
---@return string
function M.render(root)
  local out = { "<!-- Made by docs/reference.lua from lua/types and the code: edit those. -->\n\n",
    "# Reference\n\n" }
  for _, section in ipairs(SECTIONS) do
    write_section(out, root, section)
  end
  out[#out + 1] = "## cxb\n\n"
  write_api(out, root)
  return (table.concat(out):gsub("\n\n\n+", "\n\n"):gsub("\n+$", "\n"))
end

local host = rawget(_G, "cxb")
if host and host.script:match("docs/reference%.lua$") then
  host.process.print(M.render(host.root))
  return 0
end
return M
