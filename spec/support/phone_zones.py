#!/usr/bin/python3
"""2,000 valid numbers of all countries with the zones of their prefixes, by python3-phonenumbers."""
import random

import phonenumbers
from phonenumbers import timezone

random.seed(1)
regions = sorted(phonenumbers.SUPPORTED_REGIONS)
written = 0
while written < 2000:
    example = phonenumbers.example_number_for_type(random.choice(regions), random.randint(0, 4))
    if not example:
        continue
    text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    cut = random.randint(1, 3)
    tail = "".join(random.choice("0123456789") for _ in range(cut))
    number = phonenumbers.parse(text[:-cut] + tail)
    if not phonenumbers.is_valid_number(number):
        continue
    zones = timezone.time_zones_for_geographical_number(number)
    print(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), "|".join(sorted(zones)))
    written += 1
