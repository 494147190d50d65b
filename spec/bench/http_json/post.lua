-- luacheck: globals wrk done
-- wrk: the request, and its figures as one line.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{"id":"o-1029384756","customer":{"name":"Asha Rao","city":"Pune","vip":true},"items":[]]
  .. [[{"sku":"A1","count":2,"price":12.5},{"sku":"B2","count":1,"price":99},{"sku":"C3","count":10,"price":0.75}],]]
  .. [["note":"leave at the door"}]]

function done(summary, latency)
  local errors = summary.errors
  io.write(("FIGURES %.0f %d %d\n"):format(summary.requests / (summary.duration / 1e6),
    latency:percentile(99), errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
