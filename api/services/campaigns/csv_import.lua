-- A CSV of numbers, scanned: refusals of the file become answers (api.md §5.10).
local errors = require("services.web.errors")
local json = require("cxb.json")

local M = {}

local function refusal(code, message, line)
  if not line then
    cxb.log.error("a file cannot be read", { code = code, error = message })
    return errors.new(500, "internal", "The file could not be read.")
  end
  return errors.new(422, code, ("Line %d %s."):format(line, message), { more = { line = line } })
end

---What was found, as it is answered.
---@param import cxb.contacts.import
---@return table
function M.report(import)
  local report = import:report()
  report.errors, report.columns = json.array(report.errors), json.array(report.columns)
  return report
end

---(waits) Opens a file and judges all of its rows; the caller closes it.
---@param path string
---@param options {region: string, zone?: string, numbers_only?: boolean}
---@return cxb.contacts.import? import, api.error? err
function M.scan(path, options)
  local import, code, message, line = cxb.contacts.open(path, options)
  if not import then
    return nil, refusal(code, message, line)
  end
  local done
  repeat
    done, code, message, line = import:scan()
    if done == nil then
      import:close()
      return nil, refusal(code, message, line)
    end
  until done
  local report = M.report(import)
  if report.accepted == 0 then
    import:close()
    return nil, errors.new(422, "no_valid_rows", "No row of the file can be taken.",
      { more = { report = report } })
  end
  return import
end

return M
