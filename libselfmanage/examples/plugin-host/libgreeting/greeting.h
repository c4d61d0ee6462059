/* The library under the plugins. */
#ifndef GREETING_H
#define GREETING_H

/* Its version, for people. */
const char *greeting_version(void);
/* The words for an occasion ("hello", "goodbye"). */
const char *greeting_words(const char *occasion);

#endif
