-- Runs busted specs in this process and writes TAP (busted: Debian's lua-busted).
local M = {}

---@param files string[] spec files and folders
---@param o? {filter?: string, out?: fun(text: string)}
---@return integer? failed, integer|string passed_or_why nil: busted is missing
function M.run(files, o)
  o = o or {}
  local found, core = pcall(require, "busted.core")
  if not found then
    return nil, "busted is missing: apt-get install lua-busted"
  end
  local busted = core()
  require("busted")(busted)
  local failed, passed = 0, 0
  local function count()
    failed = failed + 1
    return nil, true
  end
  busted.subscribe({ "error" }, count)
  busted.subscribe({ "failure" }, count)
  busted.subscribe({ "test", "end" }, function(_, _, status)
    passed = passed + (status == "success" and 1 or 0)
    return nil, true
  end)
  require("cxb.testing.tap")(busted, o.out)
  require("busted.luajit")()
  require("busted.modules.filter_loader")()(busted, {
    tags = {}, excludeTags = {}, filter = o.filter and { (o.filter:gsub("%p", "%%%0")) } or {},
    filterOut = {},
  })
  require("busted.modules.test_file_loader")(busted, { "lua" })(files, { "_spec%.lua$" }, {
    excludes = {}, verbose = true, recursive = true,
  })
  require("busted.execute")(busted)(1, { seed = os.time(), sort = true })
  busted.publish({ "exit" })
  return failed, passed
end

return M
