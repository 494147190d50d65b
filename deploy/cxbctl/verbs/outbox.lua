-- cxbctl outbox: what this host still has to deliver, asked of its workers. An id is
-- "<worker>-<row>"; a lost worker's rows are listed by the neighbour that looks after them.

local json = require("cxb.json")
local paths = require("cxbctl.paths")
local targets = require("cxbctl.targets")

local M = {
  summary = "results, hand-offs and recordings that are not delivered yet",
  operands = true,
  usage = "list | show ID | retry ID… | purge --dead [options]",
  example = "cxbctl outbox list --state dead",
  options = {
    { name = "state", value = "STATE", choices = { "analysis", "ready", "sending", "done", "dead" },
      help = "list: only these rows; else all but done" },
    { name = "limit", value = "N", type = "int", min = 1, max = 1000, default = 100,
      help = "list: rows" },
    { name = "dead", help = "purge: remove dead rows, for good" },
  },
}

local function text(value)
  if value == nil or value == json.null then return "" end
  return tostring(value)
end

local function age(seconds)
  if seconds < 120 then return ("%d s"):format(seconds) end
  if seconds < 7200 then return ("%d min"):format(seconds / 60) end
  return ("%d h"):format(seconds / 3600)
end

-- (waits) Asks every worker; `each` gets the answers. The workers that did not answer are named.
local function ask_all(message, each)
  local asked, silent = 0, {}
  for _, target in ipairs(targets.find(paths.run_dir(), "core")) do
    local answer = targets.ask(target, message)
    asked = asked + 1
    if answer then each(answer) else silent[#silent + 1] = target.name end
  end
  return asked > #silent, silent
end

local function nobody(out)
  out:fail("no worker answers in " .. paths.run_dir(), "cxbctl status")
  return 1
end

-- (waits) The first answer that is ok, of whichever worker holds the row.
local function ask_holder(message)
  local found
  local any = ask_all(message, function(answer)
    if answer.ok == true then found = answer end
  end)
  return found, any
end

local actions = {}

function actions.list(options, _, out)
  local items = {}
  local any, silent = ask_all({ verb = "outbox", state = options.state, limit = options.limit },
    function(answer)
      for _, item in ipairs(type(answer.items) == "table" and answer.items or {}) do
        if #items < options.limit then items[#items + 1] = item end
      end
    end)
  if not any then return nobody(out) end
  if out.json then
    out:object({ ok = #silent == 0, items = json.array(items),
      silent = json.array(silent) })
    return #silent == 0 and 0 or 1
  end
  local rows = { { "id", "kind", "state", "session", "attempts", "age", "next", "last error" } }
  for _, item in ipairs(items) do
    rows[#rows + 1] = { item.id, item.kind, item.state, item.session_id, item.attempts,
      age(item.age_seconds), text(item.next_at):sub(12, 19), text(item.last_error) }
  end
  if #items == 0 then out:say("nothing waits") else out:columns(rows) end
  for _, name in ipairs(silent) do out:say(out:paint("red", name .. " does not answer")) end
  return #silent == 0 and 0 or 1
end

function actions.show(_, ids, out)
  local answer, any = ask_holder({ verb = "outbox_show", id = ids[1] })
  if not any then return nobody(out) end
  if not answer then
    out:fail(("no row %s is waiting here"):format(ids[1]), "cxbctl outbox list")
    return 1
  end
  local item = answer.item
  if out.json then
    out:object({ ok = true, item = item })
    return 0
  end
  for _, name in ipairs({ "id", "kind", "state", "session_id", "n", "attempts", "next_at",
    "age_seconds", "last_error", "bytes" }) do
    if text(item[name]) ~= "" then out:say(("%-12s %s"):format(name, text(item[name]))) end
  end
  out:say("")
  out:say(text(item.body))
  return 0
end

function actions.retry(_, ids, out)
  local done, missing = {}, {}
  for _, id in ipairs(ids) do
    local answer, any = ask_holder({ verb = "outbox_retry", id = id })
    if not any then return nobody(out) end
    table.insert(answer and done or missing, id)
  end
  if out.json then
    out:object({ ok = #missing == 0, retried = json.array(done),
      missing = json.array(missing) })
    return #missing == 0 and 0 or 1
  end
  for _, id in ipairs(done) do out:say(id .. " is due now") end
  if #missing > 0 then
    out:fail(("no such row waits here: %s"):format(table.concat(missing, ", ")),
      "cxbctl outbox list")
  end
  return #missing == 0 and 0 or 1
end

function actions.purge(_, _, out)
  local removed = 0
  local any, silent = ask_all({ verb = "outbox_purge" }, function(answer)
    removed = removed + (tonumber(answer.removed) or 0)
  end)
  if not any then return nobody(out) end
  if out.json then
    out:object({ ok = #silent == 0, removed = removed })
  else
    out:say(("%d dead rows removed"):format(removed))
  end
  return #silent == 0 and 0 or 1
end

-- What is wrong with the words after the action; nil when nothing is.
local function misuse(action, options, ids)
  if action == "show" then return #ids ~= 1 and "show takes one ID" end
  if action == "retry" then return #ids == 0 and "retry takes one ID or more" end
  if #ids > 0 then return ("%s takes no ID"):format(action) end
  return action == "purge" and not options.dead and "purge removes for good: say --dead"
end

function M.run(options, rest, out)
  local action = table.remove(rest, 1)
  local why = not actions[action] and "say list, show, retry or purge"
    or misuse(action, options, rest)
  if why then
    out:fail(why, "cxbctl outbox --help")
    return 2
  end
  return actions[action](options, rest, out)
end

return M
