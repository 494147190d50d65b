-- The host's table for specs that run outside it: a clock that the spec moves, real crypto, SQLite.
local M = {}

M.now = 1777021200000 -- 2026-04-24T09:00:00Z

function M.install()
  if rawget(_G, "cxb") then
    return
  end
  local function nothing() end
  _G.cxb = {
    version = "0.0.0",
    null = require("cxb.json").null,
    crypto = require("spec.unit.support.crypto"),
    sqlite = require("spec.unit.support.sqlite"),
    time = {
      now = function()
        return M.now
      end,
      mono = function()
        return M.now
      end,
    },
    log = { debug = nothing, info = nothing, warn = nothing, error = nothing },
    metrics = { declare = nothing, count = nothing, set = nothing, observe = nothing },
  }
end

return M
