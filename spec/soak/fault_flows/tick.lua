-- The flow of a fault sweep: notes each key, then writes beside the journal, in a plain file that
-- survives kill -9, what it noted and when. The sweep compares both.
return function(call)
  local path = ("%s/progress/%s"):format(os.getenv("CXB_STATE_DIR"), call.meta.stream_id)
  local progress = assert(io.open(path, "a"))
  local function note(what)
    progress:write(("%s %.3f\n"):format(what, cxb.time.mono()))
    progress:flush()
  end
  note("answered")
  repeat
    local heard = call:dtmf({ max = 1, terminators = "", wait = 60 })
    if heard.dtmf then note("key") end
  until heard.hangup
end
