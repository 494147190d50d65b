-- What Core itself says in a call when the configuration has no words for it, by language.
local M = {}

local english = {
  apology = "I am sorry, something went wrong. Please call again later.",
  timeout = "I am sorry, our time is up. Goodbye.",
  filler = "One moment please.",
  still_there = "Are you still there?",
}

local hindi = {
  apology = "क्षमा कीजिए, कुछ गड़बड़ हो गई। कृपया बाद में फिर कॉल कीजिए।",
  timeout = "क्षमा कीजिए, हमारा समय समाप्त हो गया। नमस्ते।",
  filler = "कृपया एक क्षण रुकिए।",
  still_there = "क्या आप सुन रहे हैं?",
}

local languages = { en = english, hi = hindi }

---@param language? string "en", "hi-IN"; one without words of its own speaks English
---@return {apology: string, timeout: string, filler: string, still_there: string}
function M.of(language)
  return languages[(language or "en"):lower():match("^%a+")] or english
end

return M
