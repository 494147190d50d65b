-- The search index of every process follows the bases, so that no caller waits for it; documents
-- that a dead process left half done are seen to.
local documents = require("services.knowledge.documents")
local knowledge = require("services.knowledge")

return {
  name = "knowledge", every_ms = 30000, everywhere = true,
  run = function(app)
    local index, err = knowledge.index(app)
    local after
    while index do
      local bases, next_or_err = app.store:find("knowledge_bases", { status = "active" },
        { sort = { "_id" }, limit = 100, after = after, fields = { "revision" } })
      if not bases then
        return nil, next_or_err
      end
      for _, base in ipairs(bases) do
        local ok, why = index:follow(base)
        if not ok then
          return nil, why
        end
      end
      after = next_or_err
      if not after then
        return documents.resume(app)
      end
    end
    return nil, err
  end,
}
