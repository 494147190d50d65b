-- The text of an uploaded document (api.md §5.16, §7). What it is, its name and its content must
-- agree on; it is read by cxb_extract, a confined program of its own, in at most 30 s.
local errors = require("services.web.errors")

local M = {}

local LIMIT_MS, MESSAGE_MAX = 30000, 200

local kinds = { pdf = "pdf", docx = "docx", txt = "text", md = "text", csv = "text" }
local begins = {
  pdf = function(head)
    return head:find("%PDF-", 1, true) ~= nil
  end,
  docx = function(head)
    return head:sub(1, 4) == "PK\3\4"
  end,
  text = function(head)
    return head:sub(1, 4) ~= "PK\3\4" and head:sub(1, 5) ~= "%PDF-"
  end,
}

---@return api.error
local function rejected(why)
  return errors.new(422, "document_rejected", "The document is refused: " .. why .. ".")
end

---What a file is by its name, when its first bytes say the same.
---@param name? string as the client calls it
---@param head string first bytes
---@return string? kind, api.error? err
function M.kind(name, head)
  local extension = (name or ""):match("%.(%w+)$")
  local kind = extension and kinds[extension:lower()]
  if not kind then
    return nil, rejected("its name does not end in .pdf, .docx, .txt, .md or .csv")
  elseif not begins[kind](head) then
    return nil, rejected("its content is not what its name says")
  end
  return kind
end

local function program()
  return cxb.program:match("^(.*)/") .. "/modules/cxb_extract"
end

local function first_line(path)
  local text = cxb.fs.read(path) or ""
  return text:match("^[^\n]+"), cxb.fs.remove(path)
end

-- (waits) Exit code of the program; nil when it had to be ended.
local function run(kind, path, out, err)
  local child, _, message = cxb.process.spawn({
    args = { program(), kind, path }, stdout = out, stderr = err,
  })
  if not child then
    error("cxb_extract: " .. tostring(message))
  end
  local code, signal = child:wait(LIMIT_MS)
  if code == nil then
    child:kill("KILL")
    child:wait()
    return nil, "it took more than 30 s to read"
  end
  return code, signal ~= 0 and "it took more memory or time to read than there is" or nil
end

---(waits) The text of a file of a kind; "" when there is none in it.
---@param kind string
---@param path string
---@return string? text, api.error? err
function M.text(kind, path)
  local out, messages = path .. ".text", path .. ".log"
  local code, why = run(kind, path, out, messages)
  local said = first_line(messages)
  local text = cxb.fs.read(out)
  cxb.fs.remove(out)
  if why then
    return nil, rejected(why)
  elseif code == 3 and kind ~= "pdf" then
    error("cxb_extract: " .. tostring(said))
  elseif code ~= 0 then
    return nil, rejected((said or "it cannot be read"):sub(1, MESSAGE_MAX))
  end
  return text or ""
end

return M
