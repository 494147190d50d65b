-- GET /api/v1/events/stream: one stream of live events for a browser tab (api.md §5.1).
local errors = require("services.web.errors")

local TOPICS_MAX = 32

-- The least rank a topic is for.
local ranks = {
  calls = 2, fleet = 2, outbox = 2, flows = 2, call = 2, campaign = 2, desk = 0,
}

local function rank_of(topic)
  local kind, id = topic:match("^(%a+):([%w_-]+)$")
  if kind then
    return (kind == "call" or kind == "campaign") and #id <= 64 and ranks[kind]
  end
  return topic ~= "call" and topic ~= "campaign" and ranks[topic]
end

local function bad_topics(rule)
  return errors.new(400, "invalid_query", "Query: topics " .. rule .. ".",
    { fields = { { path = "topics", rule = "enum", message = rule } } })
end

-- The topics asked for and the rank they need together.
local function read(text)
  local topics, seen, rank = {}, {}, 0
  for topic in text:gmatch("[^,]+") do
    local least = rank_of(topic)
    if not least then
      return nil, bad_topics("are calls, fleet, outbox, flows, desk, call:{id} or campaign:{id}")
    elseif not seen[topic] then
      seen[topic] = true
      topics[#topics + 1] = topic
      rank = math.max(rank, least)
    end
  end
  if #topics == 0 or #topics > TOPICS_MAX then
    return nil, bad_topics(("are 1 to %d"):format(TOPICS_MAX))
  end
  return topics, rank
end

return {
  {
    verb = "GET", path = "/api/v1/events/stream", guard = "any", media = "text/event-stream",
    summary = "Live events of these topics; each event's data is {topic, data}.",
    query = {
      type = "object", required = { "topics" },
      properties = { topics = { type = "string", minLength = 1, maxLength = 2048,
        description = "calls, fleet, outbox, flows, desk, call:{id}, campaign:{id}; by commas" } },
    },
    handler = function(ctx)
      local topics, rank = read(ctx.query.topics)
      if not topics then
        return nil, rank
      end
      local function allowed(principal)
        return principal.rank >= rank
      end
      if not allowed(ctx.principal) then
        return nil, errors.new(403, "forbidden", "Your role does not allow one of these topics.")
      end
      return ctx:sse(topics, { tagged = true, authorise = allowed })
    end,
  },
}
