-- CSV as we write it (RFC 4180), safe to open in a spreadsheet: a text cell that would be taken for
-- a formula gets a leading apostrophe.
local M = {}

local function cell(value)
  local text = tostring(value)
  if type(value) == "string" and text:match("^[=+%-@\t\r]") then
    text = "'" .. text
  end
  if text:find('[",\r\n]') then
    return '"' .. text:gsub('"', '""') .. '"'
  end
  return text
end

---One line with its end.
---@param values any[] without holes; numbers and booleans stay as they are
---@return string
function M.row(values)
  local cells = {}
  for i, value in ipairs(values) do
    cells[i] = cell(value)
  end
  return table.concat(cells, ",") .. "\r\n"
end

return M
