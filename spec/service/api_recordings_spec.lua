-- stores: both
-- Recordings from an object store and by public links; ranges of local files are in
-- api_calls_spec.lua.
-- stores: both
local ObjectStore = require("support.object_store")
local json = require("cxb.json")
local process = require("support.api_process")
local support = require("support.world")

-- What a store sends that is asked for 1 GiB, until the reader has gone; HEAD tells its size.
local endless = [[
local size = 1024 * 1024 * 1024
local piece = ("x"):rep(65536)
local sent, over = 0, false
return function(req)
  if req.path == "/sent" then
    return req:respond(200, { sent = sent, over = over })
  elseif req.method == "HEAD" then
    req:start(200, { ["content-length"] = tostring(size), etag = '"big"' })
    return req:finish()
  end
  req:start(200, { ["content-length"] = tostring(size), etag = '"big"' })
  for _ = 1, size / #piece do
    if not req:write(piece) then
      over = true
      return
    end
    sent = sent + #piece
  end
  req:finish()
end
]]

-- A WAV of two channels at 8 kHz: the left rises from one tenth to the next, the right is its
-- negative.
local function wav(seconds)
  local frames, out = seconds * 8000, {}
  local function le(n, bytes)
    local text = {}
    for i = 1, bytes do
      text[i] = string.char(math.floor(n / 256 ^ (i - 1)) % 256)
    end
    return table.concat(text)
  end
  for tenth = 1, 10 do
    local left = tenth * 3000
    out[tenth] = (le(left, 2) .. le(65536 - left, 2)):rep(frames / 10)
  end
  local data = table.concat(out)
  return "RIFF" .. le(36 + #data, 4) .. "WAVEfmt " .. le(16, 4) .. le(1, 2) .. le(2, 2)
    .. le(8000, 4) .. le(32000, 4) .. le(4, 2) .. le(16, 2) .. "data" .. le(#data, 4) .. data
end

describe("recordings", function()
  local world, api

  setup(function()
    world = support.new()
    -- Memory is looked at: under the sanitizers what was freed is not kept aside.
    api = process.start(world, { env = {
      ASAN_OPTIONS = "quarantine_size_mb=1:thread_local_quarantine_size_kb=16",
    } })
  end)

  teardown(function()
    world:close()
  end)

  local function call(id, key)
    local answer = api:ask("POST", "/api/v1/call-results",
      { body = { session_id = id, disconnected_by = "bot", recording_key = key } })
    assert.equal(200, answer.status, answer.body)
  end

  local function use_store(endpoint)
    local answer = api:ask("PUT", "/api/v1/settings/minio", { body = { endpoint = endpoint,
      access_key = ObjectStore.ACCESS, secret_key = ObjectStore.SECRET,
      bucket = ObjectStore.BUCKET } })
    assert.equal(200, answer.status, answer.body)
  end

  local function play(id, headers, method)
    return api:ask(method or "GET", "/api/v1/recordings/" .. id, { headers = headers })
  end

  local function memory_kb()
    local text = assert(io.open(("/proc/%d/status"):format(api.process.pid))):read("*a")
    return tonumber(text:match("VmRSS:%s*(%d+)"))
  end

  describe("of an object store", function()
    local store, audio

    setup(function()
      store = ObjectStore.new(world)
      store:start()
      audio = wav(4)
      local base = ("%s/data/%s/"):format(store.dir, ObjectStore.BUCKET)
      world:write(base .. "recordings/2026/04/24/s3.wav", audio)
      use_store(store.url:gsub("^http://", ""))
      call("s3", "recordings/2026/04/24/s3.wav")
    end)

    teardown(function()
      api:ask("PUT", "/api/v1/settings/minio", { body = { access_key = json.null,
        secret_key = json.null } })
    end)

    it("are sent whole, by their facts, and by range to the byte", function()
      local whole = play("s3")
      assert.same({ 200, "audio/wav", "bytes", tostring(#audio) }, { whole.status,
        whole.headers["content-type"], whole.headers["accept-ranges"],
        whole.headers["content-length"] })
      assert.is_true(whole.body == audio)
      local head = play("s3", nil, "HEAD")
      assert.same({ 200, tostring(#audio), "", whole.headers.etag }, { head.status,
        head.headers["content-length"], head.body or "", head.headers.etag })
      for range, span in pairs({ ["bytes=0-0"] = { 0, 0 }, ["bytes=100-70000"] = { 100, 70000 },
        ["bytes=-5"] = { #audio - 5, #audio - 1 }, ["bytes=90000-"] = { 90000, #audio - 1 } }) do
        local part = play("s3", { range = range })
        assert.same({ 206, ("bytes %d-%d/%d"):format(span[1], span[2], #audio) },
          { part.status, part.headers["content-range"] }, range)
        assert.is_true(part.body == audio:sub(span[1] + 1, span[2] + 1), range)
      end
    end)

    it("answer ranges that cannot be had, and conditions, as local ones do", function()
      local etag = play("s3", nil, "HEAD").headers.etag
      for range, status in pairs({ ["bytes=9-3"] = 416, ["bytes=999999999-"] = 416,
        ["bytes=-0"] = 416, ["bytes=0-0,5-6"] = 200, ["lines=1-2"] = 200 }) do
        local answer = play("s3", { range = range })
        assert.equal(status, answer.status, range)
        if status == 416 then
          assert.equal("bytes */" .. #audio, answer.headers["content-range"])
        end
      end
      assert.equal(206, play("s3", { range = "bytes=0-9", ["if-range"] = etag }).status)
      assert.equal(200, play("s3", { range = "bytes=0-9", ["if-range"] = '"other"' }).status)
      assert.equal(304, play("s3", { ["if-none-match"] = etag }).status)
    end)

    it("are outlined while they pass by, once", function()
      local path = "/api/v1/recordings/s3/peaks?points=100"
      local first = api:ask("GET", path)
      assert.equal(200, first.status, first.body)
      local left, right = first.answer.channels[1], first.answer.channels[2]
      assert.same({ 4, 200, 200 }, { first.answer.duration, #left, #right })
      assert.same({ 11, 11, -12, -12, 117, -118 }, { left[1], left[2], right[1], right[2],
        left[200], right[200] })
      store:stop()
      local down = play("s3")
      assert.same({ 503, "object_store_unavailable" }, { down.status, down.answer.error })
      assert.is_string(down.headers["retry-after"])
      store:start()
      assert.equal(200, play("s3").status)
    end)

    it("are 503 while that is killed under load, and no result is lost meanwhile", function()
      local run = { going = true, played = 0, away = 0, cut = 0, kept = {}, odd = {} }
      local function player()
        while run.going do
          local answer = play("s3")
          if answer.status == 200 and answer.body == audio then
            run.played = run.played + 1
          elseif answer.status == 503 and answer.answer.error == "object_store_unavailable"
            and answer.headers["retry-after"] then
            run.away = run.away + 1
          elseif answer.status == 0 then
            run.cut = run.cut + 1 -- it was being sent when the store died
          else
            run.odd[#run.odd + 1] = answer.status .. " " .. (answer.body or "")
          end
        end
      end
      local function sender(n)
        while run.going do
          local id = ("load-%d-%d"):format(n, #run.kept)
          call(id, "recordings/2026/04/24/s3.wav")
          run.kept[#run.kept + 1] = id
        end
      end
      local tasks = {}
      for n = 1, 2 do
        tasks[n] = cxb.task.spawn("player", player)
        tasks[n + 2] = cxb.task.spawn("sender", sender, n)
      end
      local function more(what, counted)
        local from = counted()
        support.wait_until(what, function() return counted() >= from + 10 end)
      end
      local function played() return run.played end
      local function kept() return #run.kept end
      more("recordings", played)
      store.process:kill("KILL")
      store.process:wait(30000)
      more("refusals", function() return run.away end)
      more("results without the store", kept)
      store:start()
      more("recordings again", played)
      run.going = false
      for _, task in ipairs(tasks) do task:wait(60000) end
      assert.same({}, run.odd)
      assert.is_true(run.cut <= 2)
      assert.is_nil(api.process.ended)
      for _, id in ipairs(run.kept) do
        assert.equal(200, api:ask("GET", "/api/v1/calls/" .. id).status, id)
      end
    end)

    it("that the store has not are looked for in the local folder", function()
      world:write(api.dir .. "/state/recordings/2026/04/24/local.wav", "here")
      call("local", "recordings/2026/04/24/local.wav")
      assert.equal("here", play("local").body)
      call("none", "recordings/2026/04/24/none.wav")
      assert.equal("recording_missing", play("none").answer.error)
    end)

    it("are erased there when their call is redacted", function()
      world:write(("%s/data/%s/recordings/gone.wav"):format(store.dir, ObjectStore.BUCKET), "x")
      call("gone", "recordings/gone.wav")
      assert.equal(200, play("gone").status)
      assert.equal(200, api:ask("POST", "/api/v1/calls/gone/redact").status)
      assert.is_nil(store:object("recordings/gone.wav"))
    end)
  end)

  describe("of any length", function()
    local port, source

    setup(function()
      port = world:port()
      world:write(world:folder() .. "/endless.lua", endless)
      local path = world.folders[#world.folders] .. "/endless.lua"
      source = world:start({ support.program, cxb.root .. "/spec/support/server.lua",
        "tcp:127.0.0.1:" .. port, path }, cxb.process.environ())
      use_store("127.0.0.1:" .. port)
      call("big", "recordings/big.wav")
    end)

    local function sent()
      local answer = cxb.http.request({ url = ("http://127.0.0.1:%d/sent"):format(port) })
      return json.decode(answer.body)
    end

    it("play with less than 10 MB of memory", function()
      support.wait_until("the source", function()
        return cxb.http.request({ url = ("http://127.0.0.1:%d/sent"):format(port) })
      end)
      play("big", nil, "HEAD")
      local before, bytes, most = memory_kb(), 0, 0
      local answer = cxb.http.request({
        url = "http+unix:" .. api.socket .. ":/api/v1/recordings/big", timeout_ms = 300000,
        headers = { authorization = "Bearer " .. process.token() },
        on_data = function(piece)
          bytes = bytes + #piece
          if bytes % (16 * 1024 * 1024) < #piece then
            most = math.max(most, memory_kb())
          end
        end,
      })
      assert.same({ 200, 1024 ^ 3 }, { answer.status, bytes })
      assert.is_true(most - before < 10 * 1024, ("%d KiB more"):format(most - before))
    end)

    it("are not read further than they are listened to, and no more once the listener is gone",
      function()
        local from = sent().sent
        local before, paused = memory_kb(), false
        local listener = cxb.task.spawn("listener", function()
          cxb.http.request({
            url = "http+unix:" .. api.socket .. ":/api/v1/recordings/big", timeout_ms = 300000,
            headers = { authorization = "Bearer " .. process.token() },
            on_data = function()
              paused = true
              cxb.task.park(120000)
              return false
            end,
          })
        end)
        local last
        support.wait_until("the source to wait", function()
          local now = sent().sent
          local still = paused and now == last and now > from
          last = now
          return still
        end)
        assert.is_true(last - from < 64 * 1024 * 1024)
        assert.is_true(memory_kb() - before < 10 * 1024)
        assert.is_false(sent().over)
        listener:unpark()
        support.wait_until("the source to be let go", function()
          return sent().over
        end)
        source:stop()
        use_store("127.0.0.1:" .. port)
      end)
  end)

  describe("by a public link", function()
    local function public(token, method)
      return api:ask(method or "GET", "/api/v1/public/recordings/" .. token, { secret = false })
    end

    setup(function()
      api:ask("PUT", "/api/v1/settings/minio", { body = { access_key = json.null,
        secret_key = json.null } })
      world:write(api.dir .. "/state/recordings/pub.wav", wav(1))
      call("pub", "recordings/pub.wav")
    end)

    it("play without signing in until the link is withdrawn", function()
      local token = api:ask("GET", "/api/v1/calls/pub").answer.recording_access_token
      support.wait_until("the link", function()
        return public(token).status == 200
      end)
      assert.same({ "noindex", "audio/wav" }, { public(token).headers["x-robots-tag"],
        public(token).headers["content-type"] })
      assert.equal(200, public(token, "HEAD").status)
      local rotated = api:ask("POST", "/api/v1/calls/pub/recording-token")
      assert.equal(201, rotated.status, rotated.body)
      local fresh = rotated.answer.recording_access_token
      assert.same({ 404, 200 }, { public(token).status, public(fresh).status })
      assert.matches("/api/v1/public/recordings/" .. fresh:gsub("%-", "%%-") .. "$",
        rotated.answer.url)
      assert.equal(204, api:ask("DELETE", "/api/v1/calls/pub/recording-token").status)
      assert.equal(404, public(fresh).status)
      assert.equal(404, public(("x"):rep(32)).status)
      assert.is_nil(api:ask("GET", "/api/v1/calls/pub").answer.recording_access_token)
    end)

    it("have an outline like any other, of a local file too", function()
      local answer = api:ask("GET", "/api/v1/recordings/pub/peaks?points=100").answer
      assert.same({ 1, 200 }, { answer.duration, #answer.channels[1] })
      world:write(api.dir .. "/state/recordings/no.wav", "no audio at all")
      call("no", "recordings/no.wav")
      assert.equal("unsupported_recording",
        api:ask("GET", "/api/v1/recordings/no/peaks").answer.error)
      assert.equal(400, api:ask("GET", "/api/v1/recordings/pub/peaks?points=99").status)
      assert.equal(401, api:ask("GET", "/api/v1/recordings/pub/peaks", { secret = false }).status)
    end)

    it("leave no outline behind when they are erased", function()
      local peaks = api.dir .. "/state/peaks"
      local others = #(cxb.fs.list(peaks) or {})
      world:write(api.dir .. "/state/recordings/drawn.wav", wav(1))
      call("drawn", "recordings/drawn.wav")
      for _, points in ipairs({ 100, 200 }) do
        assert.equal(200, api:ask("GET", "/api/v1/recordings/drawn/peaks?points=" .. points).status)
      end
      assert.equal(others + 1, #cxb.fs.list(peaks))
      assert.equal(200, api:ask("POST", "/api/v1/calls/drawn/redact").status)
      assert.equal(others, #cxb.fs.list(peaks))
    end)
  end)
end)
