-- What callers say when they ask to be called again (English, Hindi in Latin and Devanagari), word
-- by word: a phrase → what it means. Longer phrases win. More phrases need no code.
--   number   a count; `plus`: added to the number that follows; `minus`: taken from it
--   unit     minutes of an hour, a minute; days of a day, a week
--   short    minutes that a vague "a little later" stands for
--   day      days from today; `weekday` 1 Monday … 7 Sunday; `month` 1 … 12; `date` a day of the
--            month is named
--   part     a part of the day: its hour; `half` "am" or "pm": how a bare hour is read beside it
--   clock    a clock time is named
return {
  number = {
    [1] = "a an ek one एक", [2] = "do two दो", [3] = "teen three तीन", [4] = "chaar char four चार",
    [5] = "paanch panch five पांच पाँच", [6] = "chhe che chhah six छह छे छः",
    [7] = "saat sat seven सात", [8] = "aath eight आठ", [9] = "nau nine नौ", [10] = "das ten दस",
    [11] = "gyarah gyaarah eleven ग्यारह", [12] = "barah baarah twelve बारह",
    [15] = "pandrah fifteen पंद्रह पन्द्रह", [20] = "bees twenty बीस",
    [25] = "pachees twenty_five पच्चीस", [30] = "tees thirty तीस", [40] = "chalis forty चालीस",
    [45] = "paintalis forty_five पैंतालीस", [50] = "pachas fifty पचास",
    [0.5] = "half half_a half_an aadha aadhe adha adhe आधा आधे",
    [0.75] = "three_quarters paun पौन", [0.25] = "quarter quarter_of_an",
    [1.5] = "dedh derh one_and_a_half an_hour_and_a_half_of डेढ",
    [2.5] = "dhai dhaai adhai two_and_a_half ढाई अढाई",
  },
  plus = { [0.5] = "sade saade saadhe sadhe साढे", [0.25] = "sawa sava सवा" },
  minus = { [0.25] = "paune pauney पौने" },
  unit = {
    minute = "min mins minute minutes minat mint मिनट मिनिट मिनटों",
    hour = "hour hours hr hrs ghanta ghante ghanto ghanton घंटा घंटे घण्टा घण्टे घंटों",
    day = "day days din dino दिन दिनों", week = "week weeks hafta hafte haftey हफ्ता हफ्ते सप्ताह",
  },
  short = {
    [30] = "thodi_der thodi_der_baad thodi_der_mein thoda_baad a_while in_a_while a_little_later "
      .. "a_bit_later little_later some_time_later थोडी_देर थोडी_देर_बाद थोडी_देर_में थोडा_बाद",
  },
  day = {
    [0] = "today aaj आज tonight", [1] = "tomorrow tmrw kal kl कल",
    [2] = "parso parson parsoon day_after_tomorrow the_day_after_tomorrow day_after परसों परसो",
    [7] = "next_week agle_hafte agle_haftey agla_hafta अगले_हफ्ते अगले_सप्ताह",
  },
  weekday = {
    "monday mon somvar somwar सोमवार", "tuesday tue tues mangalvar mangalwar मंगलवार",
    "wednesday wed budhvar budhwar बुधवार", "thursday thu thurs guruvar guruwar brihaspativar "
      .. "गुरुवार बृहस्पतिवार वीरवार", "friday fri shukravar shukrawar शुक्रवार",
    "saturday sat_urday shanivar shaniwar शनिवार", "sunday sun ravivar raviwar itvar इतवार रविवार",
  },
  month = {
    "january jan जनवरी", "february feb फरवरी", "march मार्च", "april apr अप्रैल", "may मई",
    "june jun जून", "july jul जुलाई", "august aug अगस्त", "september sep sept सितंबर सितम्बर",
    "october oct अक्टूबर", "november nov नवंबर नवम्बर", "december dec दिसंबर दिसम्बर",
  },
  date = { "tarikh tareekh taarikh date तारीख" },
  part = {
    [10] = "subah subha savere morning सुबह सवेरे", [14] = "dopahar dopeher dopahir afternoon noon "
      .. "दोपहर", [18] = "shaam sham evening शाम", [20] = "raat rat night tonight रात",
  },
  half = {
    am = "am a_m subah subha savere morning सुबह सवेरे",
    pm = "pm p_m dopahar dopeher dopahir afternoon noon shaam sham evening दोपहर शाम",
    night = "raat rat night tonight रात",
  },
  clock = { "baje bajey bje oclock o_clock at बजे" },
}
