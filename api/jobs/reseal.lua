-- After a rotation of CXB_SECRETS_KEY: seals stored credentials with the new key, so that the
-- previous one can be forgotten.
local vault = require("services.identity.vault")

-- Where credentials are stored.
local collections = { "system_settings", "carriers", "integrations", "bots", "bot_versions" }

return {
  name = "reseal", every_ms = 5 * 60 * 1000,
  run = function(app)
    if not app.secrets.key_previous then
      return true
    end
    for _, collection in ipairs(collections) do
      local n, err = vault.renew(app, collection)
      if not n then
        return nil, err
      elseif n > 0 then
        cxb.log.info("credentials sealed with the new key", { collection = collection, count = n })
      end
    end
    return true
  end,
}
