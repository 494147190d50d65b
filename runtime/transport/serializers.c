/* The wires this program speaks. */
#include <string.h>

#include "leg.h"

const cxb_serializer *const cxb_serializers[] = {
    &cxb_serializer_cxb,
    &cxb_serializer_exotel,
    &cxb_serializer_twilio,
    &cxb_serializer_telnyx,
    &cxb_serializer_plivo,
    &cxb_serializer_vonage,
    &cxb_serializer_asterisk,
    &cxb_serializer_audiosocket,
    &cxb_serializer_audiofork,
    &cxb_serializer_browser,
    NULL,
};

const cxb_serializer *cxb_serializer_find(const char *name) {
  for (size_t i = 0; cxb_serializers[i]; i++)
    if (strcmp(cxb_serializers[i]->name, name) == 0)
      return cxb_serializers[i];
  return NULL;
}
