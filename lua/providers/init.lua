-- Which providers there are: for each stage of a call the names a bot may use, and the module that
-- speaks to each. `none` has no module: the call does without that stage. docs/providers.md has the
-- interface and how to write one.
local M = {}

M.stt = {
  embedded = "providers.stt_embedded",
  deepgram = "providers.stt_deepgram",
  deepgram_flux = "providers.stt_deepgram_flux",
  soniox = "providers.stt_soniox",
  none = false,
}

M.llm = {
  openai = "providers.llm_openai",
  google = "providers.llm_google",
  vertex = "providers.llm_vertex",
  rules = "providers.llm_rules",
}

M.tts = {
  embedded = "providers.tts_embedded",
  elevenlabs = "providers.tts_elevenlabs",
  openai = "providers.tts_openai",
  sarvam = "providers.tts_sarvam",
  none = false,
}

---The module of a provider.
---@param kind "stt"|"llm"|"tts"
---@param name string
---@return table? nil for `none` and for names that do not exist
function M.get(kind, name)
  local module = M[kind][name]
  return module and require(module) or nil
end

return M
