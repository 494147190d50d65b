/* What loadable modules (host/loadable.h) may call in the program that loads them. */
#pragma once

#define CXB_EXPORT __attribute__((visibility("default")))
