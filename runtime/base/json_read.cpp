#include "json_read.h"

#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include "err.h"

namespace {

using rapidjson::SizeType;

struct Handler {
  const cxb_json_events *events;
  void *arg;

  bool Null() {
    return events->null(arg);
  }
  bool Bool(bool b) {
    return events->boolean(arg, b);
  }
  bool Int(int i) {
    return events->number(arg, i);
  }
  bool Uint(unsigned i) {
    return events->number(arg, i);
  }
  bool Int64(int64_t i) {
    return events->number(arg, static_cast<double>(i));
  }
  bool Uint64(uint64_t i) {
    return events->number(arg, static_cast<double>(i));
  }
  bool Double(double d) {
    return events->number(arg, d);
  }
  bool RawNumber(const char *, SizeType, bool) {
    return false;
  }
  bool String(const char *s, SizeType n, bool) {
    return events->string(arg, s, n, false);
  }
  bool Key(const char *s, SizeType n, bool) {
    return events->string(arg, s, n, true);
  }
  bool StartObject() {
    return events->begin(arg, true);
  }
  bool EndObject(SizeType n) {
    return events->end(arg, true, n);
  }
  bool StartArray() {
    return events->begin(arg, false);
  }
  bool EndArray(SizeType n) {
    return events->end(arg, false, n);
  }
};

} // namespace

int cxb_json_read(const char *text, size_t len, const cxb_json_events *events, void *arg,
                  cxb_json_fault *fault) {
  constexpr unsigned flags =
      rapidjson::kParseValidateEncodingFlag | rapidjson::kParseFullPrecisionFlag;
  rapidjson::Reader reader;
  rapidjson::StringStream stream(text);
  Handler handler{events, arg};
  const rapidjson::ParseResult result = reader.Parse<flags>(stream, handler);
  if (!result.IsError()) {
    if (stream.Tell() == len)
      return 0;
    *fault = {"a NUL byte", stream.Tell()};
    return CXB_EINVAL;
  }
  *fault = {rapidjson::GetParseError_En(result.Code()), result.Offset()};
  return result.Code() == rapidjson::kParseErrorTermination ? CXB_ECANCELED : CXB_EINVAL;
}
