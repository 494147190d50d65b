-- The post-call prompts of a bot as its provider keeps them (core.md §6): one handle a stage, by
-- the hash of the raw templates. A template that takes something of a call in is never kept.
local errors = require("services.web.errors")
local kept_prompts = require("cxb.kept_prompts")
local provider_keys = require("services.runtime_config.provider_keys")
local tenant_url = require("services.web.tenant_url")

local M = {}

local TTL_S = 25 * 3600
local sources = { analysis = "post_call_analysis_prompt", qc = "qc_prompt" }

-- By bot, as it is read for calls again and again.
local versions = setmetatable({}, { __mode = "k" })

---The hash of the raw templates.
---@return string
function M.version(bot)
  if not versions[bot] then
    local texts = ("%s\0%s"):format(bot.post_call_analysis_prompt or "", bot.qc_prompt or "")
    versions[bot] = cxb.crypto.hex(cxb.crypto.sha256(texts)):sub(1, 16)
  end
  return versions[bot]
end

---@return boolean whether there is something to keep
function M.has_prompt(bot)
  return (bot.post_call_analysis_prompt or "") ~= "" or (bot.qc_prompt or "") ~= ""
end

---The fields of a call's configuration.
---@return table
function M.of_call(bot)
  local version, kept = M.version(bot), bot.post_call_cache
  local out = { post_call_cache_enabled = bot.post_call_cache_enabled == true,
    post_call_cache_version = version }
  if out.post_call_cache_enabled and type(kept) == "table" and kept.version == version
    and kept.expires_at > cxb.time.now() then
    out.post_call_cache = { analysis = kept.analysis, qc = kept.qc }
  end
  return out
end

local function forget(stage, kept, public_only)
  for name in pairs(sources) do
    local handle = type(kept) == "table" and kept[name] and kept[name].prompt_cache_key
    if handle then
      kept_prompts.forget(stage, handle, public_only)
    end
  end
end

---(waits) Has the prompts kept anew; what was kept before is forgotten.
---@return table? kept for bot.post_call_cache, api.error? err
function M.refresh(app, bot)
  local stages, err = provider_keys.stages(app, bot)
  if not stages then
    return nil, err
  end
  local stage, now = stages.llm, cxb.time.now()
  local kept = { version = M.version(bot), provider = stage.provider, refreshed_at = now,
    expires_at = now + TTL_S * 1000 }
  local public_only = (stage.base_url or "") ~= "" and tenant_url.exceptions(app) or nil
  for name, field in pairs(kept_prompts.has_handles(stage.provider) and sources or {}) do
    local text = bot[field] or ""
    if text ~= "" and not text:find("{{", 1, true) then
      local handle, code = kept_prompts.make(stage, { static = text, ttl_seconds = TTL_S },
        public_only)
      if not handle then
        return nil, errors.new(502, "upstream_failed", ("The provider did not keep it: %s.")
          :format(code))
      end
      kept[name] = { prompt_cache_key = handle }
    end
  end
  if kept_prompts.has_handles(stage.provider) then
    forget(stage, bot.post_call_cache, public_only)
  end
  return kept
end

return M
