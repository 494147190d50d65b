-- Documents whose time is over (api.md §2.2): those with `expires_at` in the past, on both back
-- ends alike. A key that has expired stays: who shows it is told so.
local keeps = { api_keys = true }

return {
  name = "sweep", every_ms = 300000,
  run = function(app)
    local now, removed = cxb.time.now(), 0
    for name, collection in pairs(app.store.collections) do
      if collection.fields.expires_at and not keeps[name] then
        local n, err = app.store:delete_many(name, { expires_at = { lte = now } })
        if not n then
          return nil, err
        end
        removed = removed + n
      end
    end
    return removed
  end,
}
