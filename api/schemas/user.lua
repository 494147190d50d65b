-- People on the wire (api.md §5.2).
local ranks = require("services.identity.ranks")
local schema = require("cxb.schema")

local M = {}

local language = { type = "string", minLength = 2, maxLength = 16 }

M.fields = {
  name = { type = "string", minLength = 1, maxLength = 120 },
  role = { type = "string", enum = ranks.names },
  agent_languages = { type = "array", items = language, maxItems = 20, default = { "en" } },
  agent_primary_language = language,
}

M.email = { type = "string", format = "email" }
M.password = { type = "string", maxLength = 512 }

---As an answer shows a user.
M.output = {
  type = "object", title = "User", required = { "id", "email", "name", "role", "is_active" },
  properties = {
    id = { type = "string" }, email = { type = "string" }, name = { type = "string" },
    role = M.fields.role, is_active = { type = "boolean" },
    agent_languages = M.fields.agent_languages,
    agent_primary_language = { type = "string" },
    must_change_password = { type = "boolean" },
    last_login_at = { type = "string", format = "time" },
    created_at = { type = "string", format = "time" },
    updated_at = { type = "string", format = "time" }, v = { type = "integer" },
  },
}

---An output schema with more in it.
function M.output_with(more)
  local out = { type = "object", properties = {} }
  for _, map in ipairs({ M.output.properties, more }) do
    for name, property in pairs(map) do
      out.properties[name] = property
    end
  end
  return out
end

---A stored user as anybody may see it: `current` of a version conflict.
function M.current(user)
  return schema.shape(M.output, user)
end

return M
