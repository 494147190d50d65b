-- Words of turn taking, English.
return {
  -- Said while the other speaks, meaning "go on".
  backchannels = { "hmm", "okay", "mm", "ok", "right", "yes", "yeah", "mhm", "uhhuh" },
  -- Interrupt at any length.
  high_intent = {
    "wrong number", "already paid", "agent", "settlement", "stop calling", "not interested",
    "do not call", "dont call", "already made the payment",
  },
  -- A speaker who stops at one of these goes on in a moment.
  hesitations = { "um", "uh", "er", "erm", "hmm", "uhm", "ah", "well", "so", "like" },
  openers = { "yes", "yeah", "yep", "no", "nope", "okay", "ok", "right", "oh", "hello", "sorry",
    "please", "thanks" },
  conjunctions = {
    "and", "or", "but", "because", "if", "when", "that", "the", "a", "an", "of", "with", "my",
    "is",
  },
}
