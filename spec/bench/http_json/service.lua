-- The route of ours that spec/bench/http_json.sh measures: /json builds its text with cjson as the
-- nginx side does, /table leaves the encoding to respond().
local cjson = require "cjson"

local JSON = { ["content-type"] = "application/json" }

local function answer(text)
  local order = cjson.decode(text)
  local total = 0
  for _, item in ipairs(order.items) do total = total + item.price * item.count end
  return { id = order.id, customer = order.customer, total = total, lines = #order.items, state = "accepted" }
end

return {
  name = "bench",
  listen = { { addr = os.getenv("BENCH_LISTEN") } },
  http = function(req)
    if req.path == "/table" then return req:respond(200, answer(req:body())) end
    return req:respond(200, cjson.encode(answer(req:body())), JSON)
  end,
}
