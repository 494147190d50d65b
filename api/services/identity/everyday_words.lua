-- Words that tell nothing of what a text is about. The search index holds a few pages of them: so
-- they weigh nothing, and a word of a base that has one page only is still a rare one.
return [[
a about above after again all also am an and any are as at back be because been before being below
between both but by can come could day did do does doing down during each even few first for from
further get give go good had has have having he her here hers herself him himself his how i if in
into is it its itself just know like look made make many may me might more most much must my
myself new no nor not now of off on once one only or other our ours ourselves out over own people
please same say see she should so some such take tell than that the their theirs them themselves
then there these they thing think this those through time to too two under until up us use very
want was way we well were what when where which while who whom why will with would yes you your
yours yourself yourselves im ive id ill youre dont doesnt didnt cant isnt wont whats thats है
हैं था थी थे का की के में से को और या पर
ने तो ही भी यह वह ये वे इस उस क्या कैसे
कब कहाँ कौन क्यों कितना कितनी कितने
मैं हम आप तुम मेरा मेरी हमारा आपका
आपकी आपके हो होता होती होते करना करें
कर किया लिए साथ एक नहीं हाँ जी कुछ कोई
सकता सकती सकते चाहिए
]]
