-- What the speech providers share: addresses, connecting, options out of a bot's `extra`, and error
-- texts without keys.
local M = {}

local connect_ms = 2000

---The provider's address, or what the bot says instead, with the scheme of this kind of request.
---@param given? string "https://api.example", "ws://127.0.0.1:9000"
---@param default string
---@param kind "ws"|"http"
---@return string without a slash at its end
function M.address(given, default, kind)
  local base = (given or default):gsub("/+$", "")
  return (kind == "ws" and base:gsub("^http", "ws") or base:gsub("^ws", "http"))
end

---The bot's model. "stt-rt-v4" is what a configuration without one says, and the name of one
---provider's model only (core spec §4).
---@param stage table
---@param default string
---@return string
function M.model(stage, default)
  local model = stage.model
  return (model and model ~= "" and model ~= "stt-rt-v4") and model or default
end

---@return string? a text that is not empty
function M.word(value)
  return type(value) == "string" and value ~= "" and value or nil
end

---The text of an error with every key in it made unreadable, and of a length fit for a log.
---@param text any
---@param stage table
---@return string
function M.clean(text, stage)
  text = tostring(text or ""):gsub("%c", " ")
  local key = M.word(stage.api_key)
  if key then
    text = text:gsub(key:gsub("%p", "%%%0"), "***")
  end
  return #text > 200 and text:sub(1, 200) .. "…" or text
end

---(waits) Codes of cxb.ws.connect, but "http_401" and so on when the server answered with a status.
---@param url string
---@param headers table<string, string>
---@param timeout_ms? number 2000
---@return table? ws, string? code, string? message
function M.connect(url, headers, timeout_ms)
  local ws, code, message, status = cxb.ws.connect(url, {
    headers = headers, timeout_ms = timeout_ms or connect_ms, max_text = 8 * 1024 * 1024,
    max_binary = 1024 * 1024,
  })
  if ws then
    return ws
  end
  return nil, code == "status" and "http_" .. status or code, message
end

---Options of `extra`, checked by rules {name, least, most} or {name, "boolean"|"string"|"list"}.
---@param extra table
---@param rules table[]
---@return table? values nil: one is wrong
---@return string? code, string? message naming it and the rule
function M.options(extra, rules)
  local out = {}
  for _, rule in ipairs(rules) do
    local name, kind, most = rule[1], rule[2], rule[3]
    local value = extra[name]
    if value == nil or value == cxb.null then
      value = nil
    elseif most then
      value = tonumber(value)
      if not value or value < kind or value > most then
        return nil, "invalid",
          ("extra.%s: a number from %g to %g expected"):format(name, kind, most)
      end
    elseif kind == "list" then
      value = type(value) == "table" and value or { value }
    elseif type(value) ~= kind then
      return nil, "invalid", ("extra.%s: a %s expected"):format(name, kind)
    end
    out[name] = value
  end
  return out
end

return M
