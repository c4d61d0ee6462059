/* One plugin; OCCASION says which. It has state of its own: how much it has answered. */
#include "plugin.h"

#include <stdio.h>

#include "greeting.h"

#ifndef VERSION
#define VERSION "1"
#endif

static unsigned long answered;

void plugin_answer(const char *request, char *answer, size_t size)
{
    answered++;
    snprintf(answer, size, "%s, %s! (%s %s, libgreeting %s, no. %lu)", greeting_words(OCCASION),
             request, OCCASION, VERSION, greeting_version(), answered);
}

unsigned long plugin_save(void) { return answered; }

void plugin_restore(unsigned long before) { answered = before; }
