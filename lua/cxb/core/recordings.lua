-- GET and DELETE /recordings/{key}: three spellings of a key, nothing outside the folder, and how a
-- recording is read (by ranges) and erased.
local M = {}

---The key as "YYYY/MM/DD/name.wav" or a bare "name.wav"; nil when it is malformed.
---@param key string decoded path after /recordings/
---@return string?
function M.clean(key)
  if key:find("[%c\\]") or key == "" then
    return nil
  end
  key = key:gsub("^recordings/", "")
  for segment in (key .. "/"):gmatch("([^/]*)/") do
    if segment == "" or segment == "." or segment == ".." then
      return nil
    end
  end
  return key
end

---What the recording of a session is called, without its ending: other characters become "_", and 8
---hex digits keep such names apart.
---@param session_id string
---@return string
function M.name(session_id)
  if not session_id:find("[^%w._-]") then
    return session_id
  end
  return session_id:gsub("[^%w._-]", "_") .. "_"
    .. cxb.crypto.hex(cxb.crypto.sha256(session_id)):sub(1, 8)
end

---Where the recording of a key is, here.
---@param c table settings
---@param key string "recordings/YYYY/MM/DD/name.wav"
function M.path(c, key)
  return c.recordings_dir .. "/" .. key:gsub("^recordings/", "")
end

---Where it will be in the store; nil without one.
---@return string?
function M.url(c, key)
  return c.s3 and c.s3.base .. "/" .. key
end

local function exists(path)
  local stat = cxb.fs.stat(path)
  return stat and stat.type == "file"
end

-- (waits) A bare name is looked for in the days of the folder, newest first.
local function find(dir, name)
  local function newest(path)
    local names = cxb.fs.list(path) or {}
    table.sort(names, function(a, b)
      return a > b
    end)
    return names
  end
  for _, year in ipairs(newest(dir)) do
    for _, month in ipairs(newest(dir .. "/" .. year)) do
      for _, day in ipairs(newest(("%s/%s/%s"):format(dir, year, month))) do
        local path = ("%s/%s/%s/%s/%s"):format(dir, year, month, day, name)
        if exists(path) then
          return path
        end
      end
    end
  end
end

-- The call that makes this file still runs on some worker of the host.
local function in_progress(path)
  local name = path:match("([^/]*)%.wav$")
  for _, row in ipairs(cxb.scoreboard.rows()) do
    if row.live and row.calls > 0 and M.name(row.session_id) == name then
      return true
    end
  end
  return false
end

-- (waits) The file of a key as a URL has it; nil and why not.
local function file_of(dir, raw)
  local key = M.clean(raw)
  if not key then
    return nil, "bad_key"
  end
  local path = dir .. "/" .. key
  if not key:find("/", 1, true) then
    path = find(dir, key)
  elseif not exists(path) then
    path = nil
  end
  if not path then
    return nil, "not_found"
  end
  return path
end

---(waits) Answers the request.
---@param req cxb.request
---@param dir string
---@param raw string
function M.serve(req, dir, raw)
  local path, why = file_of(dir, raw)
  if not path or in_progress(path) then
    why = why or "not_found"
    return req:respond(why == "bad_key" and 400 or 404, { error = why })
  end
  local ok, code, message = req:send_file(path, {
    ["content-type"] = "audio/wav", ["content-disposition"] = "inline",
    ["cache-control"] = "private, no-store",
  })
  if not ok and code ~= "closed" then
    cxb.log.warn("a recording was not sent", { code = code, error = message })
  end
end

---(waits) Erases a recording, as the API asks when its call is erased; 404 when there is none. An
---upload that still waits for the file is given up.
---@param req cxb.request
---@param dir string
---@param raw string
function M.erase(req, dir, raw)
  local path, why = file_of(dir, raw)
  if not path then
    return req:respond(why == "bad_key" and 400 or 404, { error = why })
  elseif in_progress(path) then
    return req:respond(409, { error = "in_progress" })
  end
  local ok, code, message = cxb.fs.remove(path)
  if not ok and code ~= "not_found" then
    cxb.log.error("a recording was not erased", { code = code, error = message })
    return req:respond(500, { error = "not_erased" })
  end
  return req:respond(204)
end

return M
