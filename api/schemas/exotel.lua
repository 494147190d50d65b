-- The Exotel integration and its numbers (api.md §5.14).
local M = {}

local id = { type = "string", format = "id" }
local secret = { type = "string", maxLength = 256, writeOnly = true }

---Stored sealed, never shown.
M.secrets = { "api_key", "api_token" }

M.input = {
  type = "object", title = "ExotelInput",
  properties = {
    account_sid = { type = "string", minLength = 1, maxLength = 64, example = "example1",
      rule = function(value)
        return not value:match("^[%w_-]+$") and "must be letters, digits, dashes" or nil
      end },
    api_key = secret, api_token = secret,
    api_base_url = { type = "string", format = "url", default = "https://api.exotel.com",
      example = "https://api.exotel.com" },
  },
}

M.did_input = {
  type = "object", title = "ExotelDidInput", required = { "number" },
  properties = {
    number = { type = "string", format = "phone", example = "+918012345678" },
    label = { type = "string", maxLength = 120 }, bot_id = id,
    flow_url = { type = "string", format = "url" },
  },
}

M.did = {
  type = "object", title = "ExotelDid", properties = {
    id = id, number = { type = "string" }, label = { type = "string" }, bot_id = id,
    flow_url = { type = "string" }, websocket_url = { type = "string" },
  },
}

M.shown = {
  type = "object", title = "Exotel", properties = {
    account_sid = { type = "string" }, api_base_url = { type = "string" },
    api_key_configured = { type = "boolean" }, api_token_configured = { type = "boolean" },
    configured = { type = "boolean" }, dids = { type = "array", items = M.did },
  },
}

return M
