-- What the tests of a spec file share is given up once all have run (spec/run.lua).
local M = {}

local list = {}

---@param fn fun() may wait
function M.add(fn)
  list[#list + 1] = fn
end

---(waits) Latest first.
function M.run()
  for i = #list, 1, -1 do
    list[i]()
    list[i] = nil
  end
end

return M
