local times = require("cxb.times")
local tz = require("cxb.tz")

local function wall(zone, text)
  local w = tz.wall(zone, times.parse(text))
  return ("%04d-%02d-%02d %02d:%02d:%02d/%d"):format(w.year, w.month, w.day, w.hour, w.minute,
    w.second, w.weekday)
end

describe("zones", function()
  it("agree with the system's own date command over two centuries", function()
    local zones = { "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
      "Africa/Casablanca", "America/Sao_Paulo", "Pacific/Chatham", "Asia/Kathmandu" }
    for _, zone in ipairs(zones) do
      local stamps = {}
      for seconds = -2200000000, 4200000000, 137654321 do
        stamps[#stamps + 1] = "@" .. seconds
      end
      local path = os.tmpname()
      local list = assert(io.open(path, "w"))
      list:write(table.concat(stamps, "\n"), "\n")
      list:close()
      local date = io.popen(("TZ=%s date -f %s '+%%F %%T/%%u'"):format(zone, path))
      for _, stamp in ipairs(stamps) do
        local expected = date:read("*l")
        local w = tz.wall(zone, tonumber(stamp:sub(2)) * 1000)
        assert.equal(expected, ("%04d-%02d-%02d %02d:%02d:%02d/%d"):format(w.year, w.month, w.day,
          w.hour, w.minute, w.second, w.weekday), zone .. stamp)
      end
      date:close()
      os.remove(path)
    end
  end)

  it("change to summer time at the minute the law says", function()
    assert.equal("2026-03-29 01:59:59/7", wall("Europe/Berlin", "2026-03-29T00:59:59Z"))
    assert.equal("2026-03-29 03:00:00/7", wall("Europe/Berlin", "2026-03-29T01:00:00Z"))
    assert.equal("2050-10-30 02:00:00/7", wall("Europe/Berlin", "2050-10-30T01:00:00Z"))
    assert.equal("2050-10-30 02:59:59/7", wall("Europe/Berlin", "2050-10-30T00:59:59Z"))
  end)

  it("are UTC when nobody knows them, and never a path", function()
    assert.equal("2026-04-24 09:00:00/5", wall("Nowhere/Land", "2026-04-24T09:00:00Z"))
    assert.is_false(tz.known("../../../etc/passwd"))
    assert.is_false(tz.known("Asia"))
    assert.is_true(tz.known("UTC"))
    assert.is_true(tz.known("Asia/Kolkata"))
  end)
end)
