-- Plays the caller's audio back as it comes, until the caller hangs up or keys #. Needs no speech
-- service: for lines, conformance and benchmarks.
return function(call)
  local leg = call.leg
  local utterance = leg:say_begin(call.rate)
  leg:tap(leg:say_sink(utterance), call.rate, 1000) -- also what was said before the flow began
  repeat
    local heard = call:dtmf({ max = 1, terminators = "", wait = 3600 })
  until heard.hangup or heard.dtmf == "#"
  leg:tap(nil)
  return call:hangup()
end
