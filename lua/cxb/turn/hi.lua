-- Words of turn taking, Hindi in Devanagari and Latin script. As in en.lua.
return {
  backchannels = {
    "haan", "han", "haa", "ji", "achha", "accha", "acha", "theek", "thik", "hai", "sahi",
    "हाँ", "हां", "हा", "जी", "अच्छा", "ठीक", "है", "हम्म", "हूँ", "हूं", "ओके", "सही",
  },
  high_intent = {
    "galat number", "galat nambar", "bhugtan kar diya", "payment kar diya", "pay kar diya",
    "paise de diye", "paisa de diya", "bhar diya", "call mat karo", "call mat karna",
    "phone mat karo", "nahi chahiye", "nahin chahiye", "interest nahi", "agent se baat",
    "kisi se baat", "samjhauta",
    "गलत नंबर", "ग़लत नंबर", "भुगतान कर दिया", "पेमेंट कर दिया", "पैसे दे दिए", "भर दिया",
    "कॉल मत करो", "कॉल मत करना", "फोन मत करो", "नहीं चाहिए", "एजेंट", "सेटलमेंट", "समझौता",
    "किसी से बात",
  },
  hesitations = { "matlab", "woh", "wo", "toh", "मतलब", "वो", "तो", "अं" },
  openers = { "haan", "nahi", "nahin", "ji", "achha", "हाँ", "हां", "नहीं", "जी", "अच्छा" },
  conjunctions = {
    "aur", "ya", "lekin", "magar", "kyunki", "agar", "ki", "mera", "meri",
    "और", "या", "लेकिन", "मगर", "क्योंकि", "अगर", "कि", "मेरा", "मेरी",
  },
}
