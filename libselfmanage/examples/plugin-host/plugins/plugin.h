/* What plugin-host asks of a plugin. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stddef.h>

/* Writes the answer to `request` into `answer`: one line of less than `size` bytes. */
void plugin_answer(const char *request, char *answer, size_t size);
/* The plugin's own state, saved before it is closed and given to its successor. */
unsigned long plugin_save(void);
void plugin_restore(unsigned long answered);

#endif
