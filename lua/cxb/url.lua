-- Percent-encoding, query strings, and the parts of a URL.
local M = {}

---@param text string
---@return string
function M.escape(text)
  return (tostring(text):gsub("[^%w%-._~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

---@return string
function M.unescape(text)
  if not text:find("%", 1, true) then
    return text
  end
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- A part of a query string: a + is a blank.
local function plain(text)
  if text:find("+", 1, true) then
    text = text:gsub("+", " ")
  end
  return M.unescape(text)
end

---First value of each key; `+` is a blank; a key without "=" is "".
---@param query string raw, without "?"
---@return table<string, string>
function M.parse_query(query)
  local out = {}
  if not query or query == "" then
    return out
  end
  for part in query:gmatch("[^&]+") do
    local key, value = part:match("^([^=]*)=?(.*)$")
    key = plain(key)
    if key ~= "" and out[key] == nil then
      out[key] = plain(value)
    end
  end
  return out
end

---@param list table[] {{key, value}, ...} in order; nil values are left out
---@return string
function M.encode_query(list)
  local out = {}
  for _, pair in ipairs(list) do
    if pair[2] ~= nil then
      out[#out + 1] = M.escape(pair[1]) .. "=" .. M.escape(pair[2])
    end
  end
  return table.concat(out, "&")
end

---@return {scheme: string, host: string, port?: integer, path: string, query?: string}?
function M.parse(url)
  local scheme, authority, rest = url:match("^(%a[%w+.-]*)://([^/?#]*)([^#]*)")
  if not scheme then
    return nil
  end
  local host, port = authority:match("^.-@?(%[[^%]]*%]):?(%d*)$")
  if not host then
    host, port = authority:match("([^@:]*):?(%d*)$")
  end
  local path, query = rest:match("^([^?]*)%??(.*)$")
  return {
    scheme = scheme:lower(), host = host:lower(), port = tonumber(port),
    path = path ~= "" and path or "/", query = rest:find("?", 1, true) and query or nil,
  }
end

---"https://host:port" of a URL, for comparing destinations.
---@return string?
function M.origin(url)
  local p = M.parse(url)
  if not p then
    return nil
  end
  local port = p.port or (p.scheme == "https" and 443) or (p.scheme == "http" and 80) or 0
  return ("%s://%s:%d"):format(p.scheme, p.host, port)
end

return M
