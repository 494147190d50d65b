-- Words of turn taking, English and Hindi in Latin and Devanagari script.
return {
  -- Said while the other speaks, meaning "go on".
  backchannels = {
    "haan", "hmm", "okay", "ji", "mm", "ok", "achha", "right", "yes", "yeah", "mhm", "uhhuh",
    "हाँ", "हां", "जी", "अच्छा", "ठीक", "हम्म", "ओके",
  },
  -- Interrupt at any length.
  high_intent = {
    "wrong number", "already paid", "agent", "settlement", "stop calling", "not interested",
    "galat number", "bhugtan kar diya", "pay kar diya", "call mat karo", "nahi chahiye",
    "गलत नंबर", "भुगतान कर दिया", "कॉल मत करो", "नहीं चाहिए",
  },
  -- A speaker who stops at one of these goes on in a moment.
  hesitations = { "um", "uh", "er", "erm", "hmm", "uhm", "ah", "well", "so", "like", "matlab" },
  openers = { "yes", "yeah", "yep", "no", "nope", "okay", "ok", "right", "oh", "hello", "sorry",
    "please", "thanks", "haan", "nahi" },
  conjunctions = {
    "and", "or", "but", "because", "if", "when", "that", "the", "a", "an", "of", "with", "my",
    "is", "aur", "ya", "lekin", "kyunki",
  },
}
