-- Every two seconds: URL-list hosts are asked how they are, and it is noticed who has gone silent.
local fleet = require("services.fleet")
local fleet_hosts = require("services.fleet.hosts")
local poll = require("services.fleet.poll")

local TOUCH_MS = 60000

local known, touched = {}, 0

local function note_lost(app, now_there)
  for id in pairs(known) do
    if not now_there[id] then
      cxb.metrics.set("cxb_fleet_available", { host = id }, 0)
      cxb.log.warn("a host is gone", { host = id })
      app.events:publish("fleet", "host.lost", { host_id = id })
    end
  end
  known = now_there
end

-- Each minute the store learns which registered hosts there are.
local function touch(app, hosts)
  local now = cxb.time.mono()
  if now - touched < TOUCH_MS then
    return
  end
  touched = now
  for _, host in ipairs(hosts) do
    if host.source == "registered" then
      fleet_hosts.touch(app, host)
    end
  end
end

return {
  name = "fleet_poll", every_ms = 2000,
  run = function(app)
    local hosts, err = fleet.hosts(app)
    if not hosts then
      return nil, err
    end
    local listed, registered, there, reserved = {}, {}, {}, 0
    for _, base in ipairs(poll.urls(app)) do
      listed[base] = true
    end
    for _, host in ipairs(hosts) do
      if host.source == "url" and not listed[host.base_url] then
        fleet.step(app, "leave", host.id) -- taken off the list
      else
        there[host.id] = true
      end
      registered[host.base_url] = host.source == "registered" or nil
      reserved = reserved + host.reservations
      cxb.metrics.set("cxb_fleet_available", { host = host.id }, host.available)
    end
    cxb.metrics.set("cxb_fleet_reservations", nil, reserved)
    note_lost(app, there)
    touch(app, hosts)
    poll.all(app, registered)
    return true
  end,
}
