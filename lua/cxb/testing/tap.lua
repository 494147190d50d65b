-- What a run of specs prints: TAP, one line a spec, the reason below a failed one. A file that does
-- not load, or a setup that fails, is one failed line of its own.

local function comment(text)
  return "# " .. tostring(text):gsub("%s+$", ""):gsub("\n", "\n# ") .. "\n"
end

---@param busted table
---@param out? fun(text: string) where to write; standard output when absent
return function(busted, out)
  local counter = 0
  out = out or function(text) io.stdout:write(text) io.stdout:flush() end

  local function name_of(element)
    local names = {}
    while element and element.descriptor ~= "file" and element.descriptor ~= "suite" do
      local name = element.name or element.descriptor
      if name then table.insert(names, 1, (tostring(name):gsub("\n", " "))) end
      element = busted.context.parent(element)
    end
    return table.concat(names, " ")
  end

  -- A failed spec tells its reason before its end is announced.
  local reason
  local function failed(element, _, message, trace)
    local text = type(message) == "string" and message or require("pl.pretty").write(message)
    local place = trace and trace.short_src
      and trace.short_src .. ":" .. (trace.currentline or "?") .. ":\n" or ""
    reason = (reason or "") .. comment(place .. text)
    if trace and trace.traceback and element.descriptor == "it" then
      reason = reason .. comment(trace.traceback:gsub("^%s+", ""))
    end
    if element.descriptor ~= "it" then
      counter = counter + 1
      local name = element.descriptor == "file" and tostring(element.name) or name_of(element)
      out(("not ok %d - %s\n%s"):format(counter, name, reason))
      reason = nil
    end
    return nil, true
  end

  local skipped
  busted.subscribe({ "pending" }, function(_, _, message)
    skipped = type(message) == "string" and message:gsub("\n", " ") or nil
    return nil, true
  end)

  busted.subscribe({ "test", "end" }, function(element, _, status)
    counter = counter + 1
    local name = name_of(element)
    if status == "success" then
      out(("ok %d - %s\n"):format(counter, name))
    elseif status == "pending" then
      out(("ok %d - %s # SKIP %s\n"):format(counter, name, skipped or ""))
      skipped = nil
    else
      out(("not ok %d - %s\n%s"):format(counter, name, reason or ""))
      reason = nil
    end
    return nil, true
  end)
  busted.subscribe({ "error" }, failed)
  busted.subscribe({ "failure" }, failed)
  busted.subscribe({ "suite", "end" }, function()
    out(("1..%d\n"):format(counter))
    return nil, true
  end)
end
