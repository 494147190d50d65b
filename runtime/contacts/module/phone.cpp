// libphonenumber behind a C interface: all of C++ there is, a module of its own (../phone.h).
#include <phonenumbers/phonenumberutil.h>

#include <cstring>
#include <exception>
#include <string>

#include "../phone.h"

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

namespace {

bool parse(const char *text, const char *region, bool details, cxb_phone_number *out) {
  try {
    const PhoneNumberUtil &util = *PhoneNumberUtil::GetInstance();
    PhoneNumber number;
    if (util.Parse(text, region, &number) != PhoneNumberUtil::NO_PARSING_ERROR)
      return false;
    std::string e164;
    util.Format(number, PhoneNumberUtil::E164, &e164);
    if (e164.size() >= sizeof out->e164)
      return false;
    *out = cxb_phone_number{};
    std::memcpy(out->e164, e164.c_str(), e164.size() + 1);
    out->possible = util.IsPossibleNumber(number);
    if (details) {
      std::string found;
      util.GetRegionCodeForNumber(number, &found);
      if (found.size() < sizeof out->region && found != "ZZ")
        std::memcpy(out->region, found.c_str(), found.size() + 1);
      out->valid = util.IsValidNumber(number);
    }
    return true;
  } catch (const std::exception &) {
    return false;
  }
}

bool region(const char *name) {
  try {
    return PhoneNumberUtil::GetInstance()->GetCountryCodeForRegion(name) != 0;
  } catch (const std::exception &) {
    return false;
  }
}

} // namespace

extern "C" __attribute__((visibility("default")))
const cxb_phone_module cxb_phone_module_exports = {parse, region};
