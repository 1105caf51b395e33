/* Messages of plugins: LOG_ERROR .. LOG_DEBUG print "PANDA[plugin]: ..." up to PANDA_LOG_LEVEL.
 * PLUGIN_NAME, where the build defines it, names the plugin. */
#ifndef PANDA_DEBUG_H
#define PANDA_DEBUG_H

#include <stdio.h>
#include <string.h>

#define __FILENAME__ (strrchr(__FILE__, '/') ? strrchr(__FILE__, '/') + 1 : __FILE__)

#define PANDA_CORE_NAME "core"
#define PANDA_MSG_PREFIX "PANDA["
#define PANDA_MSG_SUFFIX "]:"
#ifdef PLUGIN_NAME
#define PANDA_MSG PANDA_MSG_PREFIX PLUGIN_NAME PANDA_MSG_SUFFIX
#else
#define PANDA_MSG PANDA_MSG_PREFIX PANDA_CORE_NAME PANDA_MSG_SUFFIX
#endif
#define PANDA_MSG_FMT PANDA_MSG_PREFIX "%s" PANDA_MSG_SUFFIX
#define PANDA_FLAG_STATUS(flag) ((flag) ? "ENABLED" : "DISABLED")

#define PANDA_LOG_NOTHING 0
#define PANDA_LOG_ERROR 1
#define PANDA_LOG_WARNING 2
#define PANDA_LOG_INFO 3
#define PANDA_LOG_DEBUG 4
#ifndef PANDA_LOG_LEVEL
#define PANDA_LOG_LEVEL PANDA_LOG_INFO
#endif

#define LOG_ERROR_FILE stderr
#define LOG_WARNING_FILE stderr
#define LOG_INFO_FILE stdout
#define LOG_DEBUG_FILE stdout
#define LOG_PANDALN_FILE stdout

/* The format may come with or without arguments; __extension__ would not help: GNU's ## is used. */
#define PANDA_LOG_LINE_(level, file, kind, fmt, args...)                                                               \
  do {                                                                                                                 \
    if (PANDA_LOG_LEVEL >= (level)) fprintf(file, PANDA_MSG kind "%s(%s)> " fmt "\n", __FILENAME__, __func__, ##args); \
  } while (0)
#define LOG_ERROR(fmt, args...) PANDA_LOG_LINE_(PANDA_LOG_ERROR, LOG_ERROR_FILE, "E:", fmt, ##args)
#define LOG_WARNING(fmt, args...) PANDA_LOG_LINE_(PANDA_LOG_WARNING, LOG_WARNING_FILE, "W:", fmt, ##args)
#define LOG_INFO(fmt, args...) PANDA_LOG_LINE_(PANDA_LOG_INFO, LOG_INFO_FILE, "I:", fmt, ##args)
#define LOG_DEBUG(fmt, args...) PANDA_LOG_LINE_(PANDA_LOG_DEBUG, LOG_DEBUG_FILE, "D:", fmt, ##args)
#define PANDALN LOG_DEBUG("line %d", __LINE__)

#endif
