-- GET /api/v1/calls and /api/v1/calls/{id} (api.md §5.8).
local calls = require("services.calls")
local errors = require("services.errors")
local lists = require("services.lists")

local id = { type = "string", format = "id" }
local word = { type = "string", minLength = 1, maxLength = 256 }
local flag = { type = "boolean" }
local time = { type = "string", format = "time" }
local seconds = { type = "number", minimum = 0 }

return {
  {
    verb = "GET", path = "/api/v1/calls", guard = { "admin", "key" }, scope = "calls:read",
    summary = "Calls, newest first.",
    output = lists.answer({ type = "object", additionalProperties = true }),
    query = {
      type = "object",
      properties = {
        limit = { type = "integer", minimum = 1, maximum = 200, default = 50 },
        after = { type = "string", maxLength = 2048 },
        sort = { type = "string", enum = { "-started_at", "started_at" }, default = "-started_at" },
        bot_id = id, campaign_id = id, status = word, disconnected_by = word, call_type = word,
        direction = { type = "string", enum = { "incoming", "outgoing" } },
        disposition = word, sub_disposition = word, was_transferred = flag, has_recording = flag,
        min_duration = seconds, max_duration = seconds, from = time, to = time,
        number = { type = "string", minLength = 4, maxLength = 32 },
      },
    },
    handler = function(ctx)
      local answer, err = calls.list(ctx.app.store, ctx.query)
      return answer and { body = answer }, err and errors.of_store(err)
    end,
  },
  {
    verb = "GET", path = "/api/v1/calls/{id}", guard = "admin",
    summary = "Everything about one call.",
    output = { type = "object", additionalProperties = true },
    params = { type = "object", properties = { id = id } },
    handler = function(ctx)
      local call, err = calls.detail(ctx.app, ctx.params.id)
      if not call then
        return nil, err.code == "not_found" and errors.not_found("call") or errors.of_store(err)
      end
      return { body = call, headers = { etag = ('"%d"'):format(call.v) } }
    end,
  },
}
